//! Messages with a time of delivery: they wait in the timer topic, and a thread of its own puts them where they were sent when their
//! time has come, or drops those that were recalled.
//!
//! The store keeps the wheel and says what is due. Java: `TimerMessageStore`.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use parking_lot::{Condvar, Mutex};
use rocketry_protocol::{Properties, properties::name, record::Record};
use rocketry_store::{DueMessage, Timers, WriteError};

use crate::{
    broker::Broker,
    clock, find,
    names::TIMER_TOPIC,
    put::{self, PutFailure},
    writer::{Origin, Put, Stored},
};

/// Messages that are taken or delivered together.
const BATCH: usize = 512;

/// Batches that are taken before something is delivered.
const TAKEN_IN_A_ROW: usize = 8;

/// Longest time, ms, that a stop waits for the rest of a slot.
const LONGEST_FINISH_MS: i64 = 2_000;

/// Time to the next attempt after a delivery failed. Differs from Java, which drops a message after three attempts.
const RETRY_AFTER: Duration = Duration::from_millis(100);

/// Time to the next attempt after the disk refused something.
const AFTER_FAULT: Duration = Duration::from_secs(1);

/// What the rest of the broker knows of the timer.
#[derive(Debug)]
pub(crate) struct TimerBell {
    state: Mutex<State>,
    rung: Condvar,
    /// Every slot before this time is delivered, ms.
    read_ms: AtomicI64,
    /// The next message of the timer topic.
    queue_offset: AtomicI64,
}

#[derive(Debug, Default)]
struct State {
    is_rung: bool,
    is_stopping: bool,
}

impl TimerBell {
    pub(crate) fn new(timers: &Timers) -> Self {
        Self {
            state: Mutex::default(),
            rung: Condvar::new(),
            read_ms: AtomicI64::new(timers.read_ms()),
            queue_offset: AtomicI64::new(timers.queue_offset()),
        }
    }

    /// A message came to wait.
    pub(crate) fn ring(&self) {
        self.state.lock().is_rung = true;
        self.rung.notify_one();
    }

    /// Ends the thread after the delivery that is under way.
    pub(crate) fn stop(&self) {
        self.state.lock().is_stopping = true;
        self.rung.notify_one();
    }

    /// How many ms delivery is behind `now_ms`. Java: `TimerMessageStore.getDequeueBehindMillis`.
    pub(crate) fn read_behind_ms(&self, now_ms: i64) -> i64 {
        now_ms
            .saturating_sub(self.read_ms.load(Ordering::Relaxed))
            .max(0)
    }

    /// A time, ms, and a position in the timer topic: what lies before the position and has a time before that one is delivered.
    pub(crate) fn progress(&self) -> (i64, i64) {
        // In this order: the position may be one of later, and never one of before.
        let read_ms = self.read_ms.load(Ordering::Acquire);
        (read_ms, self.queue_offset.load(Ordering::Acquire))
    }

    /// Position in the timer topic of the next message to look at.
    pub(crate) fn queue_offset(&self) -> i64 {
        self.queue_offset.load(Ordering::Acquire)
    }

    fn is_stopping(&self) -> bool {
        self.state.lock().is_stopping
    }

    /// Waits until the bell rings, at most this long.
    fn wait(&self, longest: Duration) {
        let mut state = self.state.lock();
        if !state.is_rung && !state.is_stopping {
            self.rung.wait_for(&mut state, longest);
        }
        state.is_rung = false;
    }
}

/// Starts the thread. It ends after [`TimerBell::stop`], which must come before the log is closed, with what became of the last flush.
pub(crate) fn spawn(
    broker: &Arc<Broker>,
    timers: Timers,
) -> io::Result<thread::JoinHandle<Result<(), WriteError>>> {
    let worker = Worker {
        broker: Arc::clone(broker),
        timers,
        fault: None,
    };
    thread::Builder::new()
        .name("rocketry-timer".to_owned())
        .spawn(move || worker.run())
}

