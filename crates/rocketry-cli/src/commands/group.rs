//! `rocketry group`: list, create, inspect, move and delete consumer groups.

use rocketry::{
    Admin, ConsumerConnection, GroupChange, GroupProgress, MessageQueue, ProducerConnection,
    ResetTo, SubscriptionGroupConfig,
};
use rocketry_protocol::topic::SYSTEM_GROUP_PREFIX;
use serde::Serialize;

use crate::{
    args::{Global, Group, GroupSettings, Report, ReportFormat, Where},
    clock,
    commands::{CLOSE_WITHIN, connect},
    failure::Failure,
    output::{self, Column, Output},
    units::{ResetPoint, local_time},
};

/// Runs one of the group commands.
///
/// # Errors
/// What the cluster answered, or that it did not.
pub(crate) async fn run(command: Group, global: &Global) -> Result<(), Failure> {
    let client = connect(global).await?;
    let admin = client.admin();
    let mut output = Output::stdout();
    match command {
        Group::List { all, format } => list(&admin, all, format, &mut output).await,
        Group::Progress {
            group: Some(group),
            topic,
            format,
        } => progress(&admin, &group, topic.as_deref(), format, &mut output).await,
        Group::Progress { format, .. } => overview(&admin, format, &mut output).await,
        Group::Clients {
            group,
            producers: false,
            format,
        } => clients(&admin, &group, format, &mut output).await,
        Group::Clients { group, format, .. } => {
            producers(&admin, &group, format, &mut output).await
        }
        Group::Create {
            group,
            settings,
            place,
            format,
        } => create(&admin, &group, settings, place, format, &mut output).await,
        Group::Reset {
            group,
            topic,
            to,
            yes,
            format,
        } => {
            ask(
                yes,
                &format!("Move group {group} in topic {topic}?"),
                &format!("group {group} was not moved"),
            )?;
            reset(&admin, &group, &topic, to, format, &mut output).await
        }
        Group::Delete {
            group,
            cluster,
            keep_offsets,
            yes,
            format,
        } => {
            ask(
                yes,
                &format!("Delete group {group}, its retry and its dead letters?"),
                &format!("group {group} was not deleted"),
            )?;
            // Brokers confirm the deletion of a group that they do not have.
            must_exist(&admin, &group).await?;
            admin
                .delete_group(&group, cluster.as_deref(), !keep_offsets)
                .await?;
            deleted(&group, format, &mut output)
        }
    }?;
    output.flush()?;
    client.shutdown(CLOSE_WITHIN).await;
    Ok(())
}

/// An answer other than yes ends the command.
fn ask(yes: bool, question: &str, refused: &str) -> Result<(), Failure> {
    if !yes && output::confirm(question) == Some(false) {
        return Err(Failure::new(refused));
    }
    Ok(())
}

/// Groups that brokers and tools make for themselves. Java: `MixAll.isPredefinedGroup`, `isSysConsumerGroup`.
pub(super) fn made_by_the_system(group: &str) -> bool {
    const PREDEFINED: [&str; 9] = [
        "CID_ONSAPI_OWNER",
        "CID_ONSAPI_PERMISSION",
        "CID_ONSAPI_PULL",
        "CID_ONS-HTTP-PROXY",
        "CID_SYS_RMQ_TRANS",
        "DEFAULT_CONSUMER",
        "FILTERSRV_CONSUMER",
        "SELF_TEST_C_GROUP",
        "TOOLS_CONSUMER",
    ];
    group.starts_with(SYSTEM_GROUP_PREFIX) || PREDEFINED.contains(&group)
}

