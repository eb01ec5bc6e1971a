//! Dates, times and intervals, wide enough for every database: explicit infinities, years BC, times past 24 h.
//!
//! All are proleptic Gregorian. The text forms are ISO 8601; years outside 0000–9999 have a sign, and
//! infinities read `infinity` and `-infinity` as in PostgreSQL.

use std::fmt::{self, Write as _};
use std::str::FromStr;

use crate::error::{Error, Result};

const NANOS_PER_SECOND: i64 = 1_000_000_000;
const NANOS_PER_DAY: i64 = 86_400 * NANOS_PER_SECOND;

/// Days since 1970-01-01.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Date(i32);

impl Date {
    /// Later than every date.
    pub const INFINITY: Self = Self(i32::MAX);
    /// Earlier than every date.
    pub const NEG_INFINITY: Self = Self(i32::MIN);

    /// From days since 1970-01-01. `i32::MAX` and `i32::MIN` are the infinities.
    pub const fn from_days(days: i32) -> Self {
        Self(days)
    }

    /// From a calendar date; `None` when there is no such day. Year 0 is 1 BC.
    pub fn from_ymd(year: i32, month: u32, day: u32) -> Option<Self> {
        if !(1..=12).contains(&month) || day == 0 || day > days_in_month(year, month) {
            return None;
        }
        let days = days_from_civil(i64::from(year), month, day);
        i32::try_from(days).ok().map(Self).filter(Self::is_finite)
    }

    /// Year, month and day; year 0 is 1 BC. Only for finite dates.
    pub fn ymd(self) -> (i64, u32, u32) {
        civil_from_days(i64::from(self.0))
    }

    /// Days since 1970-01-01.
    pub const fn days(self) -> i32 {
        self.0
    }

    /// False for the two infinities.
    pub const fn is_finite(&self) -> bool {
        self.0 != i32::MAX && self.0 != i32::MIN
    }
}

/// Signed nanoseconds: a time of day, or MySQL's TIME of up to ±838 hours.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(i64);

impl Time {
    /// From signed nanoseconds.
    pub const fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    /// Signed nanoseconds.
    pub const fn nanos(self) -> i64 {
        self.0
    }
}

/// A time of day with an offset from UTC.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TimeTz {
    /// The local time.
    pub time: Time,
    /// Seconds east of UTC.
    pub offset: i32,
}

macro_rules! instant {
    ($(#[$doc:meta])* $name:ident, $zone:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name {
            seconds: i64,
            nanos: u32,
        }

        impl $name {
            /// Later than every other.
            pub const INFINITY: Self = Self { seconds: i64::MAX, nanos: 0 };
            /// Earlier than every other.
            pub const NEG_INFINITY: Self = Self { seconds: i64::MIN, nanos: 0 };

            /// From seconds since 1970-01-01 00:00:00 and nanoseconds (below 1,000,000,000) after that second.
            pub const fn new(seconds: i64, nanos: u32) -> Self {
                Self { seconds, nanos: if nanos > 999_999_999 { 999_999_999 } else { nanos } }
            }

            /// From microseconds since 1970-01-01 00:00:00.
            pub const fn from_micros(micros: i64) -> Self {
                Self { seconds: micros.div_euclid(1_000_000), nanos: micros.rem_euclid(1_000_000) as u32 * 1000 }
            }

            /// Whole seconds since 1970-01-01 00:00:00, rounded towards the past.
            pub const fn seconds(self) -> i64 {
                self.seconds
            }

            /// Nanoseconds after that second.
            pub const fn nanos(self) -> u32 {
                self.nanos
            }

            /// Milliseconds since 1970-01-01 00:00:00; saturates.
            pub const fn millis(self) -> i64 {
                self.seconds.saturating_mul(1000).saturating_add(self.nanos as i64 / 1_000_000)
            }

            /// Microseconds since 1970-01-01 00:00:00; saturates.
            pub const fn micros(self) -> i64 {
                self.seconds.saturating_mul(1_000_000).saturating_add(self.nanos as i64 / 1000)
            }

            /// False for the two infinities.
            pub const fn is_finite(&self) -> bool {
                self.seconds != i64::MAX && self.seconds != i64::MIN
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                if !self.is_finite() {
                    return f.write_str(if self.seconds > 0 { "infinity" } else { "-infinity" });
                }
                write_civil(f, self.seconds.div_euclid(86_400))?;
                f.write_char('T')?;
                let second = self.seconds.rem_euclid(86_400);
                write_clock(f, second, self.nanos)?;
                f.write_str($zone)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self> {
                match text {
                    "infinity" => return Ok(Self::INFINITY),
                    "-infinity" => return Ok(Self::NEG_INFINITY),
                    _ => {}
                }
                let parse = || {
                    let (date, clock) = text.strip_suffix($zone)?.split_once('T')?;
                    let days = parse_civil(date)?;
                    // 24:00:00 and a leap second are the next day; later than that is no time of day.
                    let nanos = i64::try_from(parse_clock(clock)?).ok().filter(|n| *n <= NANOS_PER_DAY)?;
                    let seconds = i128::from(days) * 86_400 + i128::from(nanos / NANOS_PER_SECOND);
                    let instant = Self {
                        seconds: i64::try_from(seconds).ok()?,
                        nanos: (nanos % NANOS_PER_SECOND) as u32,
                    };
                    instant.is_finite().then_some(instant)
                };
                parse().ok_or_else(|| bad(stringify!($name), text))
            }
        }
    };
}

instant!(
    /// A date and time without a zone.
    DateTime,
    ""
);
instant!(
    /// A point in time (UTC).
    Timestamp,
    "Z"
);

impl Timestamp {
    /// The present, by the wall clock.
    pub fn now() -> Self {
        let now = std::time::SystemTime::now();
        match now.duration_since(std::time::UNIX_EPOCH) {
            Ok(d) => Self::new(i64::try_from(d.as_secs()).unwrap_or(i64::MAX - 1), d.subsec_nanos()),
            Err(_) => Self::new(0, 0),
        }
    }
}

/// A calendar interval; its three parts do not convert into one another.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Interval {
    /// Months.
    pub months: i32,
    /// Days.
    pub days: i32,
    /// Nanoseconds.
    pub nanos: i64,
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::INFINITY => f.write_str("infinity"),
            Self::NEG_INFINITY => f.write_str("-infinity"),
            Self(days) => write_civil(f, i64::from(days)),
        }
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 < 0 {
            f.write_char('-')?;
        }
        let nanos = self.0.unsigned_abs();
        let per_second = NANOS_PER_SECOND.unsigned_abs();
        // Both halves fit: |i64| / 1e9 < 2^34, and a remainder of 1e9 < 2^30.
        write_clock(f, (nanos / per_second) as i64, (nanos % per_second) as u32)
    }
}

