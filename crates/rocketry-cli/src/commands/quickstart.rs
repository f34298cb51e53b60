//! `rocketry quickstart`: server, three ways to send, and proof that everything arrived, in one process.

use std::{fmt::Write as _, sync::Arc, time::Duration};

use rocketry::{Client, Message, Reader};
use rocketry_server::Server;

use crate::{
    args::{Mode, PRODUCER_GROUP, Quickstart},
    clock,
    commands::CLOSE_WITHIN,
    failure::Failure,
    load::{Limit, Load, Outcome},
    output::{self, Column, Output},
    progress::{Progress, Unit},
    signals::Signals,
    units::readable,
};

const TOPIC: &str = "Quickstart";
const MODES: [Mode; 3] = [Mode::Sync, Mode::Async, Mode::Oneway];
/// Messages in flight in mode async.
const IN_FLIGHT: u32 = 256;
/// A message that has not arrived after such a silence does not arrive.
const SILENCE: Duration = Duration::from_secs(5);

/// Runs the tour.
///
/// # Errors
/// Anything that failed, or a difference between what was sent and what was read.
pub(crate) async fn run(args: &Quickstart) -> Result<(), Failure> {
    let started = clock::now();
    let mut signals = Signals::new()?;
    let server = Server::start_temp().await?;
    let name_server = server.namesrv_addr().to_owned();
    output::note(format_args!(
        "server: name server {name_server}, broker {}, data in {}, ready after {}",
        server.broker_addr(),
        server.data_dir().display(),
        readable(started.elapsed())
    ));
    let toured = tokio::select! {
        biased;
        signal = signals.next() => Err(Failure::new(format!("{signal}: stopped before the end"))),
        toured = tour(&name_server, args) => toured,
    };
    // Whatever happened: the data is in a temporary directory, which goes with this.
    let stopped = server.shutdown(CLOSE_WITHIN).await;
    let (outcomes, found) = toured?;
    stopped?;

    let mut output = Output::stdout();
    output.table(&COLUMNS, rows(&outcomes, &found))?;
    output.flush()?;
    if let Some(difference) = difference(&found) {
        return Err(Failure::new(difference));
    }
    output::note(format_args!(
        "\nAll {} messages were read back, equal to what was sent. Go on with:\n",
        args.count * MODES.len() as u64
    ));
    let program = program();
    for (arguments, what) in [
        ("serve --temp", "a server of your own, until Ctrl-C"),
        ("send Greetings hello", "in another terminal"),
        ("consume Greetings --wait 1s", "and back"),
        ("send --help", "files, JSON, tags, keys, three modes"),
    ] {
        output::note(format_args!("  {program} {arguments:<30} {what}"));
    }
    Ok(())
}

/// Sends in each mode, then reads everything back.
async fn tour(name_server: &str, args: &Quickstart) -> Result<([Outcome; 3], [Found; 3]), Failure> {
    let client = Client::connect(name_server).await?;
    let toured = async {
        let outcomes = send(&client, args).await?;
        let found = read_back(client.reader(TOPIC).await?, args).await?;
        Ok((outcomes, found))
    };
    let toured = toured.await;
    client.shutdown(CLOSE_WITHIN).await;
    toured
}

/// How this program was called: `cargo run` leaves it where no shell looks for it.
fn program() -> String {
    let called = std::env::args().next();
    let is_path = |called: &String| std::path::Path::new(called).components().count() > 1;
    called
        .filter(is_path)
        .unwrap_or_else(|| "rocketry".to_owned())
}

const COLUMNS: [Column; 7] = [
    Column::Text("MODE"),
    Column::Number("SENT"),
    Column::Number("ACKNOWLEDGED"),
    Column::Number("READ BACK"),
    Column::Number("MSGS/S"),
    Column::Number("P50"),
    Column::Number("P99"),
];

async fn send(client: &Client, args: &Quickstart) -> Result<[Outcome; 3], Failure> {
    let producer = client.producer(PRODUCER_GROUP).topics([TOPIC]).await?;
    let mut outcomes = Vec::with_capacity(MODES.len());
    for mode in MODES {
        let (count, size) = (args.count, args.size);
        let load = Load {
            producers: Arc::from([producer.clone()]),
            mode,
            concurrency: if mode == Mode::Async { IN_FLIGHT } else { 1 },
            batch: 1,
            limit: Limit::Count(count),
            rate: None,
            message: move |number| Message::new(TOPIC, body(mode, number, size)).tag(mode.name()),
        };
        let mut progress = Progress::new(Unit::Messages, Some(count));
        let outcome = load
            .run(|done, _| progress.update(done, || format!("sent, {}", mode.name())))
            .await;
        if let Some(error) = outcome.first_error {
            let failed = format!(
                "{} of {count} sends failed in mode {}",
                outcome.failed,
                mode.name()
            );
            return Err(Failure::from(error).during(failed));
        }
        outcomes.push(outcome);
    }
    outcomes
        .try_into()
        .map_err(|_| Failure::new("a mode is missing"))
}

