//! Which keys the transactions have changed that came out of the log lately.

use std::collections::{HashSet, VecDeque};

use outflow_sdk::{
    BatchEdit, ChangeBatch, Error, EventRef, Image, Moment, Op, Result, RowRef, TableSchema, TransactionTag,
    ValueRef,
};
use xxhash_rust::xxh3::Xxh3;

/// Bytes that this may take.
const BUDGET: usize = 4 << 20;

/// A key, in so many bits that two of them are never taken for one.
type KeyHash = u128;

/// What recent transactions have changed.
#[derive(Debug)]
pub(super) struct Changed {
    transactions: VecDeque<Noted>,
    keys: usize,
    budget: usize,
}

#[derive(Debug)]
struct Noted {
    commit: String,
    tag: TransactionTag,
    keys: Vec<KeyHash>,
    /// The tables that it changed.
    tables: Vec<Table>,
    /// The keys were given up.
    forgotten: bool,
}

/// A table and what its keys are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Table {
    name: u64,
    /// The columns of its key; `None` where any row may be another: it was truncated, or a change does not tell its key.
    key: Option<u64>,
}

/// What a page must not say.
#[derive(Debug, Default)]
pub(super) struct Unseen {
    keys: HashSet<KeyHash>,
    tables: HashSet<Table>,
    unknown: bool,
}

impl Changed {
    pub(super) fn new() -> Self {
        Self { transactions: VecDeque::new(), keys: 0, budget: BUDGET }
    }

    /// Notes what a batch of the log says. `transactions` are those that its reader has told since the last batch.
    pub(super) fn note(
        &mut self,
        batch: &ChangeBatch,
        transactions: Vec<(String, TransactionTag)>,
    ) -> Result<()> {
        for (commit, tag) in transactions {
            if self.transactions.back().is_none_or(|last| last.commit != commit) {
                let noted = Noted { commit, tag, keys: Vec::new(), tables: Vec::new(), forgotten: false };
                self.transactions.push_back(noted);
            }
        }
        let mut at = 0;
        for event in batch.iter().filter(|event| event.op().is_write() || event.op() == Op::Truncate) {
            let Some(schema) = event.schema() else { continue };
            let commit = event.transaction().unwrap_or_default();
            // The same as of the event before, else most likely the next.
            let is_it = |at: usize| self.transactions.get(at).is_some_and(|noted| noted.commit == commit);
            let found = [at, at + 1].into_iter().find(|at| is_it(*at));
            let found = found.or_else(|| self.transactions.iter().rposition(|noted| noted.commit == commit));
            at = found.ok_or_else(|| {
                Error::internal("log.untold").message(format!("the transaction {commit} was not told"))
            })?;
            let Some(noted) = self.transactions.get_mut(at).filter(|noted| !noted.forgotten) else {
                continue;
            };
            let mut table = Table::new(schema);
            let before = noted.keys.len();
            if event.op() == Op::Truncate || !keys(event, table, &mut noted.keys) {
                table.key = None;
            }
            self.keys += noted.keys.len() - before;
            if !noted.tables.contains(&table) {
                noted.tables.push(table);
            }
        }
        self.shrink();
        Ok(())
    }

    /// Forgets the keys of the oldest transactions until the others fit.
    fn shrink(&mut self) {
        let mut transactions = self.transactions.iter_mut().filter(|noted| !noted.forgotten);
        while self.keys * size_of::<KeyHash>() > self.budget {
            let Some(oldest) = transactions.next() else { break };
            self.keys -= oldest.keys.len();
            oldest.keys = Vec::new();
            oldest.forgotten = true;
        }
    }

    /// Whether there are more transactions than can be known of.
    pub(super) fn is_overfull(&self) -> bool {
        self.transactions.len() * size_of::<Noted>() > self.budget
    }

    pub(super) fn clear(&mut self) {
        self.transactions.clear();
        self.keys = 0;
    }

    /// What the transactions have changed that `moment` did not see.
    pub(super) fn unseen_by(&self, moment: &dyn Moment) -> Unseen {
        let mut unseen = Unseen::default();
        for transaction in self.transactions.iter().filter(|noted| !moment.saw(noted.tag)) {
            unseen.unknown |= transaction.forgotten;
            unseen.keys.extend(&transaction.keys);
            unseen.tables.extend(&transaction.tables);
        }
        unseen
    }

    /// Forgets the transactions that all of these have seen.
    pub(super) fn forget<'m>(&mut self, moments: impl Iterator<Item = &'m dyn Moment> + Clone) {
        let keys = &mut self.keys;
        self.transactions.retain(|noted| {
            let seen = moments.clone().all(|moment| moment.saw(noted.tag));
            *keys -= if seen { noted.keys.len() } else { 0 };
            !seen
        });
    }
}

impl Unseen {
    /// Takes the rows out of a page whose keys have been changed. False where nothing about the page is certain: it is
    /// to be read again.
    pub(super) fn filter(&self, page: &mut ChangeBatch) -> Result<bool> {
        if self.unknown {
            return Ok(false);
        }
        for schema in page.schemas() {
            let table = Table::new(schema);
            if schema.key().is_empty() {
                return Err(
                    Error::internal("log.page").message(format!("no key in {}", schema.qualified_name()))
                );
            }
            if self.tables.iter().any(|unseen| unseen.name == table.name && unseen.key != table.key) {
                return Ok(false);
            }
        }
        if !self.keys.is_empty() {
            let keeps = |event: EventRef<'_>| {
                let key = event.schema().zip(event.after()).and_then(|(s, row)| key(row, Table::new(s)));
                key.is_none_or(|key| !self.keys.contains(&key))
            };
            BatchEdit::new(page).retain(keeps);
        }
        Ok(true)
    }
}

impl Table {
    fn new(schema: &TableSchema) -> Self {
        let mut hash = Xxh3::new();
        let mut part = |text: &str| {
            hash.update(text.as_bytes());
            hash.update(&[0]);
        };
        [schema.database(), schema.schema(), schema.table()].into_iter().for_each(&mut part);
        let mut key = Xxh3::new();
        for column in schema.key().iter().filter_map(|index| schema.columns().get(*index as usize)) {
            key.update(column.name().as_bytes());
            key.update(&[0]);
        }
        Self { name: hash.digest(), key: Some(key.digest()) }
    }
}

/// Adds the keys that an event touches; false where it does not tell them.
fn keys(event: EventRef<'_>, table: Table, into: &mut Vec<KeyHash>) -> bool {
    let before = into.len();
    for image in [Image::Before, Image::After] {
        // A part of the key that was not sent is as it was, and so in the other image.
        into.extend(event.row(image).and_then(|row| key(row, table)));
    }
    into.len() > before
}

fn key(row: RowRef<'_>, table: Table) -> Option<KeyHash> {
    let mut hash = Xxh3::with_seed(table.name);
    let mut columns = 0;
    for (_, value) in row.key() {
        columns += 1;
        match value {
            ValueRef::Unavailable => return None,
            ValueRef::I64(n) => hash.update(&n.to_le_bytes()),
            ValueRef::Uuid(id) => hash.update(id),
            ValueRef::Text(text) => {
                hash.update(&(text.len() as u64).to_le_bytes());
                hash.update(text.as_bytes());
            }
            // Its form for people tells it from all others of its type.
            other => {
                let text = format!("{other:?}");
                hash.update(&(text.len() as u64).to_le_bytes());
                hash.update(text.as_bytes());
            }
        }
    }
    (columns > 0).then(|| hash.digest128())
}
