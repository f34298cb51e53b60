//! Half messages of a simulated broker: stored unseen, decided by their producers, asked about when that takes long.

use bytes::Bytes;
use rocketry_protocol::{
    RemotingCommand, hash,
    header::{
        CheckTransactionStateRequest, EndTransactionRequest, SendMessageRequest, transaction_state,
    },
    id::offset_msg_id,
    record::Record,
};

use crate::{
    broker::{Broker, HOST, label},
    world::encoded,
};

/// A message that its transaction has not decided, or has.
#[derive(Debug)]
pub(crate) struct Half {
    pub(crate) body: Vec<u8>,
    pub(crate) unique: String,
    /// Where in the log.
    position: i64,
    at_ms: u64,
    topic: String,
    queue: i32,
    /// As a check carries it.
    record: Vec<u8>,
    /// Whether it was committed.
    pub(crate) decided: Option<bool>,
}

/// How long a producer may take before it is asked.
const UNDECIDED_MS: u64 = 2_000;

impl Broker {
    /// Stores a half message: its offset among them, and its id.
    pub(crate) fn prepare(
        &mut self,
        header: &SendMessageRequest<'_>,
        request: &RemotingCommand,
        messages: Vec<(Vec<u8>, String)>,
        at_ms: u64,
    ) -> (i64, Vec<String>) {
        self.stored += 1;
        let (body, unique) = messages.into_iter().next().expect("one message");
        let offset = i64::try_from(self.halves.len()).expect("few messages");
        self.halves.push(Half {
            body,
            unique,
            position: self.stored,
            at_ms,
            topic: header.topic.to_owned(),
            queue: header.queue_id,
            record: record(header, &request.body, self.stored),
            decided: None,
        });
        (offset, vec![offset_msg_id(HOST.into(), self.stored)])
    }

    /// Ends a transaction, in words. The first decision counts.
    pub(crate) fn end(&mut self, request: &RemotingCommand) -> String {
        let header: EndTransactionRequest<'_> = request.header().expect("an end's header");
        let mut halves = self.halves.iter_mut();
        let half = halves.find(|half| half.position == header.commit_log_offset);
        let half = half.expect("ends where it was prepared");
        assert_eq!(half.unique, header.msg_id, "ends the message that it names");
        let name = label(&half.body);
        let commit = match header.commit_or_rollback {
            transaction_state::COMMIT => true,
            transaction_state::ROLLBACK => false,
            _ => return format!("{name} stays undecided"),
        };
        if half.decided.is_some() {
            return format!("{name} has been decided");
        }
        half.decided = Some(commit);
        if !commit {
            return format!("{name} rolled back");
        }
        let (topic, queue) = (half.topic.clone(), half.queue);
        let message = (half.body.clone(), half.unique.clone());
        let (offset, _) = self.store(&topic, queue, vec![message]);
        format!("{name} committed to {topic}/{queue} at {offset}")
    }

    /// Check requests for half messages that have been undecided for a time.
    pub(crate) fn checks(&self, name: &str, at_ms: u64) -> Vec<Bytes> {
        let due = |half: &&Half| half.decided.is_none() && half.at_ms + UNDECIDED_MS <= at_ms;
        let checks = self.halves.iter().filter(due).map(|half| {
            let check = RemotingCommand::request(&CheckTransactionStateRequest {
                topic: Some("RMQ_SYS_TRANS_HALF_TOPIC"),
                tran_state_table_offset: 0,
                commit_log_offset: half.position,
                msg_id: Some(&half.unique),
                transaction_id: Some(&half.unique),
                offset_msg_id: Some(&offset_msg_id(HOST.into(), half.position)),
                broker_name: Some(name),
            });
            encoded(&check.with_oneway().with_body(half.record.clone()))
        });
        checks.collect()
    }
}

/// The message as the log holds it.
fn record(header: &SendMessageRequest<'_>, body: &[u8], position: i64) -> Vec<u8> {
    let record = Record {
        body_crc: hash::crc32(body),
        queue_id: header.queue_id,
        flag: header.flag,
        queue_offset: 0,
        physical_offset: position,
        sys_flag: header.sys_flag,
        born_ms: header.born_timestamp,
        born_host: HOST.into(),
        store_ms: header.born_timestamp,
        store_host: HOST.into(),
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        body,
        topic: header.topic,
        properties: header.properties.as_bytes(),
    };
    let mut out = Vec::new();
    record.encode(&mut out).expect("a record");
    out
}
