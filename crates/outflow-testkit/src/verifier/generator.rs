//! Writers at work, each in a thread of its own.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use outflow_core::{Error, Result};
use serde::{Deserialize, Serialize};

use super::clock::unix_nanos;
use super::database::{self, Database, NewRow};
use super::journal::{Change, Entry, Journal, Row};
use super::mark::{Mark, RowIds};
use super::workload::{Discipline, Plan, PlannedRow, Planner, Workload};

/// How long a writer waits before it opens another session.
const RECONNECT: Duration = Duration::from_millis(50);

/// How far a generator has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Progress {
    /// Transactions whose COMMIT has returned.
    pub transactions: u64,
    /// Their rows.
    pub rows: u64,
    /// Transactions that were rolled back.
    pub rolled_back: u64,
    /// Transactions that are held open now.
    pub held: u64,
    /// Transactions that broke off with an error, and sessions that could not be opened.
    pub broken: u64,
}

#[derive(Default)]
struct Counters {
    transactions: AtomicU64,
    rows: AtomicU64,
    rolled_back: AtomicU64,
    held: AtomicU64,
    broken: AtomicU64,
    /// Transactions that were begun, against the workload's limit.
    begun: AtomicU64,
}

/// Tells writers to stop, also those that wait.
#[derive(Default)]
struct Stop {
    stopped: Mutex<bool>,
    told: Condvar,
}

impl Stop {
    fn stop(&self) {
        *self.stopped.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.told.notify_all();
    }

    /// Waits for so long, or until told to stop. True when told.
    fn wait(&self, at_most: Duration) -> bool {
        let stopped = self.stopped.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.told.wait_timeout_while(stopped, at_most, |stopped| !*stopped);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

/// Writers that run in threads of this process. Dropping it stops them and waits for them.
pub struct Generator {
    writers: Vec<JoinHandle<Result<()>>>,
    holders: Vec<JoinHandle<Result<()>>>,
    shared: Arc<Shared>,
}

struct Shared {
    workload: Workload,
    /// Names this generator in its journals and transactions.
    instance: String,
    ids: RowIds,
    counters: Counters,
    stop: Stop,
}

impl Generator {
    /// Starts the writers. The tables must exist, see [`Workload::create_tables`].
    ///
    /// # Errors
    /// `verifier.journal` when a journal cannot be created.
    pub fn start(workload: Workload) -> Result<Self> {
        let shared = Arc::new(Shared {
            instance: format!("{:016x}", rand::random::<u64>()),
            ids: RowIds::new(),
            counters: Counters::default(),
            stop: Stop::default(),
            workload,
        });
        // From here on, an error drops the generator, which stops those that run.
        let mut generator = Self { writers: Vec::new(), holders: Vec::new(), shared: Arc::clone(&shared) };
        let writers = shared.workload.writers;
        for number in 0..writers + shared.workload.holders {
            let name = format!("{}-{number}", shared.instance);
            let journal = Journal::create(&shared.workload.journals, &name)?;
            let shared = Arc::clone(&shared);
            let thread = std::thread::spawn(move || Writer::new(&shared, number, name, journal).run());
            if number < writers { &mut generator.writers } else { &mut generator.holders }.push(thread);
        }
        Ok(generator)
    }

    /// How far it has come.
    pub fn progress(&self) -> Progress {
        let counters = &self.shared.counters;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Progress {
            transactions: read(&counters.transactions),
            rows: read(&counters.rows),
            rolled_back: read(&counters.rolled_back),
            held: read(&counters.held),
            broken: read(&counters.broken),
        }
    }

    /// True once no writer writes any more: the workload is done, or all gave up.
    pub fn is_done(&self) -> bool {
        self.writers.iter().all(JoinHandle::is_finished)
    }

    /// Tells the writers to stop after the transactions that they are in, and waits for them.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub fn stop(self) -> Result<Progress> {
        self.shared.stop.stop();
        self.wait()
    }

    /// Waits until the workload is done.
    ///
    /// # Errors
    /// The first with which a writer gave up: a database that was away for longer than the workload's patience, an
    /// error that is not transient, or a journal that cannot be written.
    pub fn wait(mut self) -> Result<Progress> {
        let ended = self.join();
        ended.map(|()| self.progress())
    }

    fn join(&mut self) -> Result<()> {
        let join = |threads: &mut Vec<JoinHandle<Result<()>>>| {
            let panicked = |_| Err(Error::internal("verifier.generator").message("a writer panicked"));
            threads.drain(..).map(|t| t.join().unwrap_or_else(panicked)).fold(Ok(()), Result::and)
        };
        let writers = join(&mut self.writers);
        self.shared.stop.stop();
        writers.and(join(&mut self.holders))
    }
}

impl Drop for Generator {
    fn drop(&mut self) {
        self.shared.stop.stop();
        // Whoever drops it does not ask how it went.
        _ = self.join();
    }
}

struct Writer<'s> {
    shared: &'s Shared,
    planner: Planner<'s>,
    number: u32,
    name: String,
    journal: Journal,
    transactions: u64,
    /// The sequences of a writer that does not serialise.
    sequences: HashMap<String, u64>,
}

