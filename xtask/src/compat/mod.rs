//! `cargo xtask compat`: the acceptance lists in docs/compatibility.md, written from the tests that name their numbers.

mod producer;
mod scan;
mod server;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use crate::interop::ACCEPTED;
use crate::{Result, output, root};
use scan::{Evidence, Shown};

/// `cargo xtask compat`
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Change nothing; fail if the file is not what would be written
    #[arg(long)]
    check: bool,
}

/// A numbered list of behaviours.
struct Checklist {
    /// Of the numbers: `P` of `P-061`.
    prefix: char,
    /// Of the section.
    title: &'static str,
    lines: &'static [Line],
    /// Whether a line may have neither a test nor a reason.
    may_be_open: bool,
}

/// One behaviour.
struct Line {
    number: u16,
    title: &'static str,
    /// Why it is not as listed, if that is so on purpose.
    difference: Option<&'static str>,
}

/// As listed.
const fn line(number: u16, title: &'static str) -> Line {
    Line {
        number,
        title,
        difference: None,
    }
}

/// Different on purpose.
const fn differs(number: u16, title: &'static str, reason: &'static str) -> Line {
    Line {
        number,
        title,
        difference: Some(reason),
    }
}

const CHECKLISTS: [Checklist; 2] = [
    Checklist {
        prefix: 'P',
        title: "Producer checklist",
        lines: &producer::LINES,
        may_be_open: false,
    },
    Checklist {
        prefix: 'S',
        title: "Server checklist",
        lines: &server::LINES,
        may_be_open: true,
    },
];

const FILE: &str = "docs/compatibility.md";
/// What stands above this line is written by hand.
const MARK: &str = "<!-- From here on written by `cargo xtask compat`. -->";

pub(crate) fn run(options: &Options) -> Result {
    let shown = scan::scan(&root())?;
    let path = root().join(FILE);
    let before = std::fs::read_to_string(&path)?;
    let after = rewritten(&before, &shown)?;
    let faults = faults(&shown);
    if options.check {
        if before != after {
            return Err(format!("{FILE} is stale: run `cargo xtask compat`").into());
        }
    } else if before != after {
        std::fs::write(&path, after)?;
        output::line(format_args!("{FILE} is written anew"));
    }
    if faults.is_empty() {
        Ok(())
    } else {
        Err(faults.join("\n").into())
    }
}

/// The file with its lists as the tests are now.
fn rewritten(file: &str, shown: &Shown) -> Result<String> {
    let (head, _) = file
        .split_once(MARK)
        .ok_or_else(|| format!("{FILE} has no line {MARK:?}"))?;
    let mut text = format!("{head}{MARK}\n");
    for list in &CHECKLISTS {
        section(&mut text, list, shown)?;
    }
    replies(&mut text)?;
    Ok(text)
}

/// The differences that `cargo xtask interop --only differential` knows.
fn replies(text: &mut String) -> Result {
    write!(
        text,
        "\n## Replies that differ\n\nThe same requests, good and bad, are sent to both servers and every reply is compared field by field \
         (`cargo xtask interop --only differential`). What differs is listed here, or the run fails; so it does when a line is not needed \
         any more. `*` stands for any text, `-` for nothing.\n\n| requests | what | ours | Apache's | why |\n|---|---|---|---|---|\n"
    )?;
    for known in &ACCEPTED {
        let cell = |text: &str| match text {
            "" => String::new(),
            text => format!("`{}`", text.replace('|', "`, `")),
        };
        writeln!(
            text,
            "| {} | {} | {} | {} | {} |",
            cell(known.step),
            cell(known.aspect),
            cell(known.ours),
            cell(known.theirs),
            known.reason
        )?;
    }
    Ok(())
}

fn section(text: &mut String, list: &Checklist, shown: &Shown) -> Result {
    let prefix = list.prefix;
    write!(
        text,
        "\n## {}\n\nA test names the numbers that it shows: `grep -rn {prefix}-001 crates xtask` finds those of one.\n\n\
         | number | behaviour | shown by |\n|---|---|---|\n",
        list.title
    )?;
    for line in list.lines {
        let kinds = shown.get(&(prefix, line.number));
        let mut cell: Vec<String> = kinds
            .into_iter()
            .flatten()
            .map(|kind| kind.label().to_owned())
            .collect();
        if let Some(reason) = line.difference {
            cell.push(format!("deliberate difference: {reason}"));
        }
        if cell.is_empty() {
            cell.push("not yet".to_owned());
        }
        let (number, title) = (line.number, line.title);
        writeln!(
            text,
            "| {prefix}-{number:03} | {title} | {} |",
            cell.join(", ")
        )?;
    }
    Ok(())
}

/// Lines that nothing shows, and tests that name lines which do not exist.
fn faults(shown: &Shown) -> Vec<String> {
    let mut faults = Vec::new();
    for list in &CHECKLISTS {
        let known: BTreeMap<u16, &Line> = list.lines.iter().map(|l| (l.number, l)).collect();
        for (number, line) in &known {
            let is_open = !shown.contains_key(&(list.prefix, *number)) && line.difference.is_none();
            if is_open && !list.may_be_open {
                faults.push(format!(
                    "{}-{number:03} has neither a test nor a reason: {}",
                    list.prefix, line.title
                ));
            }
        }
        for (prefix, number) in shown.keys() {
            if *prefix == list.prefix && !known.contains_key(number) {
                faults.push(format!(
                    "a test names {prefix}-{number:03}, which is not listed"
                ));
            }
        }
    }
    faults
}

/// By list and number, the kinds of tests that show it.
type Kinds = BTreeSet<Evidence>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_have_every_number_once_and_in_order() {
        for list in &CHECKLISTS {
            for (index, line) in list.lines.iter().enumerate() {
                assert_eq!(usize::from(line.number), index + 1, "{}", list.title);
                assert!(!line.title.contains('|'), "{}", line.title);
            }
        }
        assert_eq!(CHECKLISTS[0].lines.len(), 149);
        assert_eq!(CHECKLISTS[1].lines.len(), 122);
    }

    #[test]
    fn every_line_of_the_producers_list_has_a_test_or_a_reason() {
        let faults = faults(&scan::scan(&root()).unwrap());
        assert!(faults.is_empty(), "{}", faults.join("\n"));
    }

    #[test]
    fn the_file_says_what_the_tests_show() {
        let shown = scan::scan(&root()).unwrap();
        let file = std::fs::read_to_string(root().join(FILE)).unwrap();
        assert!(
            rewritten(&file, &shown).unwrap() == file,
            "{FILE} is stale: run `cargo xtask compat`"
        );
    }

    #[test]
    fn a_line_is_open_until_a_test_names_it() {
        let mut shown = Shown::new();
        let open = faults(&shown).len();
        shown.insert(('P', 61), [Evidence::FakeBroker].into());
        assert_eq!(faults(&shown).len(), open - 1);
        shown.insert(('P', 150), [Evidence::Unit].into());
        assert!(faults(&shown).contains(&"a test names P-150, which is not listed".to_owned()));
        let text = rewritten(&format!("by hand\n{MARK}\nold"), &shown).unwrap();
        assert!(text.starts_with(&format!("by hand\n{MARK}\n\n## Producer checklist\n")));
        let row = |number| text.lines().find(|line| line.starts_with(number)).unwrap();
        assert!(row("| P-061 |").ends_with("| fake broker |"));
        assert!(row("| S-001 |").ends_with("| not yet |"));
        assert!(rewritten("no mark", &shown).is_err());
    }
}
