//! Starts sends, in the chosen way, and turns what they come to into one outcome per message.

use std::sync::Arc;

use rocketry::{
    Decision, Message, MessageExt, MessageQueue, Producer, ProducerBuilder, ProducerConfig,
    SendResult, split_batch,
};
use tokio::task::JoinSet;

use super::report::Outcome;
use crate::args::Mode;

/// Where messages go.
#[derive(Debug, Clone)]
pub(super) enum Target {
    /// Where the client chooses.
    Any,
    /// To this queue.
    Queue(MessageQueue),
    /// To the queue of this sharding key.
    Shard(Arc<str>),
    /// The same, and never to another one.
    StrictShard(Arc<str>),
}

/// A message and where it is from.
#[derive(Debug)]
pub(super) struct Sendable {
    /// Number of the line, from 1.
    pub(super) line: u64,
    /// The message.
    pub(super) message: Message,
}

/// A message that is through.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) line: u64,
    pub(super) topic: Arc<str>,
    pub(super) outcome: Outcome,
}

/// How every message of a run is sent.
#[derive(Debug, Clone)]
pub(super) struct Sender {
    pub(super) producer: Producer,
    pub(super) target: Target,
    pub(super) mode: Mode,
    /// Each message is a transaction of its own, which ends so.
    pub(super) transaction: Option<Decision>,
}

impl Sender {
    /// Starts the send of one message, or of a batch of one topic; its end is a task of `in_flight`.
    pub(super) async fn start(
        &self,
        mut messages: Vec<Sendable>,
        in_flight: &mut JoinSet<Vec<Sent>>,
    ) {
        if messages.len() > 1 {
            return self.start_batch(messages, in_flight).await;
        }
        let Some(Sendable { line, message }) = messages.pop() else {
            return;
        };
        let topic = Arc::clone(message.topic_arc());
        let through = move |outcome| {
            vec![Sent {
                line,
                topic,
                outcome,
            }]
        };
        let sender = self.clone();
        if let Some(decision) = self.transaction {
            in_flight.spawn(async move { through(sender.in_transaction(message, decision).await) });
            return;
        }
        match self.mode {
            Mode::Sync => {
                in_flight.spawn(async move {
                    let send = sender.producer.send(message);
                    through(stored(sender.to_target(send).await))
                });
            }
            Mode::Async => {
                // Enqueued here and not in the task, so that messages of one queue keep the order of the input.
                let enqueued = self.to_target(self.producer.enqueue(message)).await;
                in_flight.spawn(async move {
                    through(match enqueued {
                        Ok(ticket) => stored(ticket.await),
                        Err(error) => Outcome::Failed(error),
                    })
                });
            }
            Mode::Oneway => {
                let send = self.producer.send_oneway(message);
                let result = self.to_target(send).await;
                let outcome = result.map_or_else(Outcome::Failed, |()| Outcome::HandedOver);
                in_flight.spawn(std::future::ready(through(outcome)));
            }
        }
    }

    async fn start_batch(&self, messages: Vec<Sendable>, in_flight: &mut JoinSet<Vec<Sent>>) {
        let (lines, messages): (Vec<_>, Vec<_>) = messages
            .into_iter()
            .map(|Sendable { line, message }| ((line, Arc::clone(message.topic_arc())), message))
            .unzip();
        let sender = self.clone();
        if self.mode == Mode::Async {
            let enqueued = self.to_target(self.producer.enqueue_batch(messages)).await;
            in_flight.spawn(async move {
                let result = match enqueued {
                    Ok(ticket) => ticket.await,
                    Err(error) => Err(error),
                };
                shared_out(lines, result)
            });
        } else {
            in_flight.spawn(async move {
                let send = sender.producer.send_batch(messages);
                shared_out(lines, sender.to_target(send).await)
            });
        }
    }

    fn to_target<'a, M>(&self, send: rocketry::SendRequest<'a, M>) -> rocketry::SendRequest<'a, M> {
        match &self.target {
            Target::Any => send,
            Target::Queue(queue) => send.queue(queue.clone()),
            Target::Shard(key) => send.shard(key),
            Target::StrictShard(key) => send.strict_shard(key),
        }
    }

    async fn in_transaction(&self, message: Message, decision: Decision) -> Outcome {
        let send = self
            .producer
            .send_in_transaction(message, move |_half| decision);
        match send.await {
            Ok(result) => match result.untold {
                None => Outcome::Decided(result.sent, result.decision),
                Some(error) => Outcome::Failed(error),
            },
            Err(error) => Outcome::Failed(error),
        }
    }
}