impl fmt::Display for TimeTz {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.time, f)?;
        let (sign, s) = if self.offset < 0 {
            ('-', self.offset.unsigned_abs())
        } else {
            ('+', self.offset.unsigned_abs())
        };
        write!(f, "{sign}{:02}:{:02}", s / 3600, s / 60 % 60)?;
        if s % 60 != 0 { write!(f, ":{:02}", s % 60) } else { Ok(()) }
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "P{}M{}DT", self.months, self.days)?;
        let nanos = self.nanos.unsigned_abs();
        if self.nanos < 0 {
            f.write_char('-')?;
        }
        write!(f, "{}", nanos / NANOS_PER_SECOND.unsigned_abs())?;
        write_fraction(f, (nanos % NANOS_PER_SECOND.unsigned_abs()) as u32)?;
        f.write_char('S')
    }
}

macro_rules! debug_as_display {
    ($($t:ty),*) => {$(
        impl fmt::Debug for $t {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    )*};
}
debug_as_display!(Date, Time, TimeTz, Interval);

impl FromStr for Date {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "infinity" => Ok(Self::INFINITY),
            "-infinity" => Ok(Self::NEG_INFINITY),
            _ => parse_civil(text)
                .and_then(|days| i32::try_from(days).ok())
                .map(Self)
                .filter(Self::is_finite)
                .ok_or_else(|| bad("Date", text)),
        }
    }
}

impl FromStr for Time {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (negative, clock) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let nanos = parse_clock(clock).map(|nanos| if negative { -nanos } else { nanos });
        nanos.and_then(|nanos| i64::try_from(nanos).ok()).map(Self).ok_or_else(|| bad("Time", text))
    }
}

impl FromStr for TimeTz {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parse = || {
            let at = text.rfind(['+', '-']).filter(|at| *at > 0)?;
            let time = text.get(..at)?.parse::<Time>().ok()?;
            let (h, rest) = text.get(at + 1..)?.split_once(':')?;
            let (m, s) = rest.split_once(':').unwrap_or((rest, "0"));
            let part = |text: &str, below: u32| digits(text).filter(|n| *n < below).map(i64::from);
            let seconds = part(h, u32::MAX)? * 3600 + part(m, 60)? * 60 + part(s, 60)?;
            let seconds = if text.as_bytes().get(at) == Some(&b'-') { -seconds } else { seconds };
            (h.len() >= 2).then_some(Self { time, offset: i32::try_from(seconds).ok()? })
        };
        parse().ok_or_else(|| bad("TimeTz", text))
    }
}