/// What a transaction has written so far.
#[derive(Default)]
struct Done {
    rows: Vec<Row>,
    undone: Vec<Row>,
    /// COMMIT may have been sent.
    intended: bool,
}

impl<'s> Writer<'s> {
    fn new(shared: &'s Shared, number: u32, name: String, journal: Journal) -> Self {
        let planner = Planner::new(&shared.workload, number);
        Self { shared, planner, number, name, journal, transactions: 0, sequences: HashMap::new() }
    }

    fn run(mut self) -> Result<()> {
        let workload = &self.shared.workload;
        let mut pace = Pace::new(if self.planner.holds() { None } else { workload.rate }, workload.writers);
        let mut session: Option<Box<dyn Database>> = None;
        let mut broken_since: Option<Instant> = None;
        while !self.shared.stop.wait(pace.due()) {
            let opened = match session.take() {
                Some(session) => Ok(session),
                None => database::open(&workload.url, &workload.table, &self.name),
            };
            let written = opened.and_then(|mut session| {
                if !self.may_begin() {
                    return Ok(None);
                }
                let plan = self.planner.next();
                pace.count(plan.rows().count());
                self.transaction(&mut *session, &plan)?;
                if session.is_exclusive() {
                    // Who holds all the time would leave no time to the others, who do not queue up.
                    self.shared.stop.wait(plan.hold);
                }
                Ok(Some(session))
            });
            match written {
                Ok(None) => break,
                Ok(kept) => {
                    session = kept;
                    broken_since = None;
                }
                Err(error) => {
                    add(&self.shared.counters.broken, 1);
                    let since = *broken_since.get_or_insert_with(Instant::now);
                    if !error.is_transient() || since.elapsed() > workload.patience {
                        return Err(error);
                    }
                    self.shared.stop.wait(RECONNECT);
                }
            }
        }
        Ok(())
    }

    /// Counts a transaction against the limit.
    fn may_begin(&self) -> bool {
        match self.shared.workload.transactions {
            Some(limit) if !self.planner.holds() => {
                self.shared.counters.begun.fetch_add(1, Ordering::Relaxed) < limit
            }
            _ => true,
        }
    }

    fn transaction(&mut self, database: &mut dyn Database, plan: &Plan) -> Result<()> {
        let tx = format!("{}-{}", self.name, self.transactions);
        self.transactions += 1;
        let mut done = Done::default();
        let written = self.write(database, plan, &tx, &mut done);
        let rolled_back = written.is_ok() && plan.roll_back;
        if rolled_back || !done.intended {
            let rows = done.rows.into_iter().chain(done.undone).collect();
            self.journal.append(&Entry::RolledBack { tx, writer: self.number, rows })?;
            add(&self.shared.counters.rolled_back, u64::from(rolled_back));
        } else if written.is_ok() {
            self.journal.append(&Entry::Committed { tx, at: unix_nanos() })?;
            add(&self.shared.counters.transactions, 1);
        }
        written
    }

