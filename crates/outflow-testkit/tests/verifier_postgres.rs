//! Generators on PostgreSQL: what they journal is what the table holds, whatever happens to them.

#![cfg(feature = "verifier-postgres")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends where it fails")]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use outflow_testkit::proxy::{Fault, FaultProxy};
use outflow_testkit::verifier::database::{self, Database};
use outflow_testkit::verifier::{
    Checker, Delivery, Discipline, Generator, GeneratorProcess, History, Order, Problem, Report, Shape,
    Table, Workload,
};
use tempfile::TempDir;

const GENERATOR: &str = env!("CARGO_BIN_EXE_outflow-generator");
const DEADLINE: Duration = Duration::from_secs(60);
const BY_CURSOR: &str = "SELECT seq, payload FROM outbox ORDER BY seq";

/// A database for one test, dropped with it.
struct Shop {
    folder: TempDir,
    name: String,
    url: String,
}

impl Shop {
    fn new(test: &str) -> Self {
        let name = format!("verifier_{test}_{}", std::process::id());
        let url = with_database(&variable("OUTFLOW_TEST_POSTGRES_URL"), &name);
        let mut admin = admin();
        admin.execute(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).unwrap();
        admin.execute(&format!("CREATE DATABASE {name} OWNER outflow")).unwrap();
        Self { folder: tempfile::tempdir().unwrap(), name, url }
    }

    fn journals(&self) -> PathBuf {
        self.folder.path().join("journals")
    }

    fn workload(&self) -> Workload {
        Workload::new(&self.url, self.journals())
    }

    fn history(&self, workload: &Workload) -> History {
        let mut history = History::read(&self.journals()).unwrap();
        let mut database = workload.open().unwrap();
        history.resolve(|tx| database.committed(tx)).unwrap();
        history
    }

    /// Takes the table's rows as deliveries.
    fn check(&self, workload: &Workload, query: &str, order: Order) -> Report {
        let mut checker = Checker::new(self.history(workload), order);
        for (_, payload) in workload.open().unwrap().pairs(query).unwrap() {
            checker.deliver(&Delivery::from_json(payload.as_bytes()).unwrap());
        }
        checker.finish()
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        let dropped = admin().execute(&format!("DROP DATABASE {} WITH (FORCE)", self.name));
        if !std::thread::panicking() {
            dropped.unwrap();
        }
    }
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("run dev/test, or eval \"$(dev/services env)\""))
}

fn admin() -> Box<dyn Database> {
    let url = variable("OUTFLOW_TEST_POSTGRES_ADMIN_URL");
    database::open(&url, &Table::new("none", Shape::Outbox), "admin").unwrap()
}

fn with_database(url: &str, name: &str) -> String {
    let (server, _) = url.rsplit_once('/').unwrap();
    format!("{server}/{name}")
}

fn wait_until(mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < deadline, "the condition does not come true");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn what_threads_journal_is_what_the_table_holds() {
    for (discipline, order) in [(Discipline::Serialised, Order::Sequence), (Discipline::Free, Order::Visible)]
    {
        let shop = Shop::new("threads");
        let workload = shop
            .workload()
            .discipline(discipline)
            .keys(4)
            .holders(2, Duration::from_millis(50))
            .padding([(0, 200), (1_000, 200), (8_000_000, 1)])
            .transactions(200);
        workload.create_tables().unwrap();
        let progress = Generator::start(workload.clone()).unwrap().wait().unwrap();
        assert!(progress.transactions >= 150 && progress.rolled_back > 5, "{progress:?}");
        assert_eq!((progress.held, progress.broken), (0, 0));
        let report = shop.check(&workload, BY_CURSOR, order);
        report.assert_clean(0);
        assert_eq!((report.written, report.transactions), (progress.rows, progress.transactions));
        let backwards = "SELECT seq, payload FROM outbox ORDER BY seq DESC";
        assert!(shop.check(&workload, backwards, order).count(Problem::OutOfOrder) > 100);
    }
}

#[test]
fn ids_of_eventuate_messages_order_a_key() {
    let shop = Shop::new("eventuate");
    let workload = shop.workload().table(Table::new("public.message", Shape::Eventuate)).transactions(100);
    workload.create_tables().unwrap();
    Generator::start(workload.clone()).unwrap().wait().unwrap();
    let query =
        "SELECT id, payload FROM message WHERE published = 0 AND destination = 'generated' ORDER BY id";
    shop.check(&workload, query, Order::Sequence).assert_clean(0);
}

