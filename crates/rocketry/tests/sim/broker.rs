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
    halves::Half,
    line::{Answer, Cut},
    name_server::Topics,
    replies,
    world::{frame, offset, ok, refuse},
};

/// What a broker keeps over restarts, and what is wrong with it now.
#[derive(Debug, Default)]
pub(crate) struct Broker {
    /// By topic and queue.
    pub(crate) queues: BTreeMap<(String, i32), Vec<Stored>>,
    /// Half messages, in the order in which they came.
    pub(crate) halves: Vec<Half>,
    /// How often, in percent, a send meets what.
    pub(crate) quirk: Option<(Quirk, u8)>,
    /// Messages ever stored: the next one's place in the log.
    pub(crate) stored: i64,
}

/// A message as it was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) body: Vec<u8>,
    /// The unique id that the client gave it.
    pub(crate) unique: String,
    /// The id that the broker gave it.
    pub(crate) offset_id: String,
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

/// Where brokers say that they are.
pub(crate) const HOST: ([u8; 4], u16) = ([10, 0, 0, 1], 10911);

/// What a broker needs to know of the world to answer.
pub(crate) struct Scene<'a> {
    /// The broker's name.
    pub(crate) name: &'a str,
    pub(crate) at_ms: u64,
    /// How long answers take now.
    pub(crate) delay: Duration,
    pub(crate) topics: &'a mut Topics,
    pub(crate) random: &'a mut fastrand::Rng,
}

impl Broker {
    /// What the broker does with `request`, in words and as answers.
    pub(crate) fn answer(
        &mut self,
        request: &RemotingCommand,
        scene: &mut Scene<'_>,
    ) -> (String, Vec<Answer>) {
        let reply = |reply| vec![Answer::After(scene.delay, frame(reply, request))];
        match request.code {
            10 | 310 | 320 => self.send(request, scene),
            30 => ("probe".to_owned(), reply(offset(0))),
            34 | 35 => (format!("request {}", request.code), reply(ok())),
            37 => (self.end(request), reply(ok())),
            code => (
                format!("unknown request {code}"),
                reply(refuse(3, "not here")),
            ),
        }
    }

    fn send(&mut self, request: &RemotingCommand, scene: &mut Scene<'_>) -> (String, Vec<Answer>) {
        let header: SendMessageRequest<'_> = request.header().expect("a send's header");
        let name = scene.name;
        assert_eq!(header.broker_name.unwrap_or(name), name, "the wrong broker");
        let (topic, queue) = (header.topic, header.queue_id);
        let quirk = self
            .quirk
            .filter(|(_, percent)| scene.random.u8(0..100) < *percent)
            .map(|(quirk, _)| quirk);
        let messages = messages(&header, request);
        let labels: Vec<_> = messages.iter().map(|(body, _)| label(body)).collect();
        let what = format!("send {topic}/{queue} [{}]", labels.join(" "));
        let refused = match quirk {
            Some(Quirk::Refuse(code)) => Err((code, "by the script")),
            Some(Quirk::Swallow) => return (format!("{what} swallowed"), Vec::new()),
            Some(Quirk::CutBefore(cut)) => {
                return (format!("{what} cut before"), vec![Answer::Cut(cut)]);
            }
            _ => scene.topics.accept(topic, name, queue),
        };
        if let Err((code, remark)) = refused {
            let answer = Answer::After(scene.delay, frame(refuse(code, remark), request));
            return (format!("{what} refused {code}"), vec![answer]);
        }
        let (first, ids) = if header.sys_flag & sys_flag::TRANSACTION_PREPARED == 0 {
            self.store(topic, queue, messages)
        } else {
            self.prepare(&header, request, messages, scene.at_ms)
        };
        let what = format!("{what} stored at {first}");
        let reply = ok().with_header(&SendMessageReply::new(ids.join(","), queue, first));
        let mut answers = acknowledge(reply, request, quirk, scene.delay);
        answers.extend(replies::of(&header, &labels, scene.random));
        let with = quirk.map(|quirk| format!(", {quirk:?}"));
        (format!("{what}{}", with.unwrap_or_default()), answers)
    }

    /// Appends messages to a queue: the first one's offset, and all ids.
    pub(crate) fn store(
        &mut self,
        topic: &str,
        queue: i32,
        messages: Vec<(Vec<u8>, String)>,
    ) -> (i64, Vec<String>) {
        let log = self.queues.entry((topic.to_owned(), queue)).or_default();
        let first = i64::try_from(log.len()).expect("few messages");
        let mut ids = Vec::new();
        for (body, unique) in messages {
            self.stored += 1;
            let offset_id = offset_msg_id(HOST.into(), self.stored);
            ids.push(offset_id.clone());
            log.push(Stored {
                body,
                unique,
                offset_id,
            });
        }
        (first, ids)
    }

    /// Every message that consumers can see.
    pub(crate) fn messages(&self) -> impl Iterator<Item = &Stored> {
        self.queues.values().flatten()
    }
}

/// The answers to a send that was stored.
fn acknowledge(
    mut reply: RemotingCommand,
    request: &RemotingCommand,
    quirk: Option<Quirk>,
    delay: Duration,
) -> Vec<Answer> {
    let ms = Duration::from_millis;
    match quirk {
        Some(Quirk::NotDurable(code)) => reply.code = code,
        Some(Quirk::NoFields) => reply.fields = None,
        _ => {}
    }
    let bytes = frame(reply, request);
    match quirk {
        Some(Quirk::Forget) => Vec::new(),
        Some(Quirk::CutAfter(cut)) => vec![Answer::Cut(cut)],
        Some(Quirk::Late(late_ms)) => vec![Answer::After(delay + ms(late_ms), bytes)],
        Some(Quirk::Twice) => vec![
            Answer::After(delay, bytes.clone()),
            Answer::After(delay + ms(3), bytes),
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
            let garbage = Bytes::from_static(b"\xff\xff\xff\xffnot a frame");
            vec![Answer::After(delay, garbage)]
        }
        _ => vec![Answer::After(delay, bytes)],
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
        let body = compression.decompress(&request.body, 1 << 20);
        body.expect("a whole body")
    };
    vec![(body, unique(Properties::parse(header.properties)))]
}

/// The part of a body that names its message; the rest is padding.
pub(crate) fn label(body: &[u8]) -> String {
    let end = body.iter().position(|byte| *byte == b' ');
    let label = body.get(..end.unwrap_or(body.len())).unwrap_or_default();
    String::from_utf8_lossy(label).into_owned()
}
