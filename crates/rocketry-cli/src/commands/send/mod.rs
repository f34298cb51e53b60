//! `rocketry send`: cut the input into messages, send them in the chosen mode, report each.

mod explain;
mod input;
mod report;
mod sender;
mod template;

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, IsTerminal, Read},
    path::Path,
};

use bytes::Bytes;
use rocketry::{AutoBatch, Compression, Message, MessageQueue, ProducerConfig, Topic, TraceConfig};
use tokio::{sync::mpsc, task::JoinSet};

use crate::{
    args::{self, Codec, Global, InputFormat, Mode, ResultFormat},
    clock,
    commands::{CLOSE_WITHIN, connect},
    failure::Failure,
    output::{self, Output},
    progress::{Progress, Unit},
    signals::Signals,
};
use explain::Explanation;
use input::{Chunk, Content, Item};
use report::{Outcome, Report};
use sender::{Gathering, Sendable, Sender, Sent, Target};
use template::Template;

/// Sends what the arguments describe.
///
/// # Errors
/// The input could not be read, or any message failed.
pub(crate) async fn run(args: args::Send, global: &Global) -> Result<(), Failure> {
    let template = Template::new(&args)?;
    let target = target(&args)?;
    let (mut source, total_bytes) = Source::open(&args)?;
    let single = args.body.is_some() && args.count.is_none_or(|count| count == 1);
    let alone = single && !args.auto_batch;
    let mode = args
        .mode
        .unwrap_or(if alone { Mode::Sync } else { Mode::Async });
    check_mode(&args, mode)?;

    let client = connect(global).await?;
    let mut builder = client.producer(&args.group).config(config(&args));
    if args.transaction.is_some() {
        builder = sender::transactional(builder);
    }
    let explanation = args.explain.then(Explanation::default);
    if let Some(explanation) = &explanation {
        builder = builder.observer(explanation.clone());
    }
    let sender = Sender {
        producer: builder.await?,
        target,
        mode,
        transaction: args.transaction.map(args::Transaction::decision),
    };
    // Stages are told apart by their order: what is explained is sent one by one.
    let window = if mode == Mode::Async && !args.explain {
        args.in_flight
    } else {
        1
    };
    let each = single || args.explain;
    let mut report = Report::new(Some(Output::stdout()), args.output, mode, each);
    let mut progress = match total_bytes {
        Some(bytes) => Progress::new(Unit::Bytes, Some(bytes)),
        None if args.body.is_some() => Progress::new(Unit::Messages, args.count),
        None => Progress::new(Unit::Bytes, None),
    }
    // Results that scroll by on the same terminal show the progress themselves.
    .shown(args.output == ResultFormat::Text && !args.explain || !io::stdout().is_terminal());
    let started = clock::now();

    let mut gathering = Gathering::new(args.batch.unwrap_or(1) as usize);
    let mut ready = VecDeque::new();
    let mut in_flight = JoinSet::new();
    let mut ended = Ended::No;
    let mut input_error = None;
    let mut signals = Signals::new()?;
    let mut interrupted = false;
    loop {
        tokio::select! {
            biased;
            signal = signals.next(), if ended == Ended::No || !in_flight.is_empty() => {
                if interrupted {
                    progress.clear();
                    return Err(Failure::new(format!(
                        "{signal} again: ended at once; what was in flight may be stored"
                    )));
                }
                interrupted = true;
                if ended == Ended::No || !ready.is_empty() {
                    ended = Ended::Interrupted;
                }
            }
            Some(done) = in_flight.join_next() => {
                let mut next = Some(done);
                while let Some(done) = next {
                    let stages = explanation.as_ref().map(Explanation::take);
                    report.add_request(joined(done)?, stages)?;
                    next = in_flight.try_join_next();
                }
                report.flush()?;
            }
            item = source.next(), if ended == Ended::No && ready.is_empty() && in_flight.len() < window as usize => {
                ready.extend(match item {
                    Ok(Some(item)) => {
                        let line = item.line;
                        match message(&template, source.format, item) {
                            Ok(message) => gathering.add(Sendable { line, message }),
                            Err(reason) => {
                                report.add(line, &args.topic, Outcome::BadInput(reason), None)?;
                                Vec::new()
                            }
                        }
                    }
                    Ok(None) => {
                        ended = Ended::Input;
                        gathering.rest()
                    }
                    Err(error) => {
                        input_error = Some(error);
                        ended = Ended::Input;
                        gathering.rest()
                    }
                });
            }
            else => break,
        }
        if ended == Ended::No && !args.keep_going && report.is_hopeless(window) {
            ended = Ended::GivenUp;
        }
        if matches!(ended, Ended::GivenUp | Ended::Interrupted) {
            ready.clear();
        }
        // One message can complete two batches.
        while in_flight.len() < window as usize
            && let Some(messages) = ready.pop_front()
        {
            sender.start(messages, &mut in_flight).await;
        }
        progress.update(
            if args.body.is_some() {
                report.done()
            } else {
                source.position
            },
            || format!("{} sent", report.done()),
        );
    }
    progress.clear();
    report.finish()?;
    client.shutdown(CLOSE_WITHIN).await;
    // An input that cannot be read at all has nothing to sum up.
    if !single && (input_error.is_none() || report.done() > 0) {
        output::note(report.summary(&args.topic, source.empty, started.elapsed()));
    }
    if let Some(failure) = report.failure(ended == Ended::GivenUp) {
        return Err(failure);
    }
    match (input_error, ended) {
        (Some(error), _) => Err(read_failed(&args, &error)),
        (None, Ended::Interrupted) => Err(Failure::new(
            "interrupted; what was sent until then is counted above",
        )),
        (None, _) => Ok(()),
    }
}

