//! Debezium's default type mapping.

use outflow_sdk::{BitsRef, Column, DateTime, Interval, LogicalType, TimeTz, ValueRef};

use crate::flat;
use crate::options::Decimals;
use crate::text::{
    write_base64, write_bool, write_display, write_escaped, write_f32, write_f64, write_integer,
    write_string, write_timestamp, write_uuid,
};

/// What a column's type says about its values beyond what each value says itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Rules {
    /// `time.precision.mode=adaptive`: the unit of dates with time, by their precision.
    date_time: Unit,
    /// The same for times of day.
    time: Unit,
    /// A column of one bit is a boolean.
    bit_is_bool: bool,
    placeholder: Placeholder,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Unit {
    Millis,
    #[default]
    Micros,
    Nanos,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Placeholder {
    #[default]
    Text,
    Bytes,
    List,
}

impl Rules {
    pub(super) fn of(column: &Column) -> Self {
        let source_type = column.source_type_name().to_ascii_lowercase();
        let precision = source_type
            .split_once('(')
            .and_then(|(_, rest)| rest.split(')').next())
            .and_then(|digits| digits.trim().parse::<u32>().ok());
        let unit = |precision| match precision {
            0..=3 => Unit::Millis,
            4..=6 => Unit::Micros,
            _ => Unit::Nanos,
        };
        // MySQL's DATETIME has no fraction unless it says so; its TIME is in microseconds always.
        let implied = if source_type.starts_with("datetime") { 0 } else { 6 };
        let mysql_time = source_type.starts_with("time") && !source_type.contains("zone");
        Self {
            date_time: unit(precision.unwrap_or(implied)),
            time: if mysql_time { Unit::Micros } else { unit(precision.unwrap_or(6)) },
            bit_is_bool: matches!(source_type.as_str(), "bit" | "bit(1)"),
            placeholder: match column.logical() {
                LogicalType::Bytes => Placeholder::Bytes,
                LogicalType::Bits if !matches!(source_type.as_str(), "bit" | "bit(1)") => Placeholder::Bytes,
                LogicalType::List(_) => Placeholder::List,
                _ => Placeholder::Text,
            },
        }
    }
}

/// Writes values as Debezium does by default.
#[derive(Debug)]
pub(super) struct Values {
    decimals: Decimals,
    placeholder: [Vec<u8>; 3],
    /// For what stands as JSON inside a string.
    nested: flat::Values,
    scratch: Vec<u8>,
}

/// What PostgreSQL's driver, and so Debezium, gives for infinite timestamps.
const INFINITY: i64 = 9_223_372_036_825_200_000;
const NEG_INFINITY: i64 = -9_223_372_036_832_400_000;

impl Values {
    pub(super) fn new(decimals: Decimals, placeholder: &str) -> Self {
        let (mut text, mut bytes) = (Vec::new(), Vec::new());
        write_string(&mut text, placeholder);
        write_base64(&mut bytes, placeholder.as_bytes());
        let list = [b"[", text.as_slice(), b"]"].concat();
        Self {
            decimals,
            placeholder: [text, bytes, list],
            nested: flat::Values::new(decimals),
            scratch: Vec::new(),
        }
    }

    /// What stands for a value that the source did not send.
    pub(super) fn placeholder(&self, out: &mut Vec<u8>, rules: &Rules) {
        let [text, bytes, list] = &self.placeholder;
        out.extend_from_slice(match rules.placeholder {
            Placeholder::Text => text,
            Placeholder::Bytes => bytes,
            Placeholder::List => list,
        });
    }

    /// Writes any value.
    pub(super) fn write(&mut self, out: &mut Vec<u8>, value: ValueRef<'_>, rules: &Rules) {
        match value {
            ValueRef::Null => out.extend_from_slice(b"null"),
            ValueRef::Unavailable => self.placeholder(out, rules),
            ValueRef::Bool(v) => write_bool(out, v),
            ValueRef::I64(v) => write_integer(out, v),
            ValueRef::U64(v) => write_integer(out, v),
            ValueRef::F32(v) => write_f32(out, v),
            ValueRef::F64(v) => write_f64(out, v),
            ValueRef::Decimal(s) => flat::write_decimal(out, s, self.decimals),
            // JSON is a string here, as io.debezium.data.Json is.
            ValueRef::Text(s)
            | ValueRef::Enum(s)
            | ValueRef::Set(s)
            | ValueRef::Other(s)
            | ValueRef::Json(s) => write_string(out, s),
            ValueRef::Bytes(b) => write_base64(out, b),
            ValueRef::Bits(b) if rules.bit_is_bool => write_bool(out, b.iter().any(|bit| bit)),
            ValueRef::Bits(b) => self.write_bits(out, b),
            ValueRef::Uuid(u) => write_uuid(out, u),
            ValueRef::Date(v) => write_integer(out, v.days()),
            ValueRef::Time(v) => write_integer(
                out,
                match rules.time {
                    Unit::Millis => v.nanos() / 1_000_000,
                    Unit::Micros => v.nanos() / 1000,
                    Unit::Nanos => v.nanos(),
                },
            ),
            ValueRef::TimeTz(v) => write_display(out, Utc(v)),
            ValueRef::DateTime(v) => write_integer(out, date_time(v, rules.date_time)),
            ValueRef::Timestamp(v) => write_timestamp(out, v),
            ValueRef::Interval(v) => write_integer(out, micros(v)),
            ValueRef::List(list) => {
                out.push(b'[');
                for (i, value) in list.iter().enumerate() {
                    if i > 0 {
                        out.push(b',');
                    }
                    self.write(out, value, rules);
                }
                out.push(b']');
            }
            // `hstore.handling.mode=json`, and documents: JSON in a string.
            other => {
                let mut scratch = std::mem::take(&mut self.scratch);
                scratch.clear();
                self.nested.write(&mut scratch, other);
                out.push(b'"');
                write_escaped(out, std::str::from_utf8(&scratch).unwrap_or_default());
                out.push(b'"');
                self.scratch = scratch;
            }
        }
    }

    /// io.debezium.data.Bits: the bits as a number, its lowest byte first.
    fn write_bits(&mut self, out: &mut Vec<u8>, bits: BitsRef<'_>) {
        let bytes = &mut self.scratch;
        bytes.clear();
        bytes.resize(bits.bytes().len(), 0);
        let last = bits.len() as usize;
        for (i, _) in bits.iter().enumerate().filter(|(_, bit)| *bit) {
            let place = last - 1 - i;
            if let Some(byte) = bytes.get_mut(place / 8) {
                *byte |= 1 << (place % 8);
            }
        }
        write_base64(out, bytes);
    }
}

fn date_time(value: DateTime, unit: Unit) -> i64 {
    if !value.is_finite() {
        return if value == DateTime::INFINITY { INFINITY } else { NEG_INFINITY };
    }
    match unit {
        Unit::Millis => value.millis(),
        Unit::Micros => value.micros(),
        Unit::Nanos => value.seconds().saturating_mul(1_000_000_000).saturating_add(i64::from(value.nanos())),
    }
}

/// io.debezium.time.MicroDuration: a month counts 365.25 / 12 days.
fn micros(interval: Interval) -> i64 {
    const MICROS_PER_DAY: i64 = 86_400_000_000;
    const MICROS_PER_MONTH: i64 = 2_629_800_000_000;
    let months = i64::from(interval.months).saturating_mul(MICROS_PER_MONTH);
    let days = i64::from(interval.days).saturating_mul(MICROS_PER_DAY);
    months.saturating_add(days).saturating_add(interval.nanos / 1000)
}

/// io.debezium.time.ZonedTime: the time of day in UTC.
struct Utc(TimeTz);

impl std::fmt::Display for Utc {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        const DAY: i64 = 86_400_000_000_000;
        let local = i128::from(self.0.time.nanos());
        let utc = local - i128::from(self.0.offset) * 1_000_000_000;
        // Within a day, so it fits.
        let utc = utc.rem_euclid(i128::from(DAY)) as i64;
        write!(f, "{}Z", outflow_sdk::Time::from_nanos(utc))
    }
}

