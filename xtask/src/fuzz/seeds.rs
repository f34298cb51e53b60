//! Seeds: the golden vectors of the protocol crate.

use std::path::PathBuf;

use serde_json::Value;

use super::targets::Target;
use crate::{Result, root};

/// The seeds of `target`, each once. A vector file that is missing is an error: without seeds a run would prove little.
pub(super) fn load(target: &Target) -> Result<Vec<Vec<u8>>> {
    let mut seeds = Vec::new();
    for (file, members) in target.seeds {
        let path = dir().join(file);
        let text = std::fs::read_to_string(&path)
            .map_err(|error| format!("{}: {error}", path.display()))?;
        collect(&serde_json::from_str(&text)?, members, &mut seeds);
    }
    seeds.sort_unstable();
    seeds.dedup();
    if seeds.is_empty() {
        return Err(format!("no seeds for {} in {}", target.name, dir().display()).into());
    }
    Ok(seeds)
}

/// The folder that the vector tests read too.
fn dir() -> PathBuf {
    std::env::var_os("ROCKETRY_VECTORS").map_or_else(
        || root().join("crates/rocketry-protocol/tests/vectors"),
        PathBuf::from,
    )
}

/// Adds the text of every member that is called one of `members`, however deep; a name that ends in `hex` holds bytes.
fn collect(value: &Value, members: &[&str], seeds: &mut Vec<Vec<u8>>) {
    match value {
        Value::Array(values) => values
            .iter()
            .for_each(|value| collect(value, members, seeds)),
        Value::Object(object) => {
            for (name, value) in object {
                match value {
                    Value::String(text) if members.contains(&name.as_str()) => {
                        seeds.extend(if name.ends_with("hex") {
                            unhex(text)
                        } else {
                            Some(text.clone().into_bytes())
                        });
                    }
                    _ => collect(value, members, seeds),
                }
            }
        }
        _ => {}
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u32>> = text.chars().map(|digit| digit.to_digit(16)).collect();
    digits?
        .chunks(2)
        .map(|pair| match pair {
            [high, low] => u8::try_from(high * 16 + low).ok(),
            _ => None,
        })
        .collect()
}
