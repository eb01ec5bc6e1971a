//! Numbers.

use super::escape::write_string;

/// Writes an integer.
pub(crate) fn write_integer(out: &mut Vec<u8>, value: impl itoa::Integer) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// JSON has no number for these, so they are strings.
fn not_finite(negative: bool, nan: bool) -> &'static str {
    match (nan, negative) {
        (true, _) => "NaN",
        (_, false) => "Infinity",
        (_, true) => "-Infinity",
    }
}

macro_rules! float {
    ($name:ident, $float:ty) => {
        /// Writes a float in the shortest form that reads back as the same value.
        pub(crate) fn $name(out: &mut Vec<u8>, value: $float) {
            if value.is_finite() {
                out.extend_from_slice(zmij::Buffer::new().format_finite(value).as_bytes());
            } else {
                write_string(out, not_finite(value.is_sign_negative(), value.is_nan()));
            }
        }
    };
}
float!(write_f32, f32);
float!(write_f64, f64);

/// True when the text is a number by JSON's grammar.
pub(crate) fn is_json_number(text: &str) -> bool {
    number_end(text.as_bytes()) == Some(text.len())
}

/// Where the number at the start of `bytes` ends, if there is one.
pub(crate) fn number_end(bytes: &[u8]) -> Option<usize> {
    let digits = |from: usize| {
        let count = bytes.get(from..)?.iter().take_while(|b| b.is_ascii_digit()).count();
        (count > 0).then_some(from + count)
    };
    let start = usize::from(bytes.first() == Some(&b'-'));
    let mut end = if bytes.get(start) == Some(&b'0') { start + 1 } else { digits(start)? };
    if bytes.get(end) == Some(&b'.') {
        end = digits(end + 1)?;
    }
    if matches!(bytes.get(end), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
        end = digits(end + 1 + sign)?;
    }
    Some(end)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_grammar_of_numbers() {
        for yes in ["0", "-0", "12", "0.10", "-1.5e+10", "1E5", "99999999999999999999999999.1"] {
            assert!(is_json_number(yes), "{yes}");
        }
        for no in ["", "-", "01", "1.", ".5", "+1", "1e", "1e+", "NaN", "Infinity", "1 ", "0x1", "1_000"] {
            assert!(!is_json_number(no), "{no}");
        }
    }

    #[test]
    fn what_json_has_no_number_for_is_a_string() {
        let text = |value: f64| {
            let mut out = Vec::new();
            write_f64(&mut out, value);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(text(f64::NAN), "\"NaN\"");
        assert_eq!(text(f64::INFINITY), "\"Infinity\"");
        assert_eq!(text(f64::NEG_INFINITY), "\"-Infinity\"");
        assert_eq!(text(-0.0), "-0.0");
    }

    proptest! {
        #[test]
        fn floats_read_back_bit_by_bit(bits in any::<u64>(), small in any::<u32>()) {
            let (double, single) = (f64::from_bits(bits), f32::from_bits(small));
            let mut out = Vec::new();
            if double.is_finite() {
                write_f64(&mut out, double);
                let text = std::str::from_utf8(&out).unwrap();
                prop_assert!(is_json_number(text), "{}", text);
                prop_assert_eq!(text.parse::<f64>().unwrap().to_bits(), bits);
            }
            out.clear();
            if single.is_finite() {
                write_f32(&mut out, single);
                let text = std::str::from_utf8(&out).unwrap();
                prop_assert!(is_json_number(text), "{}", text);
                prop_assert_eq!(text.parse::<f32>().unwrap().to_bits(), small);
            }
        }

        #[test]
        fn the_grammar_agrees_with_a_json_parser(text in "-?[0-9.eE+-]{0,6}") {
            let parses = serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok();
            prop_assert_eq!(is_json_number(&text), parses, "{}", text);
        }
    }
}
