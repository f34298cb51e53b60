//! Tokens to the tree. One function per level of the grammar, weakest binding first. Java: the grammar section of `SelectorParser.jj`
//! and the checks of `ComparisonExpression.create…`.

use super::eval::{Constant, Node, Order, Part, compare};
use super::lexer::{Fault, Lexer, Token};
use super::{MAX_NESTING, MAX_TEXT_BYTES, ParseError};

/// The tree of `text`, and where what it does not cover begins.
pub(super) fn parse(text: &str) -> Result<(Node, Option<usize>), ParseError> {
    if text.len() > MAX_TEXT_BYTES {
        return Err(ParseError {
            position: 1,
            problem: format!(
                "{} bytes are more than the {MAX_TEXT_BYTES} allowed",
                text.len()
            ),
            hint: None,
        });
    }
    let position = |at| 1 + text.get(..at).unwrap_or_default().chars().count();
    let located = |fault: Box<Fault>| ParseError {
        position: position(fault.at),
        problem: fault.problem,
        hint: fault.hint,
    };
    let mut parser = Parser::new(text).map_err(located)?;
    let operand = parser.any().and_then(truth).map_err(located)?;
    let unread_from = (parser.token != Token::End).then(|| position(parser.start));
    Ok((operand.node, unread_from))
}

/// A fault at a byte offset; boxed, as each level of nesting passes several of these on.
type Parsed<T> = Result<T, Box<Fault>>;

struct Parser<'t> {
    lexer: Lexer<'t>,
    /// The next token, not yet used.
    token: Token<'t>,
    /// Byte offset of `token`.
    start: usize,
    /// Parentheses and signs that are open.
    nesting: usize,
}

/// A part of the tree with what its neighbours must know about it.
struct Operand {
    node: Node,
    /// Levels of the tree.
    depth: usize,
    /// Byte offset where it begins.
    start: usize,
}

impl<'t> Parser<'t> {
    fn new(text: &'t str) -> Parsed<Self> {
        let mut lexer = Lexer::new(text);
        let (token, start) = lexer.next()?;
        Ok(Self {
            lexer,
            token,
            start,
            nesting: 0,
        })
    }

    fn any(&mut self) -> Parsed<Operand> {
        let first = self.all()?;
        self.junction(first, Token::Or, Self::all, Node::Any)
    }

    fn all(&mut self) -> Parsed<Operand> {
        let first = self.equality()?;
        self.junction(first, Token::And, Self::equality, Node::All)
    }

    /// `first` and what `word` adds to it, as one level of the tree.
    fn junction(
        &mut self,
        first: Operand,
        word: Token<'t>,
        next: fn(&mut Self) -> Parsed<Operand>,
        node: fn(Vec<Node>) -> Node,
    ) -> Parsed<Operand> {
        if self.token != word {
            return Ok(first);
        }
        let start = first.start;
        let first = truth(first)?;
        let mut depth = first.depth;
        let mut operands = vec![first.node];
        while self.accept(word)? {
            let operand = truth(next(self)?)?;
            depth = depth.max(operand.depth);
            operands.push(operand.node);
        }
        above(node(operands), depth, start)
    }

    fn equality(&mut self) -> Parsed<Operand> {
        let mut left = self.comparison()?;
        loop {
            let operator = self.token;
            if !matches!(operator, Token::Equal | Token::NotEqual | Token::Is) {
                return Ok(left);
            }
            self.advance()?;
            left = match operator {
                Token::Is => self.null_test(left)?,
                operator => equal(left, self.comparison()?, operator == Token::NotEqual)?,
            };
        }
    }

    fn null_test(&mut self, operand: Operand) -> Parsed<Operand> {
        let negated = self.accept(Token::Not)?;
        self.require(Token::Null)?;
        let test = above(
            Node::IsNull(Box::new(operand.node)),
            operand.depth,
            operand.start,
        )?;
        if negated { not(test) } else { Ok(test) }
    }

    fn comparison(&mut self) -> Parsed<Operand> {
        let mut left = self.unary()?;
        loop {
            let negated = self.accept(Token::Not)?;
            left = match self.token {
                Token::Contains => self.search(left, Part::Anywhere, negated)?,
                Token::StartsWith => self.search(left, Part::Start, negated)?,
                Token::EndsWith => self.search(left, Part::End, negated)?,
                Token::Between => self.between(left, negated)?,
                Token::In => self.list(left, negated)?,
                _ if negated => {
                    return self
                        .unexpected("BETWEEN, IN, CONTAINS, STARTSWITH or ENDSWITH after NOT");
                }
                Token::Greater => self.order(left, Order::Greater)?,
                Token::GreaterOrEqual => self.order(left, Order::GreaterOrEqual)?,
                Token::Less => self.order(left, Order::Less)?,
                Token::LessOrEqual => self.order(left, Order::LessOrEqual)?,
                _ => return Ok(left),
            };
        }
    }

