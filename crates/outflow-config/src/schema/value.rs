//! Scalars and lists.

use std::str::FromStr as _;

use outflow_sdk::{ByteSize, Template, Timespan, Url};
use regex_lite::Regex;
use serde_json::{Number, Value as Json};

use super::view::Fragments;
use super::{Checker, words};
use crate::diagnostic::{At, Finding};
use crate::scalar;
use crate::suggest::{listed, nearest};
use crate::tree::{Content, Node, Origin, Path, Scalar};

/// The schema that says nothing.
static ANY: Json = Json::Bool(true);

impl<'s> Checker<'_, 's> {
    pub(super) fn scalar(
        &mut self,
        view: &Fragments<'s>,
        scalar: &Scalar,
        node: &Node,
        path: Path<'_>,
    ) -> Json {
        let secret = view.secret();
        if secret && !scalar.is_null() {
            self.hide(node);
        }
        if let Some(choices) = view.choices() {
            return self.choice(&choices, scalar, node, path, secret);
        }
        let value = match view.types() {
            None if view.has_keys() => None,
            None => Some(scalar::untyped(scalar)),
            Some(types) => convert(&types, scalar),
        };
        let Some(value) = value else {
            self.wrong_type(view, node, path);
            return Json::Null;
        };
        if let Some((must, label)) = broken_rule(view, &value) {
            // A URL may hold a credential in a place where nobody expects it.
            let hidden = secret || view.text("format") == Some("uri");
            let found = match words::shown(node, &path, hidden) {
                Some(quoted) if value.is_string() => format!(", found {quoted}"),
                Some(_) => format!(", found {}", scalar.text),
                None => String::new(),
            };
            let finding =
                Finding::new("config.invalid_value", node.at(), format!("{path} must be {must}{found}"));
            self.push(with_label(finding, label), path);
        }
        value
    }

    /// Keeps a value out of everything that is shown (invariant 10).
    pub(super) fn hide(&mut self, node: &Node) {
        match &node.content {
            Content::Scalar(scalar) => {
                self.hidden.secrets.add(&scalar.text);
                if let (At::Span(span), false) = (node.at(), scalar.interpolated) {
                    self.hidden.spans.push(span);
                }
            }
            Content::List(items) => items.iter().for_each(|n| self.hide(n)),
            Content::Map(map) => map.entries.iter().for_each(|e| self.hide(&e.value)),
            Content::Unreadable => {}
        }
    }

    fn choice(
        &mut self,
        choices: &[&'s Json],
        scalar: &Scalar,
        node: &Node,
        path: Path<'_>,
        secret: bool,
    ) -> Json {
        let meant = |choice: &&Json| match choice {
            Json::String(word) => !scalar.is_null() && *word == scalar.text,
            Json::Null => scalar.is_null(),
            Json::Bool(b) => scalar::boolean(&scalar.text) == Some(*b),
            Json::Number(n) => scalar::number(&scalar.text).as_ref() == Some(n),
            _ => false,
        };
        if let Some(choice) = choices.iter().copied().find(meant) {
            return choice.clone();
        }
        let words: Vec<&str> = choices.iter().filter_map(|c| c.as_str()).collect();
        self.not_among(&words, None, node, path, secret);
        Json::Null
    }

    /// The value is none of the words that may stand there.
    pub(super) fn not_among(
        &mut self,
        words: &[&str],
        role: Option<&str>,
        node: &Node,
        path: Path<'_>,
        secret: bool,
    ) {
        let shown = words::shown(node, &path, secret);
        let text = node.as_scalar().filter(|s| !s.is_null()).map(|s| s.text.as_str());
        let (code, message) = match (role, &shown, text) {
            (Some(role), Some(quoted), Some(_)) => {
                ("config.unknown_type", format!("no {role} is called {quoted}"))
            }
            (_, Some(quoted), Some(_)) => ("config.invalid_value", format!("{path} cannot be {quoted}")),
            _ => {
                let found = words::found(node, &path, secret);
                ("config.invalid_value", format!("{path} must be one of the known words, found {found}"))
            }
        };
        let near = text.filter(|_| shown.is_some()).and_then(|t| nearest(t, words.iter().copied()));
        let known =
            if words.is_empty() { "this build has none".to_owned() } else { listed(words.iter().copied()) };
        let label = match near {
            Some(near) if words.len() == 1 => format!("did you mean {near:?}?"),
            Some(near) => format!("did you mean {near:?}? Known: {known}"),
            None => format!("known: {known}"),
        };
        self.push(Finding::new(code, node.at(), message).label(label), path);
    }

    pub(super) fn list(
        &mut self,
        view: &Fragments<'s>,
        items: &[std::sync::Arc<Node>],
        node: &Node,
        path: Path<'_>,
    ) -> Json {
        let prefix: Vec<&'s Json> =
            view.first("prefixItems").and_then(Json::as_array).into_iter().flatten().collect();
        let rest = view.first("items");
        let secret = view.secret();
        let mut out = Vec::with_capacity(items.len());
        for (i, item) in items.iter().enumerate() {
            let path = Path::Index(&path, i);
            if secret {
                self.hide(item);
            }
            out.push(match prefix.get(i).copied().or(rest) {
                Some(schema) => self.value(schema, item, path, &item.at()),
                None => self.untyped(item, path),
            });
        }
        let count = |keyword: &str| view.first(keyword).and_then(Json::as_u64);
        let rule = match (count("minItems"), count("maxItems")) {
            (Some(least), _) if (items.len() as u64) < least => Some(format!("at least {}", entries(least))),
            (_, Some(most)) if items.len() as u64 > most => Some(format!("at most {}", entries(most))),
            _ => None,
        };
        if let Some(rule) = rule {
            let message = format!("{path} needs {rule}, found {}", items.len());
            self.push(Finding::new("config.invalid_value", node.at(), message), path);
        }
        Json::Array(out)
    }

    /// A value that the schema says nothing of.
    pub(super) fn untyped(&mut self, node: &Node, path: Path<'_>) -> Json {
        self.value(&ANY, node, path, &node.at())
    }

    pub(super) fn wrong_type(&mut self, view: &Fragments<'s>, node: &Node, path: Path<'_>) {
        let types = match view.types() {
            Some(types) => types,
            None if view.choices().is_some() => vec!["string"],
            None => vec!["object"],
        };
        let mut must = words::expected(&types);
        if let Some(example) = view.example().filter(|_| special_format(view)) {
            must = format!("{} such as {}", format_word(view), words::inline(example));
        }
        let secret = view.secret();
        let found = words::found(node, &path, secret);
        let message = format!("{} must be {must}, found {found}", words::subject(&path));
        let finding = Finding::new("config.wrong_type", node.at(), message);
        let label = self.type_remedy(&types, node, &path, secret);
        self.push(with_label(finding, label), path);
    }

    /// What to do about a value of the wrong type.
    pub(super) fn type_remedy(
        &self,
        types: &[&str],
        node: &Node,
        path: &Path<'_>,
        secret: bool,
    ) -> Option<String> {
        let wants = |t: &str| types.contains(&t);
        match &node.content {
            Content::Map(map) if wants("string") => {
                // `{table}` is a block with one key to YAML.
                let empty = |n: &Node| n.as_scalar().is_some_and(Scalar::is_null);
                let template =
                    map.flow && !map.entries.is_empty() && map.entries.iter().all(|e| empty(&e.value));
                let At::Span(span) = node.at() else { return None };
                template.then(|| format!("quote it: {:?}", self.text.slice(span)))
            }
            Content::Scalar(_) if wants("array") && matches!(node.origin, Origin::Flag(_)) => {
                Some("write …=[a, b]".to_owned())
            }
            Content::Map(_) if wants("array") => Some("start each entry with \"- \"".to_owned()),
            Content::Scalar(scalar) if scalar.is_null() => {
                let At::Span(span) = node.at() else { return None };
                let rest = self.text.line(span.start.line);
                let comment = wants("string") && rest.contains(": #");
                Some(if comment {
                    "\"#\" after a space starts a comment: quote the value".to_owned()
                } else {
                    "give it a value, or remove the key".to_owned()
                })
            }
            Content::Scalar(scalar) if !scalar.interpolated => {
                let shown = words::shown(node, path, secret)?;
                let number = wants("integer") || wants("number");
                let text = scalar.text.as_str();
                let plain = text.replace('_', "");
                match text.to_lowercase().as_str() {
                    "yes" | "on" | "y" if wants("boolean") => Some("write true".to_owned()),
                    "no" | "off" | "n" if wants("boolean") => Some("write false".to_owned()),
                    _ if wants("boolean") && !scalar.plain && scalar::boolean(text).is_some() => {
                        Some("remove the quotes".to_owned())
                    }
                    _ if number && !scalar.plain && scalar::number(text).is_some() => {
                        Some("remove the quotes".to_owned())
                    }
                    _ if number && plain != text && scalar::number(&plain).is_some() => {
                        Some(format!("write {plain}"))
                    }
                    _ if wants("array") && !shown.ends_with("…\"") => {
                        Some(format!("write [{}]", words::inline(&Json::from(text))))
                    }
                    _ => None,
                }
            }
            _ => None,
        }
    }
}

