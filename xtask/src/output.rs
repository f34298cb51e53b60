//! What a chore prints for the person who started it.

use std::fmt::Display;

/// One line on standard output.
#[expect(
    clippy::print_stdout,
    reason = "the output of a chore is for the terminal"
)]
pub(crate) fn line(text: impl Display) {
    println!("{text}");
}
