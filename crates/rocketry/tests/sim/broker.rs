//! A simulated broker: what it stores, and how it misbehaves.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use rocketry::Properties;
use rocketry_protocol::{
    RemotingCommand, batch,
    compress::Compression,
    header::{SendMessageReply, SendMessageRequest},
    id::offset_msg_id,
    sys_flag,
};

use crate::{
    line::{Answer, Cut},
    name_server::Topics,
    world::{frame, offset, ok, refuse},
};

/// What a broker keeps over restarts, and what is wrong with it now.
#[derive(Debug, Default)]
pub(crate) struct Broker {
    /// By topic and queue.
    pub(crate) queues: BTreeMap<(String, i32), Vec<Stored>>,
    /// How often, in percent, a send meets what.
    pub(crate) quirk: Option<(Quirk, u8)>,
    stored: i64,
}

/// A message as it was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) body: Vec<u8>,
    /// The unique id that the client gave it.
    pub(crate) unique: String,
    /// The id that the broker gave it.
    pub(crate) offset_id: String,
    pub(crate) at_ms: u64,
}

/// A fault of single answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Quirk {
    /// Not stored, this code.
    Refuse(i32),
    /// Stored, but with one of the codes that mean "not durable".
    NotDurable(i32),
    /// Not stored, no answer.
    Swallow,
    /// Stored, no answer.
    Forget,
    /// Stored, and the connection ends without an answer.
    CutAfter(Cut),
    /// Not stored, and the connection ends.
    CutBefore(Cut),
    /// Answered twice.
    Twice,
    /// Answered after so many milliseconds.
    Late(u64),
    /// An answer that nobody waits for, before the right one.
    WrongOpaque,
    /// Stored, and answered with bytes that are no frame.
    Garbage,
    /// Stored, and answered without saying where.
    NoFields,
}

impl Broker {
    /// What the broker does with `request`, in words and as answers.
    pub(crate) fn answer(
        &mut self,
        request: &RemotingCommand,
        name: &str,
        at_ms: u64,
        delay: Duration,
        topics: &mut Topics,
        random: &mut fastrand::Rng,
    ) -> (String, Vec<Answer>) {
        match request.code {
            10 | 310 | 320 => self.send(request, name, at_ms, delay, topics, random),
            30 => (
                "probe".to_owned(),
                vec![Answer::After(delay, frame(offset(0), request))],
            ),
            34 | 35 => (
                format!("request {}", request.code),
                vec![Answer::After(delay, frame(ok(), request))],
            ),
            code => (
                format!("unknown request {code}"),
                vec![Answer::After(delay, frame(refuse(3, "not here"), request))],
            ),
        }
    }

