//! `rocketry message`: find stored messages by id or by key.

use rocketry::{Admin, MessageExt, QueryOptions, QueryResult, property};
use serde::Serialize;

use crate::{
    args::{Global, Message, Report, ReportFormat},
    clock,
    commands::{CLOSE_WITHIN, connect},
    failure::Failure,
    jsonl::Received,
    output::{self, Column, Output, escaped},
    units::local_time,
};

/// Characters of a body that a row of a table shows.
const SHOWN: usize = 40;

/// Runs one of the message commands.
///
/// # Errors
/// There is no such message, or the cluster did not answer.
pub(crate) async fn run(command: Message, global: &Global) -> Result<(), Failure> {
    let client = connect(global).await?;
    let admin = client.admin();
    let mut output = Output::stdout();
    match command {
        Message::View { topic, id, format } => view(&admin, &topic, &id, format, &mut output).await,
        Message::Query {
            topic,
            key,
            max,
            from,
            until,
            format,
        } => {
            let now = clock::wall_ms();
            let all = QueryOptions::default();
            let options = QueryOptions {
                max_messages: max,
                from_ms: from.map_or(all.from_ms, |from| from.ms(now)),
                until_ms: until.map_or(all.until_ms, |until| until.ms(now)),
            };
            let found = admin.query_messages(&topic, &key, options).await?;
            query(&found, format, &mut output)
        }
    }?;
    output.flush()?;
    client.shutdown(CLOSE_WITHIN).await;
    Ok(())
}

async fn view(
    admin: &Admin,
    topic: &str,
    id: &str,
    format: Report,
    output: &mut Output,
) -> Result<(), Failure> {
    let message = admin.view_message(topic, id).await?;
    match format.output {
        ReportFormat::Json => output.pretty_json(&Received::from(&message)),
        ReportFormat::Text => {
            let mut rows = vec![
                row("topic", &message.topic),
                row("queue", &place(&message)),
                row("msg_id", &message.msg_id()),
                row("offset_msg_id", &message.offset_msg_id()),
                row("stored", &local_time(message.store_ms)),
                row("born", &local_time(message.born_ms)),
                row("born at", &message.born_host.to_string()),
                row("size in the log", &format!("{} B", message.store_size)),
                row("consumed again", &message.reconsume_times.to_string()),
            ];
            for (name, value) in message.properties.iter() {
                rows.push(row(&format!("property {name}"), value));
            }
            rows.push(row("body", &format!("{} B", message.body.len())));
            let columns = [Column::Text("WHAT"), Column::Text("VALUE")];
            output.table(&columns, rows)?;
            output.body(&message.body)
        }
    }
}

fn query(found: &QueryResult, format: Report, output: &mut Output) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Found<'a> {
        messages: Vec<Received<'a>>,
        failures: Vec<String>,
    }
    for failure in &found.failures {
        output::note(format_args!("warning: {failure}"));
    }
    match format.output {
        ReportFormat::Json => output.pretty_json(&Found {
            messages: found.messages.iter().map(Received::from).collect(),
            failures: found.failures.iter().map(ToString::to_string).collect(),
        }),
        ReportFormat::Text => {
            let columns = [
                Column::Text("STORED"),
                Column::Text("QUEUE"),
                Column::Text("MSG ID"),
                Column::Text("TAG"),
                Column::Text("KEYS"),
                Column::Text("BODY"),
            ];
            let rows = found.messages.iter().map(|message| {
                let property = |name| one_line(message.properties.get(name).unwrap_or_default());
                vec![
                    local_time(message.store_ms),
                    place(message),
                    message.msg_id(),
                    property(property::TAGS),
                    property(property::KEYS),
                    beginning(&message.body),
                ]
            });
            output.table(&columns, rows.collect())
        }
    }
}

/// Queue and offset; the broker's name is not part of what brokers answer here.
fn place(message: &MessageExt) -> String {
    let (queue_id, offset) = (message.queue_id, message.queue_offset);
    if message.broker_name.is_empty() {
        return format!("{}:{queue_id}@{offset}", message.store_host);
    }
    format!("{}:{queue_id}@{offset}", message.broker_name)
}

fn row(name: &str, value: &str) -> Vec<String> {
    vec![name.to_owned(), one_line(value)]
}

fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    // writing to a string does not fail
    let _ = escaped(&mut line, text);
    line
}

fn beginning(body: &[u8]) -> String {
    let line = one_line(&String::from_utf8_lossy(body));
    if line.chars().count() <= SHOWN {
        return line;
    }
    let mut start: String = line.chars().take(SHOWN - 1).collect();
    start.push('…');
    start
}
