//! What a consumer must have seen, worked out from the generator by other means than those under test.

use std::fmt;

use outflow_bench::{Digest, Result, Row};
use serde::Serialize;
use serde_json::value::RawValue;
use xxhash_rust::xxh3::Xxh3;

use crate::run::{Outcome, Seen, Work};

pub(crate) struct Expected {
    all: Seen,
    rare: Seen,
    encoded: Seen,
}

impl Expected {
    pub(crate) fn of_rows(rows: u64) -> Result<Self> {
        let (mut all, mut rare, mut lines) = (Digest::default(), Digest::default(), Xxh3::new());
        let mut kept = 0;
        for index in 0..rows {
            let row = Row::at(index);
            row.values().into_iter().for_each(|value| all.value(value));
            if row.status == Row::RARE_STATUS {
                row.values().into_iter().for_each(|value| rare.value(value));
                kept += 1;
            }
            lines.update(&serde_json::to_vec(&Line::of(&row)?)?);
            lines.update(b"\n");
        }
        let seen = |kept, checksum| Seen { received: rows, kept, checksum };
        Ok(Self {
            all: seen(rows, all.finish()),
            rare: seen(kept, rare.finish()),
            encoded: seen(0, lines.digest()),
        })
    }

    /// Fails unless the run saw just what was sent.
    pub(crate) fn verify(&self, layout: &str, work: Work, outcome: &Outcome) -> Result<()> {
        let expected = match work {
            Work::Hold => self.all,
            Work::Filter { .. } => self.rare,
            Work::Encode => self.encoded,
        };
        if outcome.seen == expected {
            return Ok(());
        }
        Err(format!("{layout}, {work:?}: saw {:?}, expected {expected:?}", outcome.seen).into())
    }
}

/// A row as serde_json writes it.
#[derive(Serialize)]
struct Line<'r> {
    id: i64,
    customer: i64,
    reference: String,
    status: &'r str,
    name: &'r str,
    email: &'r str,
    amount: &'r str,
    paid: bool,
    created: i64,
    updated: i64,
    attributes: &'r RawValue,
    note: Option<&'r str>,
}

impl<'r> Line<'r> {
    fn of(row: &'r Row) -> Result<Self> {
        Ok(Self {
            id: row.id,
            customer: row.customer,
            reference: Hyphenated(&row.reference).to_string(),
            status: &row.status,
            name: &row.name,
            email: &row.email,
            amount: &row.amount,
            paid: row.paid,
            created: row.created.micros(),
            updated: row.updated.micros(),
            attributes: serde_json::from_str(&row.attributes)?,
            note: row.note.as_deref(),
        })
    }
}

struct Hyphenated<'r>(&'r [u8; 16]);

impl fmt::Display for Hyphenated<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, byte) in self.0.iter().enumerate() {
            let hyphen = if matches!(i, 4 | 6 | 8 | 10) { "-" } else { "" };
            write!(f, "{hyphen}{byte:02x}")?;
        }
        Ok(())
    }
}
