//! Tells the observer of one send what the stages decide. Does nothing, and costs nothing, without one.

use std::{sync::Arc, time::Duration};

use rocketry_protocol::{MessageQueue, RemotingCommand};
use tokio::time::Instant;

use super::{
    SendResult,
    interpret::Outcome,
    observe::{
        AttemptOutcome, Avoided, AvoidedBecause, BodyForm, PlainBecause, QueueChoice, RouteOrigin,
        SendEvent, SendObserver, SendStage,
    },
    prepare::{Kind, Prepared},
    retry::Attempts,
    shared::Shared,
};
use crate::{clock, error::Error, guard::guarded, route::PublishRoute};

/// The observer of one send, if there is one.
#[derive(Clone, Copy)]
pub(crate) struct Explain<'a> {
    shared: &'a Shared,
    observer: Option<&'a dyn SendObserver>,
    send: u64,
    started: Instant,
}

/// When a stage began; only known if somebody observes.
#[derive(Clone, Copy)]
pub(crate) struct Mark(Option<Instant>);

impl<'a> Explain<'a> {
    pub(crate) fn new(shared: &'a Shared, send: u64, started: Instant) -> Self {
        Self {
            shared,
            observer: shared.observer.as_deref(),
            send,
            started,
        }
    }

    /// Whether somebody observes.
    pub(crate) fn is_watched(self) -> bool {
        self.observer.is_some()
    }

    /// Number of the send.
    pub(crate) fn send(self) -> u64 {
        self.send
    }

    /// A stage begins.
    pub(crate) fn mark(self) -> Mark {
        Mark(self.observer.map(|_| clock::now()))
    }

    /// A stage that began at `mark` is over.
    pub(crate) fn stage<'s>(self, mark: Mark, stage: impl FnOnce() -> SendStage<'s>) {
        let (Some(observer), Some(begun)) = (self.observer, mark.0) else {
            return;
        };
        let now = clock::now();
        let event = SendEvent {
            send: self.send,
            at: now.saturating_duration_since(self.started),
            took: now.saturating_duration_since(begun),
            stage: stage(),
        };
        let _ = guarded("send observer", || observer.event(&event));
    }

    pub(crate) fn body(self, mark: Mark, prepared: &Prepared) {
        self.stage(mark, || {
            SendStage::Body(body_form(prepared, &self.shared.config))
        });
    }

    pub(crate) fn routed(self, mark: Mark, route: &PublishRoute) {
        self.stage(mark, || {
            let told = route.told();
            let source = match mark.0 {
                Some(asked) if told < asked => RouteOrigin::Cache(clock::now() - told),
                _ => RouteOrigin::NameServer(route.name_server()),
            };
            SendStage::Routed {
                source,
                queues: route.len(),
                brokers: route.owner_names().len(),
                creates_topic: route.creates_topic(),
            }
        });
    }

    pub(crate) fn queue(
        self,
        mark: Mark,
        queue: &MessageQueue,
        choice: QueueChoice,
        (route, last_broker): (&PublishRoute, Option<&str>),
    ) {
        if self.observer.is_none() {
            return;
        }
        let avoided = match choice {
            QueueChoice::RoundRobin => self.avoided(&queue.broker_name, route, last_broker),
            _ => Vec::new(),
        };
        self.stage(mark, || SendStage::QueueChosen {
            queue,
            choice,
            avoided: &avoided,
        });
    }

    /// Brokers that the round robin passed over for the one that it chose.
    fn avoided(self, chosen: &str, route: &PublishRoute, last: Option<&str>) -> Vec<Avoided> {
        let now = clock::now();
        let (config, suspects) = (&self.shared.config, &self.shared.client.core().suspects);
        let isolated = self.shared.faults.isolated(now);
        let because = |name: &str| {
            let isolated = isolated.iter().find(|(broker, _)| **broker == *name);
            if last == Some(name) {
                Some(AvoidedBecause::FailedLast)
            } else if config.avoid_silent_brokers && suspects.contains(name) {
                Some(AvoidedBecause::Silent)
            } else {
                isolated.map(|(_, left)| AvoidedBecause::Isolated(*left))
            }
        };
        route
            .owner_names()
            .into_iter()
            .filter(|name| **name != *chosen)
            .filter_map(|broker| {
                let because = because(&broker)?;
                Some(Avoided { broker, because })
            })
            .collect()
    }

    pub(crate) fn encoded(self, mark: Mark, command: impl FnOnce() -> RemotingCommand) {
        self.stage(mark, || {
            let command = command();
            SendStage::Encoded {
                code: command.request_code(),
                frame_bytes: self.shared.client.core().transport.frame_bytes(command),
            }
        });
    }

    pub(crate) fn attempted(self, mark: Mark, tries: &Attempts<'_>, outcome: &Outcome) {
        self.stage(mark, || SendStage::AttemptEnded {
            attempt: tries.begun(),
            outcome: match outcome {
                Outcome::Handed => AttemptOutcome::Handed,
                Outcome::Stored(result) | Outcome::NotDurable(result) => AttemptOutcome::Stored {
                    status: result.status,
                    queue_id: result.queue.queue_id,
                    queue_offset: result.queue_offset,
                },
                Outcome::Refused { code, remark } => AttemptOutcome::Refused {
                    code: *code,
                    remark: remark.as_deref(),
                },
                Outcome::Lost(loss) => AttemptOutcome::Lost {
                    phase: loss.phase,
                    reason: &loss.reason,
                },
            },
        });
    }

    pub(crate) fn brokers(self) {
        if self.observer.is_none() {
            return;
        }
        let silent = self.shared.client.core().suspects.names();
        let isolated: Vec<(Arc<str>, Duration)> = self.shared.faults.isolated(clock::now());
        self.stage(self.mark(), || SendStage::Brokers {
            silent: &silent,
            isolated: &isolated,
        });
    }

    pub(crate) fn ended(self, over: Result<Option<&SendResult>, &Error>) {
        let whole = Mark(self.observer.map(|_| self.started));
        self.stage(whole, || SendStage::Ended(over));
    }
}

fn body_form(prepared: &Prepared, config: &crate::ProducerConfig) -> BodyForm {
    let bytes = prepared.message.body().len();
    let because = match (&prepared.compressed, config.compression) {
        (Some(compressed), Some(codec)) => {
            return BodyForm::Compressed {
                codec,
                from_bytes: bytes,
                to_bytes: compressed.len(),
            };
        }
        (_, None) => PlainBecause::Off,
        (None, Some(_)) if prepared.kind == Kind::Batch => PlainBecause::Batch,
        (None, Some(_)) if bytes < config.compress_from_bytes => {
            PlainBecause::Small(config.compress_from_bytes)
        }
        (None, Some(_)) => PlainBecause::NoGain,
    };
    BodyForm::Plain { bytes, because }
}
