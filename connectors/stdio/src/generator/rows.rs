//! The rows.

use std::sync::Arc;

use outflow_sdk::{
    BatchBuilder, Column, LogicalType, Op, Result, SchemaIndex, TableSchema, Timestamp, TransactionIndex,
    ValueRef,
};

use super::Generator;

/// Rows of one transaction.
pub(super) const ROWS_PER_COMMIT: u64 = 100;

/// Bytes of all columns but the last, about.
const FIXED_BYTES: usize = 128;

/// Writes rows into batches. What a row holds depends on the seed and its number alone.
pub(super) struct Rows {
    seed: u64,
    keys: Option<u64>,
    note_bytes: usize,
    origin: String,
    schema: Arc<TableSchema>,
    /// Text that notes are cut from.
    pool: String,
    text: String,
    /// How the batch that is being built knows the schema and the transaction of the next row.
    batch: Option<(SchemaIndex, u64, TransactionIndex)>,
}

impl Rows {
    pub(super) fn new(config: &Generator, origin: String) -> Self {
        Self {
            seed: mix(config.seed),
            keys: config.keys.map(std::num::NonZeroU64::get),
            note_bytes: (config.row_bytes as usize).saturating_sub(FIXED_BYTES),
            origin,
            schema: schema(),
            pool: pool(config.seed),
            text: String::new(),
            batch: None,
        }
    }

    /// Begins or goes on with a batch, of which `next` is the next row.
    pub(super) fn begin(&mut self, builder: &mut BatchBuilder, next: u64) {
        if builder.is_empty() {
            builder.origin(&self.origin);
            let schema = builder.schema(&self.schema);
            let commit = next / ROWS_PER_COMMIT;
            self.batch = Some((schema, commit, self.transaction(builder, commit)));
        }
    }

    /// The clock has no part in it: equal ids mean equal events (invariant 8).
    fn transaction(&mut self, builder: &mut BatchBuilder, commit: u64) -> TransactionIndex {
        const START: i64 = 1_700_000_000_000_000;
        const MICROS_PER_COMMIT: i64 = 10_000;
        let time = START.saturating_add(commit.cast_signed().saturating_mul(MICROS_PER_COMMIT));
        builder.transaction(itoa::Buffer::new().format(commit), Some(Timestamp::from_micros(time)))
    }

    /// Writes row `n`.
    pub(super) fn write(&mut self, builder: &mut BatchBuilder, n: u64) -> Result<()> {
        let commit = n / ROWS_PER_COMMIT;
        let (schema, transaction) = match self.batch {
            Some((schema, known, transaction)) if known == commit => (schema, transaction),
            Some((schema, ..)) => (schema, self.transaction(builder, commit)),
            None => (builder.schema(&self.schema), self.transaction(builder, commit)),
        };
        self.batch = Some((schema, commit, transaction));
        let key = self.keys.map_or(n, |keys| n % keys);
        let op = if self.keys.is_some_and(|keys| n >= keys) { Op::Update } else { Op::Insert };
        let random = [mix(self.seed ^ n), mix(self.seed.wrapping_add(n)), mix(!self.seed ^ n)];
        let [a, b, c] = random;

        let mut event =
            builder.event(op).schema(schema).transaction(transaction).ordinal(n % ROWS_PER_COMMIT);
        let mut row = event.after();
        let text = &mut self.text;
        row.i64(key.cast_signed());
        row.i64((a % 10_000_000).cast_signed());
        let mut reference = [0; 16];
        reference[..8].copy_from_slice(&b.to_le_bytes());
        reference[8..].copy_from_slice(&c.to_le_bytes());
        row.value(ValueRef::Uuid(&reference));
        row.enumeration(STATUS[(a >> 60) as usize % STATUS.len()]);
        row.text(with(text, |text| {
            text.push_str("sku-");
            hex(text, b as u32);
        }));
        row.i64((b % 100).cast_signed());
        row.decimal(with(text, |text| {
            let mut digits = itoa::Buffer::new();
            text.push_str(digits.format(c % 1_000_000));
            text.push_str(if c >> 32 & 1 == 0 { ".05" } else { ".95" });
        }));
        row.bool(a & 1 == 1);
        row.f64((c >> 11) as f64 / (1_u64 << 53) as f64);
        row.timestamp(Timestamp::from_micros(1_600_000_000_000_000 + (b >> 14).cast_signed()));
        row.json(with(text, |text| {
            text.push_str("{\"channel\":\"");
            hex(text, c as u32);
            text.push_str("\",\"priority\":");
            text.push_str(itoa::Buffer::new().format(a % 10));
            text.push('}');
        }));
        let (pool, note_bytes) = (&self.pool, self.note_bytes);
        row.text(with(text, |text| note(text, pool, note_bytes, random)));
        row.end()?;
        event.end();
        Ok(())
    }
}

const STATUS: [&str; 4] = ["placed", "paid", "shipped", "returned"];

fn schema() -> Arc<TableSchema> {
    let columns = [
        ("id", LogicalType::Int(64)),
        ("customer", LogicalType::Int(64)),
        ("reference", LogicalType::Uuid),
        ("status", LogicalType::Enum(STATUS.map(str::to_owned).to_vec())),
        ("sku", LogicalType::Text),
        ("quantity", LogicalType::Int(64)),
        ("price", LogicalType::Decimal(Some((12, 2)))),
        ("gift", LogicalType::Bool),
        ("score", LogicalType::Float(64)),
        ("placed_at", LogicalType::Timestamp),
        ("tags", LogicalType::Json),
        ("note", LogicalType::Text),
    ];
    let table = TableSchema::builder("orders").schema("generator");
    columns.into_iter().fold(table, |t, (n, l)| t.column(Column::new(n, l).not_null())).key(["id"]).build()
}

/// Spreads a number over 64 bits: the finaliser of splitmix64.
fn mix(n: u64) -> u64 {
    let n = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let n = (n ^ n >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ n >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ n >> 31
}

/// Text that compresses badly. Its length has no factor in common with the places that notes are cut at.
fn pool(seed: u64) -> String {
    const LETTERS: &[u8; 64] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 .";
    (0..POOL as u64).map(|i| char::from(LETTERS[(mix(seed ^ i << 20) % 64) as usize])).collect()
}

const POOL: usize = 16_411;

/// A note of so many bytes: digits that no other row has, then pieces of the pool.
fn note(text: &mut String, pool: &str, bytes: usize, random: [u64; 3]) {
    hex(text, random[0] as u32);
    hex(text, (random[1] >> 32) as u32);
    let mut place = random[2];
    while text.len() < bytes {
        let from = (place % POOL as u64) as usize;
        let to = POOL.min(from + bytes - text.len());
        // ASCII, so every place is a boundary.
        text.push_str(pool.get(from..to).unwrap_or_default());
        place = mix(place);
    }
    text.truncate(bytes);
}

fn with(text: &mut String, write: impl FnOnce(&mut String)) -> &str {
    text.clear();
    write(text);
    text
}

fn hex(text: &mut String, n: u32) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for shift in (0..8).rev() {
        text.push(char::from(DIGITS[(n >> (shift * 4)) as usize & 15]));
    }
}
