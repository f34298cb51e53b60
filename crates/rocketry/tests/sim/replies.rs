//! Consumers that reply to requests, behind a broker that pushes their replies to who asked.

use std::time::Duration;

use rocketry::Properties;
use rocketry_protocol::{
    RemotingCommand,
    header::{PushReplyMessageRequest, SendMessageRequest},
};

use crate::{line::Answer, world::encoded};

/// The body that answers the message `label`.
pub(crate) fn body_for(label: &str) -> Vec<u8> {
    format!("re {label}").into_bytes()
}

/// What comes back to a message that is a request: mostly one reply, after a time, perhaps too late; sometimes two, or none.
pub(crate) fn of(
    header: &SendMessageRequest<'_>,
    labels: &[String],
    random: &mut fastrand::Rng,
) -> Vec<Answer> {
    let properties = Properties::parse(header.properties);
    let (Some(correlation), [label]) = (properties.get("CORRELATION_ID"), labels) else {
        return Vec::new();
    };
    let reply_properties = format!("MSG_TYPE\x01reply\x02CORRELATION_ID\x01{correlation}\x02");
    let push = RemotingCommand::request(&PushReplyMessageRequest {
        producer_group: "replier",
        topic: "C_REPLY_TOPIC",
        properties: Some(&reply_properties),
        born_host: "10.0.0.7:1234",
        store_host: "10.0.0.1:10911",
        ..PushReplyMessageRequest::default()
    });
    let push = encoded(&push.with_body(body_for(label)));
    let after = |ms| Answer::After(Duration::from_millis(ms), push.clone());
    match random.u8(0..10) {
        0 => Vec::new(),
        1 => vec![after(random.u64(0..5_000))],
        2 => vec![after(5), after(random.u64(0..20))],
        // faster than the answer to the send
        3 => vec![after(0)],
        _ => vec![after(random.u64(0..300))],
    }
}
