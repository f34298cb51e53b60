//! What the user sees: data on stdout, messages on stderr.
//!
//! Nothing else in the binary prints. A reader of stdout that goes away (`| head`) is [`Failure::reader_gone`]: not an error, the
//! command just ends. A stderr that is closed is ignored, so that a message can never fail a command.

use std::{
    fmt::{self, Display},
    io::{self, BufWriter, IsTerminal, StdoutLock, Write},
};

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use serde::Serialize;

use crate::failure::Failure;

/// Stdout of a command. Buffered: [`Output::flush`] when what was written must be seen.
#[derive(Debug)]
pub(crate) struct Output<W: Write = StdoutLock<'static>> {
    to: BufWriter<W>,
}

impl Output {
    /// Takes stdout for the life of the command.
    pub(crate) fn stdout() -> Self {
        Self::new(io::stdout().lock())
    }
}

impl<W: Write> Output<W> {
    fn new(to: W) -> Self {
        Self {
            to: BufWriter::with_capacity(64 * 1024, to),
        }
    }

    /// Writes `text` and a line feed.
    pub(crate) fn line(&mut self, text: impl Display) -> Result<(), Failure> {
        writeln!(self.to, "{text}").map_err(failed)
    }

    /// Writes `text` as it is.
    pub(crate) fn text(&mut self, text: &str) -> Result<(), Failure> {
        self.to.write_all(text.as_bytes()).map_err(failed)
    }

    /// Writes `bytes` and a line feed.
    pub(crate) fn raw_line(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.to
            .write_all(bytes)
            .and_then(|()| self.to.write_all(b"\n"))
            .map_err(failed)
    }

    /// Writes `bytes` and a line feed; to a terminal as text that does nothing to it.
    pub(crate) fn body(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        if io::stdout().is_terminal() {
            return self.line(escaped_lines(&String::from_utf8_lossy(bytes)));
        }
        self.raw_line(bytes)
    }

    /// Writes `value` as JSON on one line.
    pub(crate) fn json(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        self.json_unterminated(value)?;
        self.to.write_all(b"\n").map_err(failed)
    }

    /// Writes `value` as JSON, without the end of the line.
    pub(crate) fn json_unterminated(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        serde_json::to_writer(&mut self.to, value)
            .map_err(io::Error::from)
            .map_err(failed)
    }

    /// Writes `value` as indented JSON.
    pub(crate) fn pretty_json(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        serde_json::to_writer_pretty(&mut self.to, value)
            .map_err(io::Error::from)
            .map_err(failed)?;
        self.to.write_all(b"\n").map_err(failed)
    }

    /// Writes a table without borders, which `awk` and people read equally well.
    pub(crate) fn table(
        &mut self,
        columns: &[Column],
        rows: Vec<Vec<String>>,
    ) -> Result<(), Failure> {
        let text = table(columns, rows);
        self.text(&text)
    }

    /// Brings everything written so far to the reader.
    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        self.to.flush().map_err(failed)
    }
}

fn failed(error: io::Error) -> Failure {
    if error.kind() == io::ErrorKind::BrokenPipe {
        Failure::reader_gone()
    } else {
        Failure::new(format!("cannot write to stdout: {error}"))
    }
}

/// Header of a table column, and on which side its cells stand.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Column {
    /// Text: left.
    Text(&'static str),
    /// A number: right.
    Number(&'static str),
}

fn table(columns: &[Column], rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(columns.iter().map(|column| match column {
        Column::Text(name) | Column::Number(name) => *name,
    }));
    table.add_rows(rows);
    for (index, column) in columns.iter().enumerate() {
        if let Some(drawn) = table.column_mut(index) {
            let last = index + 1 == columns.len();
            drawn.set_padding((0, if last { 0 } else { 2 }));
            if matches!(column, Column::Number(_)) {
                drawn.set_cell_alignment(CellAlignment::Right);
            }
        }
    }
    let mut text = table.trim_fmt();
    text.push('\n');
    text
}

/// Writes `text` as a terminal can show it on one line: control characters are escaped.
pub(crate) fn escaped(to: &mut impl fmt::Write, text: &str) -> fmt::Result {
    for character in text.chars() {
        if character.is_control() {
            write!(to, "{}", character.escape_default())?;
        } else {
            to.write_char(character)?;
        }
    }
    Ok(())
}

/// `text` as a terminal can show it on several lines: control characters but line feeds and tabs are escaped.
fn escaped_lines(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for piece in text.split_inclusive(['\n', '\t']) {
        let end = piece.trim_end_matches(['\n', '\t']).len();
        let (text, end) = piece.split_at(end);
        // Writing to a string does not fail.
        let _ = escaped(&mut shown, text);
        shown.push_str(end);
    }
    shown
}

/// A message on stderr.
pub(crate) fn note(text: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Asks on stderr whether to go on, and reads the answer from stdin: `y` and `yes` are one, anything else is none. `None` when nobody
/// is there to answer.
pub(crate) fn confirm(question: &str) -> Option<bool> {
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return None;
    }
    let _ = write!(io::stderr().lock(), "{question} [y/N] ");
    let mut answer = String::new();
    let read = io::stdin().read_line(&mut answer);
    Some(read.is_ok() && is_yes(&answer))
}

fn is_yes(answer: &str) -> bool {
    let answer = answer.trim();
    ["y", "yes"]
        .iter()
        .any(|yes| answer.eq_ignore_ascii_case(yes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_yes_is_yes() {
        for (answer, yes) in [
            ("y\n", true),
            (" YES\r\n", true),
            ("", false),
            ("yep", false),
        ] {
            assert_eq!(is_yes(answer), yes, "{answer:?}");
        }
    }

    #[test]
    fn a_body_does_nothing_to_the_terminal() {
        assert_eq!(
            escaped_lines("one\n\n\ttwo\u{1b}]0;title\u{7}\r\nthree"),
            "one\n\n\ttwo\\u{1b}]0;title\\u{7}\\r\nthree"
        );
    }

    /// Accepts `left` bytes, then fails with `kind`.
    struct Narrow {
        left: usize,
        kind: io::ErrorKind,
    }

    impl Write for Narrow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.left == 0 {
                return Err(self.kind.into());
            }
            let n = bytes.len().min(self.left);
            self.left -= n;
            Ok(n)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_went_away_ends_quietly() {
        let mut output = Output::new(Narrow {
            left: 3,
            kind: io::ErrorKind::BrokenPipe,
        });
        output.line("hello").unwrap();
        let failure = output.flush().unwrap_err();
        assert!(failure.is_reader_gone());
        assert_eq!(failure.exit_code(), 0);
    }

    #[test]
    fn a_full_disk_is_an_error() {
        let mut output = Output::new(Narrow {
            left: 0,
            kind: io::ErrorKind::StorageFull,
        });
        output.json(&"hello").unwrap();
        let failure = output.flush().unwrap_err();
        assert_eq!(failure.exit_code(), 1);
        assert!(
            failure.to_string().starts_with("cannot write to stdout"),
            "{failure}"
        );
    }

    #[test]
    fn tables_are_aligned_and_bare() {
        let columns = [
            Column::Text("MODE"),
            Column::Number("SENT"),
            Column::Number("P50"),
        ];
        let rows = vec![
            vec!["sync".to_owned(), "1000".to_owned(), "85 us".to_owned()],
            vec!["oneway".to_owned(), "7".to_owned(), "n/a".to_owned()],
        ];
        assert_eq!(
            table(&columns, rows),
            "MODE    SENT    P50\nsync    1000  85 us\noneway     7    n/a\n"
        );
    }
}