/// What was read back of one mode.
#[derive(Debug, Clone, Default)]
struct Found {
    /// Whether the message of each number was seen.
    seen: Vec<bool>,
    equal: u64,
    twice: u64,
    different: u64,
}

/// Reads until every message was seen, or nothing comes any more.
async fn read_back(mut reader: Reader, args: &Quickstart) -> Result<[Found; 3], Failure> {
    let count = usize::try_from(args.count).map_err(|_| Failure::usage("--count is too large"))?;
    let mut found: [Found; 3] = std::array::from_fn(|_| Found {
        seen: vec![false; count],
        ..Found::default()
    });
    let mut progress = Progress::new(Unit::Messages, Some(args.count * 3));
    let mut left = args.count * 3;
    while left > 0 {
        let batch = reader.next_batch(SILENCE).await?;
        if batch.is_empty() {
            break;
        }
        for message in batch {
            left = left.saturating_sub(1);
            let tag = message.properties.get(rocketry::property::TAGS);
            let Some((mode, found)) = MODES
                .iter()
                .zip(&mut found)
                .find(|(mode, _)| tag == Some(mode.name()))
            else {
                continue;
            };
            match number(&message.body)
                .filter(|number| message.body == body(*mode, *number, args.size))
            {
                None => found.different += 1,
                Some(number) => match usize::try_from(number)
                    .ok()
                    .and_then(|index| found.seen.get_mut(index))
                {
                    None => found.different += 1,
                    Some(seen) if *seen => found.twice += 1,
                    Some(seen) => {
                        *seen = true;
                        found.equal += 1;
                    }
                },
            }
        }
        progress.update(args.count * 3 - left, || "read back".to_owned());
    }
    Ok(found)
}

fn rows(outcomes: &[Outcome; 3], found: &[Found; 3]) -> Vec<Vec<String>> {
    MODES
        .iter()
        .zip(outcomes)
        .zip(found)
        .map(|((mode, outcome), found)| {
            vec![
                mode.name().to_owned(),
                outcome.sent.to_string(),
                if *mode == Mode::Oneway {
                    "n/a".to_owned()
                } else {
                    outcome.sent.to_string()
                },
                found.equal.to_string(),
                format!("{:.0}", outcome.rate()),
                readable(outcome.latencies.percentile(50.0)),
                readable(outcome.latencies.percentile(99.0)),
            ]
        })
        .collect()
}

/// What is wrong, if anything.
fn difference(found: &[Found; 3]) -> Option<String> {
    let mut text = String::new();
    for (mode, found) in MODES.iter().zip(found) {
        let missing = found.seen.iter().filter(|seen| !**seen).count();
        let numbers = [
            (missing as u64, "messages are missing"),
            (found.twice, "messages were read twice"),
            (found.different, "messages differ from what was sent"),
        ];
        for (number, what) in numbers.iter().filter(|(number, _)| *number > 0) {
            let _ = write!(text, "\n  {}: {number} {what}", mode.name());
        }
    }
    (!text.is_empty()).then(|| format!("what was read back is not what was sent:{text}"))
}

/// The body of a number: recognisable, of the given size where that is enough for the number, and different from all others.
fn body(mode: Mode, number: u64, size: usize) -> Vec<u8> {
    let mut body = format!("{number} {} ", mode.name()).into_bytes();
    let letters = (b'a'..=b'z')
        .cycle()
        .skip(usize::try_from(number % 26).unwrap_or(0));
    body.extend(letters.take(size.saturating_sub(body.len())));
    body
}

fn number(body: &[u8]) -> Option<u64> {
    let end = body.iter().position(|byte| *byte == b' ')?;
    std::str::from_utf8(body.get(..end)?).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_have_their_number_and_size() {
        let one = body(Mode::Sync, 41, 128);
        assert_eq!(one.len(), 128);
        assert_eq!(number(&one), Some(41));
        assert_ne!(one, body(Mode::Async, 41, 128));
        assert_eq!(body(Mode::Oneway, 7, 1), b"7 oneway ");
        assert_eq!(number(b"x sync "), None);
    }
}