/// Why no more messages are started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    No,
    Input,
    Interrupted,
    GivenUp,
}

fn joined(done: Result<Vec<Sent>, tokio::task::JoinError>) -> Result<Vec<Sent>, Failure> {
    done.map_err(|error| Failure::new(format!("a send ended unexpectedly: {error}")))
}

fn message(template: &Template, format: InputFormat, item: Item) -> Result<Message, String> {
    match item.content {
        Content::TooLong(bytes) => Err(format!("{bytes} bytes are more than any message can have")),
        Content::Bytes(bytes) => match format {
            InputFormat::Lines | InputFormat::Raw => Ok(template.message(bytes)),
            InputFormat::Jsonl => template.message_from_json(&bytes),
        },
    }
}

fn target(args: &args::Send) -> Result<Target, Failure> {
    if let Some(key) = &args.shard {
        return Ok(Target::Shard(key.as_str().into()));
    }
    if let Some(key) = &args.strict_shard {
        return Ok(Target::StrictShard(key.as_str().into()));
    }
    let Some(queue) = &args.queue else {
        return Ok(Target::Any);
    };
    let topic = Topic::new(&args.topic).map_err(|error| Failure::new(error.to_string()))?;
    Ok(Target::Queue(MessageQueue {
        topic,
        broker_name: queue.broker.as_str().into(),
        queue_id: queue.id,
    }))
}

/// Not every mode goes with every option.
fn check_mode(args: &args::Send, mode: Mode) -> Result<(), Failure> {
    let wants_an_answer = [
        ("--transaction", args.transaction.is_some()),
        ("--batch", args.batch.is_some()),
        ("--auto-batch", args.auto_batch),
        ("--trace", args.trace),
    ];
    let option = wants_an_answer
        .into_iter()
        .find_map(|(option, given)| given.then_some(option));
    match (mode, option) {
        (Mode::Oneway, Some(option)) => Err(Failure::usage(format!(
            "{option} does not go with --mode oneway: it needs the broker's answers"
        ))),
        (Mode::Sync, _) if args.auto_batch => Err(Failure::usage(
            "--auto-batch gathers what is in flight together, and --mode sync sends one after the other",
        )
        .hint("use --mode async")),
        _ => Ok(()),
    }
}

