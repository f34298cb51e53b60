//! SQL92 message filters: a condition over a message's properties, such as `region = 'eu' AND price BETWEEN 10 AND 20`.
//!
//! `lexer` cuts the text into tokens, `parser` builds the tree and refuses what Java refuses, `eval` runs the tree over the properties
//! of one message, `number` reads property values the way Java reads numbers. Results are Java's to the letter, oddities included
//! (`tests/vectors/sql92.json` holds them); the two limits below are ours. Java: `SqlFilter`, `SelectorParser`, package
//! `org.apache.rocketmq.filter.expression`.
//!
//! - Logic has three values. A missing property is null; only `IS NULL` and `IS NOT NULL` tell it from a value for certain.
//! - Property values are text. Beside a number they are read as a number of its kind; a value that is none matches nothing.
//! - `NOT` binds to the next operand alone: `NOT a = 1` means `(NOT a) = 1`, which never holds.
//! - What follows a complete condition is not read: `a = 1 b = 2` means `a = 1` ([`Expression::unread_from`] tells).

mod eval;
mod lexer;
mod number;
mod parser;
#[cfg(test)]
mod tests;

use std::fmt;

use eval::{Node, Value};

/// Longest expression, in bytes. An expression is evaluated for each message that is read. Java: none.
pub(crate) const MAX_TEXT_BYTES: usize = 64 * 1024;

/// Deepest nesting of parentheses and operators. `a = 1 AND b = 2 AND …` is one level however long it is. Java: until the thread's
/// stack overflows, which it answers as a parse error.
pub(crate) const MAX_NESTING: usize = 128;

/// A compiled expression.
#[derive(Debug)]
pub(crate) struct Expression {
    root: Node,
    unread_from: Option<usize>,
}

impl Expression {
    /// Parses `text`.
    ///
    /// # Errors
    /// [`ParseError`] when Java would refuse the text, or it is beyond a limit of this module.
    ///
    /// Java: `SelectorParser.parse`.
    pub(crate) fn compile(text: &str) -> Result<Self, ParseError> {
        parser::parse(text).map(|(root, unread_from)| Self { root, unread_from })
    }

    /// Where the text goes on after the condition it was compiled from, as a character counted from 1. Such a tail is a mistake of its
    /// author (`a > 5 + 3` means `a > 5`), but Java accepts it and so must we; it is worth a warning.
    pub(crate) fn unread_from(&self) -> Option<usize> {
        self.unread_from
    }

    /// Whether a message with these properties passes: the result is true, neither null nor impossible to tell.
    ///
    /// Java: `ExpressionMessageFilter.isMatchedByCommitLog`.
    pub(crate) fn matches<'p>(&self, property: impl Fn(&str) -> Option<&'p str>) -> bool {
        matches!(self.evaluate(property), Ok(Some(true)))
    }

    /// The expression's value for a message with these properties; `None` is null. Allocates nothing.
    ///
    /// # Errors
    /// [`Incomparable`] when a value met on the way cannot be compared with the other side.
    ///
    /// Java: `Expression.evaluate`, which throws.
    pub(crate) fn evaluate<'p>(
        &self,
        property: impl Fn(&str) -> Option<&'p str>,
    ) -> Result<Option<bool>, Incomparable> {
        Ok(match self.root.evaluate(&property)? {
            Value::Boolean(result) => Some(result),
            _ => None,
        })
    }
}

/// A comparison that has no answer: text that is no number beside a number, or truth on the left of text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Incomparable;

/// Why a text is no SQL92 expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ParseError {
    /// Where, as a character counted from 1; one past the last when something is missing at the end.
    pub(crate) position: usize,
    /// What is wrong there.
    pub(crate) problem: String,
    /// What to write instead, where that can be guessed.
    pub(crate) hint: Option<&'static str>,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "SQL92 expression, character {}: {}",
            self.position, self.problem
        )?;
        if let Some(hint) = self.hint {
            write!(f, " ({hint})")?;
        }
        Ok(())
    }
}

impl std::error::Error for ParseError {}