impl FromStr for Interval {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parse = || {
            let (months, rest) = text.strip_prefix('P')?.split_once('M')?;
            let (days, rest) = rest.split_once("DT")?;
            let clock = rest.strip_suffix('S')?;
            let (negative, clock) = clock.strip_prefix('-').map_or((false, clock), |c| (true, c));
            let (seconds, fraction) = clock.split_once('.').unwrap_or((clock, ""));
            let seconds = i128::from(seconds.parse::<u64>().ok().filter(|_| !seconds.starts_with('+'))?);
            let nanos = seconds * i128::from(NANOS_PER_SECOND) + i128::from(parse_fraction(fraction)?);
            let nanos = i64::try_from(if negative { -nanos } else { nanos }).ok()?;
            Some(Self { months: months.parse().ok()?, days: days.parse().ok()?, nanos })
        };
        parse().ok_or_else(|| bad("Interval", text))
    }
}

fn bad(what: &'static str, text: &str) -> Error {
    let shown: String = text.chars().take(40).collect();
    Error::data("value.temporal").message(format!("not a {what}: {shown:?}"))
}

/// Days since 1970-01-01 of a civil date (algorithm: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms").
fn days_from_civil(year: i64, month: u32, day: u32) -> i64 {
    let y = if month <= 2 { year - 1 } else { year };
    let era = y.div_euclid(400);
    let yoe = y.rem_euclid(400);
    let mp = i64::from((month + 9) % 12);
    let doy = (153 * mp + 2) / 5 + i64::from(day) - 1;
    era * 146_097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719_468
}

/// Year, month and day of a day since 1970-01-01.
pub(crate) fn civil_from_days(days: i64) -> (i64, u32, u32) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let day = (doy - (153 * mp + 2) / 5 + 1) as u32;
    let month = if mp < 10 { mp + 3 } else { mp - 9 } as u32;
    (yoe + era * 400 + i64::from(month <= 2), month, day)
}

fn days_in_month(year: i32, month: u32) -> u32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if (year % 4 == 0 && year % 100 != 0) || year % 400 == 0 => 29,
        2 => 28,
        _ => 31,
    }
}

fn write_civil(f: &mut fmt::Formatter<'_>, days: i64) -> fmt::Result {
    let (y, m, d) = civil_from_days(days);
    if (0..=9999).contains(&y) {
        write!(f, "{y:04}-{m:02}-{d:02}")
    } else {
        write!(f, "{}{:06}-{m:02}-{d:02}", if y < 0 { '-' } else { '+' }, y.unsigned_abs())
    }
}

fn write_clock(f: &mut fmt::Formatter<'_>, second: i64, nanos: u32) -> fmt::Result {
    write!(f, "{:02}:{:02}:{:02}", second / 3600, second / 60 % 60, second % 60)?;
    write_fraction(f, nanos)
}

fn write_fraction(f: &mut fmt::Formatter<'_>, nanos: u32) -> fmt::Result {
    match nanos {
        0 => Ok(()),
        n if n % 1_000_000 == 0 => write!(f, ".{:03}", n / 1_000_000),
        n if n % 1000 == 0 => write!(f, ".{:06}", n / 1000),
        n => write!(f, ".{n:09}"),
    }
}

fn parse_civil(text: &str) -> Option<i64> {
    let (sign, date) = match text.as_bytes().first()? {
        b'-' => (-1, text.get(1..)?),
        b'+' => (1, text.get(1..)?),
        _ => (1, text),
    };
    let mut parts = date.split('-');
    let (y, m, d) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() || y.len() < 4 || y.len() > 12 || m.len() != 2 || d.len() != 2 {
        return None;
    }
    let year = y.parse::<i64>().ok().filter(|_| y.bytes().all(|b| b.is_ascii_digit()))? * sign;
    let (month, day) = (digits(m)?, digits(d)?);
    // The rule for leap years repeats every 400 years.
    let cycle = year.rem_euclid(400) as i32 + 400;
    if !(1..=12).contains(&month) || day == 0 || day > days_in_month(cycle, month) {
        return None;
    }
    Some(days_from_civil(year, month, day))
}

/// Nanoseconds of `HH:MM:SS[.fraction]`; hours may exceed 24.
fn parse_clock(text: &str) -> Option<i128> {
    let mut parts = text.splitn(3, ':');
    let (h, m, s) = (parts.next()?, parts.next()?, parts.next()?);
    let (s, fraction) = s.split_once('.').unwrap_or((s, ""));
    if h.len() < 2 || m.len() != 2 || s.len() != 2 {
        return None;
    }
    let (h, m, s) = (digits(h)?, digits(m)?, digits(s)?);
    if m > 59 || s > 60 {
        return None;
    }
    let seconds = i128::from(h) * 3600 + i128::from(m * 60 + s);
    Some(seconds * i128::from(NANOS_PER_SECOND) + i128::from(parse_fraction(fraction)?))
}