fn config(args: &args::Send) -> ProducerConfig {
    let mut config = ProducerConfig::default();
    config.timeout = args.timeout;
    config.in_flight_messages = config.in_flight_messages.max(args.in_flight as usize);
    if let Some(codec) = args.compress {
        config.compression = compression(codec);
        config.compress_from_bytes = 1;
    }
    config.auto_batch = args.auto_batch.then(AutoBatch::default);
    config.trace = args.trace.then(TraceConfig::default);
    config
}

/// What the client calls a codec of the command line.
pub(super) fn compression(codec: Codec) -> Option<Compression> {
    match codec {
        Codec::Zlib => Some(Compression::Zlib),
        Codec::Lz4 => Some(Compression::Lz4),
        Codec::Zstd => Some(Compression::Zstd),
        Codec::None => None,
    }
}

fn read_failed(args: &args::Send, error: &io::Error) -> Failure {
    match args.file.as_deref().filter(|path| *path != Path::new("-")) {
        Some(path) => Failure::file("read", path, error),
        None => Failure::new(format!("cannot read stdin: {error}")),
    }
}

/// Where messages come from.
struct Source {
    kind: Kind,
    format: InputFormat,
    /// Messages that may still be taken.
    left: u64,
    /// Lines without content that were left out.
    empty: u64,
    /// Bytes of the input read so far.
    position: u64,
}

enum Kind {
    /// The same body again and again.
    Body { body: Bytes, line: u64 },
    /// What a thread reads.
    Input {
        chunks: mpsc::Receiver<io::Result<Chunk>>,
        items: VecDeque<Item>,
    },
}

impl Source {
    /// Opens the input; also says how many bytes it has, where that is known.
    fn open(args: &args::Send) -> Result<(Self, Option<u64>), Failure> {
        let mut source = Self {
            kind: Kind::Body {
                body: Bytes::new(),
                line: 0,
            },
            format: args.format.unwrap_or(InputFormat::Lines),
            left: args.count.unwrap_or(u64::MAX),
            empty: 0,
            position: 0,
        };
        if let Some(body) = &args.body {
            source.kind = Kind::Body {
                body: Bytes::from(body.clone()),
                line: 0,
            };
            source.left = args.count.unwrap_or(1);
            return Ok((source, None));
        }
        let mut bytes = None;
        let reader: Box<dyn Read + Send> =
            match args.file.as_deref().filter(|path| *path != Path::new("-")) {
                Some(path) => {
                    let file =
                        File::open(path).map_err(|error| Failure::file("open", path, &error))?;
                    bytes = file
                        .metadata()
                        .ok()
                        .filter(std::fs::Metadata::is_file)
                        .map(|metadata| metadata.len());
                    Box::new(file)
                }
                None => Box::new(io::stdin()),
            };
        let chunks = input::start(reader, source.format).map_err(|error| {
            Failure::new(format!("cannot start a thread to read the input: {error}"))
        })?;
        source.kind = Kind::Input {
            chunks,
            items: VecDeque::new(),
        };
        Ok((source, bytes))
    }

    /// The next message; `None` at the end. Cancel safe.
    async fn next(&mut self) -> io::Result<Option<Item>> {
        if self.left == 0 {
            return Ok(None);
        }
        let item = match &mut self.kind {
            Kind::Body { body, line } => {
                *line += 1;
                Item {
                    line: *line,
                    content: Content::Bytes(body.clone()),
                }
            }
            Kind::Input { chunks, items } => loop {
                if let Some(item) = items.pop_front() {
                    break item;
                }
                let Some(chunk) = chunks.recv().await.transpose()? else {
                    return Ok(None);
                };
                self.empty = chunk.empty;
                self.position = chunk.position;
                items.extend(chunk.items);
            },
        };
        self.left -= 1;
        Ok(Some(item))
    }
}
