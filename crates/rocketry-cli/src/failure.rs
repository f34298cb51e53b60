//! Why a command did not do what it was asked for, as it is told to the user.

use std::{fmt, io, path::Path};

/// One line on what failed, what may follow with `-v`, what to do about it, and the exit code.
#[derive(Debug)]
pub(crate) struct Failure {
    message: String,
    detail: Option<String>,
    hint: Option<String>,
    exit: Exit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Exit {
    /// Not an error: whoever read our output has seen enough.
    ReaderGone,
    Failed,
    Usage,
}

impl Failure {
    /// The command failed: exit code 1.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            detail: None,
            hint: None,
            exit: Exit::Failed,
        }
    }

    /// The command was called wrongly: exit code 2.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self {
            exit: Exit::Usage,
            ..Self::new(message)
        }
    }

    /// Stdout was closed by its reader: exit code 0, nothing to say.
    pub(crate) fn reader_gone() -> Self {
        Self {
            exit: Exit::ReaderGone,
            ..Self::new("the reader of stdout went away")
        }
    }

    /// `path` could not be opened, read or written.
    pub(crate) fn file(what: &str, path: &Path, error: &io::Error) -> Self {
        Self::new(format!("cannot {what} {}: {error}", path.display()))
    }

    /// One failure that says all of `failures`, with the first hint; `None` of none.
    pub(crate) fn of_all(failures: impl IntoIterator<Item = Self>) -> Option<Self> {
        failures.into_iter().reduce(|mut all, next| {
            all.message.push_str("\n  ");
            all.message.push_str(&next.message);
            all.hint = all.hint.or(next.hint);
            all.detail = match (all.detail, next.detail) {
                (Some(all), Some(next)) => Some(format!("{}\n{next}", all.trim_end())),
                (all, next) => all.or(next),
            };
            all
        })
    }

    /// Adds what to do about it.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds what is shown with `-v` only.
    pub(crate) fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// Puts in front what was done when it happened.
    pub(crate) fn during(mut self, what: impl fmt::Display) -> Self {
        self.message = format!("{what}: {}", self.message);
        self
    }

    /// What is shown with `-v` only.
    pub(crate) fn detail_text(&self) -> Option<&str> {
        self.detail.as_deref()
    }

    /// What to do about it.
    pub(crate) fn hint_text(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// Whether this is no failure at all, but a closed pipe.
    pub(crate) fn is_reader_gone(&self) -> bool {
        self.exit == Exit::ReaderGone
    }

    /// The exit code of the process.
    pub(crate) const fn exit_code(&self) -> u8 {
        match self.exit {
            Exit::ReaderGone => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
        }
    }

    /// The text for stderr; empty for a closed pipe.
    pub(crate) fn report(&self, verbose: bool) -> String {
        if self.is_reader_gone() {
            return String::new();
        }
        let mut text = format!("error: {}", self.message);
        if let Some(detail) = self.detail.as_deref().filter(|_| verbose) {
            text.push('\n');
            text.push_str(detail.trim_end());
        }
        if let Some(hint) = &self.hint {
            text.push_str("\nhint: ");
            text.push_str(hint);
        }
        text
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn detail_is_for_the_curious() {
        let failure = Failure::new("it broke")
            .detail("attempt 1: refused\n")
            .hint("mend it");
        assert_eq!(failure.report(false), "error: it broke\nhint: mend it");
        assert_eq!(
            failure.report(true),
            "error: it broke\nattempt 1: refused\nhint: mend it"
        );
        assert_eq!(failure.exit_code(), 1);
        assert_eq!(Failure::usage("no").exit_code(), 2);
        assert_eq!(Failure::reader_gone().report(true), "");
    }
}
