//! The tree of an expression and its value for one message. Java: `org.apache.rocketmq.filter.expression`.

use std::cmp::Ordering;

use super::{Incomparable, number};

/// A part of an expression.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    Constant(Constant),
    /// The value of the property of this name.
    Property(Box<str>),
    /// A number with its sign changed; null for anything else.
    Negate(Box<Self>),
    Not(Box<Self>),
    /// A property where truth is expected: null when missing, else false, as values are text and never truth.
    Truth(Box<str>),
    /// AND of two or more.
    All(Vec<Self>),
    /// OR of two or more.
    Any(Vec<Self>),
    /// Left, right.
    Equal(Box<[Self; 2]>),
    IsNull(Box<Self>),
    Order(Order, Box<[Self; 2]>),
    /// Value, low, high. `NOT BETWEEN` is not the negation of `BETWEEN`: either side alone can make it true.
    Between {
        operands: Box<[Self; 3]>,
        not: bool,
    },
    Search {
        part: Part,
        not: bool,
        operand: Box<Self>,
        text: Box<str>,
    },
    /// `list` is sorted.
    In {
        property: Box<str>,
        list: Box<[Box<str>]>,
        not: bool,
    },
}

/// A value written in the expression.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Constant {
    Null,
    Boolean(bool),
    Int(i32),
    Long(i64),
    Double(f64),
    Text(Box<str>),
}

/// `>`, `>=`, `<`, `<=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
}

/// Where `CONTAINS`, `STARTSWITH` and `ENDSWITH` look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Anywhere,
    Start,
    End,
}

/// What a part of an expression is worth for one message.
#[derive(Debug, Clone, Copy)]
pub(super) enum Value<'v> {
    Null,
    Boolean(bool),
    Int(i32),
    Long(i64),
    Double(f64),
    Text(&'v str),
}

impl Node {
    /// Whether the part is a condition, whatever its value. Java: `BooleanExpression`.
    pub(super) fn is_boolean(&self) -> bool {
        match self {
            Self::Constant(constant) => matches!(constant, Constant::Null | Constant::Boolean(_)),
            Self::Property(_) | Self::Negate(_) => false,
            _ => true,
        }
    }

    pub(super) fn evaluate<'v, 'p: 'v>(
        &'v self,
        property: &impl Fn(&str) -> Option<&'p str>,
    ) -> Result<Value<'v>, Incomparable> {
        let truth = match self {
            Self::Constant(constant) => return Ok(constant.value()),
            Self::Property(name) => return Ok(property(name).map_or(Value::Null, Value::Text)),
            Self::Negate(operand) => return Ok(operand.evaluate(property)?.negate()),
            Self::Not(operand) => operand.truth(property)?.map(|truth| !truth),
            Self::Truth(name) => property(name).map(|_| false),
            Self::All(operands) => junction(
                false,
                operands.iter().map(|operand| operand.truth(property)),
            )?,
            Self::Any(operands) => {
                junction(true, operands.iter().map(|operand| operand.truth(property)))?
            }
            Self::Equal(sides) => {
                let [left, right] = &**sides;
                equal(left.evaluate(property)?, right.evaluate(property)?)?
            }
            Self::IsNull(operand) => Some(matches!(operand.evaluate(property)?, Value::Null)),
            Self::Order(order, sides) => {
                let [left, right] = &**sides;
                order.of(left.evaluate(property)?, || right.evaluate(property))?
            }
            Self::Between { operands, not } => {
                let [value, low, high] = &**operands;
                let value = value.evaluate(property)?;
                let orders = if *not {
                    [Order::Less, Order::Greater]
                } else {
                    [Order::GreaterOrEqual, Order::LessOrEqual]
                };
                let limits = [low, high].into_iter().zip(orders);
                junction(
                    *not,
                    limits.map(|(limit, order)| order.of(value, || limit.evaluate(property))),
                )?
            }
            // No text contains the empty one, and no missing one lacks it either.
            Self::Search { text, .. } if text.is_empty() => Some(false),
            Self::Search {
                part,
                not,
                operand,
                text,
            } => Some(match operand.evaluate(property)? {
                Value::Text(value) => part.holds(value, text) != *not,
                _ => false,
            }),
            Self::In {
                property: name,
                list,
                not,
            } => property(name).map(|value| {
                let found = list.binary_search_by(|entry| (**entry).cmp(value));
                found.is_ok() != *not
            }),
        };
        Ok(truth.map_or(Value::Null, Value::Boolean))
    }

    /// The value of a part that is a condition.
    fn truth<'p>(
        &self,
        property: &impl Fn(&str) -> Option<&'p str>,
    ) -> Result<Option<bool>, Incomparable> {
        self.evaluate(property).map(Value::truth)
    }
}

impl Constant {
    pub(super) fn value(&self) -> Value<'_> {
        match self {
            Self::Null => Value::Null,
            Self::Boolean(value) => Value::Boolean(*value),
            Self::Int(value) => Value::Int(*value),
            Self::Long(value) => Value::Long(*value),
            Self::Double(value) => Value::Double(*value),
            Self::Text(value) => Value::Text(value),
        }
    }
}

