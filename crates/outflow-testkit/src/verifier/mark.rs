//! What every generated row carries, so that it can be recognised wherever it arrives.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use super::clock::unix_nanos;

/// The field that marks a payload as generated.
const MARK: &str = "outflow_row";
const PADDING: &str = "padding";
/// Longer paddings repeat their first so many bytes.
const PADDING_BLOCK: usize = 4096;

/// The identity of one generated row, unique over all writers, processes and runs.
///
/// Printed as a UUID (version 7); [`eventuate`](Self::eventuate) gives the form of Eventuate's ids. Both parse.
/// Ids of one [`RowIds`] ascend in both forms.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowId(u128);

impl RowId {
    /// An id with these bits.
    pub const fn new(bits: u128) -> Self {
        Self(bits)
    }

    /// Two groups of 16 hexadecimal digits, as Eventuate writes its message ids.
    pub fn eventuate(&self) -> String {
        format!("{:016x}-{:016x}", self.0 >> 64, self.0 & u128::from(u64::MAX))
    }
}

impl fmt::Display for RowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let group = |shift: u32, bits: u32| (self.0 >> shift) & ((1 << bits) - 1);
        write!(
            f,
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            group(96, 32),
            group(80, 16),
            group(64, 16),
            group(48, 16),
            group(0, 48)
        )
    }
}

impl fmt::Debug for RowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is no row id.
#[derive(Debug)]
pub struct InvalidRowId;

impl fmt::Display for InvalidRowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no row id: 32 hexadecimal digits expected")
    }
}

impl std::error::Error for InvalidRowId {}

impl FromStr for RowId {
    type Err = InvalidRowId;

    fn from_str(text: &str) -> Result<Self, InvalidRowId> {
        let mut bits = 0_u128;
        let mut digits = 0;
        for c in text.chars().filter(|c| *c != '-') {
            bits = (bits << 4) | u128::from(c.to_digit(16).ok_or(InvalidRowId)?);
            digits += 1;
        }
        if digits == 32 { Ok(Self(bits)) } else { Err(InvalidRowId) }
    }
}

impl Serialize for RowId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RowId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Gives out row ids that ascend.
pub struct RowIds {
    /// 62 random bits, so that no other process gives out the same ids.
    instance: u64,
    /// Milliseconds since 1970 and, in the low 12 bits, a counter.
    last: AtomicU64,
}

impl RowIds {
    /// A new source of ids.
    #[expect(clippy::new_without_default, reason = "two of them differ")]
    pub fn new() -> Self {
        Self { instance: rand::random::<u64>() >> 2, last: AtomicU64::new(0) }
    }

    /// The next id; greater than every one before, from whichever thread.
    pub fn next(&self) -> RowId {
        let now = (unix_nanos() / 1_000_000) << 12;
        let advance = |last: u64| now.max(last + 1);
        let mut last = self.last.load(Ordering::Relaxed);
        while let Err(other) =
            self.last.compare_exchange_weak(last, advance(last), Ordering::Relaxed, Ordering::Relaxed)
        {
            last = other;
        }
        let time = u128::from(advance(last));
        let version = 7 << 76;
        let variant = 2 << 62;
        RowId((time >> 12) << 80 | version | (time & 0xfff) << 64 | variant | u128::from(self.instance))
    }
}

/// What the payload of a generated row says about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The row.
    pub id: RowId,
    /// The key of the row, its aggregate.
    pub key: String,
    /// The place of the row among those of its key; ascends with the commits where writers of a key serialise,
    /// and with those of one writer where they do not.
    pub seq: u64,
    /// The transaction that wrote the row.
    pub tx: String,
    /// The writer of the transaction.
    pub writer: u32,
}

impl Mark {
    /// The payload of the row: a JSON object with this mark, and padding of so many bytes unless that is 0.
    ///
    /// The padding is drawn from the row's id, so that it can be checked without being kept.
    pub fn payload(&self, padding: u32) -> String {
        let mut payload = serde_json::Map::new();
        payload.insert(MARK.into(), serde_json::to_value(self).unwrap_or_default());
        if padding > 0 {
            let padding = padding as usize;
            let block = padding_block(self.id, padding);
            let mut text = block.repeat(padding.div_ceil(block.len()));
            text.truncate(padding);
            payload.insert(PADDING.into(), text.into());
        }
        Value::Object(payload).to_string()
    }

