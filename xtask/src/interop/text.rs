//! Real text to send, and the comparison of what was read back.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::{Result, root};

/// The least number of lines that counts as real input.
const LINES: usize = 5_000;
/// Enough for the lines above, few enough for a quick run in each mode.
const ENOUGH: usize = 6_000;

/// Writes a text of at least 5,000 lines to `file`: this repository's lock file, documents and sources, then licence texts
/// of the crates it is built from. Returns its non-empty lines.
pub(crate) fn write_real_text(file: &Path) -> Result<Vec<Vec<u8>>> {
    let root = root();
    let mut text = Vec::new();
    // One line far above the compression threshold of every client (4 KiB), one with every kind of UTF-8 width.
    let lock = std::fs::read_to_string(root.join("Cargo.lock"))?;
    append(
        &mut text,
        lock.replace('\n', " ")
            .get(..20_000)
            .unwrap_or(&lock.replace('\n', " "))
            .as_bytes(),
    );
    append(
        &mut text,
        "ASCII, Grüße, Привет, 你好，世界, 🚀🛰️, \u{FFFD}, \u{7FF}, \u{10FFFF}".as_bytes(),
    );
    for name in ["Cargo.lock", "LICENSE", "README.md", "CHANGELOG.md"] {
        if let Ok(bytes) = std::fs::read(root.join(name)) {
            append(&mut text, &bytes);
        }
    }
    for licence in licences()? {
        if lines(&text).count() >= ENOUGH {
            break;
        }
        append(&mut text, &std::fs::read(licence)?);
    }
    std::fs::write(file, &text)?;
    let lines: Vec<_> = lines(&text).map(<[u8]>::to_vec).collect();
    if lines.len() < LINES {
        return Err(format!(
            "only {} lines of real text found, {LINES} wanted",
            lines.len()
        )
        .into());
    }
    Ok(lines)
}

/// Licence and read-me texts of the crates in cargo's registry, in a stable order.
fn licences() -> Result<Vec<std::path::PathBuf>> {
    let home = std::env::var_os("CARGO_HOME").map_or_else(
        || {
            std::env::var_os("HOME")
                .map(|home| Path::new(&home).join(".cargo"))
                .unwrap_or_default()
        },
        std::path::PathBuf::from,
    );
    let mut files = Vec::new();
    for registry in std::fs::read_dir(home.join("registry/src"))? {
        for package in std::fs::read_dir(registry?.path())? {
            for entry in std::fs::read_dir(package?.path())? {
                let path = entry?.path();
                let name = path
                    .file_name()
                    .map(|name| name.to_string_lossy().to_ascii_uppercase())
                    .unwrap_or_default();
                if path.is_file() && (name.starts_with("LICENSE") || name.starts_with("README")) {
                    files.push(path);
                }
            }
        }
    }
    files.sort();
    Ok(files)
}

fn append(text: &mut Vec<u8>, bytes: &[u8]) {
    // Line ends of other systems are a matter of the editor, not of the text.
    text.extend(bytes.iter().filter(|byte| **byte != b'\r'));
    if text.last() != Some(&b'\n') {
        text.push(b'\n');
    }
}

/// The non-empty lines of `text`.
pub(crate) fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
}

/// One message as a foreign consumer received it.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    pub(crate) broker: String,
    pub(crate) queue_id: i32,
    pub(crate) queue_offset: i64,
    pub(crate) body: Vec<u8>,
}

/// An offset of each queue, by broker and queue id.
pub(crate) type Queues = BTreeMap<(String, i32), i64>;

impl Received {
    /// Reads the records that the Java driver wrote (see `interop/java/Consume.java`).
    pub(crate) fn read_file(file: &Path) -> Result<Vec<Self>> {
        let text = std::fs::read_to_string(file)?;
        let mut received = Vec::new();
        for line in text.lines() {
            let fields: Vec<_> = line.split('\t').collect();
            let [
                broker,
                queue_id,
                queue_offset,
                _log_offset,
                _id,
                _tags,
                _keys,
                body,
            ] = fields[..]
            else {
                return Err(format!("{}: not a record: `{line}`", file.display()).into());
            };
            received.push(Self {
                broker: broker.to_owned(),
                queue_id: queue_id.parse()?,
                queue_offset: queue_offset.parse()?,
                body: STANDARD.decode(body).map_err(|error| error.to_string())?,
            });
        }
        Ok(received)
    }
}