    /// Carries out a transaction, through COMMIT or ROLLBACK.
    fn write(&mut self, database: &mut dyn Database, plan: &Plan, tx: &str, done: &mut Done) -> Result<()> {
        let begun = unix_nanos();
        database.begin()?;
        let mut sequences = self.reserve(database, plan)?;
        self.insert(database, &plan.before, tx, &mut sequences, &mut done.rows)?;
        if !plan.undone.is_empty() {
            database.savepoint()?;
            self.insert(database, &plan.undone, tx, &mut sequences, &mut done.undone)?;
            database.roll_back_to_savepoint()?;
        }
        self.insert(database, &plan.after, tx, &mut sequences, &mut done.rows)?;
        if !plan.hold.is_zero() {
            add(&self.shared.counters.held, 1);
            self.shared.stop.wait(plan.hold);
            self.shared.counters.held.fetch_sub(1, Ordering::Relaxed);
        }
        if plan.roll_back {
            return database.roll_back();
        }
        database.note(tx)?;
        let rows = done.rows.len() as u64;
        self.journal.append(&Entry::Intent {
            tx: tx.to_owned(),
            writer: self.number,
            begun,
            rows: std::mem::take(&mut done.rows),
            undone: std::mem::take(&mut done.undone),
        })?;
        done.intended = true;
        database.commit()?;
        add(&self.shared.counters.rows, rows);
        Ok(())
    }

    /// The number before the first that the transaction gives to a row, of each of its keys.
    fn reserve(&mut self, database: &mut dyn Database, plan: &Plan) -> Result<HashMap<String, u64>> {
        let mut counts: BTreeMap<&String, u64> = BTreeMap::new();
        for row in plan.rows() {
            *counts.entry(&row.key).or_default() += 1;
        }
        let keys: Vec<(String, u64)> = counts.into_iter().map(|(key, count)| (key.clone(), count)).collect();
        let last = match self.shared.workload.discipline {
            Discipline::Serialised => database.reserve(&keys)?,
            Discipline::Free => {
                let mut reserve = |(key, count): &(String, u64)| {
                    let last = self.sequences.entry(key.clone()).or_default();
                    *last += count;
                    *last
                };
                keys.iter().map(&mut reserve).collect()
            }
        };
        Ok(keys.into_iter().zip(last).map(|((key, count), last)| (key, last.saturating_sub(count))).collect())
    }

    fn insert(
        &self,
        database: &mut dyn Database,
        planned: &[PlannedRow],
        tx: &str,
        sequences: &mut HashMap<String, u64>,
        done: &mut Vec<Row>,
    ) -> Result<()> {
        let first = done.len();
        let mut rows = Vec::with_capacity(planned.len());
        for PlannedRow { key, padding } in planned {
            let seq = sequences.entry(key.clone()).or_default();
            *seq += 1;
            let mark = Mark {
                id: self.shared.ids.next(),
                key: key.clone(),
                seq: *seq,
                tx: tx.to_owned(),
                writer: self.number,
            };
            let row = Row {
                id: mark.id,
                key: key.clone(),
                seq: *seq,
                cursor: None,
                padding: *padding,
                change: Change::Write,
            };
            done.push(row.clone());
            rows.push(NewRow { row, payload: mark.payload(*padding) });
        }
        if rows.is_empty() {
            return Ok(());
        }
        let cursors = database.insert(rows)?;
        for (row, cursor) in done.iter_mut().skip(first).zip(cursors) {
            row.cursor = cursor;
        }
        Ok(())
    }
}

/// The schedule of one writer.
struct Pace {
    /// A row's share of time, and when the next transaction is due.
    rated: Option<(Duration, Instant)>,
}

impl Pace {
    fn new(rate: Option<f64>, writers: u32) -> Self {
        let row = rate.map(|rate| Duration::from_secs_f64((f64::from(writers) / rate).min(1e9)));
        Self { rated: row.map(|row| (row, Instant::now())) }
    }

    fn due(&self) -> Duration {
        self.rated.map_or(Duration::ZERO, |(_, next)| next.saturating_duration_since(Instant::now()))
    }

    fn count(&mut self, rows: usize) {
        if let Some((row, next)) = &mut self.rated {
            *next += row.saturating_mul(u32::try_from(rows).unwrap_or(u32::MAX));
        }
    }
}

fn add(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Ordering::Relaxed);
}
