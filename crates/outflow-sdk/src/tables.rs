//! Which tables: patterns as `tables` and `exclude_tables` take them.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// A list of table patterns: `orders`, `public.orders`, `public.*`, `*.outbox`.
///
/// `*` stands for any run of characters but a dot, `?` for one. A pattern without a dot matches the table in any
/// schema. Letters compare as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TablePatterns(Vec<String>);

impl TablePatterns {
    /// A list of patterns.
    pub fn new(patterns: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self(patterns.into_iter().map(Into::into).collect())
    }

    /// True when there is no pattern.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The patterns, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// True when a pattern matches. `schema` is empty where the source has none.
    pub fn matches(&self, schema: &str, table: &str) -> bool {
        self.0.iter().any(|pattern| match pattern.rsplit_once('.') {
            Some((s, t)) => glob(s, schema) && glob(t, table),
            None => glob(pattern, table),
        })
    }

    /// As [`matches`](Self::matches), and true for every table when there is no pattern.
    pub fn matches_or_empty(&self, schema: &str, table: &str) -> bool {
        self.is_empty() || self.matches(schema, table)
    }
}

impl JsonSchema for TablePatterns {
    fn schema_name() -> Cow<'static, str> {
        "TablePatterns".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "array",
            "items": {"type": "string", "minLength": 1},
            "description": "Table patterns such as public.orders or \"public.*\" (quote a glob).",
            "examples": [["public.orders", "public.order_*"]]
        })
    }
}

/// Linear in the text for each `*`: remembers only the last star.
fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    let mut star = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(c) if *c == b'?' || *c == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match &mut star {
                Some((at, from)) => {
                    *from += 1;
                    (p, t) = (*at + 1, *from);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match() {
        let tables = TablePatterns::new(["public.*", "*.outbox", "order_?ines", "a*b*c"]);
        for (schema, table) in [("public", "x"), ("shop", "outbox"), ("", "order_lines"), ("any", "axxbyyc")]
        {
            assert!(tables.matches(schema, table), "{schema}.{table}");
        }
        for (schema, table) in [("shop", "x"), ("shop", "outbox2"), ("", "orderlines"), ("any", "axxbyy")] {
            assert!(!tables.matches(schema, table), "{schema}.{table}");
        }
        assert!(TablePatterns::default().matches_or_empty("a", "b"));
        assert!(!TablePatterns::default().matches("a", "b"));
    }
}
