//! YAML 1.2's core schema: what a plain scalar means.

use serde_json::{Number, Value as Json};

use crate::tree::Scalar;

/// True or false, as the core schema writes them.
pub(crate) fn boolean(text: &str) -> Option<bool> {
    match text {
        "true" | "True" | "TRUE" => Some(true),
        "false" | "False" | "FALSE" => Some(false),
        _ => None,
    }
}

/// A whole number: decimal, `0x…` or `0o…`.
pub(crate) fn integer(text: &str) -> Option<Number> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.chars().all(|c| c.is_ascii_alphanumeric()) {
        return None;
    }
    if digits.len() == text.len() {
        for (prefix, radix) in [("0x", 16), ("0o", 8)] {
            if let Some(digits) = text.strip_prefix(prefix) {
                return u64::from_str_radix(digits, radix).ok().map(Number::from);
            }
        }
    }
    text.parse::<u64>().map(Number::from).or_else(|_| text.parse::<i64>().map(Number::from)).ok()
}

/// A number with a fraction or an exponent, or a whole one. Not infinity or NaN, which JSON does not have.
pub(crate) fn number(text: &str) -> Option<Number> {
    if let Some(whole) = integer(text) {
        return Some(whole);
    }
    let form = |c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.' | 'e' | 'E');
    if !text.chars().all(form) || !text.contains(|c: char| c.is_ascii_digit()) {
        return None;
    }
    text.parse::<f64>().ok().and_then(Number::from_f64)
}

/// A scalar where the schema says nothing of its type. What came from outside of the file stays text, for it is never
/// read as YAML.
pub(crate) fn untyped(scalar: &Scalar) -> Json {
    let text = scalar.text.as_str();
    if scalar.interpolated || !scalar.plain {
        return Json::String(text.to_owned());
    }
    if scalar.is_null() {
        return Json::Null;
    }
    if let Some(value) = boolean(text) {
        return Json::Bool(value);
    }
    // A whole number that no machine type holds stays exact as text.
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let too_large = integer(text).is_none() && digits.chars().all(|c| c.is_ascii_digit());
    match number(text).filter(|_| !too_large) {
        Some(value) => Json::Number(value),
        None => Json::String(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn reads_the_core_schema() {
        let plain = |text: &str| untyped(&Scalar { text: text.into(), plain: true, interpolated: false });
        for (text, value) in [
            ("", json!(null)),
            ("~", json!(null)),
            ("null", json!(null)),
            ("true", json!(true)),
            ("FALSE", json!(false)),
            ("yes", json!("yes")),
            ("12", json!(12)),
            ("-12", json!(-12)),
            ("+7", json!(7)),
            ("012", json!(12)),
            ("0x1F", json!(31)),
            ("0o17", json!(15)),
            ("0x", json!("0x")),
            ("18446744073709551615", json!(u64::MAX)),
            ("18446744073709551616", json!("18446744073709551616")),
            ("1.5", json!(1.5)),
            ("1e3", json!(1000.0)),
            (".5", json!(0.5)),
            (".inf", json!(".inf")),
            ("1_000", json!("1_000")),
            ("1.2.3", json!("1.2.3")),
            ("e", json!("e")),
            ("-", json!("-")),
            ("nan", json!("nan")),
            ("2024-01-01", json!("2024-01-01")),
        ] {
            assert_eq!(plain(text), value, "{text}");
        }
    }

    #[test]
    fn quoted_and_interpolated_text_stays_text() {
        for (plain, interpolated) in [(false, false), (true, true), (false, true)] {
            let scalar = Scalar { text: "12".into(), plain, interpolated };
            assert_eq!(untyped(&scalar), json!("12"));
        }
    }
}