async fn list(
    admin: &Admin,
    all: bool,
    format: Report,
    output: &mut Output,
) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Groups<'a> {
        groups: &'a [SubscriptionGroupConfig],
    }
    let mut groups = admin.groups().await?;
    if !all {
        groups.retain(|group| !made_by_the_system(&group.group_name));
    }
    if format.output == ReportFormat::Json {
        return output.pretty_json(&Groups { groups: &groups });
    }
    if groups.is_empty() {
        output::note(
            "no groups yet; a consumer makes its own, and so does `rocketry group create`",
        );
        return Ok(());
    }
    let columns = [
        Column::Text("GROUP"),
        Column::Text("CONSUME"),
        Column::Text("BROADCAST"),
        Column::Text("ORDER"),
        Column::Number("RETRIES"),
        Column::Number("RETRY QUEUES"),
    ];
    let rows = groups.iter().map(|group| {
        vec![
            group.group_name.clone(),
            yes_or_no(group.consume_enable),
            yes_or_no(group.consume_broadcast_enable),
            yes_or_no(group.consume_message_orderly),
            group.retry_max_times.to_string(),
            group.retry_queue_nums.to_string(),
        ]
    });
    output.table(&columns, rows.collect())
}

fn yes_or_no(value: bool) -> String {
    if value { "yes" } else { "no" }.to_owned()
}

/// One line per group. Java: `mqadmin consumerProgress` without `-g`.
async fn overview(admin: &Admin, format: Report, output: &mut Output) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Groups {
        groups: Vec<Row>,
    }
    #[derive(Serialize)]
    struct Row {
        group: String,
        clients: usize,
        consume_type: Option<String>,
        message_model: Option<String>,
        messages_per_second: f64,
        lag: i64,
    }
    let mut groups = Vec::new();
    for config in admin.groups().await? {
        let group = config.group_name;
        if made_by_the_system(&group) {
            continue;
        }
        let progress = admin.group_progress(&group, None).await?;
        let clients = admin.group_clients(&group).await?.unwrap_or_default();
        groups.push(Row {
            clients: clients.connection_set.len(),
            consume_type: name_of(clients.consume_type.as_ref()),
            message_model: name_of(clients.message_model.as_ref()),
            messages_per_second: progress.messages_per_second,
            lag: progress.lag(),
            group,
        });
    }
    if format.output == ReportFormat::Json {
        return output.pretty_json(&Groups { groups });
    }
    let columns = [
        Column::Text("GROUP"),
        Column::Number("CLIENTS"),
        Column::Text("TYPE"),
        Column::Text("MODEL"),
        Column::Number("MESSAGES/S"),
        Column::Number("LAG"),
    ];
    let rows = groups.into_iter().map(|row| {
        vec![
            row.group,
            row.clients.to_string(),
            row.consume_type.unwrap_or_else(|| "-".to_owned()),
            row.message_model.unwrap_or_else(|| "-".to_owned()),
            format!("{:.1}", row.messages_per_second),
            row.lag.to_string(),
        ]
    });
    output.table(&columns, rows.collect())
}

/// The name that an enumeration has on the wire.
fn name_of<T: Serialize>(value: Option<&T>) -> Option<String> {
    let json = serde_json::to_value(value?).ok()?;
    json.as_str().map(str::to_owned)
}

