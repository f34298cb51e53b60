//! `rocketry consume`: read the queues of a topic and print their messages.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use rocketry::{Client, MessageExt, MessageQueue, Reader, StartAt, Topic, property};

use crate::{
    args::{self, Global, MessageFormat},
    clock,
    commands::{CLOSE_WITHIN, connect},
    failure::Failure,
    jsonl::Received,
    output::{self, Output, escaped},
    units::{StartPoint, Wait, counted, local_time},
};

/// Offsets are committed at least this often while messages arrive.
const COMMIT_EVERY: Duration = Duration::from_secs(5);
/// Messages that are there do not take longer, unless the broker does not hand them out.
const UNEXPECTED_SILENCE: Duration = Duration::from_secs(10);
/// One wait of `--wait forever`; it just starts again.
const LONG: Duration = Duration::from_mins(1);

/// Reads and prints until enough came, or none for long enough, or Ctrl-C.
///
/// # Errors
/// The topic could not be read, or its offsets not committed.
pub(crate) async fn run(args: args::Consume, global: &Global) -> Result<(), Failure> {
    let topic = Topic::new(&args.topic).map_err(|error| Failure::new(error.to_string()))?;
    let client = connect(global).await?;
    let mut reader = reader(&client, &args).await?;
    let mut output = Output::stdout();
    let mut consumed = Consumed {
        topic,
        messages: 0,
        uncommitted: BTreeMap::new(),
    };
    let outcome = print(&mut reader, &args, &mut output, &mut consumed, &client).await;
    // What was printed is committed even when something failed later, or the reader of stdout left.
    let committed = consumed.commit(&client, args.group.as_deref()).await;
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
    output: &mut Output,
    consumed: &mut Consumed,
    client: &Client,
) -> Result<End, Failure> {
    let wait = match args.wait {
        Wait::Idle(wait) => wait,
        Wait::Not => UNEXPECTED_SILENCE,
        Wait::Forever => LONG,
    };
    let ends = match args.wait {
        Wait::Not => Some(ends(client, &args.topic).await?),
        Wait::Idle(_) | Wait::Forever => None,
    };
    let limit = args.count.unwrap_or(u64::MAX);
    let mut committed_at = clock::now();
    let mut interrupt = std::pin::pin!(tokio::signal::ctrl_c());
    loop {
        if ends.as_ref().is_some_and(|ends| has_reached(reader, ends)) {
            return Ok(End::Reached);
        }
        let batch = tokio::select! {
            batch = reader.next_batch(wait) => batch?,
            _ = &mut interrupt => return Ok(End::Interrupted),
        };
        if batch.is_empty() && args.wait != Wait::Forever {
            return Ok(End::Idle(wait));
        }
        for message in &batch {
            match args.output {
                MessageFormat::Text => output.line(Line(message))?,
                MessageFormat::Jsonl => output.json(&Received::from(message))?,
                MessageFormat::Raw => output.raw_line(&message.body)?,
            }
            consumed.add(message);
            if consumed.messages == limit {
                output.flush()?;
                return Ok(End::Enough);
            }
        }
        output.flush()?;
        if committed_at.elapsed() >= COMMIT_EVERY {
            consumed.commit(client, args.group.as_deref()).await?;
            committed_at = clock::now();
        }
    }
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

/// What was printed, and how far that goes in each queue.
#[derive(Debug)]
struct Consumed {
    topic: Topic,
    messages: u64,
    /// Offset behind the last message printed, of the queues where that is not committed yet.
    uncommitted: BTreeMap<MessageQueue, i64>,
}

impl Consumed {
    fn add(&mut self, message: &MessageExt) {
        self.messages += 1;
        let queue = MessageQueue {
            topic: self.topic.clone(),
            broker_name: Arc::clone(&message.broker_name),
            queue_id: message.queue_id,
        };
        self.uncommitted.insert(queue, message.queue_offset + 1);
    }

    /// Commits for the group, where there is one.
    async fn commit(&mut self, client: &Client, group: Option<&str>) -> Result<(), Failure> {
        if let Some(group) = group {
            let admin = client.admin();
            for (queue, offset) in &self.uncommitted {
                admin.update_consumer_offset(group, queue, *offset).await?;
            }
            self.uncommitted.clear();
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
