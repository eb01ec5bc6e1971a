//! What a generator does.

use std::path::PathBuf;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde::{Deserialize, Serialize};

use super::database::{self, Database};
use super::table::{Shape, Table};
use outflow_core::Result;

/// Whether writers wait for each other before they write rows of one key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Discipline {
    /// A writer locks the keys of its transaction before it inserts: per key, commit order is the order of sequence
    /// and cursor. Check it by [`Order::Sequence`](super::Order::Sequence).
    #[default]
    Serialised,
    /// Writers insert side by side; a sequence counts the rows of one writer and key. Check it by
    /// [`Order::Visible`](super::Order::Visible).
    Free,
}

/// What the writers of a generator do, and where. Starts from 4 writers on 20 keys, 1 to 5 rows a transaction, of
/// which 1 in 10 is rolled back and 1 in 10 has a part rolled back to a savepoint, as fast as they can, without end.
#[derive(Clone, Serialize, Deserialize)]
pub struct Workload {
    pub(super) url: String,
    pub(super) table: Table,
    pub(super) journals: PathBuf,
    pub(super) discipline: Discipline,
    pub(super) seed: u64,
    pub(super) writers: u32,
    pub(super) holders: u32,
    pub(super) hold: Duration,
    pub(super) keys: u32,
    pub(super) rows: (u32, u32),
    pub(super) rolled_back: f64,
    pub(super) savepoints: f64,
    pub(super) padding: Vec<(u32, u32)>,
    pub(super) rate: Option<f64>,
    pub(super) transactions: Option<u64>,
    pub(super) patience: Duration,
}

impl Workload {
    /// A workload on the table `outbox`, in Debezium's shape, of a database (see [`database::open`]). Every writer
    /// keeps its journal in the folder `journals`.
    pub fn new(url: impl Into<String>, journals: impl Into<PathBuf>) -> Self {
        Self {
            url: url.into(),
            table: Table::new("outbox", Shape::Outbox),
            journals: journals.into(),
            discipline: Discipline::default(),
            seed: 0,
            writers: 4,
            holders: 0,
            hold: Duration::ZERO,
            keys: 20,
            rows: (1, 5),
            rolled_back: 0.1,
            savepoints: 0.1,
            padding: vec![(0, 1)],
            rate: None,
            transactions: None,
            patience: Duration::from_secs(60),
        }
    }

    /// Another table.
    #[must_use]
    pub fn table(mut self, table: Table) -> Self {
        self.table = table;
        self
    }

    /// Whether the writers of a key wait for each other.
    #[must_use]
    pub fn discipline(mut self, discipline: Discipline) -> Self {
        self.discipline = discipline;
        self
    }

    /// Where the random choices come from: equal seeds give each writer equal transactions.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// How many write at the same time.
    #[must_use]
    pub fn writers(mut self, writers: u32) -> Self {
        self.writers = writers;
        self
    }

    /// Adds writers that hold their transactions open, with their ids taken, for a random time up to `hold`; when the
    /// generator stops, they end at once. Serialised ones keep to keys of their own (`held-…`), so that others need
    /// not wait for them. In SQLite everybody waits for them, so
    /// there they rest for as long as they held.
    #[must_use]
    pub fn holders(mut self, holders: u32, hold: Duration) -> Self {
        (self.holders, self.hold) = (holders, hold);
        self
    }

    /// How many keys the rows are spread over (`key-0`, …).
    #[must_use]
    pub fn keys(mut self, keys: u32) -> Self {
        self.keys = keys.max(1);
        self
    }

    /// How many rows a transaction writes, at least and at most.
    #[must_use]
    pub fn rows(mut self, least: u32, most: u32) -> Self {
        self.rows = (least.max(1), most.max(least).max(1));
        self
    }

    /// The share of transactions that are rolled back, and of those of which a part is rolled back to a savepoint.
    #[must_use]
    pub fn rolled_back(mut self, wholly: f64, partly: f64) -> Self {
        (self.rolled_back, self.savepoints) = (wholly.clamp(0.0, 1.0), partly.clamp(0.0, 1.0));
        self
    }

    /// The sizes of the padding in bytes, each with its weight: `[(1_000, 99), (8_000_000, 1)]`.
    #[must_use]
    pub fn padding(mut self, sizes: impl IntoIterator<Item = (u32, u32)>) -> Self {
        self.padding = sizes.into_iter().collect();
        self
    }

    /// How many rows a second the writers begin to write, all together, holders apart. The schedule does not wait for
    /// writers that are late, so that a slow database shows as latency and not as less work.
    #[must_use]
    pub fn rate(mut self, rows_per_second: f64) -> Self {
        self.rate = Some(rows_per_second.max(f64::MIN_POSITIVE));
        self
    }

    /// Ends after so many transactions, however they end, holders' apart.
    #[must_use]
    pub fn transactions(mut self, transactions: u64) -> Self {
        self.transactions = Some(transactions);
        self
    }