/// All that Java's client knows of a message (see `interop/java/Dump.java`).
#[derive(Debug, Clone)]
pub(crate) struct Dumped(Value);

impl Dumped {
    pub(crate) fn parse(json: &str) -> Result<Self> {
        Ok(Self(serde_json::from_str(json)?))
    }

    /// A field of text; empty where there is none.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.0.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    /// A number; -1 where there is none.
    pub(crate) fn number(&self, name: &str) -> i64 {
        self.0.get(name).and_then(Value::as_i64).unwrap_or(-1)
    }

    /// A property.
    pub(crate) fn property(&self, name: &str) -> Option<&str> {
        self.0.get("properties")?.get(name)?.as_str()
    }

    /// The body, decompressed.
    pub(crate) fn body(&self) -> Result<Vec<u8>> {
        let body = STANDARD.decode(self.text("body_base64"));
        Ok(body.map_err(|error| error.to_string())?)
    }
}

/// Bodies only.
pub(crate) fn bodies(received: &[Received]) -> Vec<Vec<u8>> {
    received
        .iter()
        .map(|message| message.body.clone())
        .collect()
}

/// Fails unless both hold the same lines equally often; order does not count.
pub(crate) fn same_lines<S: AsRef<[u8]>, R: AsRef<[u8]>>(sent: &[S], read: &[R]) -> Result {
    let mut balance: HashMap<&[u8], i64> = HashMap::new();
    for line in sent {
        *balance.entry(line.as_ref()).or_default() += 1;
    }
    for line in read {
        *balance.entry(line.as_ref()).or_default() -= 1;
    }
    let different: BTreeMap<_, _> = balance
        .into_iter()
        .filter(|(_, count)| *count != 0)
        .collect();
    if different.is_empty() {
        return Ok(());
    }
    let mut report = format!(
        "sent {} lines, read back {}; {} lines differ:",
        sent.len(),
        read.len(),
        different.len()
    );
    for (line, count) in different.iter().take(5) {
        let (what, times) = if *count > 0 {
            ("missing", *count)
        } else {
            ("too many", -count)
        };
        let start = line.get(..100).unwrap_or(line);
        let _ = write!(
            report,
            "\n  {what} {times} x `{}` ({} bytes)",
            String::from_utf8_lossy(start),
            line.len()
        );
    }
    Err(report.into())
}

/// Fails unless every queue was read as one unbroken run of offsets, each once. Returns the end offset of each queue.
pub(crate) fn unbroken_queues(received: &[Received]) -> Result<Queues> {
    let mut offsets: BTreeMap<(String, i32), Vec<i64>> = BTreeMap::new();
    for message in received {
        offsets
            .entry((message.broker.clone(), message.queue_id))
            .or_default()
            .push(message.queue_offset);
    }
    let mut ends = Queues::new();
    for (queue, mut offsets) in offsets {
        offsets.sort_unstable();
        let (Some(first), Some(last)) = (offsets.first().copied(), offsets.last().copied()) else {
            continue;
        };
        let whole = (first..=last).eq(offsets.iter().copied());
        if !whole {
            return Err(format!(
                "{} {}: offsets {first}..={last} are not each there once",
                queue.0, queue.1
            )
            .into());
        }
        ends.insert(queue, last + 1);
    }
    Ok(ends)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_and_a_doubled_line_are_both_reported() {
        let error = same_lines(&["a", "b", "b"], &["b", "b", "b"])
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("missing 1 x `a`") && error.contains("too many 1 x `b`"),
            "{error}"
        );
        same_lines(&["a", "b"], &["b", "a"]).unwrap();
    }

    #[test]
    fn a_hole_in_a_queue_is_reported() {
        let at = |queue_offset| Received {
            broker: "b".into(),
            queue_id: 0,
            queue_offset,
            body: Vec::new(),
        };
        assert_eq!(
            unbroken_queues(&[at(1), at(0)])
                .unwrap()
                .get(&("b".to_owned(), 0)),
            Some(&2)
        );
        unbroken_queues(&[at(0), at(2)]).unwrap_err();
        unbroken_queues(&[at(0), at(0)]).unwrap_err();
    }
}
