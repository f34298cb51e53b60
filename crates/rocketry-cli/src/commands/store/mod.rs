//! `rocketry store`: look into a data directory without a server, prove it, and repair it.

mod check;
mod ls;
mod repair;

use std::{ops::ControlFlow, path::Path};

use rocketry_protocol::{
    MessageExt,
    properties::name,
    record::{MAGIC_V1, Record},
};
use rocketry_store::{
    StoreError,
    inspect::{Inspection, Stored, Usage},
};

use crate::{
    args::{ExportFormat, Store},
    failure::Failure,
    jsonl::Exported,
    output::{self, Output},
};

/// Runs one of the store commands.
///
/// # Errors
/// The directory cannot be read, or is not as it should be.
pub(crate) fn run(command: Store) -> Result<(), Failure> {
    let mut output = Output::stdout();
    match command {
        Store::Check {
            dir,
            broker_name,
            cluster,
            format,
        } => {
            let names = (broker_name.as_deref(), cluster.as_deref());
            check::run(&dir, names, format, &mut output)
        }
        Store::Ls { dir, format } => ls::run(&dir, format, &mut output),
        Store::Cat { dir, id } => cat(&dir, &id, &mut output),
        Store::Export {
            dir,
            topic,
            output: ExportFormat::Jsonl,
        } => export(&dir, topic.as_deref(), &mut output),
        Store::Repair { dir, yes, format } => repair::run(&dir, yes, format, &mut output),
    }?;
    output.flush()
}

/// Opens a directory, and says when somebody uses it.
fn open(dir: &Path) -> Result<Inspection, Failure> {
    let inspection = Inspection::open(dir)?;
    if let Usage::Live(holder) = inspection.usage() {
        let holder = holder.map_or_else(String::new, |pid| format!(" by process {pid}"));
        output::note(format_args!(
            "{} is in use{holder}: what follows is what is on disk at this moment",
            dir.display()
        ));
    }
    Ok(inspection)
}

const fn usage_name(usage: Usage) -> &'static str {
    match usage {
        Usage::Live(_) => "in use",
        Usage::Closed => "closed",
        Usage::Crashed => "not closed",
        _ => "unknown",
    }
}

fn cat(dir: &Path, id: &str, output: &mut Output) -> Result<(), Failure> {
    let found = open(dir)?.find(id)?;
    let Some(bytes) = found else {
        return Err(Failure::new(format!("no message {id:?} in {}", dir.display())).hint(
            "an id is a commit-log offset, an offset message id, a unique id, or TOPIC/QUEUE/OFFSET",
        ));
    };
    let (record, len) = Record::parse(&bytes).map_err(|error| Failure::new(error.to_string()))?;
    let is_v1 = bytes.get(4..8) == Some(&MAGIC_V1.to_be_bytes());
    let stored = Stored {
        record,
        bytes: u32::try_from(len).unwrap_or(u32::MAX),
        version: if is_v1 { 1 } else { 2 },
    };
    // an id may name one message of an inner batch
    let by_offset = id
        .rsplit_once('/')
        .and_then(|(_, offset)| offset.parse::<i64>().ok());
    let has_id = |message: &MessageExt| message.property(name::UNIQ_KEY) == Some(id);
    let by_id = stored
        .messages()
        .is_ok_and(|messages| messages.iter().any(has_id));
    print(&stored, output, |message| {
        by_offset.is_none_or(|offset| message.queue_offset == offset) && (!by_id || has_id(message))
    })
}

fn export(dir: &Path, topic: Option<&str>, output: &mut Output) -> Result<(), Failure> {
    let inspection = open(dir)?;
    let end = inspection.walk::<Failure>(0, |stored| {
        if topic.is_none_or(|topic| stored.record.topic == topic) {
            print(stored, output, |_| true)?;
        }
        Ok(ControlFlow::Continue(()))
    })?;
    match (end.reason, inspection.usage()) {
        (Some(reason), Usage::Closed) => Err(Failure::new(format!(
            "no valid message at log offset {} ({reason}); those before it were printed",
            end.log_offset
        ))
        .hint("`rocketry store check` says what to do")),
        (Some(reason), Usage::Crashed) => {
            output::note(format_args!(
                "the log ends in a torn message at offset {} ({reason})",
                end.log_offset
            ));
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Prints the messages of a record that are wanted: several for an inner batch.
fn print(
    stored: &Stored<'_>,
    output: &mut Output,
    wanted: impl Fn(&MessageExt) -> bool,
) -> Result<(), Failure> {
    let messages = stored
        .messages()
        .or_else(|error| {
            output::note(format_args!(
                "the body of the message at log offset {} stays as it is stored: {error}",
                stored.log_offset()
            ));
            stored.as_stored().map(|message| vec![message])
        })
        .map_err(|error| Failure::new(error.to_string()))?;
    for message in messages.iter().filter(|message| wanted(message)) {
        output.json(&Exported::new(message, stored))?;
    }
    Ok(())
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::new(error.to_string())
    }
}
