//! The shop: writers that place, pay and ship orders, each in a transaction with its outbox row, and sometimes roll
//! back. They note what they committed.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use outflow_sdk::{Error, Result};
use rusqlite::{Connection, TransactionBehavior, params};

/// How many writers there are.
pub(crate) const WRITERS: u64 = 4;

/// An outbox row that was committed.
pub(crate) struct Committed {
    pub(crate) id: String,
    pub(crate) key: String,
    /// Its number among those of its key.
    pub(crate) number: u64,
}

/// What the writers did.
#[derive(Default)]
pub(crate) struct Written {
    pub(crate) committed: Vec<Committed>,
    pub(crate) rolled_back: usize,
}

/// When the commit of each outbox row began.
pub(crate) type Commits = Arc<Mutex<HashMap<String, Instant>>>;

pub(crate) struct Shop {
    stop: Arc<AtomicBool>,
    commits: Commits,
    writers: Vec<JoinHandle<rusqlite::Result<Written>>>,
}

const TABLES: &str = "
    PRAGMA journal_mode = WAL;
    CREATE TABLE IF NOT EXISTS orders (id TEXT PRIMARY KEY, total TEXT NOT NULL, status TEXT NOT NULL);
    CREATE TABLE IF NOT EXISTS outbox (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL,
        aggregatetype TEXT NOT NULL,
        aggregateid TEXT NOT NULL,
        type TEXT NOT NULL,
        payload TEXT NOT NULL
    );
";

fn failed(error: &rusqlite::Error) -> Error {
    Error::permanent("quickstart.shop").message(format!("the shop's database: {error}"))
}

/// Makes the tables; they stay if they are there.
pub(crate) fn create(database: &Path) -> Result<()> {
    let connection = Connection::open(database).map_err(|e| failed(&e))?;
    connection.execute_batch(TABLES).map_err(|e| failed(&e))
}

/// The ids in the outbox.
pub(crate) fn outbox(database: &Path) -> Result<HashSet<String>> {
    let read = || -> rusqlite::Result<HashSet<String>> {
        let connection = Connection::open(database)?;
        let mut rows = connection.prepare("SELECT id FROM outbox")?;
        rows.query_map([], |row| row.get(0))?.collect()
    };
    read().map_err(|e| failed(&e))
}

impl Shop {
    /// Opens the shop.
    pub(crate) fn open(database: &Path) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let orders = Arc::new(AtomicU64::new(0));
        let commits = Commits::default();
        let writers = (0..WRITERS)
            .map(|writer| {
                let (database, stop, orders) = (database.to_owned(), Arc::clone(&stop), Arc::clone(&orders));
                let commits = Arc::clone(&commits);
                std::thread::spawn(move || write(&database, &stop, &orders, &commits, writer))
            })
            .collect();
        Self { stop, commits, writers }
    }

    /// When each commit began.
    pub(crate) fn commits(&self) -> Commits {
        Arc::clone(&self.commits)
    }

    /// Closes it and collects the writers' notes.
    pub(crate) fn close(self) -> Result<Written> {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Written::default();
        for writer in self.writers {
            let notes = writer
                .join()
                .map_err(|_| Error::internal("quickstart.writer").message("a writer panicked"))?;
            let notes = notes.map_err(|e| failed(&e))?;
            all.committed.extend(notes.committed);
            all.rolled_back += notes.rolled_back;
        }
        Ok(all)
    }
}

const STEPS: [(&str, &str); 4] = [
    ("OrderPlaced", "placed"),
    ("OrderPaid", "paid"),
    ("OrderPacked", "packed"),
    ("OrderShipped", "shipped"),
];

fn write(
    database: &PathBuf,
    stop: &AtomicBool,
    orders: &AtomicU64,
    commits: &Mutex<HashMap<String, Instant>>,
    writer: u64,
) -> rusqlite::Result<Written> {
    let mut connection = Connection::open(database)?;
    connection.busy_timeout(Duration::from_secs(10))?;
    let mut notes = Written::default();
    // A simple generator of its own: no two writers, and no two shops, do the same.
    let mut random = unix_millis().wrapping_mul(2 * writer + 1) | 1;
    let mut next = move |below: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % below
    };
    while !stop.load(Ordering::Relaxed) {
        let order =
            format!("order-{}-{:x}", orders.fetch_add(1, Ordering::Relaxed) + 1, unix_millis() & 0xff_ffff);
        let total = format!("{}.{:02}", next(200) + 5, next(100));
        for (step, (kind, status)) in STEPS.into_iter().take(1 + next(4) as usize).enumerate() {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let id = row_id(next(1 << 30));
            let payload = match kind {
                "OrderPlaced" => format!(r#"{{"total":"{total}"}}"#),
                "OrderPaid" => format!(r#"{{"by":"{}"}}"#, ["card", "invoice", "cash"][next(3) as usize]),
                _ => format!(r#"{{"status":"{status}"}}"#),
            };
            transaction.execute(
                "INSERT INTO orders VALUES (?1, ?2, ?3) ON CONFLICT (id) DO UPDATE SET status = excluded.status",
                params![order, total, status],
            )?;
            transaction.execute(
                "INSERT INTO outbox (id, aggregatetype, aggregateid, type, payload) VALUES (?1, 'orders', ?2, ?3, ?4)",
                params![id, order, kind, payload],
            )?;
            if next(8) == 0 {
                // What is rolled back must never be shown.
                transaction.rollback()?;
                notes.rolled_back += 1;
                break;
            }
            commits.lock().unwrap_or_else(PoisonError::into_inner).insert(id.clone(), Instant::now());
            transaction.commit()?;
            notes.committed.push(Committed { id, key: order.clone(), number: step as u64 + 1 });
            pause(stop, Duration::from_millis(200 + next(700)));
        }
    }
    Ok(notes)
}

/// The pace of a shop, not a wait for anything; ends early when the shop closes.
fn pause(stop: &AtomicBool, duration: Duration) {
    let slice = Duration::from_millis(20);
    let mut left = duration;
    while !left.is_zero() && !stop.load(Ordering::Relaxed) {
        std::thread::sleep(slice.min(left));
        left = left.saturating_sub(slice);
    }
}

fn unix_millis() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(0)
}

/// An id that sorts by time: 10 characters of milliseconds and 6 of chance, in Crockford's base 32.
fn row_id(chance: u64) -> String {
    const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    let digit = |value: u64, place: u32| char::from(DIGITS[(value >> (5 * place) & 31) as usize]);
    let time = (0..10).rev().map(|place| digit(unix_millis(), place));
    time.chain((0..6).rev().map(|place| digit(chance, place))).collect()
}
