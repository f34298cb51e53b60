//! `rocketry consume`: read the queues of a topic and print their messages.

use std::{
    collections::BTreeMap,
    fmt,
    time::{Duration, Instant},
};

use rocketry::{Client, Error, ErrorKind, MessageExt, MessageQueue, Reader, StartAt, property};
use rocketry_protocol::ResponseCode;

use crate::{
    args::{self, Global, MessageFormat},
    clock,
    commands::{CLOSE_WITHIN, connect},
    failure::Failure,
    jsonl::Received,
    output::{self, Output, escaped},
    signals::Signals,
    units::{StartPoint, Wait, counted, local_time},
};

/// What was written is committed this soon.
const COMMIT_EVERY: Duration = Duration::from_secs(5);
/// Messages that are there do not take longer, unless the broker does not hand them out.
const UNEXPECTED_SILENCE: Duration = Duration::from_secs(10);
/// How often `--wait 0s` looks whether the ends are reached: what is behind them may be nothing that is handed out.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// One wait of `--wait forever`; it just starts again.
const LONG: Duration = Duration::from_mins(1);
/// Failures that are further apart belong to different outages.
const SAME_OUTAGE: Duration = Duration::from_mins(2);

/// Reads and prints until enough came, or none for long enough, or a signal.
///
/// # Errors
/// The topic could not be read, or its offsets not committed.
pub(crate) async fn run(args: args::Consume, global: &Global) -> Result<(), Failure> {
    let client = connect(global).await?;
    let mut reader = reader(&client, &args).await?;
    let mut signals = Signals::new()?;
    let mut consumed = Consumed::new(args.group.clone(), reader.positions());
    let outcome = print(&mut reader, &args, &mut consumed, &client, &mut signals).await;
    // What was written is committed even when something failed later, or the reader of stdout left.
    let committed = tokio::select! {
        biased;
        signal = signals.next() => Err(Failure::new(format!(
            "{signal} while offsets were committed: some of the messages may come again"
        ))),
        committed = consumed.commit(&client) => committed.map_err(Failure::from),
    };
    let end = outcome?;
    committed?;
    client.shutdown(CLOSE_WITHIN).await;
    output::note(format_args!(
        "{} of {}{end}",
        counted(consumed.messages, "message"),
        args.topic
    ));
    Ok(())
}

async fn reader(client: &Client, args: &args::Consume) -> Result<Reader, Failure> {
    let mut builder = client.reader(&args.topic);
    builder = match (&args.group, args.from) {
        (Some(group), None) => builder.group(group),
        (_, from) => builder.start(match from {
            None | Some(StartPoint::First) => StartAt::First,
            Some(StartPoint::Last) => StartAt::Last,
            Some(StartPoint::Offset(offset)) => StartAt::Offset(offset),
            Some(StartPoint::Time(when)) => StartAt::Time(when.ms(clock::wall_ms())),
        }),
    };
    Ok(builder.await?)
}

/// Why reading ended, as the end of the summary.
enum End {
    Enough,
    Reached,
    Idle(Duration),
    Interrupted,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Enough | Self::Reached => Ok(()),
            Self::Idle(time) => write!(f, "; none came for {time:?}"),
            Self::Interrupted => f.write_str("; interrupted"),
        }
    }
}

async fn print(
    reader: &mut Reader,
    args: &args::Consume,
    consumed: &mut Consumed,
    client: &Client,
    signals: &mut Signals,
) -> Result<End, Failure> {
    let mut output = Output::stdout();
    let (patience, look_every) = match args.wait {
        Wait::Idle(wait) => (wait, wait),
        Wait::Not => (UNEXPECTED_SILENCE, LOOK_EVERY),
        Wait::Forever => (Duration::MAX, LONG),
    };
    let ends = match args.wait {
        Wait::Not => Some(ends(client, &args.topic).await?),
        Wait::Idle(_) | Wait::Forever => None,
    };
    let limit = args.count.unwrap_or(u64::MAX);
    let mut outage = Outage::default();
    let mut silent_since = clock::now();
    loop {
        if ends.as_ref().is_some_and(|ends| has_reached(reader, ends)) {
            return Ok(End::Reached);
        }
        let wait = consumed
            .commit_due()
            .unwrap_or(look_every)
            .min(look_every)
            .min(patience.saturating_sub(silent_since.elapsed()));
        let batch = tokio::select! {
            biased;
            _ = signals.next() => return Ok(End::Interrupted),
            batch = reader.next_batch(wait) => match batch {
                Err(error) if args.wait == Wait::Forever => outage.bear(error).map(|()| Vec::new()),
                batch => batch,
            }?,
        };
        if batch.is_empty() {
            // The position may have moved past what is not handed out.
            consumed.written(reader.positions(), &[], false);
            if silent_since.elapsed() >= patience {
                return Ok(End::Idle(patience));
            }
        } else {
            let room = usize::try_from(limit - consumed.messages).unwrap_or(usize::MAX);
            let taken = batch.get(..room).unwrap_or(&batch);
            for message in taken {
                match args.output {
                    MessageFormat::Text => output.line(Line(message))?,
                    MessageFormat::Jsonl => output.json(&Received::from(message))?,
                    MessageFormat::Raw => output.raw_line(&message.body)?,
                }
            }
            output.flush()?;
            consumed.written(reader.positions(), taken, taken.len() < batch.len());
            if consumed.messages == limit {
                return Ok(End::Enough);
            }
            silent_since = clock::now();
        }
        if consumed.commit_due() == Some(Duration::ZERO) {
            let committed = consumed.commit(client).await;
            match committed {
                Err(error) if args.wait == Wait::Forever => outage.bear(error)?,
                committed => committed?,
            }
        }
    }
}