fn with_label(finding: Finding, label: Option<String>) -> Finding {
    match label {
        Some(label) => finding.label(label),
        None => finding,
    }
}

fn entries(n: u64) -> String {
    if n == 1 { "1 entry".to_owned() } else { format!("{n} entries") }
}

/// A scalar as one of the types, or none.
fn convert(types: &[&str], scalar: &Scalar) -> Option<Json> {
    let text = scalar.text.as_str();
    if scalar.is_null() && types.contains(&"null") {
        return Some(Json::Null);
    }
    let unquoted = scalar.plain || scalar.interpolated;
    let typed = |t: &str| -> Option<Json> {
        match t {
            "boolean" => scalar::boolean(text).map(Json::Bool),
            "integer" => scalar::integer(text).map(Json::Number),
            "number" => scalar::number(text).map(Json::Number),
            _ => None,
        }
    };
    let as_typed = ["boolean", "integer", "number"]
        .iter()
        .filter(|t| unquoted && types.contains(t))
        .find_map(|t| typed(t));
    as_typed.or_else(|| {
        let nothing = scalar.is_null() && !scalar.interpolated;
        (types.contains(&"string") && !nothing).then(|| Json::String(text.to_owned()))
    })
}

fn special_format(view: &Fragments<'_>) -> bool {
    matches!(view.text("format"), Some("size" | "timespan"))
}