    /// Finds the mark in `value`, however deep it is nested, and also within a string that holds JSON. Where a change
    /// has an image before and one after it, the later one counts. The second value is the length of the padding,
    /// or none if it is not what the row was written with.
    pub(super) fn find(value: &Value) -> Option<(Self, Option<u32>)> {
        match value {
            Value::Object(fields) => {
                if let Some(mark) = fields.get(MARK).and_then(|m| Self::deserialize(m).ok()) {
                    let padding = match fields.get(PADDING) {
                        None => Some(0),
                        Some(Value::String(text)) => checked_padding(mark.id, text),
                        Some(_) => None,
                    };
                    return Some((mark, padding));
                }
                fields.get("after").and_then(Self::find).or_else(|| fields.values().find_map(Self::find))
            }
            Value::Array(items) => items.iter().find_map(Self::find),
            Value::String(text) if text.contains(MARK) => {
                serde_json::from_str(text).ok().as_ref().and_then(Self::find)
            }
            _ => None,
        }
    }
}

/// The text that the padding of a row repeats; no longer than needed for a padding of `length` bytes.
fn padding_block(id: RowId, length: usize) -> String {
    let mut state = (id.0 as u64) ^ ((id.0 >> 64) as u64);
    let mut block = String::new();
    while block.len() < length.min(PADDING_BLOCK) {
        // SplitMix64.
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = state;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^= bits >> 31;
        block.extend((0..16).filter_map(|digit| char::from_digit((bits >> (4 * digit)) as u32 & 0xf, 16)));
    }
    block
}

fn checked_padding(id: RowId, text: &str) -> Option<u32> {
    let block = padding_block(id, text.len());
    let mut chunks = text.as_bytes().chunks(block.len().max(1));
    let whole = chunks.all(|chunk| block.as_bytes().starts_with(chunk));
    u32::try_from(text.len()).ok().filter(|_| whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(ids: &RowIds) -> Mark {
        Mark { id: ids.next(), key: "key-1".into(), seq: 9, tx: "a-0-1".into(), writer: 3 }
    }

    #[test]
    fn ids_ascend_and_parse_in_both_forms() {
        let ids = RowIds::new();
        let drawn: Vec<RowId> = (0..10_000).map(|_| ids.next()).collect();
        assert!(drawn.windows(2).all(|w| w[0] < w[1] && w[0].to_string() < w[1].to_string()));
        assert!(drawn.windows(2).all(|w| w[0].eventuate() < w[1].eventuate()));
        for id in drawn {
            assert_eq!(id.to_string().parse::<RowId>().unwrap(), id);
            assert_eq!(id.eventuate().parse::<RowId>().unwrap(), id);
            assert_eq!(&id.to_string()[14..15], "7");
        }
        assert!("01".parse::<RowId>().is_err());
        assert!("g".repeat(32).parse::<RowId>().is_err());
    }

    #[test]
    fn a_mark_is_found_at_any_depth() {
        let mark = mark(&RowIds::new());
        let payload = mark.payload(1000);
        let nested = serde_json::json!({
            "key": {"id": 1},
            "before": {"payload": self::mark(&RowIds::new()).payload(0)},
            "after": {"id": mark.id, "payload": payload},
        });
        for value in [serde_json::from_str(&payload).unwrap(), Value::String(payload), nested] {
            assert_eq!(Mark::find(&value), Some((mark.clone(), Some(1000))));
        }
        assert_eq!(Mark::find(&serde_json::json!({"outflow_row": {"id": 5}, "a": ["outflow_row"]})), None);
    }

    #[test]
    fn damaged_padding_is_noticed() {
        let mark = mark(&RowIds::new());
        for length in [1, 15, 16, 17, 4096, 4097, 100_000] {
            let mut value: Value = serde_json::from_str(&mark.payload(length)).unwrap();
            assert_eq!(Mark::find(&value).unwrap().1, Some(length));
            let text = value[PADDING].as_str().unwrap();
            let last = if text.ends_with('0') { '1' } else { '0' };
            value[PADDING] = format!("{}{last}", &text[..text.len() - 1]).into();
            assert_eq!(Mark::find(&value).unwrap().1, None);
        }
    }
}