    fn order(&mut self, left: Operand, order: Order) -> Parsed<Operand> {
        self.advance()?;
        let right = self.unary()?;
        for side in [&left, &right] {
            orderable(side)?;
        }
        let depth = left.depth.max(right.depth);
        let sides = Box::new([left.node, right.node]);
        above(Node::Order(order, sides), depth, left.start)
    }

    fn search(&mut self, operand: Operand, part: Part, not: bool) -> Parsed<Operand> {
        self.advance()?;
        let node = Node::Search {
            part,
            not,
            operand: Box::new(operand.node),
            text: self.text()?,
        };
        above(node, operand.depth, operand.start)
    }

    fn between(&mut self, value: Operand, not: bool) -> Parsed<Operand> {
        self.advance()?;
        let low = self.unary()?;
        self.require(Token::And)?;
        let high = self.unary()?;
        for operand in [&value, &low, &high] {
            orderable(operand)?;
        }
        if let (false, Node::Constant(low), Node::Constant(highest)) = (not, &low.node, &high.node)
            && compare(highest.value(), low.value()).is_ok_and(std::cmp::Ordering::is_lt)
        {
            return fault(
                high.start,
                "BETWEEN ends below its start",
                Some("the lower limit comes first"),
            );
        }
        let depth = value.depth.max(low.depth).max(high.depth);
        let operands = Box::new([value.node, low.node, high.node]);
        above(Node::Between { operands, not }, depth, value.start)
    }

    fn list(&mut self, operand: Operand, not: bool) -> Parsed<Operand> {
        self.advance()?;
        self.require(Token::Open)?;
        let mut list = vec![self.text()?];
        while self.accept(Token::Comma)? {
            list.push(self.text()?);
        }
        self.require(Token::Close)?;
        let Node::Property(property) = operand.node else {
            return fault(operand.start, "IN takes a property on its left", None);
        };
        list.sort_unstable();
        let list = list.into_boxed_slice();
        above(
            Node::In {
                property,
                list,
                not,
            },
            operand.depth,
            operand.start,
        )
    }

    fn unary(&mut self) -> Parsed<Operand> {
        let (sign, start) = (self.token, self.start);
        if !matches!(sign, Token::Plus | Token::Minus | Token::Not) {
            return self.primary();
        }
        self.advance()?;
        let operand = self.nested(Self::unary)?;
        match sign {
            Token::Minus => above(Node::Negate(Box::new(operand.node)), operand.depth, start),
            Token::Not => not(Operand {
                start,
                ..truth(operand)?
            }),
            _ => Ok(operand),
        }
    }

    fn primary(&mut self) -> Parsed<Operand> {
        let start = self.start;
        if !self.accept(Token::Open)? {
            let node = self.value()?;
            return Ok(Operand {
                node,
                depth: 1,
                start,
            });
        }
        let operand = self.nested(Self::any)?;
        self.require(Token::Close)?;
        Ok(Operand { start, ..operand })
    }

    fn value(&mut self) -> Parsed<Node> {
        let node = match self.token {
            Token::Name(name) => Node::Property(name.into()),
            Token::Text(raw) => Node::Constant(Constant::Text(plain(raw))),
            Token::Decimal(digits) => Node::Constant(decimal(digits, self.start)?),
            Token::Float(digits) => Node::Constant(float(digits, self.start)?),
            Token::True => Node::Constant(Constant::Boolean(true)),
            Token::False => Node::Constant(Constant::Boolean(false)),
            Token::Null => Node::Constant(Constant::Null),
            _ => return self.unexpected("a property, a value or `(`"),
        };
        self.advance()?;
        Ok(node)
    }

    /// Parses what is within a parenthesis or behind a sign.
    fn nested(&mut self, inner: fn(&mut Self) -> Parsed<Operand>) -> Parsed<Operand> {
        if self.nesting == MAX_NESTING {
            return too_deep(self.start);
        }
        self.nesting += 1;
        let operand = inner(self)?;
        self.nesting -= 1;
        Ok(operand)
    }

    fn text(&mut self) -> Parsed<Box<str>> {
        let Token::Text(raw) = self.token else {
            return self.unexpected("text in single quotes");
        };
        self.advance()?;
        Ok(plain(raw))
    }

