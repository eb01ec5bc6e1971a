//! PostgreSQL's text output, as values.
//!
//! Every value that PostgreSQL sends as text, by a query or by the log, is read by this module, so that both give
//! identical values (invariant 5). It knows nothing of sessions and tables: a [`PgType`] and a text in, a value of
//! a row out. The session that sends the text must have [`SESSION_SETTINGS`].

use std::fmt;

use outflow_sdk::{
    BitsRef, Date, DateTime, Interval, LogicalType, RowWriter, Time, TimeTz, Timestamp, ValueRef,
};

/// The settings that decide how values look as text, as one statement each.
pub(crate) const SESSION_SETTINGS: &str = "SET client_encoding = 'UTF8'; SET DateStyle = 'ISO, YMD'; \
     SET IntervalStyle = 'iso_8601'; SET TimeZone = 'UTC'; SET extra_float_digits = 3; SET bytea_output = 'hex'; \
     SET lc_monetary = 'C'; SET xmlbinary = 'base64'";

/// A type, as far as its text form is concerned. Domains are their base types.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PgType {
    Bool,
    /// Of so many bits.
    Int(u8),
    Oid,
    Float4,
    Float8,
    /// Precision and scale, where declared.
    Numeric(Option<(u32, i32)>),
    Money,
    Text,
    Bytea,
    Bits,
    Json,
    Uuid,
    Date,
    Time,
    TimeTz,
    Timestamp,
    TimestampTz,
    Interval,
    /// With its labels in their order.
    Enum(Vec<String>),
    /// Elements, and what stands between them.
    Array(Box<PgType>, char),
    /// A type without a form of its own.
    Other,
}

/// A text that its type cannot have.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text that this type does not have")
    }
}

/// Memory that is reused from value to value.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    bytes: Vec<u8>,
    element: String,
}

impl PgType {
    /// A built-in base type by its OID, which is the same on every server; others by name.
    pub(crate) fn base(oid: u32, name: &str, modifier: i32) -> Self {
        match oid {
            16 => Self::Bool,
            21 => Self::Int(16),
            23 => Self::Int(32),
            20 => Self::Int(64),
            26 => Self::Oid,
            700 => Self::Float4,
            701 => Self::Float8,
            1700 => Self::Numeric(numeric(modifier)),
            790 => Self::Money,
            // text, varchar, char(n), name, "char", xml
            25 | 1043 | 1042 | 19 | 18 | 142 => Self::Text,
            17 => Self::Bytea,
            1560 | 1562 => Self::Bits,
            114 | 3802 => Self::Json,
            2950 => Self::Uuid,
            1082 => Self::Date,
            1083 => Self::Time,
            1266 => Self::TimeTz,
            1114 => Self::Timestamp,
            1184 => Self::TimestampTz,
            1186 => Self::Interval,
            _ if name == "citext" => Self::Text,
            _ => Self::Other,
        }
    }

    /// The meaning of a column of this type.
    pub(crate) fn logical(&self) -> LogicalType {
        match self {
            Self::Bool => LogicalType::Bool,
            Self::Int(bits) => LogicalType::Int(*bits),
            Self::Oid => LogicalType::UInt(32),
            Self::Float4 => LogicalType::Float(32),
            Self::Float8 => LogicalType::Float(64),
            Self::Numeric(size) => LogicalType::Decimal(*size),
            Self::Money => LogicalType::Decimal(None),
            Self::Text => LogicalType::Text,
            Self::Bytea => LogicalType::Bytes,
            Self::Bits => LogicalType::Bits,
            Self::Json => LogicalType::Json,
            Self::Uuid => LogicalType::Uuid,
            Self::Date => LogicalType::Date,
            Self::Time => LogicalType::Time,
            Self::TimeTz => LogicalType::TimeTz,
            Self::Timestamp => LogicalType::DateTime,
            Self::TimestampTz => LogicalType::Timestamp,
            Self::Interval => LogicalType::Interval,
            Self::Enum(labels) => LogicalType::Enum(labels.clone()),
            Self::Array(element, _) => LogicalType::List(Box::new(element.logical())),
            Self::Other => LogicalType::Other,
        }
    }

