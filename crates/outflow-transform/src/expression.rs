//! The language of `filter`: comparisons of an event's fields, joined by `&&`, `||`, `!` and parentheses.
//!
//! ```text
//! expression = and ("||" and)*            value  = "text" | 12.5 | true | false | null
//! and        = not ("&&" not)*            path   = op | schema | table | key | type | destination
//! not        = "!" not | "(" expression ")" | comparison        | after.NAME… | before.NAME… | payload.NAME…
//! comparison = path (== != < <= > >=) value | path in [value, …]
//! ```

use std::cmp::Ordering;

use outflow_sdk::{Error, EventRef, Result, ValueRef};

/// A compiled expression.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Expression {
    Or(Vec<Expression>),
    And(Vec<Expression>),
    Not(Box<Expression>),
    Compare(Path, Operator, Literal),
    In(Path, Vec<Literal>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// A field of an event: the root, a column or nothing, and the way within a JSON document.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Path {
    root: Root,
    names: Vec<String>,
    text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Root {
    Op,
    Schema,
    Table,
    Key,
    Type,
    Destination,
    After,
    Before,
    Payload,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Literal {
    Text(String),
    Number(String),
    Bool(bool),
    Null,
}

/// What a path leads to in one event.
enum Found<'a> {
    Value(ValueRef<'a>),
    Json(serde_json::Value),
}

impl Expression {
    /// Reads an expression.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let mut parser = Parser { text, at: 0, depth: 0 };
        let expression = parser.or()?;
        parser.space();
        if parser.at < text.len() { Err(parser.expected("the end, && or ||")) } else { Ok(expression) }
    }

    /// Whether it holds for an event.
    ///
    /// # Errors
    /// Of scope `Events`: a column that the table does not have, or a value that the source did not send. To
    /// guess would be to drop or keep in silence.
    pub(crate) fn holds(&self, event: EventRef<'_>) -> Result<bool> {
        match self {
            Self::Or(all) => {
                for one in all {
                    if one.holds(event)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Self::And(all) => {
                for one in all {
                    if !one.holds(event)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Self::Not(inner) => Ok(!inner.holds(event)?),
            Self::Compare(path, operator, literal) => {
                let found = path.find(event)?;
                Ok(match (operator, compare(&found, literal)) {
                    (Operator::Equal, order) => order == Some(Ordering::Equal),
                    (Operator::NotEqual, order) => order != Some(Ordering::Equal),
                    (Operator::Less, Some(order)) => order.is_lt(),
                    (Operator::LessOrEqual, Some(order)) => order.is_le(),
                    (Operator::Greater, Some(order)) => order.is_gt(),
                    (Operator::GreaterOrEqual, Some(order)) => order.is_ge(),
                    // Null, or values of two kinds, are in no order.
                    (_, None) => false,
                })
            }
            Self::In(path, literals) => {
                let found = path.find(event)?;
                Ok(literals.iter().any(|l| compare(&found, l) == Some(Ordering::Equal)))
            }
        }
    }
}

impl Path {
    fn find<'a>(&self, event: EventRef<'a>) -> Result<Found<'a>> {
        let text = |s: Option<&'a str>| Found::Value(s.map_or(ValueRef::Null, ValueRef::Text));
        let message = event.message();
        match self.root {
            Root::Op => Ok(text(Some(event.op().as_str()))),
            Root::Schema => Ok(text(event.schema().map(|s| s.schema()))),
            Root::Table => Ok(text(event.schema().map(|s| s.table()))),
            Root::Type => Ok(text(message.and_then(|m| m.kind()))),
            Root::Destination => Ok(text(event.route().or(message.and_then(|m| m.destination())))),
            Root::Key => Ok(Found::Value(message.map_or(ValueRef::Null, |m| m.key()))),
            Root::Payload => self.within(message.map_or(ValueRef::Null, |m| m.body_value()), &self.names),
            Root::After | Root::Before => {
                let row = if self.root == Root::After { event.after() } else { event.before() };
                let (Some(row), Some((name, rest))) = (row, self.names.split_first()) else {
                    return Ok(Found::Value(ValueRef::Null));
                };
                match row.by_name(name) {
                    Some(value) => self.within(value, rest),
                    // A document: its fields are those of the JSON.
                    None if row.schema().is_open() => {
                        let document = row.by_name("document").unwrap_or(ValueRef::Null);
                        self.within(document, &self.names)
                    }
                    None => Err(Error::data("filter.unknown_column")
                        .message(format!("{} has no column \"{name}\"", row.schema().qualified_name()))
                        .hint("correct the filter, or limit it with   tables:")),
                }
            }
        }
    }

    fn within<'a>(&self, value: ValueRef<'a>, names: &[String]) -> Result<Found<'a>> {
        if value.is_unavailable() {
            return Err(Error::data("filter.unavailable")
                .message(format!("the source did not send {}, so the filter cannot decide", self.text))
                .hint("have the source send whole rows (in PostgreSQL: REPLICA IDENTITY FULL)"));
        }
        if names.is_empty() || value.is_null() {
            return Ok(Found::Value(value));
        }
        let bytes = value.as_bytes().unwrap_or_default();
        let document: serde_json::Value = serde_json::from_slice(bytes).map_err(|e| {
            Error::data("filter.not_json")
                .message(format!("{} leads into a value that is no JSON: {e}", self.text))
        })?;
        let found = names.iter().try_fold(&document, |at, name| match at {
            serde_json::Value::Array(list) => list.get(name.parse::<usize>().ok()?),
            other => other.get(name),
        });
        Ok(Found::Json(found.cloned().unwrap_or(serde_json::Value::Null)))
    }
}

fn compare(found: &Found<'_>, literal: &Literal) -> Option<Ordering> {
    use serde_json::Value as Json;
    match (found, literal) {
        (Found::Value(ValueRef::Null) | Found::Json(Json::Null), Literal::Null) => Some(Ordering::Equal),
        (Found::Value(ValueRef::Bool(a)) | Found::Json(Json::Bool(a)), Literal::Bool(b)) => Some(a.cmp(b)),
        (Found::Json(Json::String(a)), Literal::Text(b)) => Some(a.as_str().cmp(b)),
        (Found::Json(Json::Number(a)), Literal::Number(b)) => numbers(&a.to_string(), b),
        (Found::Value(value), Literal::Text(b)) => match value {
            ValueRef::Decimal(_) => None,
            ValueRef::Date(v) => Some(v.to_string().as_str().cmp(b)),
            ValueRef::Timestamp(v) => b.parse().ok().map(|b| v.cmp(&b)),
            ValueRef::DateTime(v) => b.parse().ok().map(|b| v.cmp(&b)),
            _ => value.as_str().map(|a| a.cmp(b)),
        },
        (Found::Value(value), Literal::Number(b)) => match value {
            ValueRef::I64(a) => numbers(&a.to_string(), b),
            ValueRef::U64(a) => numbers(&a.to_string(), b),
            ValueRef::Decimal(a) => numbers(a, b),
            ValueRef::F64(a) => a.partial_cmp(&b.parse().ok()?),
            ValueRef::F32(a) => f64::from(*a).partial_cmp(&b.parse().ok()?),
            _ => None,
        },
        _ => None,
    }
}

/// Compares decimal texts digit by digit, never through floats. `None` for NaN, infinities and exponents.
fn numbers(a: &str, b: &str) -> Option<Ordering> {
    let split = |text: &'_ str| -> Option<(bool, String, String)> {
        let (negative, digits) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        if whole.is_empty() || !whole.bytes().chain(fraction.bytes()).all(|c| c.is_ascii_digit()) {
            return None;
        }
        let (whole, fraction) = (whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
        let zero = whole.is_empty() && fraction.is_empty();
        Some((negative && !zero, whole.to_owned(), fraction.to_owned()))
    };
    let ((a_negative, a_whole, a_fraction), (b_negative, b_whole, b_fraction)) = (split(a)?, split(b)?);
    let size = a_whole
        .len()
        .cmp(&b_whole.len())
        .then_with(|| a_whole.cmp(&b_whole))
        .then(a_fraction.cmp(&b_fraction));
    Some(match (a_negative, b_negative) {
        (false, false) => size,
        (true, true) => size.reverse(),
        (true, false) => Ordering::Less,
        (false, true) => Ordering::Greater,
    })
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

impl<'a> Parser<'a> {
    /// Deeper nesting helps nobody and would use up the stack.
    const MAX_DEPTH: usize = 64;

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn space(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start().len();
    }

    fn take(&mut self, token: &str) -> bool {
        self.space();
        let found = self.rest().starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    fn word(&mut self) -> &'a str {
        self.space();
        let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == '$' || c == '-';
        let len = self.rest().find(|c| !is_part(c)).unwrap_or(self.rest().len());
        let word = self.rest().get(..len).unwrap_or_default();
        self.at += len;
        word
    }

    fn expected(&self, what: &str) -> Error {
        let near: String = self.rest().chars().take(20).collect();
        let place = if near.is_empty() { "at the end".to_owned() } else { format!("at \"{near}\"") };
        Error::configuration("filter.syntax")
            .message(format!("filter: expected {what} {place} of \"{}\"", self.text))
            .hint("write for example   keep: after.kind == \"order\" && after.total >= 10")
    }

    fn or(&mut self) -> Result<Expression> {
        let mut all = vec![self.and()?];
        while self.take("||") {
            all.push(self.and()?);
        }
        Ok(if all.len() == 1 { all.remove(0) } else { Expression::Or(all) })
    }

    fn and(&mut self) -> Result<Expression> {
        let mut all = vec![self.not()?];
        while self.take("&&") {
            all.push(self.not()?);
        }
        Ok(if all.len() == 1 { all.remove(0) } else { Expression::And(all) })
    }

    fn not(&mut self) -> Result<Expression> {
        self.depth += 1;
        if self.depth > Self::MAX_DEPTH {
            return Err(self.expected("less nesting"));
        }
        let result = if self.take("!") {
            self.not().map(|inner| Expression::Not(Box::new(inner)))
        } else if self.take("(") {
            let inner = self.or()?;
            if self.take(")") { Ok(inner) } else { Err(self.expected("a closing parenthesis")) }
        } else {
            self.comparison()
        };
        self.depth -= 1;
        result
    }

    fn comparison(&mut self) -> Result<Expression> {
        let path = self.path()?;
        let operators = [
            ("==", Operator::Equal),
            ("!=", Operator::NotEqual),
            ("<=", Operator::LessOrEqual),
            (">=", Operator::GreaterOrEqual),
            ("<", Operator::Less),
            (">", Operator::Greater),
        ];
        for (token, operator) in operators {
            if self.take(token) {
                return Ok(Expression::Compare(path, operator, self.literal()?));
            }
        }
        if !self.take("in") || !self.take("[") {
            return Err(self.expected("==, !=, <, <=, >, >= or in [..]"));
        }
        let mut literals = vec![self.literal()?];
        while self.take(",") {
            literals.push(self.literal()?);
        }
        if self.take("]") { Ok(Expression::In(path, literals)) } else { Err(self.expected("a comma or ]")) }
    }

    fn path(&mut self) -> Result<Path> {
        self.space();
        let start = self.at;
        let word = self.word();
        let root = match word {
            "op" => Root::Op,
            "schema" => Root::Schema,
            "table" => Root::Table,
            "key" => Root::Key,
            "type" => Root::Type,
            "destination" => Root::Destination,
            "after" => Root::After,
            "before" => Root::Before,
            "payload" => Root::Payload,
            _ => {
                self.at = start;
                return Err(self.expected(
                    "one of op, schema, table, key, type, destination, after.COLUMN, before.COLUMN, payload.FIELD",
                ));
            }
        };
        let mut names = Vec::new();
        while self.rest().starts_with('.') {
            self.at += 1;
            match self.word() {
                "" => return Err(self.expected("a name after the dot")),
                name => names.push(name.to_owned()),
            }
        }
        let takes_names = matches!(root, Root::After | Root::Before | Root::Payload);
        if takes_names == names.is_empty() {
            return Err(self.expected(if takes_names { "a dot and a name" } else { "no name after a dot" }));
        }
        Ok(Path { root, names, text: self.text.get(start..self.at).unwrap_or_default().to_owned() })
    }

    fn literal(&mut self) -> Result<Literal> {
        self.space();
        for quote in ['"', '\''] {
            if self.rest().starts_with(quote) {
                return self.quoted(quote);
            }
        }
        let start = self.at;
        let is_number = |c: char| c.is_ascii_digit() || c == '.' || c == '-';
        if self.rest().starts_with(is_number) {
            let len = self.rest().find(|c| !is_number(c)).unwrap_or(self.rest().len());
            let number = self.rest().get(..len).unwrap_or_default();
            if numbers(number, "0").is_none() {
                return Err(self.expected("a number"));
            }
            self.at += len;
            return Ok(Literal::Number(number.to_owned()));
        }
        match self.word() {
            "true" => Ok(Literal::Bool(true)),
            "false" => Ok(Literal::Bool(false)),
            "null" => Ok(Literal::Null),
            _ => {
                self.at = start;
                Err(self.expected("a value: \"text\", a number, true, false or null"))
            }
        }
    }

    fn quoted(&mut self, quote: char) -> Result<Literal> {
        let mut text = String::new();
        let mut chars = self.rest().char_indices().skip(1);
        while let Some((at, c)) = chars.next() {
            match c {
                '\\' => match chars.next() {
                    Some((_, 'n')) => text.push('\n'),
                    Some((_, 't')) => text.push('\t'),
                    Some((_, other)) => text.push(other),
                    None => break,
                },
                c if c == quote => {
                    self.at += at + c.len_utf8();
                    return Ok(Literal::Text(text));
                }
                c => text.push(c),
            }
        }
        Err(self.expected("a closing quote for the text"))
    }
}

#[cfg(test)]
mod tests {
    use outflow_sdk::{BatchBuilder, Column, LogicalType, Op, TableSchema, Value};

    use super::*;

    fn holds(expression: &str) -> Result<bool> {
        let schema = TableSchema::builder("orders")
            .schema("public")
            .column(Column::new("kind", LogicalType::Text))
            .column(Column::new("total", LogicalType::Decimal(None)))
            .column(Column::new("n", LogicalType::Int(64)))
            .column(Column::new("note", LogicalType::Text))
            .column(Column::new("doc", LogicalType::Json))
            .column(Column::new("big", LogicalType::Text))
            .build();
        let mut builder = BatchBuilder::new();
        let index = builder.schema(&schema);
        let mut event = builder.event(Op::Insert).schema(index);
        let mut row = event.after();
        row.text("order");
        row.decimal("100.50");
        row.i64(9_007_199_254_740_993);
        row.null();
        row.json(r#"{"a":{"b":[1,"x"]},"yes":true}"#);
        row.owned(&Value::Unavailable);
        row.end().unwrap();
        event.end();
        let batch = builder.finish("p".into(), None);
        Expression::parse(expression)?.holds(batch.get(0).unwrap())
    }

    #[test]
    fn comparisons() {
        for (expression, expected) in [
            (r#"after.kind == "order""#, true),
            (r#"after.kind != 'order'"#, false),
            ("after.total == 100.5", true),
            ("after.total > 100.49 && after.total < 100.51", true),
            ("after.total >= -1", true),
            // One less than what a float would make of it.
            ("after.n == 9007199254740992", false),
            ("after.n == 9007199254740993", true),
            ("after.note == null", true),
            ("after.note != null", false),
            ("after.note < 5 || after.note >= 5", false),
            ("before.kind == null", true),
            (r#"after.kind in ["x", "order"]"#, true),
            (r#"!(op == "insert" && table == "orders")"#, false),
            (r#"after.doc.a.b.1 == "x" && after.doc.yes == true && after.doc.no == null"#, true),
            (r#"schema == "public" && type == null && key == null"#, true),
            (r#"after.kind == "or" || after.kind == "order""#, true),
        ] {
            assert_eq!(holds(expression).unwrap(), expected, "{expression}");
        }
    }

    #[test]
    fn what_cannot_be_decided_is_an_error() {
        assert_eq!(holds("after.kinf == 1").unwrap_err().code(), "filter.unknown_column");
        assert_eq!(holds("after.big == 1").unwrap_err().code(), "filter.unavailable");
        assert_eq!(holds("after.kind.x == 1").unwrap_err().code(), "filter.not_json");
    }

    #[test]
    fn syntax_errors_say_where() {
        for text in [
            "",
            "after",
            "after.",
            "op.x == 1",
            "after.x",
            "after.x ==",
            "after.x == y",
            "after.x = 1",
            "(op == 1",
            "op == 1)",
            "op == \"x",
            "op in []",
            "op in [1",
            "op == 1 &",
            "op == 1.2.3",
            "op == --1",
            "!",
            "after.x == 1 after",
        ] {
            let error = Expression::parse(text).unwrap_err();
            assert_eq!(error.code(), "filter.syntax", "{text}");
        }
        assert!(Expression::parse(&"(".repeat(100_000)).is_err());
        assert!(Expression::parse(&"!".repeat(100_000)).is_err());
    }

    #[test]
    fn decimals_compare_exactly() {
        for (a, b, order) in [
            ("1", "1.0", Ordering::Equal),
            ("-0", "0", Ordering::Equal),
            ("0010", "9", Ordering::Greater),
            ("-10", "-9", Ordering::Less),
            ("0.1", "0.09", Ordering::Greater),
            ("-0.1", "0.09", Ordering::Less),
        ] {
            assert_eq!(numbers(a, b), Some(order), "{a} {b}");
        }
        assert_eq!(numbers("NaN", "1"), None);
    }
}
