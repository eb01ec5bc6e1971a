//! Dates and points in time as ISO 8601. The common years are written digit by digit; all else goes through the
//! types' own `Display`, of which the tests prove that it gives the same.

use outflow_sdk::{Date, DateTime, Timestamp};

use super::scalar::write_display;

const SECONDS_PER_DAY: i64 = 86_400;

/// Writes a date as a string.
pub(crate) fn write_date(out: &mut Vec<u8>, date: Date) {
    let mut text = *b"\"YYYY-MM-DD\"";
    if put_date(&mut text[1..11], date) {
        out.extend_from_slice(&text);
    } else {
        write_display(out, date);
    }
}

/// Writes a date and time without a zone as a string.
pub(crate) fn write_date_time(out: &mut Vec<u8>, value: DateTime) {
    if !write_instant(out, value.seconds(), value.nanos(), b"\"") {
        write_display(out, value);
    }
}

/// Writes a point in time as a string that ends in `Z`.
pub(crate) fn write_timestamp(out: &mut Vec<u8>, value: Timestamp) {
    if !write_instant(out, value.seconds(), value.nanos(), b"Z\"") {
        write_display(out, value);
    }
}

fn write_instant(out: &mut Vec<u8>, seconds: i64, nanos: u32, end: &[u8]) -> bool {
    let mut text = *b"\"YYYY-MM-DDThh:mm:ss";
    let Ok(days) = i32::try_from(seconds.div_euclid(SECONDS_PER_DAY)) else { return false };
    if !put_date(&mut text[1..11], Date::from_days(days)) {
        return false;
    }
    let second = seconds.rem_euclid(SECONDS_PER_DAY) as u32;
    put_pair(&mut text[12..14], second / 3600);
    put_pair(&mut text[15..17], second / 60 % 60);
    put_pair(&mut text[18..20], second % 60);
    out.extend_from_slice(&text);
    write_fraction(out, nanos);
    out.extend_from_slice(end);
    true
}

/// Three, six or nine digits, as few as are needed.
fn write_fraction(out: &mut Vec<u8>, nanos: u32) {
    if nanos == 0 {
        return;
    }
    let mut text = *b".nnnnnnnnn";
    let mut rest = nanos;
    for digit in text[1..].iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    let digits = match nanos {
        n if n % 1_000_000 == 0 => 3,
        n if n % 1000 == 0 => 6,
        _ => 9,
    };
    out.extend_from_slice(&text[..=digits]);
}

/// Puts a date of the years 0 to 9999 into ten bytes; false for all others.
fn put_date(text: &mut [u8], date: Date) -> bool {
    if !date.is_finite() {
        return false;
    }
    let (year, month, day) = date.ymd();
    let Some(year) = u32::try_from(year).ok().filter(|year| *year <= 9999) else { return false };
    put_pair(&mut text[0..2], year / 100);
    put_pair(&mut text[2..4], year % 100);
    put_pair(&mut text[5..7], month);
    put_pair(&mut text[8..10], day);
    true
}

fn put_pair(text: &mut [u8], value: u32) {
    text[0] = b'0' + (value / 10 % 10) as u8;
    text[1] = b'0' + (value % 10) as u8;
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(write: impl Fn(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    fn check(days: i32, seconds: i64, nanos: u32) {
        let (date, time, stamp) =
            (Date::from_days(days), DateTime::new(seconds, nanos), Timestamp::new(seconds, nanos));
        assert_eq!(text(|out| write_date(out, date)), format!("\"{date}\""));
        assert_eq!(text(|out| write_date_time(out, time)), format!("\"{time}\""));
        assert_eq!(text(|out| write_timestamp(out, stamp)), format!("\"{stamp}\""));
    }

    #[test]
    fn edges_give_the_text_of_display() {
        for days in [0, -1, i32::MAX, i32::MIN, i32::MAX - 1, -719_529, -719_528, 2_932_896, 2_932_897] {
            for nanos in [0, 1, 1_000, 1_000_000, 100_000_000, 999_999_999] {
                check(days, i64::from(days) * SECONDS_PER_DAY, nanos);
                check(days, i64::from(days) * SECONDS_PER_DAY + 86_399, nanos);
            }
        }
        check(0, i64::MAX, 0);
        check(0, i64::MIN, 0);
    }

    proptest! {
        #[test]
        fn any_gives_the_text_of_display(
            days in -1_000_000..4_000_000_i32, second in 0..86_400_i64, nanos in 0..1_000_000_000_u32, digits in 0..10_u32
        ) {
            let unit = 10_u32.pow(digits);
            check(days, i64::from(days) * SECONDS_PER_DAY + second, nanos / unit * unit);
        }
    }
}