    /// Writes the value that `text` stands for.
    ///
    /// # Errors
    /// When the type does not have such a text. Parts of the value may have been written: the row is to be dropped.
    pub(crate) fn write(
        &self,
        text: &str,
        row: &mut RowWriter<'_>,
        scratch: &mut Scratch,
    ) -> Result<(), Malformed> {
        match self {
            Self::Array(element, delimiter) => {
                Array { element, delimiter: *delimiter, text, at: 0 }.write(row, scratch)
            }
            scalar => scalar.write_scalar(text, row, &mut scratch.bytes),
        }
    }

    fn write_scalar(
        &self,
        text: &str,
        row: &mut RowWriter<'_>,
        bytes: &mut Vec<u8>,
    ) -> Result<(), Malformed> {
        match self {
            Self::Bool => match text {
                "t" => row.bool(true),
                "f" => row.bool(false),
                _ => return Err(Malformed),
            },
            Self::Int(_) => row.i64(number(text)?),
            Self::Oid => row.u64(number(text)?),
            Self::Float4 => row.value(ValueRef::F32(number(text)?)),
            Self::Float8 => row.f64(number(text)?),
            Self::Numeric(_) => row.decimal(text),
            Self::Money => match money(text) {
                Some(amount) => row.decimal(&amount),
                None => row.other(text),
            },
            Self::Text => row.text(text),
            Self::Bytea => {
                hex(text.strip_prefix("\\x").ok_or(Malformed)?, bytes).ok_or(Malformed)?;
                row.bytes(bytes);
            }
            Self::Bits => {
                let bits = bits(text, bytes).ok_or(Malformed)?;
                row.value(ValueRef::Bits(bits));
            }
            Self::Json => row.json(text),
            Self::Uuid => row.value(ValueRef::Uuid(&uuid(text).ok_or(Malformed)?)),
            Self::Date => row.value(ValueRef::Date(date(text).ok_or(Malformed)?)),
            Self::Time => row.value(ValueRef::Time(clock(text).ok_or(Malformed)?)),
            Self::TimeTz => row.value(ValueRef::TimeTz(time_tz(text).ok_or(Malformed)?)),
            Self::Timestamp => row.value(ValueRef::DateTime(date_time(text).ok_or(Malformed)?)),
            Self::TimestampTz => row.timestamp(timestamp(text).ok_or(Malformed)?),
            Self::Interval => match text {
                // Since PostgreSQL 17; an interval of ours is finite.
                "infinity" | "-infinity" => row.other(text),
                _ => row.value(ValueRef::Interval(interval(text).ok_or(Malformed)?)),
            },
            Self::Enum(_) => row.enumeration(text),
            // An array is no element of an array: its dimensions are one value.
            Self::Array(..) | Self::Other => row.other(text),
        }
        Ok(())
    }
}

/// Precision and scale out of a type modifier. The scale has 11 bits and a sign.
fn numeric(modifier: i32) -> Option<(u32, i32)> {
    let packed = u32::try_from(modifier.checked_sub(4)?).ok()?;
    let scale = i32::try_from(packed & 0x7ff).ok()?;
    Some((packed >> 16, (scale ^ 1024) - 1024))
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, Malformed> {
    text.parse().map_err(|_| Malformed)
}

/// `-$1,234.50` → `-1234.50`.
fn money(text: &str) -> Option<String> {
    let amount: String = text.chars().filter(|c| !matches!(c, '$' | ',')).collect();
    let digits = amount.strip_prefix('-').unwrap_or(&amount);
    let fine = digits.starts_with(|c: char| c.is_ascii_digit())
        && digits.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    fine.then_some(amount)
}

fn hex(digits: &str, into: &mut Vec<u8>) -> Option<()> {
    let digit = |b: u8| (b as char).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
    into.clear();
    into.reserve(pairs.len());
    for [high, low] in pairs {
        into.push(digit(*high)? << 4 | digit(*low)?);
    }
    rest.is_empty().then_some(())
}

fn bits<'b>(text: &str, into: &'b mut Vec<u8>) -> Option<BitsRef<'b>> {
    into.clear();
    for chunk in text.as_bytes().chunks(8) {
        let mut byte = 0;
        for (i, digit) in chunk.iter().enumerate() {
            match digit {
                b'0' => {}
                b'1' => byte |= 0x80 >> i,
                _ => return None,
            }
        }
        into.push(byte);
    }
    BitsRef::new(into, u32::try_from(text.len()).ok()?)
}

