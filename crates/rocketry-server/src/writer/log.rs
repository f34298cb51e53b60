//! The end of the log, and the rounds that go into it.

use std::{sync::Arc, time::Duration};

use rocketry_protocol::batch::{self, BatchItem};
use rocketry_store::{AppendError, NewMessage, WriteError, Writer};
use tokio::time::Instant;

use super::{Inbox, Job, Origin, Put, PutError, PutJob, Records, Stored, Written};
use crate::{clock, metrics::Latencies};

/// A sync that made puts durable.
pub(super) struct Synced {
    pub(super) puts: usize,
    /// Puts that came meanwhile.
    pub(super) waiting: usize,
    pub(super) took: Duration,
}

/// The end of the log, for whoever carries out a round.
pub(super) struct Log {
    writer: Writer,
    /// Empty between rounds, as the next one.
    round: Vec<Job>,
    written: Vec<Written>,
    /// When the first job of the round came.
    since: Option<Instant>,
    latencies: Arc<Latencies>,
}

impl Log {
    pub(super) fn new(writer: Writer, latencies: Arc<Latencies>) -> Self {
        Self {
            writer,
            round: Vec::with_capacity(64),
            written: Vec::with_capacity(64),
            since: None,
            latencies,
        }
    }

    pub(super) fn close(self) -> Result<(), WriteError> {
        self.writer.close()
    }

    /// Takes what is queued, appends it, commits and answers; what the last commit synced, if it did.
    pub(super) fn round(&mut self, inbox: &Inbox) -> Option<Synced> {
        self.since = inbox.take(&mut self.round, |_| true);
        let mut round = std::mem::take(&mut self.round);
        // the store time of all its messages
        let now_ms = clock::wall_ms();
        for job in round.drain(..) {
            match job {
                Job::Put(job) => self.append(job, now_ms),
                Job::RemoveTopic { topic, done } => {
                    let _ = self.commit(inbox);
                    let removed = self.writer.remove_topic(&topic);
                    if let Err(error) = &removed {
                        tracing::error!(%error, topic, "the queues of a topic were not removed");
                    }
                    done(removed.map_err(|error| error.to_string()));
                }
            }
        }
        self.round = round;
        self.commit(inbox)
    }

    /// [`Log::round`] of the puts before the first job of another kind.
    pub(super) fn round_of_puts(&mut self, inbox: &Inbox) {
        self.since = inbox.take(&mut self.round, |job| matches!(job, Job::Put(_)));
        let mut round = std::mem::take(&mut self.round);
        // the store time of all its messages
        let now_ms = clock::wall_ms();
        for job in round.drain(..) {
            if let Job::Put(job) = job {
                self.append(job, now_ms);
            }
        }
        self.round = round;
        let _ = self.commit(inbox);
    }

    fn append(&mut self, job: PutJob, now_ms: i64) {
        let PutJob {
            put,
            companion,
            done,
        } = job;
        match append_both(&mut self.writer, &put, companion.as_deref(), now_ms) {
            Ok(records) => self.written.push(Written {
                stored: Stored {
                    put,
                    records,
                    sync_is_late: false,
                },
                done,
            }),
            Err(error) => {
                // A full disk met while a file was closed takes the messages before it along.
                if let AppendError::Write(error) = &error {
                    for Written { done, .. } in self.written.drain(..) {
                        done(Err(PutError::Failed(error.clone())));
                    }
                }
                done(Err(PutError::Refused(error)));
            }
        }
    }

    fn commit(&mut self, inbox: &Inbox) -> Option<Synced> {
        let Self {
            writer,
            written,
            since,
            latencies,
            ..
        } = self;
        if written.is_empty() {
            return None;
        }
        let puts = written.len();
        let mut sync_began = None;
        let committed = writer.commit_in_steps(
            || {
                sync_began = Some(Instant::now());
                inbox.begin_sync(written);
            },
            |arrival| inbox.arrivals.arrived(arrival),
        );
        // The clock is read once a round, not per message: all count as having waited as long as the first.
        if let (Some(since), Ok(())) = (*since, &committed) {
            latencies.put.observe(since.elapsed(), puts as u64);
        }
        let synced = match (sync_began, &committed) {
            (Some(began), Ok(())) => {
                let took = began.elapsed();
                latencies.flush.observe(took, 1);
                Some(Synced {
                    puts,
                    waiting: inbox.queue.lock().puts,
                    took,
                })
            }
            _ => None,
        };
        inbox.end_sync(written);
        if let Err(error) = &committed {
            tracing::error!(%error, puts = written.len(), "messages were not stored");
        }
        for Written { stored, done } in written.drain(..) {
            done(match &committed {
                Ok(()) => Ok(stored),
                Err(error) => Err(PutError::Failed(error.clone())),
            });
        }
        synced
    }
}

/// A companion that the store refuses for what it is leaves the put without it.
fn append_both(
    writer: &mut Writer,
    put: &Put,
    companion: Option<&Put>,
    now_ms: i64,
) -> Result<Records, AppendError> {
    if let Some(companion) = companion {
        writer.keep_together(&[
            &message_of(put, &put.properties),
            &message_of(companion, &companion.properties),
        ])?;
    }
    let stored = append(writer, put, now_ms)?;
    match companion.map(|companion| append(writer, companion, now_ms)) {
        None | Some(Ok(_)) => {}
        Some(Err(error @ AppendError::Write(_))) => return Err(error),
        Some(Err(error)) => {
            tracing::error!(%error, topic = put.topic.topic_name, "a message was stored without its companion");
        }
    }
    Ok(stored)
}

pub(super) fn append(writer: &mut Writer, put: &Put, now_ms: i64) -> Result<Records, AppendError> {
    let message = message_of(put, &put.properties);
    if !put.batch {
        let record = match &put.origin {
            Origin::New => writer.append(&message, now_ms)?,
            Origin::Stored { bare } => match (writer.append_again(&message, now_ms), bare) {
                (Err(AppendError::PropertiesTooLong { .. }), Some(bare)) => {
                    writer.append_again(&message_of(put, bare), now_ms)?
                }
                (appended, _) => appended?,
            },
        };
        return Ok(Records::One(record));
    }
    let items: Vec<BatchItem<'_>> =
        batch::items(&put.body)
            .collect::<Result<_, _>>()
            .map_err(|error| AppendError::Invalid {
                what: "batch body",
                reason: error.to_string(),
            })?;
    let mut records = Vec::with_capacity(items.len());
    writer.append_batch(&message, &items, now_ms, &mut records)?;
    Ok(Records::Many(records))
}

fn message_of<'a>(put: &'a Put, properties: &'a (impl AsRef<[u8]> + ?Sized)) -> NewMessage<'a> {
    NewMessage {
        topic: &put.topic.topic_name,
        queue_id: put.queue_id,
        flag: put.flag,
        sys_flag: put.sys_flag,
        born_ms: put.born_ms,
        born_host: put.born_host,
        store_host: put.store_host,
        reconsume_times: put.reconsume_times,
        prepared_transaction_offset: put.prepared_transaction_offset,
        body: &put.body,
        properties: properties.as_ref(),
    }
}