async fn progress(
    admin: &Admin,
    group: &str,
    topic: Option<&str>,
    format: Report,
    output: &mut Output,
) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Progress<'a> {
        group: &'a str,
        lag: i64,
        messages_per_second: f64,
        queues: Vec<Row<'a>>,
    }
    #[derive(Serialize)]
    struct Row<'a> {
        topic: &'a str,
        broker: &'a str,
        queue_id: i32,
        broker_offset: i64,
        consumer_offset: i64,
        lag: i64,
        in_flight: i64,
        last_consumed_ms: Option<i64>,
    }
    if let Some(topic) = topic {
        admin.topic_route(topic).await?;
    }
    let found: GroupProgress = admin.group_progress(group, topic).await?;
    // Of a topic that they have, brokers show the queues to whatever group.
    if found.queues.iter().all(|one| one.consumer_offset == 0) {
        must_exist(admin, group).await?;
    }
    let queues: Vec<_> = found
        .queues
        .iter()
        .map(|one| Row {
            topic: one.queue.topic.as_str(),
            broker: &one.queue.broker_name,
            queue_id: one.queue.queue_id,
            broker_offset: one.broker_offset,
            consumer_offset: one.consumer_offset,
            lag: one.lag(),
            in_flight: one.in_flight(),
            last_consumed_ms: Some(one.last_consumed_ms).filter(|ms| *ms > 0),
        })
        .collect();
    if format.output == ReportFormat::Json {
        return output.pretty_json(&Progress {
            group,
            lag: found.lag(),
            messages_per_second: found.messages_per_second,
            queues,
        });
    }
    if queues.is_empty() {
        output::note(format_args!("group {group} has not consumed anything yet"));
        return Ok(());
    }
    let columns = [
        Column::Text("TOPIC"),
        Column::Text("BROKER"),
        Column::Number("QUEUE"),
        Column::Number("BROKER OFFSET"),
        Column::Number("CONSUMER OFFSET"),
        Column::Number("LAG"),
        Column::Number("IN FLIGHT"),
        Column::Text("LAST CONSUMED"),
    ];
    let mut rows: Vec<_> = queues
        .iter()
        .map(|row| {
            vec![
                row.topic.to_owned(),
                row.broker.to_owned(),
                row.queue_id.to_string(),
                row.broker_offset.to_string(),
                row.consumer_offset.to_string(),
                row.lag.to_string(),
                row.in_flight.to_string(),
                row.last_consumed_ms
                    .map_or_else(|| "-".to_owned(), local_time),
            ]
        })
        .collect();
    let in_flight: i64 = queues.iter().map(|row| row.in_flight).sum();
    let blank = String::new;
    rows.push(vec![
        "total".to_owned(),
        blank(),
        blank(),
        blank(),
        blank(),
        found.lag().to_string(),
        in_flight.to_string(),
        blank(),
    ]);
    output.table(&columns, rows)
}

/// Brokers say of any group that it is nowhere; a misspelt name should not look like a group without messages.
async fn must_exist(admin: &Admin, group: &str) -> Result<(), Failure> {
    if admin.group(group).await?.is_some() {
        return Ok(());
    }
    Err(Failure::new(format!("group {group} does not exist"))
        .hint("see which do: rocketry group list"))
}

async fn clients(
    admin: &Admin,
    group: &str,
    format: Report,
    output: &mut Output,
) -> Result<(), Failure> {
    let Some(found) = admin.group_clients(group).await? else {
        must_exist(admin, group).await?;
        return match format.output {
            ReportFormat::Json => output.pretty_json(&ConsumerConnection::default()),
            ReportFormat::Text => {
                output::note(format_args!("no client of group {group} is connected"));
                Ok(())
            }
        };
    };
    if format.output == ReportFormat::Json {
        return output.pretty_json(&found);
    }
    connections(&found.connection_set, output)?;
    output.line("")?;
    let columns = [Column::Text("TOPIC"), Column::Text("SUBSCRIPTION")];
    let subscriptions = found.subscription_table.values().map(|subscription| {
        let expression = subscription.sub_string.as_deref().unwrap_or("*");
        vec![subscription.topic.clone(), expression.to_owned()]
    });
    output.table(&columns, subscriptions.collect())?;
    output.line(format_args!(
        "\ntype {}, model {}, without offset from {}",
        name_of(found.consume_type.as_ref()).unwrap_or_default(),
        name_of(found.message_model.as_ref()).unwrap_or_default(),
        name_of(found.consume_from_where.as_ref()).unwrap_or_default(),
    ))
}

async fn producers(
    admin: &Admin,
    group: &str,
    format: Report,
    output: &mut Output,
) -> Result<(), Failure> {
    let found: ProducerConnection = admin.producer_clients(group).await?;
    match format.output {
        ReportFormat::Json => output.pretty_json(&found),
        ReportFormat::Text if found.connection_set.is_empty() => {
            output::note(format_args!(
                "no client of producer group {group} is connected"
            ));
            Ok(())
        }
        ReportFormat::Text => connections(&found.connection_set, output),
    }
}