fn uuid(text: &str) -> Option<[u8; 16]> {
    let mut digits = text.bytes().filter(|b| *b != b'-').map(|b| (b as char).to_digit(16));
    let mut uuid = [0; 16];
    for byte in &mut uuid {
        *byte = u8::try_from(digits.next()?? << 4 | digits.next()??).ok()?;
    }
    digits.next().is_none().then_some(uuid)
}

fn date(text: &str) -> Option<Date> {
    match text {
        "infinity" => Some(Date::INFINITY),
        "-infinity" => Some(Date::NEG_INFINITY),
        _ => {
            let (text, bc) = text.strip_suffix(" BC").map_or((text, false), |t| (t, true));
            let mut parts = text.split('-');
            let year = parts.next()?.parse::<i32>().ok()?;
            let (month, day) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
            // There is no year 0: 1 BC comes before 1 AD.
            let year = if bc { 1_i32.checked_sub(year)? } else { year };
            parts.next().is_none().then(|| Date::from_ymd(year, month, day)).flatten()
        }
    }
}

/// A time of day without an offset, up to 24:00:00.
fn clock(text: &str) -> Option<Time> {
    text.parse().ok()
}

/// Splits an offset off: seconds east of UTC.
fn offset(text: &str) -> Option<(&str, i32)> {
    let at = text.rfind(['+', '-']).filter(|at| *at > 0)?;
    let (clock, offset) = text.split_at(at);
    let mut parts = offset.get(1..)?.split(':').map(str::parse::<i32>);
    let mut next = || parts.next().map_or(Some(0), Result::ok);
    let seconds = next()? * 3600 + next()? * 60 + next()?;
    Some((clock, if offset.starts_with('-') { -seconds } else { seconds }))
}

fn time_tz(text: &str) -> Option<TimeTz> {
    let (clock_text, offset) = offset(text)?;
    Some(TimeTz { time: clock(clock_text)?, offset })
}

/// Seconds since 1970 and nanoseconds.
fn instant(day: &str, time: &str) -> Option<(i64, u32)> {
    const NANOS: i64 = 1_000_000_000;
    let nanos = clock(time)?.nanos();
    let seconds = i64::from(date(day)?.days()) * 86_400 + nanos.div_euclid(NANOS);
    Some((seconds, u32::try_from(nanos.rem_euclid(NANOS)).ok()?))
}

/// `2024-01-02 03:04:05.6`, with ` BC` after it where it belongs; without that.
fn split_instant(text: &str) -> Option<(String, &str)> {
    let (text, bc) = text.strip_suffix(" BC").map_or((text, ""), |t| (t, " BC"));
    let (day, time) = text.split_once(' ')?;
    Some((format!("{day}{bc}"), time))
}

fn date_time(text: &str) -> Option<DateTime> {
    match text {
        "infinity" => Some(DateTime::INFINITY),
        "-infinity" => Some(DateTime::NEG_INFINITY),
        _ => {
            let (day, time) = split_instant(text)?;
            let (seconds, nanos) = instant(&day, time)?;
            Some(DateTime::new(seconds, nanos))
        }
    }
}

fn timestamp(text: &str) -> Option<Timestamp> {
    match text {
        "infinity" => Some(Timestamp::INFINITY),
        "-infinity" => Some(Timestamp::NEG_INFINITY),
        _ => {
            let (day, time) = split_instant(text)?;
            let (time, offset) = offset(time)?;
            let (seconds, nanos) = instant(&day, time)?;
            Some(Timestamp::new(seconds - i64::from(offset), nanos))
        }
    }
}

/// `P1Y-2M3DT-4H5M6.7S`, each part with its own sign.
fn interval(text: &str) -> Option<Interval> {
    let (calendar, clock) = {
        let rest = text.strip_prefix('P')?;
        rest.split_once('T').unwrap_or((rest, ""))
    };
    let (mut months, mut days, mut nanos) = (0_i32, 0_i32, 0_i64);
    for (part, unit) in parts(calendar) {
        let n = part.parse::<i32>().ok()?;
        match unit {
            'Y' => months = months.checked_add(n.checked_mul(12)?)?,
            'M' => months = months.checked_add(n)?,
            'W' => days = days.checked_add(n.checked_mul(7)?)?,
            'D' => days = days.checked_add(n)?,
            _ => return None,
        }
    }
    for (part, unit) in parts(clock) {
        let n = match unit {
            'H' => part.parse::<i64>().ok()?.checked_mul(3_600_000_000_000)?,
            'M' => part.parse::<i64>().ok()?.checked_mul(60_000_000_000)?,
            'S' => seconds(part)?,
            _ => return None,
        };
        nanos = nanos.checked_add(n)?;
    }
    Some(Interval { months, days, nanos })
}