fn format_word(view: &Fragments<'_>) -> &'static str {
    if view.text("format") == Some("size") { "a size" } else { "a duration" }
}

/// What a value of the right type must be and is not, with a remedy.
fn broken_rule(view: &Fragments<'_>, value: &Json) -> Option<(String, Option<String>)> {
    let text = match value {
        Json::String(text) => text.clone(),
        Json::Number(number) => number.to_string(),
        _ => return None,
    };
    let example = || view.example().map(|e| format!("for example {}", words::inline(e)));
    let bad = |must: &str, label: &str| Some((must.to_owned(), Some(label.to_owned())));
    match view.text("format") {
        Some("size") if ByteSize::from_str(&text).is_err() => {
            return bad("a size", "a whole number with a unit, such as 24MiB or 1GB");
        }
        Some("timespan") if Timespan::from_str(&text).is_err() => {
            return bad("a duration", "a whole number with a unit, such as 500ms, 10s or 2m");
        }
        Some("template") if Template::parse(&text).is_err() => {
            return bad(
                "a template",
                "fields stand in braces: \"shop.{schema}.{table}\"; for a brace itself write two",
            );
        }
        Some("uri") if Url::parse(&text).is_err() => {
            return Some((
                "a URL".to_owned(),
                example().or(Some("such as scheme://user@host:port/path".into())),
            ));
        }
        // Said exactly by their own types.
        Some("size" | "timespan" | "template") => return None,
        _ => {}
    }
    if let Json::Number(number) = value {
        return limit(view, number).map(|must| (must, None));
    }
    let length = text.chars().count() as u64;
    if let Some(least) = view.first("minLength").and_then(Json::as_u64).filter(|n| length < *n) {
        let must = if length == 0 { "some text".to_owned() } else { format!("at least {least} characters") };
        return Some((must, example()));
    }
    if let Some(most) = view.first("maxLength").and_then(Json::as_u64).filter(|n| length > *n) {
        return Some((format!("at most {most} characters"), None));
    }
    let pattern = view.text("pattern")?;
    let fits = Regex::new(pattern).ok()?.is_match(&text);
    let what =
        view.text("x-outflow-form").map_or_else(|| format!("text that matches {pattern}"), str::to_owned);
    (!fits).then(|| (what, example()))
}

fn limit(view: &Fragments<'_>, number: &Number) -> Option<String> {
    let value = number.as_f64()?;
    let bound = |keyword: &str| view.first(keyword).filter(|b| b.is_number());
    let broken = |keyword: &str, breaks: fn(f64, f64) -> bool| {
        bound(keyword).filter(|b| b.as_f64().is_some_and(|b| breaks(value, b)))
    };
    let at_least = broken("minimum", |v, b| v < b).map(|b| format!("at least {b}"));
    at_least
        .or_else(|| broken("maximum", |v, b| v > b).map(|b| format!("at most {b}")))
        .or_else(|| broken("exclusiveMinimum", |v, b| v <= b).map(|b| format!("more than {b}")))
        .or_else(|| broken("exclusiveMaximum", |v, b| v >= b).map(|b| format!("less than {b}")))
}
