//! Generators on SQLite: what they journal is what the table holds.

#![cfg(feature = "verifier-sqlite")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends where it fails")]

use std::path::Path;
use std::time::{Duration, Instant};

use outflow_testkit::verifier::{
    Checker, Delivery, Discipline, Generator, GeneratorProcess, History, Order, Problem, Progress, Report,
    Shape, Table, Workload, unix_nanos,
};

const GENERATOR: &str = env!("CARGO_BIN_EXE_outflow-generator");
const DEADLINE: Duration = Duration::from_secs(60);

fn workload(folder: &Path) -> Workload {
    let url = format!("sqlite:{}", folder.join("shop.db").display());
    Workload::new(url, folder.join("journals"))
}

/// Waits for a condition on a generator's progress.
fn wait_until(mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < deadline, "the condition does not come true");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn history(workload: &Workload, folder: &Path) -> History {
    let mut history = History::read(&folder.join("journals")).unwrap();
    let mut database = workload.open().unwrap();
    history.resolve(|tx| database.committed(tx)).unwrap();
    history
}

/// Takes the table's rows as deliveries.
fn check(workload: &Workload, folder: &Path, query: &str, order: Order) -> Report {
    let mut checker = Checker::new(history(workload, folder), order);
    for (_, payload) in workload.open().unwrap().pairs(query).unwrap() {
        checker.deliver(&Delivery::from_json(payload.as_bytes()).unwrap());
    }
    checker.finish()
}

const BY_CURSOR: &str = "SELECT seq, payload FROM outbox ORDER BY seq";

#[test]
fn what_threads_journal_is_what_the_table_holds() {
    for (discipline, order) in [(Discipline::Serialised, Order::Sequence), (Discipline::Free, Order::Visible)]
    {
        let folder = tempfile::tempdir().unwrap();
        let workload = workload(folder.path())
            .discipline(discipline)
            .holders(1, Duration::from_millis(20))
            .padding([(0, 8), (1_000, 8), (300_000, 1)])
            .transactions(200);
        workload.create_tables().unwrap();
        let progress = Generator::start(workload.clone()).unwrap().wait().unwrap();
        assert!(progress.transactions >= 150 && progress.rolled_back > 5, "{progress:?}");
        assert_eq!((progress.held, progress.broken), (0, 0));
        for order in [order, Order::Cursor] {
            let report = check(&workload, folder.path(), BY_CURSOR, order);
            report.assert_clean(0);
            assert_eq!((report.written, report.transactions), (progress.rows, progress.transactions));
        }

        // The last row of the table is missed, and so is the order of the table.
        let missed = "SELECT seq, payload FROM outbox ORDER BY seq LIMIT (SELECT count(*) - 1 FROM outbox)";
        assert_eq!(check(&workload, folder.path(), missed, order).faults(0), ["1 lost"]);
        let backwards = "SELECT seq, payload FROM outbox ORDER BY seq DESC";
        let report = check(&workload, folder.path(), backwards, order);
        assert!(report.count(Problem::OutOfOrder) > 100, "{report}");
    }
}

#[test]
fn ids_of_eventuate_messages_order_a_key() {
    let folder = tempfile::tempdir().unwrap();
    let workload = workload(folder.path()).table(Table::new("message", Shape::Eventuate)).transactions(100);
    workload.create_tables().unwrap();
    Generator::start(workload.clone()).unwrap().wait().unwrap();
    let query =
        "SELECT id, payload FROM message WHERE published = 0 AND destination = 'generated' ORDER BY id";
    check(&workload, folder.path(), query, Order::Sequence).assert_clean(0);
}

#[test]
fn a_killed_process_leaves_only_what_it_journalled() {
    let folder = tempfile::tempdir().unwrap();
    let workload = workload(folder.path()).keys(3);
    workload.create_tables().unwrap();
    for round in 1..=5 {
        let process = GeneratorProcess::spawn(Path::new(GENERATOR), &workload).unwrap();
        wait_until(|| process.progress().transactions >= 20);
        process.kill().unwrap();
        let report = check(&workload, folder.path(), BY_CURSOR, Order::Sequence);
        report.assert_clean(0);
        assert!(report.transactions >= 20 * round);
    }
}

#[test]
fn a_process_stops_when_told_and_holders_let_go() {
    let folder = tempfile::tempdir().unwrap();
    let workload =
        workload(folder.path()).writers(0).holders(1, Duration::from_secs(3600)).rolled_back(0.0, 0.0);
    workload.create_tables().unwrap();
    // A generator without writers is done at once, and with it its holders.
    let progress = Generator::start(workload.clone()).unwrap().wait().unwrap();
    assert_eq!(progress.held, 0);

    let workload = workload.writers(1);
    let process = GeneratorProcess::spawn(Path::new(GENERATOR), &workload).unwrap();
    wait_until(|| process.progress().held == 1);
    let progress = process.stop().unwrap();
    assert!(progress.transactions >= 1);
    check(&workload, folder.path(), BY_CURSOR, Order::Sequence).assert_clean(0);
}

#[test]
fn the_rate_is_kept_and_commits_are_timed() {
    let folder = tempfile::tempdir().unwrap();
    let workload = workload(folder.path()).rows(1, 1).rate(400.0).rolled_back(0.0, 0.0).transactions(100);
    workload.create_tables().unwrap();
    let started = unix_nanos();
    Generator::start(workload.clone()).unwrap().wait().unwrap();
    let history = history(&workload, folder.path());
    let mut times = Vec::new();
    for (_, payload) in workload.open().unwrap().pairs(BY_CURSOR).unwrap() {
        let delivery = Delivery::from_json(payload.as_bytes()).unwrap();
        times.push(history.committed_at(delivery.mark.id).unwrap());
    }
    assert_eq!(times.len(), 100);
    assert!(times.iter().all(|t| (started..unix_nanos()).contains(t)));
    // The 100th row is due a quarter of a second after the first; 4 writers begin at once.
    let last = times.iter().max().unwrap();
    assert!(last - started >= 240_000_000, "{} ns", last - started);
}

#[test]
fn failures_are_told_and_no_password_is() {
    let folder = tempfile::tempdir().unwrap();
    let error = Generator::start(workload(folder.path())).unwrap().wait().unwrap_err();
    assert_eq!((error.code(), error.is_transient()), ("verifier.database", false), "no table: {error}");

    let workload = Workload::new("mysql://shop:canary@localhost/shop", folder.path().join("other"));
    assert!(!format!("{workload:?}").contains("canary"));
    let error = workload.create_tables().unwrap_err();
    assert_eq!(error.code(), "verifier.url");
    assert!(!format!("{error:?}").contains("canary"));
    let error = GeneratorProcess::spawn(Path::new(GENERATOR), &workload).unwrap().wait().unwrap_err();
    assert_eq!(error.code(), "verifier.generator");
    assert!(GeneratorProcess::spawn(Path::new("/nonexistent"), &workload).is_err());
    assert_eq!(Progress::default().transactions, 0);
}
