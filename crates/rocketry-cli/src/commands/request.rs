//! `rocketry request`: ask the consumers of a topic, and print what one of them replies.

use std::time::Duration;

use rocketry::{Message, MessageExt, Properties, property};
use serde::Serialize;

use crate::{
    args::{self, Global, ReportFormat},
    clock,
    commands::{CLOSE_WITHIN, connect},
    failure::Failure,
    jsonl::{Body, as_map},
    output::{self, Output},
    units::{ms, readable},
};

/// Sends the request and waits for the reply.
///
/// # Errors
/// The request could not be sent, or nobody replied in time.
pub(crate) async fn run(args: args::Request, global: &Global) -> Result<(), Failure> {
    let mut message = Message::new(args.topic.as_str(), args.body).keys(&args.keys);
    if let Some(tag) = &args.tag {
        message = message.tag(tag);
    }
    for (name, value) in &args.properties {
        message = message.property(name, value);
    }
    let client = connect(global).await?;
    let producer = client.producer(&args.group).await?;
    let started = clock::now();
    let reply = producer.request(message).timeout(args.timeout).await?;
    let took = started.elapsed();
    let mut output = Output::stdout();
    match args.output {
        ReportFormat::Text => output.raw_line(&reply.body)?,
        ReportFormat::Json => output.pretty_json(&Reply::new(&reply, took))?,
    }
    output.flush()?;
    output::note(format_args!("replied within {}", readable(took)));
    client.shutdown(CLOSE_WITHIN).await;
    Ok(())
}

#[derive(Debug, Serialize)]
struct Reply<'a> {
    correlation_id: Option<&'a str>,
    msg_id: String,
    took_ms: f64,
    #[serde(serialize_with = "as_map")]
    properties: &'a Properties,
    #[serde(flatten)]
    body: Body<'a>,
}

impl<'a> Reply<'a> {
    fn new(reply: &'a MessageExt, took: Duration) -> Self {
        Self {
            correlation_id: reply.properties.get(property::CORRELATION_ID),
            msg_id: reply.msg_id(),
            took_ms: ms(took),
            properties: &reply.properties,
            body: Body::from(&reply.body[..]),
        }
    }
}
