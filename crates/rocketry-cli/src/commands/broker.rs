//! `rocketry broker`: the state and the settings of brokers.

use std::collections::BTreeMap;

use rocketry::{Admin, Brokers};
use serde::Serialize;

use crate::{
    args::{Broker, Global, Report, ReportFormat},
    commands::{CLOSE_WITHIN, connect},
    failure::Failure,
    output::{Column, Output},
};

/// Runs one of the broker commands.
///
/// # Errors
/// What the brokers answered, or that they did not.
pub(crate) async fn run(command: Broker, global: &Global) -> Result<(), Failure> {
    let client = connect(global).await?;
    let admin = client.admin();
    let mut output = Output::stdout();
    match command {
        Broker::Status {
            broker,
            keys,
            format,
        } => {
            let mut found = Vec::new();
            for (name, address) in addresses(&admin, which(broker)).await? {
                let values = admin.broker_stats(&address).await?;
                found.push(Described::new(name, address, values, &keys));
            }
            print(&found, &keys, format, &mut output)
        }
        Broker::Config {
            broker,
            keys,
            format,
        } => {
            let mut found = Vec::new();
            for (name, address) in addresses(&admin, which(broker)).await? {
                let values = admin.broker_config(&address).await?;
                found.push(Described::new(name, address, values, &keys));
            }
            print(&found, &keys, format, &mut output)
        }
        Broker::Set {
            settings,
            place,
            format,
        } => set(&admin, &settings, place.brokers(), format, &mut output).await,
    }?;
    output.flush()?;
    client.shutdown(CLOSE_WITHIN).await;
    Ok(())
}

/// What one broker said.
#[derive(Serialize)]
struct Described {
    broker: String,
    address: String,
    values: BTreeMap<String, String>,
}

impl Described {
    /// Keeps what has one of `keys` in its name, whatever the case; everything without keys.
    fn new(
        broker: String,
        address: String,
        mut values: BTreeMap<String, String>,
        keys: &[String],
    ) -> Self {
        let wanted: Vec<_> = keys.iter().map(|key| key.to_lowercase()).collect();
        values.retain(|name, _| {
            let name = name.to_lowercase();
            wanted.is_empty() || wanted.iter().any(|key| name.contains(key))
        });
        Self {
            broker,
            address,
            values,
        }
    }
}

fn which(broker: Option<String>) -> Brokers {
    broker.map_or(Brokers::All, Brokers::Broker)
}

/// Names and addresses, replicas among them. An address that the name server does not know is asked as it is.
async fn addresses(admin: &Admin, which: Brokers) -> Result<Vec<(String, String)>, Failure> {
    match (admin.brokers(&which).await, which) {
        (Ok(found), _) => Ok(found
            .into_iter()
            .map(|broker| (broker.name, broker.address))
            .collect()),
        (Err(error), Brokers::Broker(address))
            if error.kind() == rocketry::ErrorKind::NotFound && address.contains(':') =>
        {
            Ok(vec![(String::new(), address)])
        }
        (Err(error), _) => Err(error.into()),
    }
}

fn print(
    found: &[Described],
    keys: &[String],
    format: Report,
    output: &mut Output,
) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Found<'a> {
        brokers: &'a [Described],
    }
    if !keys.is_empty() && found.iter().all(|broker| broker.values.is_empty()) {
        return Err(Failure::new(format!(
            "no name has {} in it",
            keys.join(" or ")
        )));
    }
    if format.output == ReportFormat::Json {
        return output.pretty_json(&Found { brokers: found });
    }
    let columns = [
        Column::Text("BROKER"),
        Column::Text("NAME"),
        Column::Text("VALUE"),
    ];
    let rows = found.iter().flat_map(|one| {
        let broker = if one.broker.is_empty() {
            &one.address
        } else {
            &one.broker
        };
        let values = one.values.iter();
        values.map(|(name, value)| vec![broker.clone(), name.clone(), value.clone()])
    });
    output.table(&columns, rows.collect())
}

/// Reads back what was set: brokers confirm settings that they do not have, or do not change while they run.
async fn set(
    admin: &Admin,
    settings: &[(String, String)],
    which: Brokers,
    format: Report,
    output: &mut Output,
) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Set {
        brokers: Vec<Described>,
    }
    let mut brokers = Vec::new();
    let mut refused = Vec::new();
    for (name, address) in addresses(admin, which).await? {
        let before = admin.broker_config(&address).await?;
        admin.update_broker_config(&address, settings).await?;
        let mut values = admin.broker_config(&address).await?;
        if let Some((key, _)) = settings.iter().find(|(key, _)| !values.contains_key(key)) {
            return Err(
                Failure::new(format!("broker {name} at {address} has no setting {key}"))
                    .hint("see which it has: rocketry broker config"),
            );
        }
        let shown = if name.is_empty() { &address } else { &name };
        for (key, asked) in settings {
            let Some(now) = values.get(key).filter(|now| !is_same(asked, now)) else {
                continue;
            };
            refused.push(Failure::new(if before.get(key) == Some(now) {
                format!("broker {shown} keeps {key}={now}: it cannot be changed while it runs")
            } else {
                format!("broker {shown} made {key}={now} of {asked}")
            }));
        }
        values.retain(|key, now| {
            settings
                .iter()
                .any(|(set, asked)| set == key && is_same(asked, now))
        });
        brokers.push(Described::new(name, address, values, &[]));
    }
    if format.output == ReportFormat::Json {
        output.pretty_json(&Set { brokers })?;
    } else {
        for broker in &brokers {
            for (key, value) in &broker.values {
                output.line(format_args!("{key}={value} on {}", broker.address))?;
            }
        }
    }
    // What was set is said before what was not.
    output.flush()?;
    let hint = "set it where the broker is started: an option of `rocketry serve`, or broker.conf";
    Failure::of_all(refused).map_or(Ok(()), |failure| Err(failure.hint(hint)))
}

/// Whether two texts are one value of a setting: brokers write numbers and truths their own way.
fn is_same(asked: &str, now: &str) -> bool {
    let (asked, now) = (asked.trim(), now.trim());
    let number = |text: &str| text.parse::<f64>().ok();
    asked == now
        || is_truth(asked) && asked.eq_ignore_ascii_case(now)
        || match (asked.parse::<i64>(), now.parse::<i64>()) {
            (Ok(asked), Ok(now)) => asked == now,
            _ => number(asked).is_some_and(|asked| number(now) == Some(asked)),
        }
}

fn is_truth(text: &str) -> bool {
    ["true", "false"]
        .iter()
        .any(|truth| text.eq_ignore_ascii_case(truth))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_may_be_written_in_more_than_one_way() {
        for (asked, now) in [
            ("48", "48"),
            ("048", "48"),
            ("TRUE", "true"),
            (" 0.5", "0.50"),
        ] {
            assert!(is_same(asked, now), "{asked} {now}");
        }
        for (asked, now) in [("48", "72"), ("true", "false"), ("A", "a"), ("1", "true")] {
            assert!(!is_same(asked, now), "{asked} {now}");
        }
    }
}
