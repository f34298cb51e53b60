//! `rocketry store repair`.

use std::path::Path;

use rocketry_store::inspect::Usage;
use serde::Serialize;

use super::{check::checked, open};
use crate::{
    args::{Report, ReportFormat},
    clock,
    failure::Failure,
    output::{self, Output},
};

pub(super) fn run(
    dir: &Path,
    yes: bool,
    format: Report,
    output: &mut Output,
) -> Result<(), Failure> {
    let inspection = open(dir)?;
    let check = checked(&inspection)?;
    let plan = inspection.plan(&check)?;
    let nothing = plan.steps.is_empty() && inspection.usage() == Usage::Closed;
    let mut notes = Vec::new();
    if nothing {
        output::note("nothing to repair");
    } else {
        for step in &plan.steps {
            output::note(format_args!("will {step}"));
        }
        output::note("will recover the directory as a start does; no message is removed");
        if !yes {
            match output::confirm("Go on?") {
                Some(true) => {}
                Some(false) => return Err(Failure::new("nothing was changed")),
                None => {
                    return Err(Failure::usage("nothing was changed")
                        .hint("--yes does what is listed without asking"));
                }
            }
        }
        notes = inspection.repair(&plan, clock::wall_ms())?.notes;
    }
    match format.output {
        ReportFormat::Json => output.pretty_json(&Printed {
            steps: &plan.steps,
            notes: &notes,
        }),
        ReportFormat::Text => notes.iter().try_for_each(|note| output.line(note)),
    }
}

#[derive(Serialize)]
struct Printed<'a> {
    steps: &'a [String],
    notes: &'a [String],
}