#[cfg(test)]
mod tests {
    use outflow_sdk::{Date, Time, Timestamp};

    use super::*;

    fn written(source_type: &str, value: ValueRef<'_>) -> String {
        let column = Column::new("c", LogicalType::Any).source_type(source_type);
        let mut values = Values::new(Decimals::String, "?");
        let mut out = Vec::new();
        values.write(&mut out, value, &Rules::of(&column));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn time_units_follow_the_precision_of_the_column() {
        let at = ValueRef::DateTime(DateTime::new(1, 500_000_001));
        for (source_type, expected) in [
            ("timestamp without time zone", "1500000"),
            ("timestamp(3) without time zone", "1500"),
            ("timestamp(6) without time zone", "1500000"),
            ("datetime", "1500"),
            ("datetime(3)", "1500"),
            ("DATETIME(6)", "1500000"),
            ("timestamp(9)", "1500000001"),
        ] {
            assert_eq!(written(source_type, at), expected, "{source_type}");
        }
        let time = ValueRef::Time(Time::from_nanos(1_500_000_000));
        for (source_type, expected) in [
            ("time without time zone", "1500000"),
            ("time(0) without time zone", "1500"),
            ("time", "1500000"),
            ("time(3)", "1500000"),
        ] {
            assert_eq!(written(source_type, time), expected, "{source_type}");
        }
    }

    #[test]
    fn the_rest_of_time() {
        assert_eq!(written("date", ValueRef::Date(Date::from_days(-1))), "-1");
        assert_eq!(
            written("", ValueRef::Timestamp(Timestamp::new(0, 1000))),
            "\"1970-01-01T00:00:00.000001Z\""
        );
        let early = TimeTz { time: Time::from_nanos(3_600_000_000_000), offset: 2 * 3600 };
        assert_eq!(written("timetz", ValueRef::TimeTz(early)), "\"23:00:00Z\"");
        let interval = Interval { months: 1, days: -1, nanos: 2000 };
        assert_eq!(written("interval", ValueRef::Interval(interval)), "2543400000002");
        assert_eq!(written("timestamp", ValueRef::DateTime(DateTime::INFINITY)), INFINITY.to_string());
        assert_eq!(
            written("timestamp", ValueRef::DateTime(DateTime::NEG_INFINITY)),
            NEG_INFINITY.to_string()
        );
    }

    #[test]
    fn bits_are_a_little_endian_number_and_one_bit_a_boolean() {
        let bits = |bytes, len| ValueRef::Bits(BitsRef::new(bytes, len).unwrap());
        // 101 is 5; 1 0000 0001 is 0x101.
        assert_eq!(written("bit(3)", bits(&[0b1010_0000], 3)), "\"BQ==\"");
        assert_eq!(written("bit varying(9)", bits(&[0b1000_0000, 0b1000_0000], 9)), "\"AQE=\"");
        assert_eq!(written("bit(1)", bits(&[0b1000_0000], 1)), "true");
        assert_eq!(written("bit varying(8)", bits(&[0b1000_0000], 1)), "\"AQ==\"");
    }

    #[test]
    fn json_and_maps_are_json_in_a_string() {
        assert_eq!(written("jsonb", ValueRef::Json("{\"a\":1}")), r#""{\"a\":1}""#);
        let map = outflow_sdk::Value::Map(vec![("a".into(), outflow_sdk::Value::Null)]);
        assert_eq!(written("hstore", map.as_ref()), r#""{\"a\":null}""#);
    }
}
