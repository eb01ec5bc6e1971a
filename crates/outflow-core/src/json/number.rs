//! Floats as JSON: the shortest digits that read back to the same bits.

use crate::cell::Kind;
use crate::value::ValueRef;

/// Writes a float: a number with a point or an exponent, or a string for what JSON has no number for. A NaN
/// that is not the usual one is its bits, `"0x7ff8000000000001"`.
pub(super) fn write_f64(n: f64, out: &mut Vec<u8>) {
    if n.is_finite() {
        super::text::display(format_args!("{n:?}"), out);
    } else if let Some(name) = name(n.is_nan(), n.to_bits() == f64::NAN.to_bits(), n > 0.0) {
        super::text::display(format_args!("\"{name}\""), out);
    } else {
        super::text::display(format_args!("\"0x{:016x}\"", n.to_bits()), out);
    }
}

/// Writes a 32-bit float in the same way.
pub(super) fn write_f32(n: f32, out: &mut Vec<u8>) {
    if n.is_finite() {
        super::text::display(format_args!("{n:?}"), out);
    } else if let Some(name) = name(n.is_nan(), n.to_bits() == f32::NAN.to_bits(), n > 0.0) {
        super::text::display(format_args!("\"{name}\""), out);
    } else {
        super::text::display(format_args!("\"0x{:08x}\"", n.to_bits()), out);
    }
}

fn name(nan: bool, usual: bool, positive: bool) -> Option<&'static str> {
    match (nan, positive) {
        (true, _) => usual.then_some("NaN"),
        (false, true) => Some("Infinity"),
        (false, false) => Some("-Infinity"),
    }
}

/// Reads a float from the text of a JSON number.
pub(super) fn finite(text: &str, kind: Kind) -> Option<ValueRef<'static>> {
    if kind == Kind::F32 {
        text.parse().ok().filter(|n: &f32| n.is_finite()).map(ValueRef::F32)
    } else {
        text.parse().ok().filter(|n: &f64| n.is_finite()).map(ValueRef::F64)
    }
}

/// Reads a float from the content of a JSON string.
pub(super) fn special(text: &str, kind: Kind) -> Option<ValueRef<'static>> {
    let single = kind == Kind::F32;
    let n = match text {
        "NaN" => f64::NAN,
        "Infinity" => f64::INFINITY,
        "-Infinity" => f64::NEG_INFINITY,
        bits => {
            let digits = bits.strip_prefix("0x").filter(|d| d.len() == if single { 8 } else { 16 })?;
            let bits = u64::from_str_radix(digits, 16).ok().filter(|_| !digits.starts_with('+'))?;
            return Some(match u32::try_from(bits) {
                Ok(bits) if single => ValueRef::F32(f32::from_bits(bits)),
                _ => ValueRef::F64(f64::from_bits(bits)),
            });
        }
    };
    Some(if single { ValueRef::F32(if n.is_nan() { f32::NAN } else { n as f32 }) } else { ValueRef::F64(n) })
}