impl Value<'_> {
    pub(super) fn truth(self) -> Option<bool> {
        match self {
            Self::Boolean(truth) => Some(truth),
            _ => None,
        }
    }

    /// The value beside a double. Text may be no number; truth is none.
    fn double(self) -> Option<f64> {
        match self {
            Self::Int(value) => Some(f64::from(value)),
            #[expect(
                clippy::cast_precision_loss,
                reason = "Java compares the rounded value"
            )]
            Self::Long(value) => Some(value as f64),
            Self::Double(value) => Some(value),
            Self::Text(value) => number::double(value),
            Self::Null | Self::Boolean(_) => None,
        }
    }

    fn negate(self) -> Self {
        match self {
            Self::Int(value) => Self::Int(value.wrapping_neg()),
            Self::Long(value) => Self::Long(value.wrapping_neg()),
            Self::Double(value) => Self::Double(-value),
            Self::Null | Self::Boolean(_) | Self::Text(_) => Self::Null,
        }
    }
}

impl Order {
    /// Compares in this order. The right side is not looked at when there is no left one.
    fn of<'v>(
        self,
        left: Value<'v>,
        right: impl FnOnce() -> Result<Value<'v>, Incomparable>,
    ) -> Result<Option<bool>, Incomparable> {
        if matches!(left, Value::Null) {
            return Ok(None);
        }
        let ordering = match (left, right()?) {
            (_, Value::Null) => return Ok(None),
            (Value::Text(left), Value::Text(right)) => {
                let (left, right) = (number::double(left), number::double(right));
                compare_doubles(left.ok_or(Incomparable)?, right.ok_or(Incomparable)?)
            }
            (left, right) => compare(left, right)?,
        };
        Ok(Some(match self {
            Self::Greater => ordering.is_gt(),
            Self::GreaterOrEqual => ordering.is_ge(),
            Self::Less => ordering.is_lt(),
            Self::LessOrEqual => ordering.is_le(),
        }))
    }
}

impl Part {
    fn holds(self, value: &str, text: &str) -> bool {
        match self {
            Self::Anywhere => value.contains(text),
            Self::Start => value.starts_with(text),
            Self::End => value.ends_with(text),
        }
    }
}

/// AND, whose first false decides, or OR, whose first true does. Undecided, it is null if any operand was. Java: `LogicExpression`.
fn junction(
    decisive: bool,
    truths: impl Iterator<Item = Result<Option<bool>, Incomparable>>,
) -> Result<Option<bool>, Incomparable> {
    let mut undecided = Some(!decisive);
    for truth in truths {
        match truth? {
            Some(truth) if truth == decisive => return Ok(Some(decisive)),
            Some(_) => {}
            None => undecided = None,
        }
    }
    Ok(undecided)
}

/// `=`, which is not symmetric: a missing left side gives null, a missing right side false. Java: `ComparisonExpression.doCreateEqual`.
fn equal(left: Value<'_>, right: Value<'_>) -> Result<Option<bool>, Incomparable> {
    Ok(match (left, right) {
        (Value::Null, Value::Null) => Some(true),
        (Value::Null, _) => None,
        (_, Value::Null) => Some(false),
        (left, right) => Some(compare(left, right)?.is_eq()),
    })
}

/// Compares in the type of the side that is no text, or else the wider number. Java: `ComparisonExpression.__compare`.
pub(super) fn compare(left: Value<'_>, right: Value<'_>) -> Result<Ordering, Incomparable> {
    use Value::{Boolean, Int, Long, Text};
    let ordering = match (left, right) {
        (Text(left), Text(right)) => Some(left.cmp(right)),
        (Boolean(left), Boolean(right)) => Some(left.cmp(&right)),
        (Text(left), Boolean(right)) => Some(left.eq_ignore_ascii_case("true").cmp(&right)),
        // Java means to read the text, but casts the truth.
        (Boolean(_), Text(_)) => None,
        (Int(left), Int(right)) => Some(left.cmp(&right)),
        (Int(left), Long(right)) => Some(i64::from(left).cmp(&right)),
        (Long(left), Int(right)) => Some(left.cmp(&i64::from(right))),
        (Long(left), Long(right)) => Some(left.cmp(&right)),
        (Int(left), Text(right)) => number::int(right).map(|right| left.cmp(&right)),
        (Text(left), Int(right)) => number::int(left).map(|left| left.cmp(&right)),
        (Long(left), Text(right)) => number::long(right).map(|right| left.cmp(&right)),
        (Text(left), Long(right)) => number::long(left).map(|left| left.cmp(&right)),
        (left, right) => match (left.double(), right.double()) {
            (Some(left), Some(right)) => Some(compare_doubles(left, right)),
            (None, _) if matches!(left, Text(_)) => None,
            (_, None) if matches!(right, Text(_)) => None,
            // Nothing orders truth and numbers; Java calls the left one less.
            _ => Some(Ordering::Less),
        },
    };
    ordering.ok_or(Incomparable)
}

/// Zero below zero is less than zero, and not-a-number is one value above all others. Java: `Double.compareTo`.
fn compare_doubles(left: f64, right: f64) -> Ordering {
    match (left.is_nan(), right.is_nan()) {
        (false, false) => left.total_cmp(&right),
        (left, right) => left.cmp(&right),
    }
}
