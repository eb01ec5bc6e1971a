//! How values and types are named to people.

use serde_json::Value as Json;

use super::view::Shapes;
use crate::redact::secret_name;
use crate::scalar;
use crate::tree::{Content, Node, Origin, Path, Scalar};

/// How long a quoted value may be.
const LONGEST: usize = 40;

/// What a block is called at the start of a sentence.
pub(super) fn subject(path: &Path<'_>) -> String {
    if path.is_root() { "a pipeline".to_owned() } else { path.to_string() }
}

pub(super) fn expected(types: &[&str]) -> String {
    let word = |t: &&str| match *t {
        "string" => Some("text"),
        "integer" => Some("a whole number"),
        "number" => Some("a number"),
        "boolean" => Some("true or false"),
        "array" => Some("a list"),
        "object" => Some("a block"),
        _ => None,
    };
    or(types.iter().filter_map(word))
}

pub(super) fn expected_shapes(shapes: Shapes) -> String {
    let words = [(shapes.scalar, "a word"), (shapes.list, "a list"), (shapes.map, "a block")];
    or(words.into_iter().filter(|(is, _)| *is).map(|(_, word)| word))
}

fn or<'a>(words: impl Iterator<Item = &'a str>) -> String {
    let words: Vec<&str> = words.collect();
    if words.is_empty() { "nothing".to_owned() } else { words.join(" or ") }
}

/// What stands there. A value is quoted only if it was written in the file (a shell may have put a variable into a
/// flag) and is no credential (invariant 10).
pub(super) fn found(node: &Node, path: &Path<'_>, secret: bool) -> String {
    let scalar = match &node.content {
        Content::Scalar(scalar) => scalar,
        Content::List(_) => return "a list".to_owned(),
        Content::Map(_) => return "a block".to_owned(),
        Content::Unreadable => return "nothing".to_owned(),
    };
    if scalar.is_null() {
        return "nothing".to_owned();
    }
    let text = &scalar.text;
    if scalar.interpolated {
        return "something else behind ${…}".to_owned();
    }
    match shown(node, path, secret) {
        None => "other text".to_owned(),
        Some(_) if scalar.plain && scalar::number(text).is_some() => format!("the number {text}"),
        Some(_) if scalar.plain && scalar::boolean(text).is_some() => text.clone(),
        Some(quoted) => format!("text {quoted}"),
    }
}

/// The value in quotes, if it may be shown.
pub(super) fn shown(node: &Node, path: &Path<'_>, secret: bool) -> Option<String> {
    let scalar = node.as_scalar().filter(|s| may_show(node, s) && !secret && !secret_path(path))?;
    Some(quoted(&scalar.text))
}

/// Text in quotes, cut where it gets long.
pub(super) fn quoted(text: &str) -> String {
    let mut short: String = text.chars().take(LONGEST).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    format!("{short:?}")
}

fn may_show(node: &Node, scalar: &Scalar) -> bool {
    !scalar.interpolated && !matches!(node.origin, Origin::Flag(_))
}

fn secret_path(path: &Path<'_>) -> bool {
    match path {
        Path::Root => false,
        Path::Key(parent, key) => secret_name(key) || secret_path(parent),
        Path::Index(parent, _) => secret_path(parent),
    }
}

/// A value as it would stand in a file, on one line.
pub(super) fn inline(value: &Json) -> String {
    match value {
        Json::String(text) => quoted_if_needed(text),
        Json::Array(items) => format!("[{}]", items.iter().map(inline).collect::<Vec<_>>().join(", ")),
        Json::Object(map) => {
            let entries = map.iter().map(|(k, v)| format!("{k}: {}", inline(v)));
            format!("{{{}}}", entries.collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}

fn quoted_if_needed(text: &str) -> String {
    let safe = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | ':' | '@');
    let first = text.starts_with(|c: char| c.is_alphanumeric() || matches!(c, '/' | '.' | '_'));
    let plain = Scalar { text: text.to_owned(), plain: true, interpolated: false };
    let means_text = scalar::untyped(&plain).is_string();
    if first && means_text && !text.ends_with(':') && text.chars().all(safe) {
        text.to_owned()
    } else {
        format!("{text:?}")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn examples_read_back_as_yaml() {
        for (value, text) in [
            (json!("shop.{schema}.{table}"), "\"shop.{schema}.{table}\""),
            (json!("postgres://outflow@db/shop"), "postgres://outflow@db/shop"),
            (json!("true"), "\"true\""),
            (json!("12"), "\"12\""),
            (json!(""), "\"\""),
            (json!(12), "12"),
            (json!(["a", "*.b"]), "[a, \"*.b\"]"),
            (json!({"type": "file", "path": "dead.jsonl"}), "{type: file, path: dead.jsonl}"),
        ] {
            assert_eq!(inline(&value), text);
        }
    }
}
