//! What the end-to-end, crash and fault tests share: pipeline files, processes of `outflow`, databases.
//!
//! The tests start the real binary on real servers and judge only what arrives. `README.md` lists them, and the
//! commands of their long runs.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test ends where it fails")]

pub mod crash;
pub mod database;
pub mod pipeline;
pub mod process;
pub mod server;
pub mod settings;
pub mod stream;

use std::path::Path;
use std::time::{Duration, Instant};

use outflow_testkit::verifier::{Checker, History, Order, Report, Workload};

pub use process::{Outflow, Programs};

/// How long anything may take that must come true.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// The programs of this package, for a test: `programs!()`.
#[macro_export]
macro_rules! programs {
    () => {
        $crate::Programs {
            outflow: env!("CARGO_BIN_EXE_outflow-under-test").into(),
            generator: env!("CARGO_BIN_EXE_outflow-test-generator").into(),
        }
    };
}

/// Waits until something is true.
///
/// # Panics
/// When it has not come true within [`DEADLINE`].
#[track_caller]
pub fn wait_until(what: &str, condition: impl FnMut() -> bool) {
    wait_within(DEADLINE, what, condition);
}

/// Waits until something is true.
///
/// # Panics
/// When it has not come true within `time`.
#[track_caller]
pub fn wait_within(time: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + time;
    while !condition() {
        assert!(Instant::now() < deadline, "not within {time:?}: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Compares what a file of JSON lines holds with what the workload's writers committed. `restarts`: the lengths
/// that the file had when the pipeline was killed.
///
/// # Panics
/// When journals, database or output cannot be read.
pub fn check(workload: &Workload, journals: &Path, output: &Path, order: Order, restarts: &[u64]) -> Report {
    let mut history = History::read(journals).unwrap();
    let mut database = workload.open().unwrap();
    history.resolve(|tx| database.committed(tx)).unwrap();
    let mut checker = Checker::new(history, order);
    checker.deliver_file(output, restarts).unwrap();
    checker.finish()
}