/// The thread's state.
struct Worker {
    broker: Arc<Broker>,
    timers: Timers,
    /// What is wrong now, so that it is told once.
    fault: Option<String>,
}

impl Worker {
    fn run(mut self) -> Result<(), WriteError> {
        let bell = Arc::clone(&self.broker.timer);
        while !bell.is_stopping() {
            let pause = match round(&mut self) {
                Ok(()) => {
                    self.fault = None;
                    self.until_next_slot()
                }
                Err(fault) => {
                    if self.fault.as_ref() != Some(&fault) {
                        tracing::error!(fault, "the timer does not go on for now");
                    }
                    self.fault = Some(fault);
                    AFTER_FAULT
                }
            };
            bell.wait(pause);
        }
        self.finish_slot();
        self.timers.flush_now(clock::wall_ms())
    }

    /// Delivers the rest of a slot before a stop, so that the next start does not begin with the first of it again.
    fn finish_slot(&mut self) {
        let began = clock::wall_ms();
        while self.timers.is_amid_slot()
            && clock::wall_ms().saturating_sub(began) < LONGEST_FINISH_MS
        {
            match self.deliver_due() {
                Ok(true) => {}
                Ok(false) => return,
                Err(fault) => {
                    tracing::error!(fault, "the timer could not finish what it began");
                    return;
                }
            }
        }
    }

    fn until_next_slot(&self) -> Duration {
        let precision_ms = self.broker.config.timer_options().precision_ms;
        let rest = precision_ms - clock::wall_ms().rem_euclid(precision_ms);
        Duration::from_millis(u64::try_from(rest).unwrap_or(0))
    }
}

/// What the timer does in turns.
trait Turns {
    fn is_stopping(&self) -> bool;
    /// Takes at most [`BATCH`] messages that came; how many.
    fn take_new(&mut self) -> Result<usize, String>;
    /// Delivers one batch; false when nothing was due, or a stop came before it was stored.
    fn deliver_due(&mut self) -> Result<bool, String>;
    /// Tells how far the timer is and writes what has to be written by now.
    fn note_progress(&mut self) -> Result<(), String>;
}

/// Takes what came, then delivers what is due, in turns until there is nothing of either: a recall is seen before its message is
/// delivered, and however much comes in, what is due goes out.
fn round(timer: &mut impl Turns) -> Result<(), String> {
    let mut is_more = true;
    while is_more && !timer.is_stopping() {
        let mut taken = 0;
        for _ in 0..TAKEN_IN_A_ROW {
            let batch = timer.take_new()?;
            taken += batch;
            if batch < BATCH {
                break;
            }
        }
        is_more = timer.deliver_due()? || taken > 0;
        timer.note_progress()?;
    }
    Ok(())
}

impl Turns for Worker {
    fn is_stopping(&self) -> bool {
        self.broker.timer.is_stopping()
    }

    fn take_new(&mut self) -> Result<usize, String> {
        self.timers
            .take_new(clock::wall_ms(), BATCH)
            .map_err(|error| error.to_string())
    }

    fn deliver_due(&mut self) -> Result<bool, String> {
        let now_ms = clock::wall_ms();
        let due = self
            .timers
            .due(now_ms, BATCH)
            .map_err(|error| error.to_string())?;
        if due.is_empty() {
            return Ok(false);
        }
        let puts: Vec<Put> = due
            .iter()
            .filter_map(|message| restore(&self.broker, message, now_ms))
            .collect();
        let is_done = deliver(&self.broker, puts);
        if is_done {
            self.timers.delivered(clock::wall_ms());
        }
        Ok(is_done)
    }

    fn note_progress(&mut self) -> Result<(), String> {
        // What was taken before the offset and was due before the time is delivered by now.
        let bell = &self.broker.timer;
        bell.queue_offset
            .store(self.timers.queue_offset(), Ordering::Release);
        bell.read_ms.store(self.timers.read_ms(), Ordering::Release);
        self.timers
            .flush(clock::wall_ms())
            .map_err(|error| error.to_string())
    }
}