    fn accept(&mut self, token: Token<'_>) -> Parsed<bool> {
        let found = self.token == token;
        if found {
            self.advance()?;
        }
        Ok(found)
    }

    fn require(&mut self, token: Token<'_>) -> Parsed<()> {
        if self.accept(token)? {
            Ok(())
        } else {
            self.unexpected(&token.to_string())
        }
    }

    fn advance(&mut self) -> Parsed<()> {
        (self.token, self.start) = self.lexer.next()?;
        Ok(())
    }

    fn unexpected<T>(&self, expected: &str) -> Parsed<T> {
        let hint = match self.token {
            Token::Equal => Some("equality is written ="),
            _ => None,
        };
        fault(
            self.start,
            &format!("expected {expected}, found {}", self.token),
            hint,
        )
    }
}

/// Text as it is meant: its quotes are written twice.
fn plain(raw: &str) -> Box<str> {
    raw.replace("''", "'").into()
}

/// Puts `node` above parts that are `depth` levels deep.
fn above(node: Node, depth: usize, start: usize) -> Parsed<Operand> {
    if depth == MAX_NESTING {
        return too_deep(start);
    }
    Ok(Operand {
        node,
        depth: depth + 1,
        start,
    })
}

fn not(operand: Operand) -> Parsed<Operand> {
    above(
        Node::Not(Box::new(operand.node)),
        operand.depth,
        operand.start,
    )
}

/// The operand as a condition. Java: `SelectorParser.asBooleanExpression`.
fn truth(operand: Operand) -> Parsed<Operand> {
    match operand.node {
        Node::Property(name) => Ok(Operand {
            node: Node::Truth(name),
            ..operand
        }),
        node if node.is_boolean() => Ok(Operand { node, ..operand }),
        _ => fault(
            operand.start,
            "a value is no condition",
            Some("compare it with something"),
        ),
    }
}

fn equal(left: Operand, right: Operand, negated: bool) -> Parsed<Operand> {
    for side in [&left, &right] {
        if side.node == Node::Constant(Constant::Null) {
            return fault(
                side.start,
                "NULL equals nothing",
                Some("write IS NULL or IS NOT NULL"),
            );
        }
    }
    if let (Node::Constant(Constant::Boolean(_)), Node::Constant(constant)) =
        (&left.node, &right.node)
        && !matches!(constant, Constant::Boolean(_))
    {
        return fault(right.start, "TRUE and FALSE equal no other value", None);
    }
    let depth = left.depth.max(right.depth);
    let sides = Box::new([left.node, right.node]);
    let equal = above(Node::Equal(sides), depth, left.start)?;
    if negated { not(equal) } else { Ok(equal) }
}

/// Whether the operand may stand beside `<` and in BETWEEN. Java: `ComparisonExpression.checkLessThanOperand`.
fn orderable(operand: &Operand) -> Parsed<()> {
    let (problem, hint) = match &operand.node {
        Node::Constant(Constant::Text(_)) => {
            ("text has no order", Some("only = and <> compare text"))
        }
        Node::Constant(Constant::Null) => {
            ("NULL has no order", Some("write IS NULL or IS NOT NULL"))
        }
        node if node.is_boolean() => ("a condition has no order", Some("join conditions with AND")),
        _ => return Ok(()),
    };
    fault(operand.start, problem, hint)
}

/// Java: `ConstantExpression.createFromDecimal`.
fn decimal(digits: &str, start: usize) -> Parsed<Constant> {
    let Ok(value) = digits.parse::<i64>() else {
        let problem = format!("{digits} is too large: whole numbers end at {}", i64::MAX);
        return fault(start, &problem, None);
    };
    Ok(i32::try_from(value).map_or(Constant::Long(value), Constant::Int))
}

/// Java: `ConstantExpression.createFloat`.
fn float(digits: &str, start: usize) -> Parsed<Constant> {
    match digits.parse() {
        Ok(value) if f64::is_finite(value) && value > 0.0 => Ok(Constant::Double(value)),
        Ok(0.0) => fault(
            start,
            &format!("{digits} is too small for a number with a point"),
            Some("zero is written 0"),
        ),
        _ => fault(start, &format!("{digits} is too large"), None),
    }
}

fn too_deep<T>(at: usize) -> Parsed<T> {
    fault(
        at,
        &format!("nested deeper than {MAX_NESTING} levels"),
        None,
    )
}

fn fault<T>(at: usize, problem: &str, hint: Option<&'static str>) -> Parsed<T> {
    Err(Box::new(Fault {
        at,
        problem: problem.to_owned(),
        hint,
    }))
}
