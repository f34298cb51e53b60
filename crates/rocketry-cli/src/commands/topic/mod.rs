//! `rocketry topic`: list, create, change, inspect and delete topics.

mod create;

use std::collections::BTreeMap;

use rocketry::{Admin, QueueStats, TopicChange};
use rocketry_protocol::topic::{DEAD_LETTER_PREFIX, RETRY_PREFIX, is_system};
use serde::Serialize;

use crate::{
    args::{Global, Perm, Report, ReportFormat, Topic, Where},
    commands::{CLOSE_WITHIN, connect},
    failure::Failure,
    output::{self, Column, Output},
    units::local_time,
};

/// Runs one of the topic commands.
///
/// # Errors
/// What the cluster answered, or that it did not.
pub(crate) async fn run(command: Topic, global: &Global) -> Result<(), Failure> {
    let client = connect(global).await?;
    let admin = client.admin();
    let mut output = Output::stdout();
    match command {
        Topic::List { all, format } => list(&admin, all, format, &mut output).await,
        Topic::Create {
            topic,
            queues,
            settings,
            place,
            format,
        } => create::run(&admin, &topic, queues, settings, place, format, &mut output).await,
        Topic::Update {
            topic,
            queues,
            settings,
            place,
            format,
        } => {
            let change = TopicChange {
                read_queues: settings.read_queues.or(queues).map(number),
                write_queues: settings.write_queues.or(queues).map(number),
                perm: settings.perm.map(Perm::bits),
                order: settings.order,
                attributes: attributes(&settings.attributes),
            };
            update(&admin, &topic, &change, place, format, &mut output).await
        }
        Topic::Groups { topic, format } => groups(&admin, &topic, format, &mut output).await,
        Topic::Route { topic, format } => route(&admin, &topic, format, &mut output).await,
        Topic::Stats { topic, format } => stats(&admin, &topic, format, &mut output).await,
        Topic::Delete {
            topic,
            cluster,
            yes,
            format,
        } => delete(&admin, &topic, cluster.as_deref(), yes, format, &mut output).await,
    }?;
    output.flush()?;
    client.shutdown(CLOSE_WITHIN).await;
    Ok(())
}

async fn list(
    admin: &Admin,
    all: bool,
    format: Report,
    output: &mut Output,
) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Topics {
        topics: Vec<String>,
    }
    let mut topics = admin.topics().await?;
    if !all {
        // Brokers make a topic of their own name and of their cluster's.
        let cluster = admin.cluster_info().await?;
        topics.retain(|topic| {
            !made_by_the_system(topic)
                && !cluster.broker_addr_table.contains_key(topic)
                && !cluster.cluster_addr_table.contains_key(topic)
        });
    }
    match format.output {
        ReportFormat::Json => output.pretty_json(&Topics { topics }),
        ReportFormat::Text if topics.is_empty() => {
            output::note(
                "no topics yet; `rocketry topic create NAME` makes one, and so does a send",
            );
            Ok(())
        }
        ReportFormat::Text => topics.iter().try_for_each(|topic| output.line(topic)),
    }
}

fn made_by_the_system(topic: &str) -> bool {
    is_system(topic)
        || topic.starts_with(RETRY_PREFIX)
        || topic.starts_with(DEAD_LETTER_PREFIX)
        || topic.ends_with("_REPLY_TOPIC")
}

fn number(n: u32) -> i32 {
    i32::try_from(n).unwrap_or(i32::MAX)
}

/// Settings as brokers read them: `+key=value,+key=value`.
fn attributes(settings: &[(String, String)]) -> Option<String> {
    let added: Vec<_> = settings
        .iter()
        .map(|(key, value)| format!("+{key}={value}"))
        .collect();
    Some(added.join(",")).filter(|text| !text.is_empty())
}

async fn update(
    admin: &Admin,
    topic: &str,
    change: &TopicChange,
    place: Where,
    format: Report,
    output: &mut Output,
) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Updated<'a> {
        topic: &'a str,
        brokers: Vec<String>,
    }
    if *change == TopicChange::default() {
        return Err(
            Failure::usage(format!("nothing to change of topic {topic} was given"))
                .hint("rocketry topic update --help lists the settings"),
        );
    }
    let brokers = admin.update_topic(topic, change, &place.brokers()).await?;
    match format.output {
        ReportFormat::Json => output.pretty_json(&Updated { topic, brokers }),
        ReportFormat::Text => brokers
            .iter()
            .try_for_each(|broker| output.line(format_args!("updated {topic} on {broker}"))),
    }
}

async fn groups(
    admin: &Admin,
    topic: &str,
    format: Report,
    output: &mut Output,
) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Groups<'a> {
        topic: &'a str,
        groups: Vec<String>,
    }
    let mut groups = admin.groups_of_topic(topic).await?;
    groups.retain(|group| !super::group::made_by_the_system(group));
    match format.output {
        ReportFormat::Json => output.pretty_json(&Groups { topic, groups }),
        ReportFormat::Text if groups.is_empty() => {
            output::note(format_args!(
                "no group consumes {topic} or has offsets of it"
            ));
            Ok(())
        }
        ReportFormat::Text => groups.iter().try_for_each(|group| output.line(group)),
    }
}