fn connections(
    found: &[rocketry_protocol::body::heartbeat::Connection],
    output: &mut Output,
) -> Result<(), Failure> {
    let columns = [
        Column::Text("CLIENT"),
        Column::Text("ADDRESS"),
        Column::Text("LANGUAGE"),
        Column::Text("VERSION"),
    ];
    let rows = found.iter().map(|client| {
        vec![
            client.client_id.clone(),
            client.client_addr.clone(),
            client.language.clone().unwrap_or_else(|| "-".to_owned()),
            super::cluster::version_name(client.version),
        ]
    });
    output.table(&columns, rows.collect())
}

async fn create(
    admin: &Admin,
    group: &str,
    settings: GroupSettings,
    place: Where,
    format: Report,
    output: &mut Output,
) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Created<'a> {
        group: &'a str,
        brokers: Vec<String>,
    }
    let attributes = settings.attributes.into_iter();
    let change = GroupChange {
        retry_max_times: settings.retries,
        retry_queue_nums: settings.retry_queues,
        consume_enable: settings.consume,
        consume_broadcast_enable: settings.broadcast,
        consume_message_orderly: settings.order,
        attributes: attributes
            .map(|(key, value)| (format!("+{key}"), value))
            .collect(),
    };
    let updates = admin.update_group(group, &change, &place.brokers()).await?;
    match format.output {
        ReportFormat::Json => {
            let brokers = updates.into_iter().map(|update| update.address).collect();
            output.pretty_json(&Created { group, brokers })
        }
        ReportFormat::Text => updates.iter().try_for_each(|update| {
            let what = if update.is_new { "created" } else { "updated" };
            output.line(format_args!("{what} {group} on {}", update.address))
        }),
    }
}

async fn reset(
    admin: &Admin,
    group: &str,
    topic: &str,
    to: ResetPoint,
    format: Report,
    output: &mut Output,
) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Reset<'a> {
        group: &'a str,
        topic: &'a str,
        queues: Vec<Row<'a>>,
    }
    #[derive(Serialize)]
    struct Row<'a> {
        broker: &'a str,
        queue_id: i32,
        offset: i64,
    }
    let to = match to {
        ResetPoint::First => ResetTo::First,
        ResetPoint::Last => ResetTo::Last,
        ResetPoint::Time(when) => ResetTo::Time(when.ms(clock::wall_ms())),
    };
    let moved: Vec<(MessageQueue, i64)> = admin.reset_offsets(group, topic, to).await?;
    let queues: Vec<_> = moved
        .iter()
        .map(|(queue, offset)| Row {
            broker: &queue.broker_name,
            queue_id: queue.queue_id,
            offset: *offset,
        })
        .collect();
    if format.output == ReportFormat::Json {
        return output.pretty_json(&Reset {
            group,
            topic,
            queues,
        });
    }
    let columns = [
        Column::Text("BROKER"),
        Column::Number("QUEUE"),
        Column::Number("OFFSET"),
    ];
    let rows = queues.iter().map(|row| {
        vec![
            row.broker.to_owned(),
            row.queue_id.to_string(),
            row.offset.to_string(),
        ]
    });
    output.table(&columns, rows.collect())
}

fn deleted(group: &str, format: Report, output: &mut Output) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Deleted<'a> {
        deleted: &'a str,
    }
    match format.output {
        ReportFormat::Json => output.pretty_json(&Deleted { deleted: group }),
        ReportFormat::Text => output.line(format_args!("deleted {group}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_of_the_system_are_told_apart() {
        for group in ["TOOLS_CONSUMER", "CID_RMQ_SYS_TRANS"] {
            assert!(made_by_the_system(group), "{group}");
        }
        assert!(!made_by_the_system("billing"));
    }
}