/// Numbers with the unit behind each; a number without a unit gives a unit that nobody knows.
fn parts(text: &str) -> impl Iterator<Item = (&str, char)> {
    text.split_inclusive(|c: char| c.is_ascii_alphabetic()).map(|part| {
        let unit = part.chars().next_back().filter(char::is_ascii_alphabetic).unwrap_or('?');
        (part.strip_suffix(unit).unwrap_or(part), unit)
    })
}

/// `-6.789` → nanoseconds.
fn seconds(text: &str) -> Option<i64> {
    let (negative, text) = text.strip_prefix('-').map_or((false, text), |t| (true, t));
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.len() > 9 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let scale = 10_i64.pow(9 - u32::try_from(fraction.len()).ok()?);
    let fraction = if fraction.is_empty() { 0 } else { fraction.parse::<i64>().ok()? };
    let nanos = i64::from(whole.parse::<u32>().ok()?) * 1_000_000_000 + fraction * scale;
    Some(if negative { -nanos } else { nanos })
}

/// An array that is being read: `{1,NULL,"a \"b\"",{…}}`, with its bounds before it where they are unusual.
struct Array<'t> {
    element: &'t PgType,
    delimiter: char,
    text: &'t str,
    at: usize,
}

impl Array<'_> {
    /// PostgreSQL has at most so many dimensions.
    const DEEPEST: usize = 6;

    fn write(mut self, row: &mut RowWriter<'_>, scratch: &mut Scratch) -> Result<(), Malformed> {
        if self.text.starts_with('[') {
            // The bounds; a list begins at its first element whatever that is called.
            self.at = self.text.find('=').ok_or(Malformed)? + 1;
        }
        self.list(row, scratch, 1)?;
        if self.at == self.text.len() { Ok(()) } else { Err(Malformed) }
    }

    fn peek(&self) -> Option<char> {
        self.text.get(self.at..)?.chars().next()
    }

    fn next(&mut self) -> Result<char, Malformed> {
        let c = self.peek().ok_or(Malformed)?;
        self.at += c.len_utf8();
        Ok(c)
    }

    fn list(
        &mut self,
        row: &mut RowWriter<'_>,
        scratch: &mut Scratch,
        depth: usize,
    ) -> Result<(), Malformed> {
        if self.next()? != '{' || depth > Self::DEEPEST {
            return Err(Malformed);
        }
        row.begin_list();
        if self.peek() == Some('}') {
            self.at += 1;
            row.end_list();
            return Ok(());
        }
        loop {
            if self.peek() == Some('{') {
                self.list(row, scratch, depth + 1)?;
            } else {
                self.value(row, scratch)?;
            }
            match self.next()? {
                '}' => break,
                c if c == self.delimiter => {}
                _ => return Err(Malformed),
            }
        }
        row.end_list();
        Ok(())
    }

    fn value(&mut self, row: &mut RowWriter<'_>, scratch: &mut Scratch) -> Result<(), Malformed> {
        if self.peek() == Some('"') {
            self.at += 1;
            scratch.element.clear();
            loop {
                match self.next()? {
                    '"' => break,
                    '\\' => scratch.element.push(self.next()?),
                    c => scratch.element.push(c),
                }
            }
            return self.element.write_scalar(&scratch.element, row, &mut scratch.bytes);
        }
        let rest = self.text.get(self.at..).ok_or(Malformed)?;
        let end = rest.find([self.delimiter, '}']).ok_or(Malformed)?;
        let word = rest.get(..end).filter(|w| !w.is_empty()).ok_or(Malformed)?;
        self.at += end;
        if word == "NULL" {
            row.null();
            return Ok(());
        }
        self.element.write_scalar(word, row, &mut scratch.bytes)
    }
}

