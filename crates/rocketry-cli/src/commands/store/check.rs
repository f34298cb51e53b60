//! `rocketry store check`.

use std::path::Path;

use rocketry_store::inspect::{Check, Finding, Inspection, Severity};
use serde::Serialize;

use super::{open, usage_name};
use crate::{
    args::{Report, ReportFormat},
    failure::Failure,
    output::Output,
    progress::{Progress, Unit},
    units::counted,
};

/// `broker` and `cluster` are the names under which the directory is to be served, where they are known.
pub(super) fn run(
    dir: &Path,
    (broker, cluster): (Option<&str>, Option<&str>),
    format: Report,
    output: &mut Output,
) -> Result<(), Failure> {
    let inspection = open(dir)?;
    let mut check = checked(&inspection)?;
    check
        .findings
        .extend(inspection.check_names(broker, cluster));
    check
        .findings
        .sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    match format.output {
        ReportFormat::Json => output.pretty_json(&Printed::new(&inspection, &check))?,
        ReportFormat::Text => text(&inspection, &check, output)?,
    }
    output.flush()?;
    let errors = check
        .findings
        .iter()
        .filter(|finding| finding.severity == Severity::Error);
    match errors.count() as u64 {
        0 => Ok(()),
        errors => Err(
            Failure::new(format!("{} in {}", counted(errors, "error"), dir.display()))
                .hint("`rocketry store repair` says what it can do about them"),
        ),
    }
}

/// Checks everything, with a progress bar.
pub(super) fn checked(inspection: &Inspection) -> Result<Check, Failure> {
    let mut progress = Progress::new(Unit::Bytes, None);
    Ok(inspection.check(|bytes| progress.update(bytes, String::new))?)
}

/// What a check found, in the order of the keys it is printed with.
#[derive(Serialize)]
struct Printed<'a> {
    usage: &'static str,
    records: u64,
    bytes: u64,
    log_min: i64,
    log_end: i64,
    queues: u64,
    units: u64,
    keys: u64,
    findings: Vec<PrintedFinding<'a>>,
    broker_conf: Vec<String>,
}

#[derive(Serialize)]
struct PrintedFinding<'a> {
    severity: &'static str,
    path: String,
    what: &'a str,
    repairable: bool,
}

impl<'a> Printed<'a> {
    fn new(inspection: &Inspection, check: &'a Check) -> Self {
        Self {
            usage: usage_name(inspection.usage()),
            records: check.records,
            bytes: check.bytes,
            log_min: inspection.log_min(),
            log_end: check.end.log_offset,
            queues: check.queues,
            units: check.units,
            keys: check.keys,
            findings: check
                .findings
                .iter()
                .map(|finding| PrintedFinding {
                    severity: severity(finding),
                    path: finding.path.display().to_string(),
                    what: &finding.what,
                    repairable: finding.repairable,
                })
                .collect(),
            broker_conf: inspection.broker_conf(),
        }
    }
}

const fn severity(finding: &Finding) -> &'static str {
    match finding.severity {
        Severity::Note => "note",
        Severity::Warning => "warning",
        Severity::Error => "error",
    }
}

fn text(inspection: &Inspection, check: &Check, output: &mut Output) -> Result<(), Failure> {
    for finding in &check.findings {
        output.line(format_args!(
            "{}: {}: {}",
            severity(finding),
            finding.path.display(),
            finding.what
        ))?;
    }
    output.line(format_args!(
        "{}: {} in log offsets {} to {}, proven by {} of {} and {} of the index",
        usage_name(inspection.usage()),
        counted(check.records, "message"),
        inspection.log_min(),
        check.end.log_offset,
        counted(check.units, "unit"),
        counted(check.queues, "queue"),
        counted(check.keys, "key"),
    ))?;
    output.line("broker.conf of Apache RocketMQ for this directory:")?;
    for line in inspection.broker_conf() {
        output.line(format_args!("  {line}"))?;
    }
    Ok(())
}
