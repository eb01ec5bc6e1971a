//! Places in the write-ahead log.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, ErrorKind};

/// A place in the write-ahead log, in bytes from its beginning; printed as PostgreSQL does: `16/B374D848`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lsn(pub u64);

impl Lsn {
    /// Before everything; to the server it means "where the slot is".
    pub const ZERO: Self = Self(0);
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xFFFF_FFFF)
    }
}

impl FromStr for Lsn {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let part = |text: &str| {
            let is_hex = (1..=8).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit());
            is_hex.then(|| u64::from_str_radix(text, 16).ok()).flatten()
        };
        let parts = text.split_once('/').and_then(|(high, low)| Some((part(high)?, part(low)?)));
        let (high, low) = parts
            .ok_or_else(|| Error::new(ErrorKind::Protocol, format!("not a place in the log: {text:?}")))?;
        Ok(Self(high << 32 | low))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_prints_and_reads_as_the_server_does() {
        for (lsn, text) in [(0, "0/0"), (0x16_B374_D848, "16/B374D848"), (u64::MAX, "FFFFFFFF/FFFFFFFF")] {
            assert_eq!(Lsn(lsn).to_string(), text);
            assert_eq!(text.parse::<Lsn>().unwrap(), Lsn(lsn));
        }
        for text in ["", "0", "0/", "/0", "0/0/0", "g/0", "+1/0", "123456789/0", "0/ 1"] {
            assert!(text.parse::<Lsn>().is_err(), "{text:?}");
        }
    }
}