#[cfg(test)]
mod tests {
    use outflow_sdk::{BatchBuilder, Column, Op, TableSchema, Value};

    use super::*;

    fn read(of: &PgType, text: &str) -> Option<Value> {
        let mut builder = BatchBuilder::new();
        let table = TableSchema::builder("t").column(Column::new("c", of.logical())).build();
        let schema = builder.schema(&table);
        let mut event = builder.event(Op::Insert).schema(schema);
        let mut row = event.after();
        of.write(text, &mut row, &mut Scratch::default()).ok()?;
        row.end().unwrap();
        event.end();
        let batch = builder.finish("t".into(), None);
        Some(batch.get(0)?.after()?.get(0)?.to_value())
    }

    fn array(of: PgType) -> PgType {
        PgType::Array(Box::new(of), ',')
    }

    #[test]
    fn scalars() {
        let decimal = |t: &str| Value::Decimal(t.into());
        for (of, text, value) in [
            (PgType::Bool, "t", Value::Bool(true)),
            (PgType::Int(64), "-9223372036854775808", Value::I64(i64::MIN)),
            (PgType::Oid, "4294967295", Value::U64(u64::from(u32::MAX))),
            (PgType::Float4, "1e+20", Value::F32(1e20)),
            (PgType::Float8, "-Infinity", Value::F64(f64::NEG_INFINITY)),
            (PgType::Numeric(None), "12345678901234567890.000", decimal("12345678901234567890.000")),
            (PgType::Numeric(None), "NaN", decimal("NaN")),
            (PgType::Money, "-$1,234,567.89", decimal("-1234567.89")),
            (PgType::Money, "1.234,50 €", Value::Other("1.234,50 €".into())),
            (PgType::Bytea, "\\x00fF", Value::Bytes(vec![0, 255])),
            (PgType::Bytea, "\\x", Value::Bytes(vec![])),
            (PgType::Bits, "101100111", Value::Bits(vec![0b1011_0011, 0b1000_0000], 9)),
            (PgType::Bits, "", Value::Bits(vec![], 0)),
            (PgType::Json, "{\"a\": 1}", Value::Json("{\"a\": 1}".into())),
            (
                PgType::Uuid,
                "0123abcd-0000-0000-0000-0000000000ff",
                Value::Uuid([1, 0x23, 0xab, 0xcd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255]),
            ),
            (PgType::Enum(vec![]), "new", Value::Enum("new".into())),
            (PgType::Other, "(1,2)", Value::Other("(1,2)".into())),
        ] {
            assert_eq!(read(&of, text), Some(value), "{of:?} {text}");
        }
        assert!(matches!(read(&PgType::Float8, "NaN"), Some(Value::F64(n)) if n.is_nan()));
    }

    #[test]
    fn times() {
        let printed = |of: PgType, text: &str| match read(&of, text) {
            Some(Value::Date(d)) => d.to_string(),
            Some(Value::Time(t)) => t.to_string(),
            Some(Value::TimeTz(t)) => t.to_string(),
            Some(Value::DateTime(t)) => t.to_string(),
            Some(Value::Timestamp(t)) => t.to_string(),
            Some(Value::Interval(i)) => i.to_string(),
            other => format!("{other:?}"),
        };
        for (of, text, expected) in [
            (PgType::Date, "2024-02-29", "2024-02-29"),
            (PgType::Date, "0044-03-15 BC", "-000043-03-15"),
            (PgType::Date, "5874897-12-31", "+5874897-12-31"),
            (PgType::Date, "infinity", "infinity"),
            (PgType::Time, "24:00:00", "24:00:00"),
            (PgType::Time, "04:05:06.7", "04:05:06.700"),
            (PgType::TimeTz, "04:05:06.5+05:30:15", "04:05:06.500+05:30:15"),
            (PgType::TimeTz, "04:05:06-08", "04:05:06-08:00"),
            (PgType::Timestamp, "1969-12-31 23:59:59.999999", "1969-12-31T23:59:59.999999"),
            (PgType::Timestamp, "0001-01-01 00:00:00 BC", "0000-01-01T00:00:00"),
            (PgType::Timestamp, "-infinity", "-infinity"),
            (PgType::TimestampTz, "2024-01-02 03:04:05.6+00", "2024-01-02T03:04:05.600Z"),
            (PgType::TimestampTz, "2024-01-02 03:04:05+05:30", "2024-01-01T21:34:05Z"),
            (PgType::TimestampTz, "4714-11-24 00:00:00+00 BC", "-004713-11-24T00:00:00Z"),
            (PgType::TimestampTz, "infinity", "infinity"),
            (PgType::Interval, "P-10M-3DT4H5M6.7S", "P-10M-3DT14706.700S"),
            (PgType::Interval, "PT-0.5S", "P0M0DT-0.500S"),
            (PgType::Interval, "P1Y2M", "P14M0DT0S"),
            (PgType::Interval, "PT0S", "P0M0DT0S"),
        ] {
            assert_eq!(printed(of, text), expected, "{text}");
        }
        assert_eq!(read(&PgType::Interval, "infinity"), Some(Value::Other("infinity".into())));
    }

