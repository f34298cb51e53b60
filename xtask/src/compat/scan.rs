//! Which tests name which numbers: the doc comments of test functions, and of the interop cases.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::Kinds;
use crate::Result;

/// What a test runs against.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Evidence {
    Unit,
    Connection,
    Store,
    FakeBroker,
    Simulation,
    EmbeddedServer,
    ApacheBroker,
}

impl Evidence {
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Unit => "unit",
            Self::Connection => "connection",
            Self::Store => "store",
            Self::FakeBroker => "fake broker",
            Self::Simulation => "simulation",
            Self::EmbeddedServer => "embedded server",
            Self::ApacheBroker => "Apache broker",
        }
    }

    /// By where the test is, relative to the root.
    fn of(path: &str) -> Option<Self> {
        Some(match path {
            _ if path.starts_with("xtask/src/interop/") => Self::ApacheBroker,
            _ if path.starts_with("crates/rocketry/tests/fake/") => Self::FakeBroker,
            _ if path.starts_with("crates/rocketry/tests/sim/") => Self::Simulation,
            _ if path.starts_with("crates/rocketry-remoting/tests/") => Self::Connection,
            _ if path.starts_with("crates/rocketry-store/tests/") => Self::Store,
            _ if path.starts_with("crates/rocketry-protocol/") || path.contains("/src/") => {
                Self::Unit
            }
            _ if path.contains("/tests/") => Self::EmbeddedServer,
            _ => return None,
        })
    }
}

/// What tests name, by prefix and number.
pub(super) type Shown = BTreeMap<(char, u16), Kinds>;

/// Reads the crates and the interop cases.
pub(super) fn scan(root: &Path) -> Result<Shown> {
    let mut files = Vec::new();
    collect(&root.join("crates"), &mut files)?;
    collect(&root.join("xtask/src/interop"), &mut files)?;
    let mut shown = Shown::new();
    for file in files {
        let path = file.strip_prefix(root)?.to_string_lossy().into_owned();
        let Some(evidence) = Evidence::of(&path) else {
            continue;
        };
        let is_case = evidence == Evidence::ApacheBroker;
        for named in named(&std::fs::read_to_string(&file)?, is_case) {
            shown.entry(named).or_default().insert(evidence);
        }
    }
    Ok(shown)
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) -> Result {
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

/// The numbers in the doc comments of functions that are tests (`every`: of all functions).
fn named(source: &str, every: bool) -> Vec<(char, u16)> {
    let mut found = Vec::new();
    let mut docs = Vec::new();
    let mut is_test = false;
    let mut in_attribute = false;
    for line in source.lines().map(str::trim) {
        if in_attribute {
            in_attribute = !line.ends_with(']');
        } else if let Some(doc) = line.strip_prefix("///") {
            numbers(doc, &mut docs);
        } else if line.starts_with("#[") {
            is_test |= is_test_attribute(line);
            in_attribute = !line.ends_with(']');
        } else if is_function(line) {
            if is_test || every {
                found.append(&mut docs);
            }
            docs.clear();
            is_test = false;
        } else if !line.starts_with("//") {
            docs.clear();
            is_test = false;
        }
    }
    found
}

fn is_test_attribute(line: &str) -> bool {
    ["#[test]", "#[tokio::test]", "#[tokio::test("]
        .iter()
        .any(|attribute| line.starts_with(attribute))
}

fn is_function(line: &str) -> bool {
    let words = line.split(['(', '<']).next().unwrap_or_default();
    words.split_whitespace().any(|word| word == "fn")
}

/// `P-061` and the like.
fn numbers(text: &str, found: &mut Vec<(char, u16)>) {
    for (at, _) in text.match_indices('-') {
        let (before, after) = (&text[..at], &text[at + 1..]);
        let mut letters = before.chars().rev();
        let (Some(prefix), outside) = (letters.next(), letters.next()) else {
            continue;
        };
        let digits: String = after.chars().take_while(char::is_ascii_digit).collect();
        let is_word = prefix.is_ascii_uppercase()
            && !outside.is_some_and(|c| c.is_alphanumeric() || c == '-');
        if is_word
            && digits.len() == 3
            && let Ok(number) = digits.parse()
        {
            found.push((prefix, number));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_doc_comment_of_a_test_counts() {
        let source = r"
//! P-001
/// P-002
fn not_a_test() {}
/// P-003, first half; and P-004: more
/// words about S-005
#[cfg(unix)]
#[test]
fn a_test() {
    // P-006
    let x = 1;
}
/// P-007
#[tokio::test(
    start_paused = true
)]
async fn another() {}
    /// XP-008, P-09, P-0100, -P-011
    #[tokio::test]
    async fn near_misses() {}
/// P-012
struct S;
#[test]
fn undocumented() {}
";
        let expected = [('P', 3), ('P', 4), ('S', 5), ('P', 7)];
        assert_eq!(named(source, false), expected);
        assert_eq!(
            named(source, true),
            [[('P', 2)].as_slice(), &expected].concat()
        );
    }

    #[test]
    fn the_place_of_a_test_says_what_it_runs_against() {
        for (path, label) in [
            ("crates/rocketry/src/route.rs", Some("unit")),
            ("crates/rocketry-protocol/tests/ids.rs", Some("unit")),
            (
                "crates/rocketry-remoting/tests/calls.rs",
                Some("connection"),
            ),
            ("crates/rocketry/tests/fake/batch.rs", Some("fake broker")),
            ("crates/rocketry/tests/sim/main.rs", Some("simulation")),
            (
                "crates/rocketry/tests/server/main.rs",
                Some("embedded server"),
            ),
            (
                "crates/rocketry-cli/tests/cli/main.rs",
                Some("embedded server"),
            ),
            ("xtask/src/interop/cases/mod.rs", Some("Apache broker")),
            ("crates/rocketry/examples/send.rs", None),
        ] {
            assert_eq!(Evidence::of(path).map(Evidence::label), label, "{path}");
        }
    }
}