async fn stats(
    admin: &Admin,
    topic: &str,
    format: Report,
    output: &mut Output,
) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Stats<'a> {
        topic: &'a str,
        messages: i64,
        queues: Vec<Queue<'a>>,
    }
    #[derive(Serialize)]
    #[allow(clippy::struct_field_names, reason = "the name is the key in JSON")]
    struct Queue<'a> {
        broker: &'a str,
        queue_id: i32,
        min_offset: i64,
        max_offset: i64,
        messages: i64,
        last_update_ms: Option<i64>,
    }
    fn queue(stats: &QueueStats) -> Queue<'_> {
        Queue {
            broker: &stats.queue.broker_name,
            queue_id: stats.queue.queue_id,
            min_offset: stats.min_offset,
            max_offset: stats.max_offset,
            messages: stats.max_offset - stats.min_offset,
            last_update_ms: Some(stats.last_update_ms).filter(|ms| *ms > 0),
        }
    }
    let found = admin.topic_stats(topic).await?;
    let queues: Vec<_> = found.iter().map(queue).collect();
    let messages = queues.iter().map(|queue| queue.messages).sum();
    if format.output == ReportFormat::Json {
        return output.pretty_json(&Stats {
            topic,
            messages,
            queues,
        });
    }
    let columns = [
        Column::Text("BROKER"),
        Column::Number("QUEUE"),
        Column::Number("MIN OFFSET"),
        Column::Number("MAX OFFSET"),
        Column::Number("MESSAGES"),
        Column::Text("LAST MESSAGE"),
    ];
    let rows = queues
        .iter()
        .map(|queue| {
            vec![
                queue.broker.to_owned(),
                queue.queue_id.to_string(),
                queue.min_offset.to_string(),
                queue.max_offset.to_string(),
                queue.messages.to_string(),
                queue
                    .last_update_ms
                    .map_or_else(|| "never".to_owned(), local_time),
            ]
        })
        .collect();
    output.table(&columns, rows)
}

async fn route(
    admin: &Admin,
    topic: &str,
    format: Report,
    output: &mut Output,
) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Row<'a> {
        cluster: &'a str,
        broker: &'a str,
        addresses: Option<&'a BTreeMap<i64, String>>,
        read_queues: i32,
        write_queues: i32,
        perm: &'static str,
    }
    #[derive(Serialize)]
    struct Route<'a> {
        topic: &'a str,
        brokers: Vec<Row<'a>>,
    }
    let found = admin.topic_route(topic).await?;
    let brokers: Vec<_> = found
        .queue_datas
        .iter()
        .map(|queues| {
            let broker = found
                .broker_datas
                .iter()
                .find(|broker| broker.broker_name == queues.broker_name);
            Row {
                cluster: broker.map_or("", |broker| &broker.cluster),
                broker: &queues.broker_name,
                addresses: broker.map(|broker| &broker.broker_addrs),
                read_queues: queues.read_queue_nums,
                write_queues: queues.write_queue_nums,
                perm: permission(queues.perm),
            }
        })
        .collect();
    if format.output == ReportFormat::Json {
        return output.pretty_json(&Route { topic, brokers });
    }
    let columns = [
        Column::Text("CLUSTER"),
        Column::Text("BROKER"),
        Column::Text("ADDRESSES"),
        Column::Number("READ QUEUES"),
        Column::Number("WRITE QUEUES"),
        Column::Text("PERM"),
    ];
    let rows = brokers
        .iter()
        .map(|row| {
            let addresses: Vec<_> = row
                .addresses
                .into_iter()
                .flatten()
                .map(|(id, address)| format!("{id}={address}"))
                .collect();
            vec![
                row.cluster.to_owned(),
                row.broker.to_owned(),
                addresses.join(","),
                row.read_queues.to_string(),
                row.write_queues.to_string(),
                row.perm.to_owned(),
            ]
        })
        .collect();
    output.table(&columns, rows)
}

const fn permission(bits: i32) -> &'static str {
    match (bits & 4 != 0, bits & 2 != 0) {
        (true, true) => "rw",
        (true, false) => "r",
        (false, true) => "w",
        (false, false) => "none",
    }
}

async fn delete(
    admin: &Admin,
    topic: &str,
    cluster: Option<&str>,
    yes: bool,
    format: Report,
    output: &mut Output,
) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Deleted<'a> {
        deleted: &'a str,
    }
    if !yes
        && output::confirm(&format!("Delete topic {topic} and all its messages?")) == Some(false)
    {
        return Err(Failure::new(format!("topic {topic} was not deleted")));
    }
    // Brokers confirm the deletion of a topic that they do not have; a misspelt name should not look like a success.
    admin.topic_route(topic).await?;
    match cluster {
        Some(cluster) => admin.delete_topic_of_cluster(topic, cluster).await?,
        None => admin.delete_topic(topic).await?,
    }
    match format.output {
        ReportFormat::Json => output.pretty_json(&Deleted { deleted: topic }),
        ReportFormat::Text => output.line(format_args!("deleted {topic}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_of_the_system_are_told_apart() {
        for topic in [
            "%RETRY%g",
            "%DLQ%g",
            "TBW102",
            "RMQ_SYS_TRACE_TOPIC",
            "rmq_sys_wheel_timer",
            "DefaultCluster_REPLY_TOPIC",
        ] {
            assert!(made_by_the_system(topic), "{topic}");
        }
        assert!(!made_by_the_system("Orders"));
    }

    #[test]
    fn permissions() {
        assert_eq!(
            [6, 4, 2, 0, 7].map(permission),
            ["rw", "r", "w", "none", "rw"]
        );
    }
}