/// Stores all of them, however often that has to be tried; false when the server stops before that. One that the store can never take
/// is left out.
fn deliver(broker: &Broker, mut puts: Vec<Put>) -> bool {
    loop {
        let (tell, told) = mpsc::channel::<(Put, Result<Stored, PutFailure>)>();
        for put in puts.drain(..) {
            let tell = tell.clone();
            put::submit(broker, put.clone(), move |outcome| {
                // The thread waits for all of them.
                let _ = tell.send((put, outcome));
            });
        }
        drop(tell);
        for (put, outcome) in told {
            match outcome {
                Ok(_) => {}
                Err(failure) if failure.is_final() => {
                    failure.give_up("a timed message", put.properties.as_bytes());
                }
                Err(failure) => {
                    tracing::warn!(%failure, "a timed message could not be delivered yet");
                    puts.push(put);
                }
            }
        }
        if puts.is_empty() {
            return true;
        }
        if broker.timer.is_stopping() {
            return false;
        }
        thread::sleep(RETRY_AFTER);
    }
}

/// The message as it was sent, with the times of its way through the timer; it keeps its other properties, as in Java. One that rolls
/// goes back to the timer topic. `None` for one that has nowhere to go. Java: `TimerMessageStore.convert`.
fn restore(broker: &Broker, message: &DueMessage, now_ms: i64) -> Option<Put> {
    let (record, _) = Record::parse(&message.record).ok()?;
    let mut properties = Properties::parse_bytes(record.properties);
    properties.set(name::TIMER_ENQUEUE_MS, &message.enqueue_ms.to_string());
    properties.set(name::TIMER_DEQUEUE_MS, &now_ms.to_string());
    let (topic, queue_id) = if message.rolls {
        let times = properties
            .get(name::TIMER_ROLL_TIMES)
            .and_then(|times| times.parse::<i32>().ok())
            .unwrap_or(0);
        properties.set(name::TIMER_ROLL_TIMES, &times.saturating_add(1).to_string());
        (find::plain_topic(broker, TIMER_TOPIC, 1, false, now_ms), 0)
    } else {
        let topic = properties.get(name::REAL_TOPIC)?;
        let Some(config) = broker.topics().get(topic) else {
            tracing::warn!(topic, "the topic of a timed message was deleted");
            return None;
        };
        (config, properties.get(name::REAL_QID)?.parse().ok()?)
    };
    Some(Put {
        topic,
        queue_id,
        flag: record.flag,
        sys_flag: record.sys_flag,
        born_ms: record.born_ms,
        born_host: record.born_host,
        store_host: broker.identity.store_host,
        reconsume_times: record.reconsume_times,
        prepared_transaction_offset: 0,
        body: message.record.slice_ref(record.body),
        properties: properties.into_string(),
        batch: false,
        origin: Origin::Stored {
            bare: Some(message.record.slice_ref(record.properties)),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A timer that something comes to without end, and one batch of which is due.
    #[derive(Default)]
    struct Busy {
        done: String,
    }

    impl Turns for Busy {
        fn is_stopping(&self) -> bool {
            self.done.len() > 100
        }
        fn take_new(&mut self) -> Result<usize, String> {
            self.done.push('t');
            Ok(if self.done.len() > 40 { 1 } else { BATCH })
        }
        fn deliver_due(&mut self) -> Result<bool, String> {
            self.done.push('d');
            Ok(false)
        }
        fn note_progress(&mut self) -> Result<(), String> {
            self.done.push('p');
            Ok(())
        }
    }

    #[test]
    fn what_is_due_goes_out_however_much_comes_in() {
        let mut timer = Busy::default();
        round(&mut timer).unwrap();
        assert!(
            timer.done.starts_with("ttttttttdpttttttttdp"),
            "{}",
            timer.done
        );
        assert!(timer.done.ends_with("tdptdptdp"), "{}", timer.done);
    }
}
