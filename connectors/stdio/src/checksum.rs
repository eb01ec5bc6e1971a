//! A checksum of content that does not depend on how events were cut into batches, nor on their order.

use outflow_sdk::{EventRef, RecordRef, RowRef, ValueRef};
use xxhash_rust::xxh3::xxh3_64;

/// What was seen: the number of items, their bytes, and the sum of their hashes. Equal sums mean, but for chance
/// in 2^64, the same items the same number of times. The order is not looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sums {
    pub(crate) items: u64,
    pub(crate) bytes: u64,
    pub(crate) checksum: u64,
}

impl Sums {
    /// Visits every value of an event.
    pub(crate) fn event(&mut self, event: EventRef<'_>) {
        let mut hash = Hash { state: event.op() as u64, bytes: 0 };
        hash.row(event.before());
        hash.row(event.after());
        if let Some(message) = event.message() {
            hash.value(message.destination().map_or(ValueRef::Null, ValueRef::Text));
            hash.value(message.key());
            hash.value(message.kind().map_or(ValueRef::Null, ValueRef::Text));
            hash.value(message.id());
            hash.value(message.body_value());
            hash.value(message.headers().map_or(ValueRef::Null, ValueRef::Map));
        }
        self.add(hash);
    }

    /// Reads every byte of a record.
    pub(crate) fn record(&mut self, record: RecordRef<'_>) {
        let mut hash = Hash { state: 1, bytes: 0 };
        hash.text(record.destination().as_bytes());
        hash.optional(record.key());
        hash.optional(record.value());
        for (name, value) in record.headers() {
            hash.text(name.as_bytes());
            hash.optional(value);
        }
        self.add(hash);
    }

    fn add(&mut self, hash: Hash) {
        self.items += 1;
        self.bytes += hash.bytes;
        self.checksum = self.checksum.wrapping_add(hash.state);
    }
}

struct Hash {
    state: u64,
    bytes: u64,
}

impl Hash {
    /// Folds a word in: the two halves of a 128-bit product.
    fn word(&mut self, word: u64) {
        const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
        let product = u128::from(self.state.rotate_left(29) ^ word ^ ODD) * u128::from(ODD | 1 << 62);
        self.state = (product as u64) ^ (product >> 64) as u64;
    }

    fn number(&mut self, tag: u64, number: u64) {
        self.bytes += 8;
        self.word(number.rotate_left(5) ^ tag);
    }

    fn text(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        self.word(xxh3_64(bytes));
    }

    fn optional(&mut self, bytes: Option<&[u8]>) {
        match bytes {
            Some(bytes) => self.text(bytes),
            None => self.word(1),
        }
    }

    fn row(&mut self, row: Option<RowRef<'_>>) {
        match row {
            Some(row) => row.values().for_each(|value| self.value(value)),
            None => self.word(2),
        }
    }

    fn value(&mut self, value: ValueRef<'_>) {
        match value {
            ValueRef::Null => self.word(3),
            ValueRef::Unavailable => self.word(4),
            ValueRef::Bool(v) => self.number(5, v.into()),
            ValueRef::I64(v) => self.number(6, v as u64),
            ValueRef::U64(v) => self.number(7, v),
            ValueRef::F32(v) => self.number(8, v.to_bits().into()),
            ValueRef::F64(v) => self.number(9, v.to_bits()),
            ValueRef::Uuid(v) => self.text(v),
            ValueRef::Bits(v) => {
                self.word(v.len().into());
                self.text(v.bytes());
            }
            ValueRef::Date(v) => self.number(10, v.days() as u64),
            ValueRef::Time(v) => self.number(11, v.nanos() as u64),
            ValueRef::TimeTz(v) => {
                self.number(12, v.time.nanos() as u64);
                self.word(v.offset as u64);
            }
            ValueRef::DateTime(v) => {
                self.number(13, v.seconds() as u64);
                self.word(v.nanos().into());
            }
            ValueRef::Timestamp(v) => {
                self.number(14, v.seconds() as u64);
                self.word(v.nanos().into());
            }
            ValueRef::Interval(v) => {
                self.number(15, v.nanos as u64);
                self.word(v.days as u64);
                self.word(v.months as u64);
            }
            ValueRef::List(list) => {
                self.word(list.len() as u64);
                list.iter().for_each(|value| self.value(value));
            }
            ValueRef::Map(map) => {
                self.word(map.len() as u64);
                map.iter().for_each(|(key, value)| {
                    self.value(key);
                    self.value(value);
                });
            }
            // Everything that is kept as text or bytes; kinds of a later version count as nothing.
            other => self.text(other.as_bytes().unwrap_or_default()),
        }
    }
}