/// Makes a producer transactional. A command ends before any broker asks what became of a transaction.
pub(super) fn transactional(producer: ProducerBuilder) -> ProducerBuilder {
    producer.transaction_checker(|_half: MessageExt| Decision::Unknown)
}

/// Gathers messages to batches of one topic, each at most so many messages and as large as brokers take.
#[derive(Debug)]
pub(super) struct Gathering {
    size: usize,
    messages: Vec<Sendable>,
}

impl Gathering {
    /// Batches of `size` messages; 1: every message goes by itself.
    pub(super) fn new(size: usize) -> Self {
        Self {
            size,
            messages: Vec::new(),
        }
    }

    /// Adds a message and returns what is complete.
    pub(super) fn add(&mut self, sendable: Sendable) -> Vec<Vec<Sendable>> {
        let other_topic = self
            .messages
            .first()
            .is_some_and(|first| first.message.topic() != sendable.message.topic());
        let mut ready = if other_topic { self.rest() } else { Vec::new() };
        self.messages.push(sendable);
        if self.messages.len() >= self.size {
            ready.extend(self.rest());
        }
        ready
    }

    /// What is not complete.
    pub(super) fn rest(&mut self) -> Vec<Vec<Sendable>> {
        if self.size == 1 {
            return self.messages.drain(..).map(|one| vec![one]).collect();
        }
        let (lines, messages): (Vec<_>, Vec<_>) = self
            .messages
            .drain(..)
            .map(|Sendable { line, message }| (line, message))
            .unzip();
        let mut lines = lines.into_iter();
        let mut numbered = |message| Sendable {
            line: lines.next().unwrap_or_default(),
            message,
        };
        split_batch(messages, ProducerConfig::default().max_message_bytes)
            .into_iter()
            .map(|batch| batch.into_iter().map(&mut numbered).collect())
            .collect()
    }
}

fn stored(result: rocketry::Result<SendResult>) -> Outcome {
    result.map_or_else(Outcome::Failed, Outcome::Stored)
}

/// The result of a batch as one result for each of its messages.
fn shared_out(lines: Vec<(u64, Arc<str>)>, result: rocketry::Result<SendResult>) -> Vec<Sent> {
    let whole = match result {
        Ok(result) => result,
        Err(error) => {
            let failed = |(line, topic)| Sent {
                line,
                topic,
                outcome: Outcome::Failed(error.clone()),
            };
            return lines.into_iter().map(failed).collect();
        }
    };
    let mut ids = whole.msg_id.split(',');
    let mut offset_ids = whole.offset_msg_id.split(',');
    // A broker may keep a batch in one piece, which then has one id.
    let one_of =
        |ids: &mut dyn Iterator<Item = &str>, all: &str| ids.next().unwrap_or(all).to_owned();
    (0..)
        .zip(lines)
        .map(|(index, (line, topic))| {
            let mut own = whole.clone();
            own.msg_id = one_of(&mut ids, &whole.msg_id);
            own.offset_msg_id = one_of(&mut offset_ids, &whole.offset_msg_id);
            own.queue_offset = whole.queue_offset + index;
            Sent {
                line,
                topic,
                outcome: Outcome::Stored(own),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sendable(line: u64, topic: &str, bytes: usize) -> Sendable {
        Sendable {
            line,
            message: Message::new(topic, vec![b'x'; bytes]),
        }
    }

    fn lines(batches: &[Vec<Sendable>]) -> Vec<Vec<u64>> {
        let numbers = |batch: &Vec<Sendable>| batch.iter().map(|one| one.line).collect();
        batches.iter().map(numbers).collect()
    }

    #[test]
    fn batches_are_full_or_end_where_the_topic_changes() {
        let mut gathering = Gathering::new(2);
        assert!(gathering.add(sendable(1, "A", 1)).is_empty());
        assert_eq!(lines(&gathering.add(sendable(2, "A", 1))), [[1, 2]]);
        assert!(gathering.add(sendable(3, "A", 1)).is_empty());
        assert_eq!(lines(&gathering.add(sendable(4, "B", 1))), [[3]]);
        assert_eq!(lines(&gathering.rest()), [[4]]);
        assert!(gathering.rest().is_empty());
    }

    #[test]
    fn a_batch_is_no_larger_than_brokers_take() {
        let mut gathering = Gathering::new(3);
        gathering.add(sendable(1, "A", 3 << 20));
        gathering.add(sendable(2, "A", 1));
        let cut = gathering.add(sendable(3, "A", 3 << 20));
        assert_eq!(lines(&cut), [vec![1, 2], vec![3]]);
    }

    #[test]
    fn single_messages_go_by_themselves() {
        let mut gathering = Gathering::new(1);
        assert_eq!(lines(&gathering.add(sendable(7, "A", 5 << 20))), [[7]]);
    }
}