    fn send(
        &mut self,
        request: &RemotingCommand,
        name: &str,
        at_ms: u64,
        mut delay: Duration,
        topics: &mut Topics,
        random: &mut fastrand::Rng,
    ) -> (String, Vec<Answer>) {
        let header: SendMessageRequest<'_> = request.header().expect("a send's header");
        assert_eq!(
            header.broker_name.unwrap_or(name),
            name,
            "sent to the wrong broker"
        );
        let (topic, queue) = (header.topic, header.queue_id);
        let quirk = self
            .quirk
            .filter(|(_, percent)| random.u8(0..100) < *percent)
            .map(|(quirk, _)| quirk);
        let messages = messages(&header, request);
        let labels: Vec<_> = messages.iter().map(|(body, _)| label(body)).collect();
        let what = format!("send {topic}/{queue} [{}]", labels.join(" "));
        let reply_to = |reply: RemotingCommand| frame(reply, request);
        let gone = |cut| vec![Answer::Cut(cut)];
        match quirk {
            Some(Quirk::Refuse(code)) => {
                let bytes = reply_to(refuse(code, "by the script"));
                return (
                    format!("{what} refused {code}"),
                    vec![Answer::After(delay, bytes)],
                );
            }
            Some(Quirk::Swallow) => return (format!("{what} swallowed"), Vec::new()),
            Some(Quirk::CutBefore(cut)) => return (format!("{what} cut before"), gone(cut)),
            _ => {}
        }
        if let Err((code, remark)) = topics.accept(topic, name, queue) {
            let bytes = reply_to(refuse(code, remark));
            return (
                format!("{what} refused {code}"),
                vec![Answer::After(delay, bytes)],
            );
        }
        let (first, ids) = self.store(topic, queue, messages, at_ms);
        let what = format!("{what} stored at {first}");
        let mut reply = ok().with_header(&SendMessageReply::new(ids.join(","), queue, first));
        match quirk {
            Some(Quirk::NotDurable(code)) => reply.code = code,
            Some(Quirk::Forget) => return (format!("{what}, forgotten"), Vec::new()),
            Some(Quirk::CutAfter(cut)) => return (format!("{what}, cut"), gone(cut)),
            Some(Quirk::Late(ms)) => delay += Duration::from_millis(ms),
            Some(Quirk::NoFields) => reply.fields = None,
            _ => {}
        }
        let bytes = reply_to(reply);
        let answers = match quirk {
            Some(Quirk::Twice) => vec![
                Answer::After(delay, bytes.clone()),
                Answer::After(delay + Duration::from_millis(3), bytes),
            ],
            Some(Quirk::WrongOpaque) => {
                let mut other = request.clone();
                other.opaque = request.opaque.wrapping_add(1_000_000);
                vec![
                    Answer::After(delay, frame(ok(), &other)),
                    Answer::After(delay, bytes),
                ]
            }
            Some(Quirk::Garbage) => {
                vec![Answer::After(
                    delay,
                    Bytes::from_static(b"\xff\xff\xff\xffnot a frame"),
                )]
            }
            _ => vec![Answer::After(delay, bytes)],
        };
        let with = quirk
            .map(|quirk| format!(", {quirk:?}"))
            .unwrap_or_default();
        (format!("{what}{with}"), answers)
    }

    fn store(
        &mut self,
        topic: &str,
        queue: i32,
        messages: Vec<(Vec<u8>, String)>,
        at_ms: u64,
    ) -> (i64, Vec<String>) {
        let log = self.queues.entry((topic.to_owned(), queue)).or_default();
        let first = i64::try_from(log.len()).expect("few messages");
        let mut ids = Vec::new();
        for (body, unique) in messages {
            self.stored += 1;
            let offset_id = offset_msg_id(([10, 0, 0, 1], 10911).into(), self.stored);
            ids.push(offset_id.clone());
            log.push(Stored {
                body,
                unique,
                offset_id,
                at_ms,
            });
        }
        (first, ids)
    }

    /// Every message, with its topic and queue.
    pub(crate) fn messages(&self) -> impl Iterator<Item = &Stored> {
        self.queues.values().flatten()
    }
}

/// Body and unique id of each message of a request, decompressed.
fn messages(header: &SendMessageRequest<'_>, request: &RemotingCommand) -> Vec<(Vec<u8>, String)> {
    let unique = |properties: Properties| properties.get("UNIQ_KEY").unwrap_or("").to_owned();
    if header.batch {
        return batch::items(&request.body)
            .map(|item| item.expect("a whole batch"))
            .map(|item| {
                let properties = Properties::parse_bytes(item.properties);
                (item.body.to_vec(), unique(properties))
            })
            .collect();
    }
    let body = if header.sys_flag & sys_flag::COMPRESSED == 0 {
        request.body.to_vec()
    } else {
        let compression = Compression::from_sys_flag(header.sys_flag).expect("a known type");
        compression
            .decompress(&request.body, 1 << 20)
            .expect("a whole body")
    };
    vec![(body, unique(Properties::parse(header.properties)))]
}

/// The part of a body that names its message; the rest is padding.
pub(crate) fn label(body: &[u8]) -> String {
    let end = body
        .iter()
        .position(|byte| *byte == b' ')
        .unwrap_or(body.len());
    String::from_utf8_lossy(body.get(..end).unwrap_or_default()).into_owned()
}
