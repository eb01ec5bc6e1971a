//! Lost connections in the middle of the stream, without a restart of the process: a server that restarts, sessions
//! that are terminated, and every fault that the proxy knows.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends where it fails")]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use outflow_testkit::proxy::{Direction, Fault, FaultProxy};
use outflow_testkit::verifier::{GeneratorProcess, Order, RepeatBound, Workload};
use outflow_tests::database::Shop;
use outflow_tests::pipeline::PipelineFile;
use outflow_tests::process::Outflow;
use outflow_tests::server::{PostgresServer, Shutdown};
use outflow_tests::{check, programs, wait_until};

/// Rows that are written while a fault lasts.
const ROWS: u64 = 100;

/// A pipeline at work, and writers that write to the server directly.
struct Stream<'s> {
    shop: &'s Shop,
    workload: Workload,
    generator: GeneratorProcess,
    outflow: Outflow,
    files: Vec<PathBuf>,
    output: PathBuf,
}

impl<'s> Stream<'s> {
    /// `url`: how the pipeline finds the database.
    fn start(shop: &'s Shop, url: &str, delivered: &'static str) -> Self {
        let workload = shop.workload().rate(300.0).padding([(0, 8), (20_000, 1)]);
        workload.create_tables().unwrap();
        let file =
            PipelineFile::new("stream", url, shop.folder()).delivered(delivered).transform("type: outbox");
        let (output, files) = (file.path_of_output().to_owned(), vec![file.write(shop.folder())]);
        let programs = programs!();
        let generator = GeneratorProcess::spawn(&programs.generator, &workload).unwrap();
        let outflow = Outflow::start(&programs, &files, shop.folder());
        let mut stream = Self { shop, workload, generator, outflow, files, output };
        stream.flows();
        stream
    }

    /// Waits until more has arrived than now.
    fn flows(&mut self) {
        let length = length(&self.output);
        let output = self.output.clone();
        self.outflow.wait_until("rows arrive", || self::length(&output) > length);
    }

    /// Waits until more has been written than now.
    fn is_written_to(&mut self) {
        let rows = self.generator.progress().rows + ROWS;
        wait_until("rows are written", || self.generator.progress().rows >= rows);
        self.outflow.assert_running();
    }

    /// Rows in the table. Only these can be read again by whoever connects next.
    fn rows_left(&self) -> u64 {
        let rows = self.shop.session().pairs("SELECT count(*)::text, '' FROM outbox").unwrap();
        rows[0].0.parse().unwrap()
    }

    /// Ends writers and pipeline, and checks everything that arrived, `repeats` of it at most more than once.
    fn finish(self, repeats: u64) {
        let progress = self.generator.stop().unwrap();
        self.outflow.stop();
        Outflow::run_to_current(&programs!(), &self.files, self.shop.folder());
        let report = check(&self.workload, &self.shop.journals(), &self.output, Order::Sequence, &[]);
        println!("{report}\n    {progress:?}");
        report.assert_clean(RepeatBound::Total(repeats));
    }
}

fn length(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |about| about.len())
}

fn survives_restarts(delivered: &'static str) {
    let mut server = PostgresServer::start();
    let shop = Shop::on_postgres(&server.url(), &server.url(), &format!("restart_{delivered}"));
    let mut stream = Stream::start(&shop, shop.url(), delivered);
    let mut repeats = 0;
    for shutdown in [Shutdown::Fast, Shutdown::Immediate, Shutdown::Fast, Shutdown::Immediate] {
        server.stop(shutdown);
        // Nothing is read anew before it is counted.
        repeats += stream.outflow.paused(|| {
            server.run();
            stream.rows_left()
        });
        stream.is_written_to();
        stream.flows();
    }
    stream.finish(repeats);
}

#[test]
fn a_restart_of_postgres_is_survived_with_keep() {
    survives_restarts("keep");
}

#[test]
fn a_restart_of_postgres_is_survived_with_delete() {
    survives_restarts("delete");
}

fn survives_terminated_sessions(delivered: &'static str) {
    let shop = Shop::postgres(&format!("terminate_{delivered}"));
    let mut stream = Stream::start(&shop, shop.url(), delivered);
    let mut admin = shop.admin();
    let mut repeats = 0;
    for _ in 0..10 {
        // Not only the pipeline's: writers lose theirs too, and may not know what became of a COMMIT.
        let terminate = format!(
            "SELECT count(pg_terminate_backend(pid, 60000))::text, '' \
            FROM pg_stat_activity WHERE datname = '{}'",
            shop.name()
        );
        // Nothing is read anew, or marked, between the end of the sessions and the count.
        repeats += stream.outflow.paused(|| {
            let terminated = admin.pairs(&terminate).unwrap();
            assert_ne!(terminated[0].0, "0");
            stream.rows_left()
        });
        stream.is_written_to();
        stream.flows();
    }
    stream.finish(repeats);
}

#[test]
fn terminated_postgres_sessions_are_survived_with_keep() {
    survives_terminated_sessions("keep");
}

#[test]
fn terminated_postgres_sessions_are_survived_with_delete() {
    survives_terminated_sessions("delete");
}

fn survives_faults(delivered: &'static str) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let shop = Shop::postgres(&format!("faults_{delivered}"));
    let proxy = runtime.block_on(FaultProxy::start(shop.address())).unwrap();
    let mut stream = Stream::start(&shop, &shop.url_through(proxy.address()), delivered);
    let both = [Direction::ToServer, Direction::ToClient];
    let cases: [(Fault, &[Direction]); 9] = [
        (Fault::Cut, &both[..1]),
        (Fault::Refuse, &both[..1]),
        (Fault::Stall, &both),
        (Fault::HalfOpen, &both),
        (Fault::ResetAfter { bytes: 0 }, &both[..1]),
        (Fault::ResetAfter { bytes: 777 }, &both),
        (Fault::ResetAfter { bytes: 50_000 }, &both[1..]),
        (Fault::Delay { latency: Duration::from_millis(30), jitter: Duration::from_millis(30) }, &both),
        (Fault::Throttle { bytes_per_second: 20_000 }, &both),
    ];
    for (fault, directions) in cases {
        for direction in directions {
            let set = async {
                proxy.set_one(*direction, fault).await?;
                std::io::Result::Ok(())
            };
            runtime.block_on(set).unwrap();
            stream.is_written_to();
            runtime.block_on(proxy.set(Fault::Pass)).unwrap();
            stream.flows();
        }
    }
    let traffic = proxy.traffic();
    println!("{traffic:?}");
    assert!(traffic.accepted > 3 && traffic.reset > 0 && traffic.bytes_swallowed > 0, "{traffic:?}");
    // Each connection may repeat what was not settled by those before; how many rows that is nobody can see from
    // outside, so that here only loss and order count. The other tests bound the repeats.
    stream.finish(u64::MAX);
}

#[test]
fn every_fault_between_pipeline_and_postgres_is_survived_with_keep() {
    survives_faults("keep");
}

#[test]
fn every_fault_between_pipeline_and_postgres_is_survived_with_delete() {
    survives_faults("delete");
}
