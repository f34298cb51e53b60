//! `rocketry store ls`.

use std::path::Path;

use rocketry_store::{Retention, inspect::Segment};
use serde::Serialize;

use super::{open, usage_name};
use crate::{
    args::{Report, ReportFormat},
    clock,
    failure::Failure,
    output::{Column, Output},
    units::local_time,
};

pub(super) fn run(dir: &Path, format: Report, output: &mut Output) -> Result<(), Failure> {
    let inspection = open(dir)?;
    let (segments, end) = inspection.segments(&Retention::default(), clock::wall_ms())?;
    match format.output {
        ReportFormat::Json => output.pretty_json(&Printed {
            usage: usage_name(inspection.usage()),
            log_min: inspection.log_min(),
            log_end: end.log_offset,
            segments: segments.iter().map(PrintedSegment::from).collect(),
        }),
        ReportFormat::Text => {
            let columns = [
                Column::Text("KIND"),
                Column::Text("PATH"),
                Column::Number("BYTES"),
                Column::Number("ON DISK"),
                Column::Number("ENTRIES"),
                Column::Text("FIRST"),
                Column::Text("LAST"),
                Column::Text("WHY KEPT"),
            ];
            output.table(&columns, segments.iter().map(row).collect())
        }
    }
}

fn row(segment: &Segment) -> Vec<String> {
    let number = |value: Option<u64>| value.map_or_else(|| "-".to_owned(), |n| n.to_string());
    let time = |ms: Option<i64>| ms.map_or_else(|| "-".to_owned(), local_time);
    vec![
        segment.kind.name().to_owned(),
        segment.path.display().to_string(),
        segment.bytes.to_string(),
        number(segment.real_bytes),
        number(segment.entries),
        time(segment.first_ms),
        time(segment.last_ms),
        segment.kept.clone(),
    ]
}

#[derive(Serialize)]
struct Printed<'a> {
    usage: &'static str,
    log_min: i64,
    log_end: i64,
    segments: Vec<PrintedSegment<'a>>,
}

#[derive(Serialize)]
struct PrintedSegment<'a> {
    kind: &'static str,
    path: String,
    bytes: u64,
    real_bytes: Option<u64>,
    entries: Option<u64>,
    first_ms: Option<i64>,
    last_ms: Option<i64>,
    kept: &'a str,
}

impl<'a> From<&'a Segment> for PrintedSegment<'a> {
    fn from(segment: &'a Segment) -> Self {
        Self {
            kind: segment.kind.name(),
            path: segment.path.display().to_string(),
            bytes: segment.bytes,
            real_bytes: segment.real_bytes,
            entries: segment.entries,
            first_ms: segment.first_ms,
            last_ms: segment.last_ms,
            kept: &segment.kept,
        }
    }
}
