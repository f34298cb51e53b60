//! Every header of the table form, and the send headers, through writing and reading.

use proptest::prelude::*;

use super::*;
use crate::{Fields, RemotingCommand};

/// What a test needs to know of a header type, whatever it borrows.
pub(super) struct Probe {
    pub(super) header: &'static str,
    /// Wire names, in wire order.
    pub(super) fields: &'static [&'static str],
    /// Reads the fields and writes them again.
    pub(super) rewrite: fn(&Fields) -> Result<Fields, DecodeError>,
}

/// Called from a test that each table of headers brings along.
///
/// Numbers are valid text for every type of field, so a header that has all its fields must read and write them all, and
/// one that lacks some must name one of these or do without.
pub(super) fn check(probes: &[Probe]) {
    for probe in probes {
        let mut names = probe.fields.to_vec();
        names.sort_unstable();
        names.dedup();
        assert_eq!(
            names.len(),
            probe.fields.len(),
            "a name twice: {}",
            probe.header
        );
    }
    let input = (any::<i32>(), any::<u64>(), any::<u64>());
    let config = ProptestConfig {
        source_file: Some(file!()),
        ..ProptestConfig::default()
    };
    proptest::test_runner::TestRunner::new(config)
        .run(&input, |(number, absent, seed)| {
            probes
                .iter()
                .try_for_each(|probe| check_with(probe, number, absent, seed))
        })
        .unwrap();
}

fn check_with(probe: &Probe, number: i32, absent: u64, seed: u64) -> Result<(), TestCaseError> {
    let value = |at: usize| number.wrapping_add(i32::try_from(at).unwrap()).to_string();
    let mut fields = Fields::default();
    let mut order: Vec<_> = probe.fields.iter().enumerate().collect();
    fastrand::Rng::with_seed(seed).shuffle(&mut order);
    for (at, name) in order {
        fields.push(name, &value(at));
    }
    fields.push("unknown", "x");
    let written = (probe.rewrite)(&fields).unwrap();
    let names: Vec<_> = written.iter().map(|(key, _)| key).collect();
    prop_assert_eq!(names, probe.fields, "{}", probe.header);
    for (at, (key, text)) in written.iter().enumerate() {
        let text = text.unwrap();
        // A number is a false flag and the lower boundary.
        prop_assert!(
            text == value(at) || text == "false" || text == "LOWER",
            "{} {key}: {text}",
            probe.header
        );
    }
    prop_assert_eq!(
        &(probe.rewrite)(&written).unwrap(),
        &written,
        "{}",
        probe.header
    );

    for (at, name) in probe.fields.iter().enumerate() {
        if absent & (1 << at) != 0 {
            fields.remove(name);
        }
    }
    match (probe.rewrite)(&fields) {
        Ok(written) => prop_assert_eq!(
            &(probe.rewrite)(&written).unwrap(),
            &written,
            "{}",
            probe.header
        ),
        Err(DecodeError::MissingField { field }) => prop_assert!(fields.get(field).is_none()),
        Err(other) => prop_assert!(false, "{}: {other}", probe.header),
    }
    Ok(())
}

#[test]
fn a_required_field_that_is_missing_is_named() {
    let fields = Fields::default();
    let read = ViewMessageRequest::read(&FieldReader::new(Some(&fields)));
    assert_eq!(read, Err(DecodeError::MissingField { field: "offset" }));
    let read = GetMinOffsetRequest::read(&FieldReader::new(None));
    assert_eq!(read, Err(DecodeError::MissingField { field: "topic" }));
}

#[test]
fn absent_fields_have_their_defaults() {
    let command = RemotingCommand::bare_request(RequestCode::GET_MAX_OFFSET)
        .with_field("topic", "T")
        .with_field("queueId", "3");
    let request: GetMaxOffsetRequest<'_> = command.header().unwrap();
    assert!(request.committed && GetMaxOffsetRequest::default().committed);
    assert_eq!(request.broker_name, None);
}

#[test]
fn a_send_reply_keeps_an_unusual_region() {
    let reply = SendMessageReply {
        region_id: "eu".into(),
        trace_on: false,
        ..SendMessageReply::new("id", 1, 2)
    };
    let command = RemotingCommand::response(crate::ResponseCode::SUCCESS).with_header(&reply);
    assert_eq!(command.header::<SendMessageReply>().unwrap(), reply);
}

proptest! {
    #[test]
    fn sends_read_from_both_forms(
        text in prop::array::uniform4("\\PC{0,20}"),
        numbers: [i32; 5],
        born_timestamp: i64,
        max_reconsume_times: Option<i32>,
        flags: [bool; 2],
        broker_name in prop::option::of("[a-z]{1,5}"),
    ) {
        let request = SendMessageRequest {
            producer_group: &text[0],
            topic: &text[1],
            default_topic: &text[2],
            default_topic_queue_nums: numbers[0],
            queue_id: numbers[1],
            sys_flag: numbers[2],
            born_timestamp,
            flag: numbers[3],
            properties: &text[3],
            reconsume_times: numbers[4],
            unit_mode: flags[0],
            max_reconsume_times,
            batch: flags[1],
            broker_name: broker_name.as_deref(),
        };
        let short = RemotingCommand::request(&request);
        prop_assert_eq!(short.header::<SendMessageRequest<'_>>().unwrap(), request);
        prop_assert_eq!(short.request_code(), RequestCode::SEND_MESSAGE_V2);
        let batch = RemotingCommand::request(&SendBatchMessageRequest(request));
        prop_assert_eq!(&batch.fields, &short.fields);
        let long = RemotingCommand::request(&SendMessageV1Request(request));
        prop_assert_eq!(long.field("producerGroup"), Some(request.producer_group));
        prop_assert_eq!(long.header::<SendMessageRequest<'_>>().unwrap(), request);
        let reply = RemotingCommand::request(&SendReplyMessageV1Request(request));
        prop_assert_eq!(&reply.fields, &long.fields);
    }
}
