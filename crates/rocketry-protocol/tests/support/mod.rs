//! The golden vectors: JSON files with bytes and values that the Java classes of RocketMQ produced.

#![allow(dead_code, reason = "each test program uses a part of this")]
#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "part of tests, which fail by panicking and report by printing"
)]

use std::{fmt::Display, panic::AssertUnwindSafe, path::PathBuf};

use serde_json::Value;

/// The file `name`, from the folder named by `ROCKETRY_VECTORS` or else from the one beside the tests. A file that is not
/// there is reported by name and left out.
pub(crate) fn vectors(name: &str) -> Option<Value> {
    let folder = std::env::var_os("ROCKETRY_VECTORS").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/vectors"),
        PathBuf::from,
    );
    let path = folder.join(name);
    match std::fs::read(&path) {
        Ok(bytes) => Some(serde_json::from_slice(&bytes).expect(name)),
        Err(error) => {
            println!("SKIPPED: {}: {error}", path.display());
            None
        }
    }
}

/// Runs `check` on every case of `section`, and fails at the end with the ids of all cases that failed.
pub(crate) fn for_each_case(
    file: &Value,
    section: &str,
    check: impl Fn(&Value) -> Result<(), Box<dyn std::error::Error>>,
) {
    let cases = file[section].as_array().expect(section);
    assert!(!cases.is_empty(), "{section} has no cases");
    let mut failures = Vec::new();
    for (number, case) in cases.iter().enumerate() {
        let id = case["id"]
            .as_str()
            .map_or_else(|| format!("{section}[{number}]"), str::to_owned);
        let outcome = std::panic::catch_unwind(AssertUnwindSafe(|| check(case)));
        let desc = text_or_empty(&case["desc"]);
        match outcome {
            Ok(Ok(())) => {}
            Ok(Err(error)) => failures.push(format!("{id} ({desc}): {error}")),
            Err(_) => failures.push(format!("{id} ({desc}): panicked, see above")),
        }
    }
    println!(
        "{section}: {} cases, {} failed",
        cases.len(),
        failures.len()
    );
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}

/// Fails a case when two values differ.
pub(crate) fn same<T: PartialEq + std::fmt::Debug>(
    what: impl Display,
    ours: T,
    golden: T,
) -> Result<(), Box<dyn std::error::Error>> {
    if ours == golden {
        Ok(())
    } else {
        Err(format!("{what}: ours {ours:?}, golden {golden:?}").into())
    }
}

/// The bytes of a hexadecimal text; null is none.
pub(crate) fn hex(value: &Value) -> Vec<u8> {
    let text = text_or_empty(value);
    assert!(text.len().is_multiple_of(2), "odd number of digits: {text}");
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect(text))
        .collect()
}

/// The text of a JSON string, empty for anything else.
pub(crate) fn text_or_empty(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
