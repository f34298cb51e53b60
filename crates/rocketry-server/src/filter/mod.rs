//! Which messages of a queue a consumer wants: by tag, or by an SQL92 condition on properties.
//!
//! Java: `ExpressionMessageFilter`, `ConsumerFilterManager`.

mod sql92;
mod tag;

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;
use rocketry_protocol::{Properties, body::heartbeat::SQL92, record::Record};
use rocketry_store::Filter;

pub(crate) use sql92::{Expression, ParseError};
pub(crate) use tag::{TagFilter, is_tag_type};

/// What a consumer wants of a topic.
#[derive(Debug)]
pub(crate) enum MessageFilter {
    Tags(TagFilter),
    Sql92(Arc<Expression>),
}

impl MessageFilter {
    /// Whether every message is wanted.
    pub(crate) fn is_all(&self) -> bool {
        matches!(self, Self::Tags(TagFilter::All))
    }

    /// Memory beyond its own size; compiled expressions are shared, and bounded where they are.
    pub(crate) fn heap_bytes(&self) -> usize {
        match self {
            Self::Tags(TagFilter::Codes(codes)) => codes.capacity() * size_of::<i32>(),
            Self::Tags(TagFilter::All) | Self::Sql92(_) => 0,
        }
    }
}

impl Filter for MessageFilter {
    fn matches_tags(&self, tags_code: i64) -> bool {
        match self {
            Self::Tags(tags) => tags.matches(tags_code),
            Self::Sql92(_) => true,
        }
    }

    fn needs_record(&self) -> bool {
        matches!(self, Self::Sql92(_))
    }

    /// Only stored properties count: not those that a client adds on reading.
    fn matches_record(&self, record: &[u8]) -> bool {
        match self {
            Self::Tags(_) => true,
            Self::Sql92(expression) => Record::parse(record).is_ok_and(|(record, _)| {
                let properties = Properties::parse_bytes(record.properties);
                expression.matches(|name| properties.get(name))
            }),
        }
    }
}

/// Most expressions that stay compiled. Java: `SelectorParser.PARSE_CACHE`.
const COMPILED: usize = 100;

/// The SQL92 expressions of late, compiled: pulls repeat theirs again and again.
#[derive(Debug, Default)]
pub(crate) struct Expressions {
    compiled: Mutex<HashMap<Box<str>, Arc<Expression>>>,
}

impl Expressions {
    /// The compiled form of an expression whose type is not `TAG`.
    ///
    /// # Errors
    /// [`ParseError`] for a type other than `SQL92`, for no text, and for text that does not compile.
    pub(crate) fn compiled(
        &self,
        expression_type: &str,
        text: Option<&str>,
    ) -> Result<Arc<Expression>, ParseError> {
        if expression_type != SQL92 {
            return Err(ParseError {
                position: 1,
                problem: format!("it is of type {expression_type:?}"),
                hint: Some("the types are TAG and SQL92"),
            });
        }
        let text = text.unwrap_or_default();
        if let Some(known) = self.compiled.lock().get(text) {
            return Ok(Arc::clone(known));
        }
        let expression = Arc::new(Expression::compile(text)?);
        if let Some(position) = expression.unread_from() {
            tracing::warn!(
                expression = text,
                position,
                "the condition ends before its text does; the rest is not read"
            );
        }
        let mut compiled = self.compiled.lock();
        if compiled.len() >= COMPILED {
            compiled.clear();
        }
        compiled.insert(text.into(), Arc::clone(&expression));
        Ok(expression)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_stay_compiled_up_to_a_limit() {
        let expressions = Expressions::default();
        let first = expressions.compiled(SQL92, Some("a = 0")).unwrap();
        let again = expressions.compiled(SQL92, Some("a = 0")).unwrap();
        assert!(Arc::ptr_eq(&first, &again));
        for value in 1..=COMPILED {
            let text = format!("a = {value}");
            expressions.compiled(SQL92, Some(&text)).unwrap();
            assert!(expressions.compiled.lock().len() <= COMPILED);
        }
        let anew = expressions.compiled(SQL92, Some("a = 0")).unwrap();
        assert!(!Arc::ptr_eq(&first, &anew));
    }

    #[test]
    fn what_is_no_expression_is_refused() {
        let expressions = Expressions::default();
        for (expression_type, text) in [
            (SQL92, None),
            (SQL92, Some("")),
            (SQL92, Some("a =")),
            ("sql92", Some("a = 1")),
            ("CLASS", Some("a = 1")),
        ] {
            assert!(
                expressions.compiled(expression_type, text).is_err(),
                "{expression_type} {text:?}"
            );
        }
    }
}
