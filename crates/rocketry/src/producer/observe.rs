//! What a send decided, stage by stage, for those who want to know: [`SendObserver`].

use std::{fmt, sync::Arc, time::Duration};

use rocketry_protocol::{MessageQueue, RequestCode, ResponseCode, compress::Compression};

use super::{SendMode, SendResult, SendStatus};
use crate::error::{Error, Millis, Phase};

/// Sees every stage of every send of a producer. `rocketry send --explain` prints what it sees.
///
/// Runs on the sending task: it must be quick and must not block. A panic is logged and harms no send. While no observer is set,
/// nothing is measured or built for it.
pub trait SendObserver: Send + Sync + 'static {
    /// A stage is over. Its `Display` form is one line.
    fn event(&self, event: &SendEvent<'_>);
}

/// A stage of a send.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct SendEvent<'a> {
    /// Number of the send within its producer, from 1.
    pub send: u64,
    /// Time from the send's start to the end of the stage.
    pub at: Duration,
    /// How long the stage took.
    pub took: Duration,
    /// Which stage, and what it decided.
    pub stage: SendStage<'a>,
}

/// What a stage decided.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum SendStage<'a> {
    /// The send has begun; its time budget runs. An asynchronous one has a place among those in flight.
    Began {
        /// How it is sent.
        mode: SendMode,
        /// The topic.
        topic: &'a str,
        /// Messages in it.
        messages: usize,
        /// Their bodies.
        body_bytes: usize,
        /// The time budget.
        budget: Duration,
    },
    /// The message is valid, and has its id.
    Prepared {
        /// The message id; of a batch, the ids of its messages, joined by commas.
        msg_id: &'a str,
    },
    /// The body was compressed, or is sent as it is.
    Body(BodyForm),
    /// There is a route.
    Routed {
        /// Where it is from.
        source: RouteOrigin<'a>,
        /// Queues that can be written to.
        queues: usize,
        /// Brokers that have them.
        brokers: usize,
        /// The topic does not exist yet: the first message creates it.
        creates_topic: bool,
    },
    /// A queue was chosen.
    QueueChosen {
        /// The queue.
        queue: &'a MessageQueue,
        /// How it was chosen.
        choice: QueueChoice,
        /// Brokers that were passed over, if there was another one.
        avoided: &'a [Avoided],
    },
    /// An attempt begins.
    AttemptBegan {
        /// Its number, from 1.
        attempt: u32,
        /// Broker name.
        broker: &'a str,
        /// `host:port` of the broker; `None`: nobody knows it, and the attempt fails.
        address: Option<&'a str>,
        /// How long it may take.
        budget: Duration,
    },
    /// The request is encoded. Once more in an attempt whose connection was about to be closed by the broker.
    Encoded {
        /// Its code.
        code: RequestCode,
        /// Bytes of its frame, body included.
        frame_bytes: usize,
    },
    /// An attempt is over.
    AttemptEnded {
        /// Its number, from 1.
        attempt: u32,
        /// What came of it.
        outcome: AttemptOutcome<'a>,
    },
    /// What is thought of brokers after an attempt.
    Brokers {
        /// Those that did not answer, avoided until they do.
        silent: &'a [Arc<str>],
        /// Those that were slow or failed, avoided for a time: the fault table.
        isolated: &'a [(Arc<str>, Duration)],
    },
    /// The send is over.
    Ended(Result<Option<&'a SendResult>, &'a Error>),
}

/// How a body travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum BodyForm {
    /// Compressed.
    Compressed {
        /// By which codec.
        codec: Compression,
        /// Bytes before.
        from_bytes: usize,
        /// Bytes after.
        to_bytes: usize,
    },
    /// As it is.
    Plain {
        /// Its bytes.
        bytes: usize,
        /// Why it is not compressed.
        because: PlainBecause,
    },
}

/// Why a body is not compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PlainBecause {
    /// [`crate::ProducerConfig::compression`] is off.
    Off,
    /// It is smaller than [`crate::ProducerConfig::compress_from_bytes`], which is this.
    Small(usize),
    /// Batches never are.
    Batch,
    /// It would not get smaller, or the codec is not compiled in.
    NoGain,
}

/// Where a route is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RouteOrigin<'a> {
    /// The cache, where it has been for this long.
    Cache(Duration),
    /// This name server, just now.
    NameServer(&'a str),
}

/// How a queue was chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum QueueChoice {
    /// Its turn had come.
    RoundRobin,
    /// By the application: [`crate::SendRequest::queue`].
    Caller,
    /// By the application's selector or by the hash of a key.
    Selector,
    /// By the hash of a key of strict order, once and for all: [`crate::SendRequest::strict_shard`].
    StrictShard,
}

/// A broker that was passed over.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Avoided {
    /// Its name.
    pub broker: Arc<str>,
    /// Why.
    pub because: AvoidedBecause,
}

/// Why a broker was passed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum AvoidedBecause {
    /// The attempt before this one failed there.
    FailedLast,
    /// It has not answered lately.
    Silent,
    /// It was slow or failed; the fault table avoids it for this long.
    Isolated(Duration),
}