    #[test]
    fn arrays() {
        let text = |t: &str| Value::Text(t.into());
        let n = Value::I64;
        for (of, written, values) in [
            (array(PgType::Int(32)), "{}", vec![]),
            (array(PgType::Int(32)), "{1,NULL,-3}", vec![n(1), Value::Null, n(-3)]),
            (
                array(PgType::Int(32)),
                "[0:1][1:2]={{1,2},{3,4}}",
                vec![Value::List(vec![n(1), n(2)]), Value::List(vec![n(3), n(4)])],
            ),
            (
                array(PgType::Text),
                r#"{"a b","NULL",NULL,"q\"\\x","",ü,"a,b","{}"}"#,
                vec![
                    text("a b"),
                    text("NULL"),
                    Value::Null,
                    text("q\"\\x"),
                    text(""),
                    text("ü"),
                    text("a,b"),
                    text("{}"),
                ],
            ),
            (array(PgType::Bytea), r#"{"\\x00ff"}"#, vec![Value::Bytes(vec![0, 255])]),
            (
                PgType::Array(Box::new(PgType::Other), ';'),
                "{(1,1),(0,0);(2,2),(1,1)}",
                vec![Value::Other("(1,1),(0,0)".into()), Value::Other("(2,2),(1,1)".into())],
            ),
        ] {
            assert_eq!(read(&of, written), Some(Value::List(values)), "{written}");
        }
    }

    #[test]
    fn malformed_texts_are_refused() {
        let nested = "{".repeat(7) + &"}".repeat(7);
        for (of, text) in [
            (PgType::Bool, "true"),
            (PgType::Int(32), "1.5"),
            (PgType::Oid, "-1"),
            (PgType::Float8, ""),
            (PgType::Bytea, "abc"),
            (PgType::Bytea, "\\xabc"),
            (PgType::Bytea, "\\xzz"),
            (PgType::Bits, "102"),
            (PgType::Uuid, "0123"),
            (PgType::Uuid, "0123abcd-0000-0000-0000-0000000000ff00"),
            (PgType::Date, "2024-13-01"),
            (PgType::Date, "2024-01-01-01"),
            (PgType::Time, "x"),
            (PgType::TimeTz, "04:05:06"),
            (PgType::Timestamp, "2024-01-01"),
            (PgType::TimestampTz, "2024-01-01 00:00:00"),
            (PgType::Interval, "1 day"),
            (PgType::Interval, "P99999999999Y"),
            (PgType::Interval, "P5"),
            (array(PgType::Int(32)), "1"),
            (array(PgType::Int(32)), "{1"),
            (array(PgType::Int(32)), "{1,}"),
            (array(PgType::Int(32)), "{1}x"),
            (array(PgType::Int(32)), "[0:1]"),
            (array(PgType::Text), "{\"a"),
            (array(PgType::Text), "{\"a\\"),
            (array(PgType::Int(32)), nested.as_str()),
        ] {
            assert_eq!(read(&of, text), None, "{of:?} {text}");
        }
    }

    #[test]
    fn modifiers_of_numeric() {
        assert_eq!(numeric(-1), None);
        assert_eq!(numeric((10 << 16 | 2) + 4), Some((10, 2)));
        assert_eq!(numeric((3 << 16 | (-5 & 0x7ff)) + 4), Some((3, -5)));
    }
}
