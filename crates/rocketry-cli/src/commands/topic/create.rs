//! `rocketry topic create`: on each broker, which may have the topic already.

use rocketry::{Admin, ErrorKind, TopicOptions};
use serde::Serialize;

use super::{attributes, number};
use crate::{
    args::{Perm, Report, ReportFormat, TopicSettings, Where},
    failure::Failure,
    output::Output,
    units::counted,
};

/// Queues of a new topic, on each broker.
const QUEUES: i32 = 8;

/// Creates a topic or replaces its settings, but for a number of queues that nobody gave.
///
/// # Errors
/// A broker did not take it.
pub(super) async fn run(
    admin: &Admin,
    topic: &str,
    queues: Option<u32>,
    settings: TopicSettings,
    place: Where,
    format: Report,
    output: &mut Output,
) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Created<'a> {
        topic: &'a str,
        read_queues: i32,
        write_queues: i32,
        perm: i32,
        brokers: &'a [String],
        replaced: Vec<&'a str>,
        failures: Vec<String>,
    }
    let held = held(admin, topic, &place).await?;
    let most = |of: fn(&Queues) -> i32| held.iter().map(|held| of(&held.queues)).max();
    let given =
        |own: Option<u32>, most: Option<i32>| own.or(queues).map(number).or(most).unwrap_or(QUEUES);
    let after = Queues {
        read: given(settings.read_queues, most(|queues| queues.read)),
        write: given(settings.write_queues, most(|queues| queues.write)),
    };
    let options = TopicOptions {
        read_queues: after.read,
        write_queues: after.write,
        perm: settings.perm.unwrap_or(Perm::Rw).bits(),
        order: settings.order.unwrap_or(false),
        attributes: attributes(&settings.attributes),
        cluster: place.cluster,
        broker: place.broker,
    };
    let created = admin.create_topic_on_each(topic, &options).await?;
    let before = |address: &String| held.iter().find(|held| held.address == *address);
    match format.output {
        ReportFormat::Json => output.pretty_json(&Created {
            topic,
            read_queues: after.read,
            write_queues: after.write,
            perm: options.perm,
            brokers: &created.brokers,
            replaced: created
                .brokers
                .iter()
                .filter(|address| before(address).is_some())
                .map(String::as_str)
                .collect(),
            failures: created.failures.iter().map(ToString::to_string).collect(),
        })?,
        ReportFormat::Text => {
            for address in &created.brokers {
                output.line(match before(address) {
                    None => format!("created {topic} on {address} with {} queues", after.write),
                    Some(held) => format!(
                        "replaced the settings of {topic} on {address} ({})",
                        difference(held.queues, after)
                    ),
                })?;
            }
        }
    }
    // What was created is said before what was not.
    output.flush()?;
    let failures = created.failures.into_iter().map(|error| {
        let broker = error.broker().unwrap_or("a broker").to_owned();
        Failure::from(error).during(format_args!("not created on {broker}"))
    });
    Failure::of_all(failures).map_or(Ok(()), Err)
}

/// How many queues a topic has on a broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Queues {
    read: i32,
    write: i32,
}

/// A broker's part of a topic that exists.
struct Held {
    address: String,
    queues: Queues,
}

/// Which of the masters meant have the topic already.
async fn held(admin: &Admin, topic: &str, place: &Where) -> Result<Vec<Held>, Failure> {
    let route = match admin.topic_route(topic).await {
        Err(error) if error.kind() == ErrorKind::TopicNotFound => return Ok(Vec::new()),
        route => route?,
    };
    let mut held = Vec::new();
    for mut broker in route.broker_datas {
        let queues = route
            .queue_datas
            .iter()
            .find(|queues| queues.broker_name == broker.broker_name);
        let (Some(queues), Some(address)) = (queues, broker.broker_addrs.remove(&0)) else {
            continue;
        };
        let is_meant = match (&place.broker, &place.cluster) {
            (Some(meant), _) => *meant == broker.broker_name || *meant == address,
            (None, Some(cluster)) => *cluster == broker.cluster,
            (None, None) => true,
        };
        if is_meant {
            held.push(Held {
                address,
                queues: Queues {
                    read: queues.read_queue_nums,
                    write: queues.write_queue_nums,
                },
            });
        }
    }
    Ok(held)
}

/// What becomes of the queues, and of what is in those that go.
fn difference(before: Queues, after: Queues) -> String {
    let change = |before, after| format!("queues {before} -> {after}");
    let mut text = if before == after {
        counted(after.read.unsigned_abs().into(), "queue")
    } else if before.read == before.write && after.read == after.write {
        change(before.read, after.read)
    } else {
        [
            ("read", before.read, after.read),
            ("write", before.write, after.write),
        ]
        .into_iter()
        .filter(|(_, before, after)| before != after)
        .map(|(kind, before, after)| format!("{kind} {}", change(before, after)))
        .collect::<Vec<_>>()
        .join(", ")
    };
    if after.read < before.read {
        let last = before.read - 1;
        let gone = if after.read == last {
            format!("queue {last}")
        } else {
            format!("queues {} to {last}", after.read)
        };
        text.push_str(": messages of ");
        text.push_str(&gone);
        text.push_str(" are not read any more");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queues_that_go_are_named() {
        let of = |before: (i32, i32), after: (i32, i32)| {
            let queues = |(read, write)| Queues { read, write };
            difference(queues(before), queues(after))
        };
        assert_eq!(of((8, 8), (8, 8)), "8 queues");
        assert_eq!(of((8, 8), (16, 16)), "queues 8 -> 16");
        assert_eq!(
            of((16, 16), (8, 8)),
            "queues 16 -> 8: messages of queues 8 to 15 are not read any more"
        );
        assert_eq!(
            of((2, 2), (1, 2)),
            "read queues 2 -> 1: messages of queue 1 are not read any more"
        );
        assert_eq!(
            of((2, 4), (4, 2)),
            "read queues 2 -> 4, write queues 4 -> 2"
        );
    }
}