#[test]
fn a_killed_process_leaves_only_what_it_journalled() {
    let shop = Shop::new("killed");
    let workload = shop.workload().keys(3).holders(1, Duration::from_secs(90));
    workload.create_tables().unwrap();
    for round in 1..=5 {
        let process = GeneratorProcess::spawn(Path::new(GENERATOR), &workload).unwrap();
        wait_until(|| process.progress().transactions >= 100 && process.progress().held == 1);
        process.kill().unwrap();
        let report = shop.check(&workload, BY_CURSOR, Order::Sequence);
        report.assert_clean(0);
        assert!(report.transactions >= 100 * round);
    }
}

#[test]
fn writers_whose_sessions_are_ended_go_on() {
    let shop = Shop::new("ended");
    let workload = shop.workload().holders(2, Duration::from_millis(100));
    workload.create_tables().unwrap();
    let generator = Generator::start(workload.clone()).unwrap();
    for round in 1..=5 {
        wait_until(|| generator.progress().transactions >= 50 * round && generator.progress().held > 0);
        let broken = generator.progress().broken;
        admin()
            .pairs(&format!(
                "SELECT pg_terminate_backend(pid), '' FROM pg_stat_activity WHERE datname = '{}'",
                shop.name
            ))
            .unwrap();
        wait_until(|| generator.progress().broken > broken);
    }
    let progress = generator.stop().unwrap();
    let report = shop.check(&workload, BY_CURSOR, Order::Sequence);
    report.assert_clean(0);
    assert!(report.written >= progress.rows, "what was committed unseen comes on top");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn faults_of_the_network_leave_no_commit_in_doubt() {
    let shop = Shop::new("network");
    let workload = shop.workload();
    workload.create_tables().unwrap(); // blocks, within a runtime
    let (before, rest) = shop.url.rsplit_once('@').unwrap();
    let (server, name) = rest.split_once('/').unwrap();
    let proxy = FaultProxy::start(server).await.unwrap();
    let url = format!("{before}@{}/{name}", proxy.address());
    let generator = Generator::start(Workload::new(url, shop.journals())).unwrap();
    let faults =
        [Fault::Cut, Fault::ResetAfter { bytes: 20_000 }, Fault::HalfOpen, Fault::ResetAfter { bytes: 0 }];
    for round in 1..=20 {
        let broken = generator.progress().broken;
        let fault = faults[round % faults.len()];
        let swallowed = proxy.traffic().bytes_swallowed;
        proxy.set(fault).await.unwrap();
        if fault == Fault::HalfOpen {
            wait_until(|| proxy.traffic().bytes_swallowed > swallowed);
            proxy.set(Fault::Pass).await.unwrap(); // else the writers would wait for ever
        }
        wait_until(|| generator.progress().broken > broken);
        let transactions = generator.progress().transactions;
        proxy.set(Fault::Pass).await.unwrap();
        wait_until(|| generator.progress().transactions > transactions + 20);
    }
    generator.stop().unwrap();
    shop.check(&workload, BY_CURSOR, Order::Sequence).assert_clean(0);
}

/// The mistake that the verifier is for: whoever reads on from the highest id loses the lower ids that commit later.
#[test]
fn a_naive_poller_is_caught() {
    let shop = Shop::new("naive");
    let workload = shop.workload().holders(2, Duration::from_millis(100));
    workload.create_tables().unwrap();
    let generator = Generator::start(workload.clone()).unwrap();
    let mut database = workload.open().unwrap();
    let (mut delivered, mut last) = (Vec::new(), 0_u64);
    let mut poll = || {
        for (seq, payload) in database
            .pairs(&format!("SELECT seq, payload FROM outbox WHERE seq > {last} ORDER BY seq"))
            .unwrap()
        {
            last = seq.parse().unwrap();
            delivered.push(Delivery::from_json(payload.as_bytes()).unwrap());
        }
    };
    wait_until(|| {
        poll();
        generator.progress().transactions > 500
    });
    generator.stop().unwrap();
    poll();
    let mut checker = Checker::new(shop.history(&workload), Order::Sequence);
    delivered.iter().for_each(|d| checker.deliver(d));
    let report = checker.finish();
    assert!(report.count(Problem::Lost) > 0, "{report}");
    assert_eq!(report.count(Problem::Phantom), 0);
}