/// Digits and nothing else: `parse` alone also takes a sign.
fn digits(text: &str) -> Option<u32> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?
}

fn parse_fraction(digits: &str) -> Option<i64> {
    if digits.is_empty() {
        return Some(0);
    }
    if digits.len() > 9 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let scale = 10_i64.pow(9 - u32::try_from(digits.len()).ok()?);
    Some(digits.parse::<i64>().ok()? * scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn both_ways<T: FromStr + fmt::Display + PartialEq + fmt::Debug>(value: T, text: &str)
    where
        T::Err: fmt::Debug,
    {
        assert_eq!(value.to_string(), text);
        assert_eq!(text.parse::<T>().unwrap(), value);
    }

    #[test]
    fn text_forms_round_trip() {
        both_ways(Date::from_days(0), "1970-01-01");
        both_ways(Date::from_ymd(2024, 2, 29).unwrap(), "2024-02-29");
        both_ways(Date::from_ymd(-4712, 1, 1).unwrap(), "-004712-01-01");
        both_ways(Date::from_ymd(0, 12, 31).unwrap(), "0000-12-31");
        both_ways(Date::from_days(2_145_042_905), "+5874897-12-31");
        both_ways(Date::INFINITY, "infinity");
        both_ways(Date::NEG_INFINITY, "-infinity");
        both_ways(Time::from_nanos(86_400 * NANOS_PER_SECOND), "24:00:00");
        both_ways(
            Time::from_nanos(-(838 * 3600 + 59 * 60 + 59) * NANOS_PER_SECOND - 1),
            "-838:59:59.000000001",
        );
        both_ways(
            TimeTz { time: Time::from_nanos(1_500_000_000), offset: -(5 * 3600 + 30 * 60) },
            "00:00:01.500-05:30",
        );
        both_ways(TimeTz { time: Time::from_nanos(0), offset: 3601 }, "00:00:00+01:00:01");
        both_ways(Timestamp::from_micros(-1), "1969-12-31T23:59:59.999999Z");
        both_ways(Timestamp::INFINITY, "infinity");
        both_ways(DateTime::new(0, 1), "1970-01-01T00:00:00.000000001");
        both_ways(Interval { months: -14, days: 3, nanos: -1_500_000_000 }, "P-14M3DT-1.500S");
        both_ways(Interval { months: 0, days: 0, nanos: i64::MIN }, "P0M0DT-9223372036.854775808S");
        both_ways(Time::from_nanos(i64::MIN), "-2562047:47:16.854775808");
        both_ways(
            TimeTz { time: Time::from_nanos(-1), offset: i32::MIN },
            "-00:00:00.000000001-596523:14:08",
        );
        both_ways(Timestamp::new(i64::MIN + 1, 0), "-292277022657-01-27T08:29:53Z");
        both_ways(Timestamp::new(i64::MAX - 1, 999_999_999), "+292277026596-12-04T15:30:06.999999999Z");
    }

    #[test]
    fn the_end_of_a_day_is_the_start_of_the_next() {
        let next = Timestamp::new(86_400, 0);
        assert_eq!("1970-01-01T24:00:00Z".parse::<Timestamp>().unwrap(), next);
        assert_eq!("1970-01-01T23:59:60Z".parse::<Timestamp>().unwrap(), next);
    }

    #[test]
    fn every_day_of_eight_centuries_round_trips() {
        for days in (-150_000..150_000).step_by(7) {
            let (y, m, d) = civil_from_days(days);
            assert_eq!(days_from_civil(y, m, d), days);
            assert_eq!(Date::from_days(days as i32).ymd(), (y, m, d));
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for text in
            ["", "2023-02-29", "2023-13-01", "2023-1-1", "2023-+1-01", "20230101", "99999999999999-01-01"]
        {
            assert!(text.parse::<Date>().is_err(), "{text}");
        }
        for text in ["", "1:2:3", "00:60:00", "00:00:00.1234567890", "00:00:00.x"] {
            assert!(text.parse::<Time>().is_err(), "{text}");
        }
        assert!("1970-01-01T00:00:00".parse::<Timestamp>().is_err());
        assert!("1970-01-01T24:00:01Z".parse::<Timestamp>().is_err());
        assert!("+292277026596-12-04T15:30:07Z".parse::<Timestamp>().is_err(), "that second means infinity");
        assert!("2562047:47:16.854775808".parse::<Time>().is_err());
        for text in ["+01:00", "00:00:00", "00:00:00+1:00", "00:00:00+01:60", "00:00:00+01:+5", "é+01:00"] {
            assert!(text.parse::<TimeTz>().is_err(), "{text}");
        }
        for text in ["P1M", "P1M1DT+1S", "P1M1DT1.S0", "P1M1DT9223372037S"] {
            assert!(text.parse::<Interval>().is_err(), "{text}");
        }
    }
}
