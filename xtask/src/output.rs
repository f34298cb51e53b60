//! What a chore prints for the person who started it.

use std::fmt::Display;
use std::io::Write as _;

/// One line on standard output. A reader that is gone (`| head`) is no reason to leave servers half stopped.
pub(crate) fn line(text: impl Display) {
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}