/// What came of an attempt.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum AttemptOutcome<'a> {
    /// The connection has the one-way request.
    Handed,
    /// The broker stored the message.
    Stored {
        /// How safely.
        status: SendStatus,
        /// In which queue.
        queue_id: i32,
        /// At which place.
        queue_offset: i64,
    },
    /// The broker answered with an error.
    Refused {
        /// Its code.
        code: ResponseCode,
        /// Its text.
        remark: Option<&'a str>,
    },
    /// No usable answer.
    Lost {
        /// How far the attempt got.
        phase: Phase,
        /// What happened.
        reason: &'a str,
    },
}

/// One line: when, which stage, what it decided, how long it took.
impl fmt::Display for SendEvent<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>8}  {}", Millis(self.at).to_string(), self.stage)?;
        if self.took >= Duration::from_micros(1) {
            write!(f, " ({})", Millis(self.took))?;
        }
        Ok(())
    }
}

impl fmt::Display for SendStage<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Began {
                mode,
                topic,
                messages,
                body_bytes,
                budget,
            } => {
                write!(f, "begin    {mode} to topic {topic:?}: ")?;
                if *messages != 1 {
                    write!(f, "{messages} messages, ")?;
                }
                write!(f, "{body_bytes} bytes, {} allowed", Millis(*budget))
            }
            Self::Prepared { msg_id } => write!(f, "id       {msg_id}"),
            Self::Body(form) => write!(f, "body     {form}"),
            Self::Routed {
                source,
                queues,
                brokers,
                creates_topic,
            } => {
                write!(f, "route    {queues} queues of {brokers} brokers, {source}")?;
                if *creates_topic {
                    f.write_str("; this message creates the topic")?;
                }
                Ok(())
            }
            Self::QueueChosen {
                queue,
                choice,
                avoided,
            } => {
                let (broker, queue_id) = (&queue.broker_name, queue.queue_id);
                write!(f, "queue    {queue_id} of broker {broker}, {choice}")?;
                list(f, "; passed over: ", avoided.iter())
            }
            Self::AttemptBegan {
                attempt,
                broker,
                address,
                budget,
            } => write!(
                f,
                "attempt  {attempt} at broker {broker}, {}, {} allowed",
                address.unwrap_or("whose address nobody knows"),
                Millis(*budget)
            ),
            Self::Encoded { code, frame_bytes } => {
                write!(f, "request  {code}, {frame_bytes} bytes")
            }
            Self::AttemptEnded { attempt, outcome } => {
                write!(f, "answer   to attempt {attempt}: {outcome}")
            }
            Self::Brokers { silent, isolated } => {
                if silent.is_empty() && isolated.is_empty() {
                    return f.write_str("brokers  none is avoided");
                }
                f.write_str("brokers ")?;
                list(f, " do not answer: ", silent.iter())?;
                let isolated = isolated
                    .iter()
                    .map(|(broker, left)| format!("{broker} for {}", Millis(*left)));
                list(f, " avoided: ", isolated)
            }
            Self::Ended(Ok(Some(result))) => write!(f, "end      {}", result.status),
            Self::Ended(Ok(None)) => f.write_str("end      handed over"),
            Self::Ended(Err(error)) => write!(f, "end      {error}"),
        }
    }
}

fn list<T: fmt::Display>(
    f: &mut fmt::Formatter<'_>,
    intro: &str,
    items: impl Iterator<Item = T>,
) -> fmt::Result {
    for (index, item) in items.enumerate() {
        write!(f, "{}{item}", if index == 0 { intro } else { ", " })?;
    }
    Ok(())
}

impl fmt::Display for BodyForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Compressed {
                codec,
                from_bytes,
                to_bytes,
            } => write!(f, "{from_bytes} -> {to_bytes} bytes by {codec:?}"),
            Self::Plain { bytes, because } => {
                write!(f, "{bytes} bytes, not compressed: ")?;
                match because {
                    PlainBecause::Off => f.write_str("compression is off"),
                    PlainBecause::Small(from) => write!(f, "smaller than {from}"),
                    PlainBecause::Batch => f.write_str("a batch"),
                    PlainBecause::NoGain => f.write_str("it would not get smaller"),
                }
            }
        }
    }
}

impl fmt::Display for RouteOrigin<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cache(age) => write!(f, "from the cache, {} old", Millis(*age)),
            Self::NameServer(address) => write!(f, "from name server {address}"),
        }
    }
}

impl fmt::Display for QueueChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::RoundRobin => "its turn",
            Self::Caller => "chosen by the caller",
            Self::Selector => "chosen by the selector",
            Self::StrictShard => "where the key's order is kept",
        })
    }
}

impl fmt::Display for Avoided {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (", self.broker)?;
        match self.because {
            AvoidedBecause::FailedLast => f.write_str("failed just now)"),
            AvoidedBecause::Silent => f.write_str("does not answer)"),
            AvoidedBecause::Isolated(left) => write!(f, "avoided for {})", Millis(left)),
        }
    }
}

impl fmt::Display for AttemptOutcome<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Handed => f.write_str("none is expected"),
            Self::Stored {
                status,
                queue_id,
                queue_offset,
            } => write!(f, "{status}, queue {queue_id} offset {queue_offset}"),
            Self::Refused { code, remark } => {
                write!(f, "{code}: {}", remark.unwrap_or("no remark"))
            }
            Self::Lost { phase, reason } => write!(f, "none ({phase}): {reason}"),
        }
    }
}