/// A time in which a broker does not answer, which `--wait forever` outlasts.
#[derive(Debug, Default)]
struct Outage {
    last_failure: Option<Instant>,
}

impl Outage {
    /// Says once that something does not answer.
    ///
    /// # Errors
    /// What does not pass by itself.
    fn bear(&mut self, error: Error) -> Result<(), Error> {
        if !passes(&error) {
            return Err(error);
        }
        let is_new = self
            .last_failure
            .is_none_or(|last| last.elapsed() >= SAME_OUTAGE);
        if is_new {
            output::note(format_args!("{}; still trying", Failure::from(error)));
        }
        self.last_failure = Some(clock::now());
        Ok(())
    }
}

/// Whether a failure ends without anybody's doing. A name server does not know the topics of a broker that is away, but a broker that
/// answers does know its own.
fn passes(error: &Error) -> bool {
    let is_final = [ResponseCode::NO_PERMISSION, ResponseCode::TOPIC_NOT_EXIST];
    error.kind() == ErrorKind::BrokerUnknown
        || error.is_retryable()
            && (error.kind() != ErrorKind::Refused
                || !error
                    .response_code()
                    .is_some_and(|code| is_final.contains(&code)))
}

/// Where each queue of the topic ends now.
async fn ends(client: &Client, topic: &str) -> Result<BTreeMap<MessageQueue, i64>, Failure> {
    let stats = client.admin().topic_stats(topic).await?;
    Ok(stats
        .into_iter()
        .map(|queue| (queue.queue, queue.max_offset))
        .collect())
}

fn has_reached(reader: &Reader, ends: &BTreeMap<MessageQueue, i64>) -> bool {
    let positions = reader.positions();
    positions
        .iter()
        .all(|(queue, next)| ends.get(queue).is_none_or(|end| next >= end))
}

/// How many messages were written, and how far the group is with that.
#[derive(Debug)]
struct Consumed {
    group: Option<String>,
    messages: u64,
    /// Where each queue goes on behind what stdout has taken.
    written: BTreeMap<MessageQueue, i64>,
    /// The same at the start or at the last commit.
    committed: BTreeMap<MessageQueue, i64>,
    committed_at: Instant,
}

impl Consumed {
    /// Nothing yet, from `start` on.
    fn new(group: Option<String>, start: &[(MessageQueue, i64)]) -> Self {
        let start: BTreeMap<_, _> = start.iter().cloned().collect();
        Self {
            group,
            messages: 0,
            written: start.clone(),
            committed: start,
            committed_at: clock::now(),
        }
    }

    /// Stdout has all that was read up to `positions`; of the last batch only `messages`, if it is `cut` behind them.
    fn written(&mut self, positions: &[(MessageQueue, i64)], messages: &[MessageExt], cut: bool) {
        self.messages += messages.len() as u64;
        let last = messages.last().filter(|_| cut);
        for (queue, position) in positions {
            let of_queue = last.filter(|last| {
                last.broker_name == queue.broker_name && last.queue_id == queue.queue_id
            });
            let position = of_queue.map_or(*position, |last| last.queue_offset + 1);
            if let Some(written) = self.written.get_mut(queue) {
                *written = position;
            }
        }
    }

    /// What the group has not been told.
    fn uncommitted(&self) -> impl Iterator<Item = (&MessageQueue, &i64)> {
        let committed = |queue| self.committed.get(queue);
        self.written.iter().filter(move |(queue, offset)| {
            self.group.is_some() && committed(*queue) != Some(*offset)
        })
    }

    /// How long a commit may wait; `None` without anything to commit.
    fn commit_due(&self) -> Option<Duration> {
        self.uncommitted().next()?;
        Some(COMMIT_EVERY.saturating_sub(self.committed_at.elapsed()))
    }

    /// Commits for the group, where there is one.
    async fn commit(&mut self, client: &Client) -> Result<(), Error> {
        self.committed_at = clock::now();
        let offsets: Vec<_> = self.uncommitted().map(|(q, o)| (q.clone(), *o)).collect();
        if let Some(group) = &self.group {
            let admin = client.admin();
            admin.update_consumer_offsets(group, offsets).await?;
            self.committed.clone_from(&self.written);
        }
        Ok(())
    }
}

/// A message as one line that a terminal can show: control characters are escaped.
struct Line<'a>(&'a MessageExt);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let message = self.0;
        write!(
            f,
            "{}  {}:{}@{}",
            local_time(message.store_ms),
            message.broker_name,
            message.queue_id,
            message.queue_offset
        )?;
        for (label, value) in [
            ("tag", message.properties.get(property::TAGS)),
            ("keys", message.properties.get(property::KEYS)),
        ] {
            if let Some(value) = value {
                write!(f, "  {label}=")?;
                escaped(f, value)?;
            }
        }
        f.write_str("  ")?;
        escaped(f, &String::from_utf8_lossy(&message.body))
    }
}
