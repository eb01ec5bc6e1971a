//! Distinct rows: 12 columns of mixed types with about 200 bytes of content that compresses badly.

use std::sync::Arc;

use outflow_core::{Column, LogicalType, TableSchema, Timestamp, ValueRef};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use xxhash_rust::xxh3::Xxh3;

/// The number of columns of a row.
pub const COLUMNS: usize = 12;

const ALPHABET: &[u8; 64] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";

/// The table that the rows belong to.
pub fn schema() -> Arc<TableSchema> {
    let columns = [
        ("id", LogicalType::Int(64)),
        ("customer", LogicalType::Int(64)),
        ("reference", LogicalType::Uuid),
        ("status", LogicalType::Text),
        ("name", LogicalType::Text),
        ("email", LogicalType::Text),
        ("amount", LogicalType::Decimal(Some((12, 2)))),
        ("paid", LogicalType::Bool),
        ("created", LogicalType::Timestamp),
        ("updated", LogicalType::Timestamp),
        ("attributes", LogicalType::Json),
        ("note", LogicalType::Text),
    ];
    let builder = TableSchema::builder("orders").schema("public").key(["id"]);
    columns.into_iter().fold(builder, |b, (name, logical)| b.column(Column::new(name, logical))).build()
}

/// One row, the same for the same index on every machine.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the fields are the columns of the table")]
pub struct Row {
    pub id: i64,
    pub customer: i64,
    pub reference: [u8; 16],
    pub status: String,
    pub name: String,
    pub email: String,
    pub amount: String,
    pub paid: bool,
    pub created: Timestamp,
    pub updated: Timestamp,
    pub attributes: String,
    pub note: Option<String>,
}

impl Row {
    /// The status that one row in [`Row::RARE_EVERY`] has: what a selective filter looks for.
    pub const RARE_STATUS: &'static str = "refunded";
    /// One row in so many has [`Row::RARE_STATUS`].
    pub const RARE_EVERY: u64 = 1_000;

    /// The row at `index`.
    pub fn at(index: u64) -> Self {
        let mut random = SmallRng::seed_from_u64(index);
        let created = 1_700_000_000_000_000 + random.random_range(0..50_000_000_000_000);
        let rare = index % Self::RARE_EVERY == Self::RARE_EVERY / 2;
        Self {
            id: 1_000_000_000 + index.cast_signed(),
            customer: random.random_range(0..10_000_000),
            reference: random.random(),
            status: if rare { Self::RARE_STATUS.to_owned() } else { text(&mut random, 8) },
            name: text(&mut random, 20),
            email: text(&mut random, 16) + "@mail.example",
            amount: format!("{}.{:02}", random.random_range(0..10_000_000), random.random_range(0..100)),
            paid: random.random(),
            created: Timestamp::from_micros(created),
            updated: Timestamp::from_micros(created + random.random_range(0..1_000_000_000)),
            attributes: format!(
                r#"{{"sku":"{}","quantity":{}}}"#,
                text(&mut random, 12),
                random.random_range(1..100)
            ),
            note: note(&mut random),
        }
    }

    /// The values, in column order.
    pub fn values(&self) -> [ValueRef<'_>; COLUMNS] {
        [
            ValueRef::I64(self.id),
            ValueRef::I64(self.customer),
            ValueRef::Uuid(&self.reference),
            ValueRef::Text(&self.status),
            ValueRef::Text(&self.name),
            ValueRef::Text(&self.email),
            ValueRef::Decimal(&self.amount),
            ValueRef::Bool(self.paid),
            ValueRef::Timestamp(self.created),
            ValueRef::Timestamp(self.updated),
            ValueRef::Json(&self.attributes),
            self.note.as_deref().map_or(ValueRef::Null, ValueRef::Text),
        ]
    }
}

fn text(random: &mut SmallRng, len: usize) -> String {
    (0..len).map(|_| char::from(ALPHABET[random.random_range(0..ALPHABET.len())])).collect()
}

/// NULL once in 16 rows; characters that JSON escapes, or that take several bytes, once in 8.
fn note(random: &mut SmallRng) -> Option<String> {
    match random.random_range(0..16) {
        0 => None,
        1 => Some(text(random, 20) + "\"quoted\"\tline\n" + &text(random, 16)),
        2 => Some(text(random, 20) + " größer ≥ 10 € " + &text(random, 16)),
        _ => Some(text(random, 52)),
    }
}

/// A checksum over values: equal for equal values in the same order, whatever they were read from.
#[derive(Clone)]
pub struct Digest(Xxh3);

impl Default for Digest {
    fn default() -> Self {
        Self(Xxh3::new())
    }
}

impl Digest {
    /// Takes in one value.
    pub fn value(&mut self, value: ValueRef<'_>) {
        match value {
            ValueRef::Null => self.part(b'n', &[]),
            ValueRef::Bool(v) => self.part(b'b', &[v.into()]),
            ValueRef::I64(v) => self.part(b'i', &v.to_le_bytes()),
            ValueRef::Decimal(v) => self.part(b'd', v.as_bytes()),
            ValueRef::Text(v) => self.part(b't', v.as_bytes()),
            ValueRef::Json(v) => self.part(b'j', v.as_bytes()),
            ValueRef::Uuid(v) => self.part(b'u', v),
            ValueRef::Timestamp(v) => self.part(b's', &v.micros().to_le_bytes()),
            other => self.part(b'?', format!("{other:?}").as_bytes()),
        }
    }

    fn part(&mut self, kind: u8, bytes: &[u8]) {
        self.0.update(&[kind]);
        self.0.update(&(bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
    }

    /// The checksum so far.
    pub fn finish(&self) -> u64 {
        self.0.digest()
    }
}