    /// How long the database may be away before a writer gives up; 60 seconds unless set.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Opens a session with the workload's database.
    ///
    /// # Errors
    /// As [`database::open`].
    pub fn open(&self) -> Result<Box<dyn Database>> {
        database::open(&self.url, &self.table, "control")
    }

    /// Creates the workload's tables.
    ///
    /// # Errors
    /// `verifier.database`, also when they exist.
    pub fn create_tables(&self) -> Result<()> {
        self.open()?.create()
    }
}

impl std::fmt::Debug for Workload {
    /// Without the URL, which may hold a password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Workload")
            .field("table", &self.table)
            .field("seed", &self.seed)
            .finish_non_exhaustive()
    }
}

/// A transaction before it is written.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Plan {
    pub(super) before: Vec<PlannedRow>,
    /// Rows to write and take back by a rollback to a savepoint.
    pub(super) undone: Vec<PlannedRow>,
    pub(super) after: Vec<PlannedRow>,
    pub(super) hold: Duration,
    pub(super) roll_back: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PlannedRow {
    pub(super) key: String,
    pub(super) padding: u32,
}

impl Plan {
    pub(super) fn rows(&self) -> impl Iterator<Item = &PlannedRow> {
        self.before.iter().chain(&self.undone).chain(&self.after)
    }
}

/// Draws one writer's transactions.
pub(super) struct Planner<'w> {
    workload: &'w Workload,
    writer: u32,
    random: StdRng,
}

impl<'w> Planner<'w> {
    pub(super) fn new(workload: &'w Workload, writer: u32) -> Self {
        let random = StdRng::seed_from_u64(workload.seed ^ (u64::from(writer) << 32));
        Self { workload, writer, random }
    }

    /// Holders are numbered behind the other writers.
    pub(super) fn holds(&self) -> bool {
        self.writer >= self.workload.writers
    }

    pub(super) fn next(&mut self) -> Plan {
        let count = self.random.random_range(self.workload.rows.0..=self.workload.rows.1);
        let mut before: Vec<PlannedRow> = (0..count).map(|_| self.row()).collect();
        let after = before.split_off(self.random.random_range(0..=before.len()));
        let mut undone = Vec::new();
        if self.random.random_bool(self.workload.savepoints) {
            undone.extend((0..self.random.random_range(1..=count)).map(|_| self.row()));
        }
        let roll_back = self.random.random_bool(self.workload.rolled_back);
        let hold = if self.holds() {
            self.workload.hold.mul_f64(self.random.random_range(0.0..=1.0))
        } else {
            Duration::ZERO
        };
        Plan { before, undone, after, hold, roll_back }
    }

    fn row(&mut self) -> PlannedRow {
        let number = self.random.random_range(0..self.workload.keys);
        let key = if self.holds() && self.workload.discipline == Discipline::Serialised {
            format!("held-{}-{}", self.writer, number % 3)
        } else {
            format!("key-{number}")
        };
        let weights: u32 = self.workload.padding.iter().map(|(_, weight)| weight).sum();
        let mut place = self.random.random_range(0..weights.max(1));
        let chosen = self.workload.padding.iter().find(|(_, weight)| {
            let here = place < *weight;
            place = place.saturating_sub(*weight);
            here
        });
        PlannedRow { key, padding: chosen.map_or(0, |(size, _)| *size) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_seeds_plan_equal_transactions() {
        let workload = Workload::new("sqlite:x", "x").seed(7);
        let draw = |writer| {
            let mut planner = Planner::new(&workload, writer);
            (0..100).map(|_| planner.next()).collect::<Vec<_>>()
        };
        assert_eq!(draw(0), draw(0));
        assert_ne!(draw(0), draw(1));
    }

    #[test]
    fn plans_keep_to_the_workload() {
        let workload = Workload::new("sqlite:x", "x")
            .rows(2, 4)
            .padding([(10, 3), (0, 0), (1000, 1)])
            .holders(1, Duration::from_secs(90));
        let mut planner = Planner::new(&workload, 4);
        assert!(planner.holds());
        let plans: Vec<Plan> = (0..2000).map(|_| planner.next()).collect();
        assert!(plans.iter().all(|p| (2..=4).contains(&(p.before.len() + p.after.len()))));
        assert!(plans.iter().all(|p| p.hold <= Duration::from_secs(90)));
        assert!(plans.iter().flat_map(Plan::rows).all(|r| r.key.starts_with("held-4-")));
        let share = |holds: fn(&Plan) -> bool| plans.iter().filter(|p| holds(p)).count();
        assert!((100..300).contains(&share(|p| p.roll_back)));
        assert!((100..300).contains(&share(|p| !p.undone.is_empty())));
        let rows: Vec<u32> = plans.iter().flat_map(Plan::rows).map(|r| r.padding).collect();
        let large = rows.iter().filter(|p| **p == 1000).count();
        assert_eq!(large + rows.iter().filter(|p| **p == 10).count(), rows.len());
        assert!((rows.len() / 5..rows.len() / 3).contains(&large));
    }
}
