//! Types for configurations: secrets, sizes, durations.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use outflow_core::{Error, Result};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A credential. Never printed (invariant 10): `Debug` and serialisation give `****`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// A secret of this text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for the place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("****")
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.serialize_str("****")
    }
}

impl JsonSchema for Secret {
    fn schema_name() -> Cow<'static, str> {
        "Secret".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "format": "password", "writeOnly": true})
    }
}

/// A number of bytes: `1048576`, `24MiB`, `1GB`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

impl ByteSize {
    /// So many MiB.
    pub const fn mib(n: u64) -> Self {
        Self(n << 20)
    }

    /// The number, as far as this machine can address.
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

const SIZE_UNITS: [(&str, u64); 10] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("kB", 1_000),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("B", 1),
];

impl std::str::FromStr for ByteSize {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let text = text.trim();
        let (number, unit) = SIZE_UNITS
            .iter()
            .find_map(|(unit, factor)| text.strip_suffix(unit).map(|n| (n.trim_end(), *factor)))
            .unwrap_or((text, 1));
        number.parse::<u64>().ok().and_then(|n| n.checked_mul(unit)).map(Self).ok_or_else(|| {
            Error::configuration("config.size")
                .message(format!("not a size: {text:?}"))
                .hint("write a whole number with a unit, such as 24MiB or 1GB")
        })
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole =
            |unit: &&(&str, u64)| unit.0.ends_with("iB") && self.0 != 0 && self.0.is_multiple_of(unit.1);
        match SIZE_UNITS.iter().rev().find(whole) {
            Some((unit, factor)) => write!(f, "{}{unit}", self.0 / factor),
            None => write!(f, "{}B", self.0),
        }
    }
}

impl fmt::Debug for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A duration: `500ms`, `10s`, `2m`, `1h`, `0`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timespan(pub Duration);

impl std::str::FromStr for Timespan {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let text = text.trim();
        let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(split);
        let millis = match unit.trim() {
            "ms" => Some(1),
            "s" => Some(1000),
            "m" => Some(60_000),
            "h" => Some(3_600_000),
            "d" => Some(86_400_000),
            "" if number.bytes().all(|b| b == b'0') => Some(0),
            _ => None,
        };
        let parsed = millis.and_then(|m: u64| number.parse::<u64>().ok()?.checked_mul(m));
        parsed.map(Duration::from_millis).map(Self).ok_or_else(|| {
            Error::configuration("config.duration")
                .message(format!("not a duration: {text:?}"))
                .hint("write a whole number with a unit, such as 500ms, 10s, 2m or 1h")
        })
    }
}

impl fmt::Display for Timespan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0.as_millis();
        match ms {
            0 => f.write_str("0"),
            _ if ms.is_multiple_of(86_400_000) => write!(f, "{}d", ms / 86_400_000),
            _ if ms.is_multiple_of(3_600_000) => write!(f, "{}h", ms / 3_600_000),
            _ if ms.is_multiple_of(60_000) => write!(f, "{}m", ms / 60_000),
            _ if ms.is_multiple_of(1000) => write!(f, "{}s", ms / 1000),
            _ => write!(f, "{ms}ms"),
        }
    }
}

impl fmt::Debug for Timespan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What YAML may give for a size or a duration.
#[derive(Deserialize)]
#[serde(untagged)]
enum Scalar {
    Number(u64),
    Text(String),
}

macro_rules! text_type {
    ($name:ident, $schema:tt) => {
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
                let text = match Scalar::deserialize(deserializer)? {
                    Scalar::Number(n) => n.to_string(),
                    Scalar::Text(text) => text,
                };
                text.parse().map_err(|e: Error| D::Error::custom(e.text()))
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    };
}
text_type!(ByteSize, {
    "type": ["string", "integer"], "minimum": 0, "format": "size",
    "pattern": "^[0-9]+ ?(B|KiB|MiB|GiB|TiB|[kK]B|MB|GB|TB)?$", "examples": ["24MiB"]
});
text_type!(Timespan, {
    "type": ["string", "integer"], "minimum": 0, "format": "timespan",
    "pattern": "^(0+|[0-9]+ ?(ms|s|m|h|d))$", "examples": ["10s"]
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_durations_read_and_print() {
        for (text, bytes) in
            [("0", 0), ("17", 17), ("24MiB", 24 << 20), ("1 GB", 1_000_000_000), ("3kB", 3000)]
        {
            assert_eq!(text.parse::<ByteSize>().unwrap().0, bytes, "{text}");
        }
        for (text, ms) in [("0", 0), ("500ms", 500), ("10s", 10_000), ("2m", 120_000), ("1 h", 3_600_000)] {
            assert_eq!(text.parse::<Timespan>().unwrap().0, Duration::from_millis(ms), "{text}");
        }
        assert_eq!(ByteSize::mib(24).to_string(), "24MiB");
        assert_eq!(Timespan(Duration::from_secs(120)).to_string(), "2m");
        for text in ["", "x", "-1", "1.5s", "5", "99999999999999999999s"] {
            assert!(text.parse::<Timespan>().is_err(), "{text}");
        }
        for text in ["", "x", "-1", "1.5MiB", "999999999999TiB"] {
            assert!(text.parse::<ByteSize>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_secret_never_shows() {
        let secret = Secret::new("canary");
        assert_eq!(format!("{secret:?} {}", serde_json::to_string(&secret).unwrap()), "**** \"****\"");
        assert_eq!(secret.expose(), "canary");
    }
}
