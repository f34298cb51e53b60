//! `rocketry cluster`: which brokers there are, and what goes through them.

use std::collections::BTreeMap;

use rocketry::{Admin, Brokers};
use serde::Serialize;

use crate::{
    args::{Cluster, Global, Report, ReportFormat},
    commands::{CLOSE_WITHIN, connect},
    failure::Failure,
    output::{self, Column, Output},
};

/// Runs one of the cluster commands.
///
/// # Errors
/// What the name server answered, or that it did not.
pub(crate) async fn run(command: Cluster, global: &Global) -> Result<(), Failure> {
    let client = connect(global).await?;
    let mut output = Output::stdout();
    let Cluster::List { format } = command;
    list(&client.admin(), format, &mut output).await?;
    output.flush()?;
    client.shutdown(CLOSE_WITHIN).await;
    Ok(())
}

#[derive(Serialize)]
struct Row {
    cluster: String,
    broker: String,
    id: i64,
    address: String,
    /// Why there are no figures.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    version: Option<String>,
    in_per_second: Option<f64>,
    out_per_second: Option<f64>,
    in_today: Option<i64>,
    out_today: Option<i64>,
}

/// A broker that does not answer is listed all the same: that is when one looks.
async fn list(admin: &Admin, format: Report, output: &mut Output) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Listed {
        brokers: Vec<Row>,
    }
    let mut brokers = Vec::new();
    for found in admin.brokers(&Brokers::All).await? {
        let (stats, error) = match admin.broker_stats(&found.address).await {
            Ok(stats) => (stats, None),
            Err(error) => (BTreeMap::new(), Some(error.to_string())),
        };
        brokers.push(Row {
            cluster: found.cluster,
            broker: found.name,
            id: found.id,
            address: found.address,
            error,
            version: stats.get("brokerVersionDesc").cloned(),
            in_per_second: rate(&stats, "putTps"),
            out_per_second: rate(&stats, "getTransferredTps"),
            in_today: today(&stats, "msgPutTotal"),
            out_today: today(&stats, "msgGetTotal"),
        });
    }
    if format.output == ReportFormat::Json {
        return output.pretty_json(&Listed { brokers });
    }
    let columns = [
        Column::Text("CLUSTER"),
        Column::Text("BROKER"),
        Column::Number("ID"),
        Column::Text("ADDRESS"),
        Column::Text("VERSION"),
        Column::Number("IN/S"),
        Column::Number("OUT/S"),
        Column::Number("IN TODAY"),
        Column::Number("OUT TODAY"),
    ];
    let unknown = || "-".to_owned();
    let rows = brokers.iter().map(|row| {
        vec![
            row.cluster.clone(),
            row.broker.clone(),
            row.id.to_string(),
            row.address.clone(),
            row.version.clone().unwrap_or_else(unknown),
            row.in_per_second
                .map_or_else(unknown, |rate| format!("{rate:.1}")),
            row.out_per_second
                .map_or_else(unknown, |rate| format!("{rate:.1}")),
            row.in_today.map_or_else(unknown, |n| n.to_string()),
            row.out_today.map_or_else(unknown, |n| n.to_string()),
        ]
    });
    output.table(&columns, rows.collect())?;
    for error in brokers.iter().filter_map(|row| row.error.as_ref()) {
        output::note(error);
    }
    Ok(())
}

/// The first of the numbers in `10s 1min 10min`.
fn rate(stats: &BTreeMap<String, String>, key: &str) -> Option<f64> {
    stats.get(key)?.split(' ').next()?.parse().ok()
}

/// Messages since midnight.
fn today(stats: &BTreeMap<String, String>, name: &str) -> Option<i64> {
    let number = |key: String| stats.get(&key)?.parse::<i64>().ok();
    Some(number(format!("{name}TodayNow"))? - number(format!("{name}TodayMorning"))?)
}

/// `V5_5_0` for 513: Java numbers its versions by their place in a list, two for each, the even ones snapshots. The list has had its
/// present order from 3.9.5 (203) on.
pub(super) fn version_name(ordinal: i32) -> String {
    const REGULAR_FROM: i32 = 203;
    const V5_5_0: i32 = 513;
    if ordinal < REGULAR_FROM {
        return ordinal.to_string();
    }
    let number = ordinal / 2 - V5_5_0 / 2 + 550;
    let (major, minor, patch) = (number / 100, number / 10 % 10, number % 10);
    let snapshot = if ordinal % 2 == 0 { "_SNAPSHOT" } else { "" };
    format!("V{major}_{minor}_{patch}{snapshot}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_have_java_names() {
        for (ordinal, name) in [
            (203, "V3_9_5"),
            (204, "V3_9_6_SNAPSHOT"),
            (397, "V4_9_2"),
            (402, "V4_9_5_SNAPSHOT"),
            (403, "V4_9_5"),
            (475, "V5_3_1"),
            (513, "V5_5_0"),
            (60, "60"),
        ] {
            assert_eq!(version_name(ordinal), name);
        }
    }

    #[test]
    fn figures_are_taken_from_the_texts_of_brokers() {
        let stats = BTreeMap::from([
            ("putTps".to_owned(), "1.5 2.0 3.0".to_owned()),
            ("msgPutTotalTodayMorning".to_owned(), "10".to_owned()),
            ("msgPutTotalTodayNow".to_owned(), "25".to_owned()),
        ]);
        assert_eq!(rate(&stats, "putTps"), Some(1.5));
        assert_eq!(rate(&stats, "getTransferredTps"), None);
        assert_eq!(today(&stats, "msgPutTotal"), Some(15));
        assert_eq!(today(&stats, "msgGetTotal"), None);
    }
}
