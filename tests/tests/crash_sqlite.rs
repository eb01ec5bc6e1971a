//! SIGKILL while writers commit, roll back and hold their transactions open, on SQLite.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends where it fails")]

use outflow_testkit::verifier::{Discipline, Shape};
use outflow_tests::crash::{Case, crash};
use outflow_tests::database::Shop;
use outflow_tests::programs;

fn run(name: &'static str, delivered: &'static str, shape: Shape) {
    let shop = Shop::sqlite();
    crash(&programs!(), &shop, Case { name, delivered, discipline: Discipline::Serialised, shape, of: 3 });
}

#[test]
fn sqlite_keep_loses_nothing_however_it_is_killed() {
    run("sqlite keep", "keep", Shape::Outbox);
}

#[test]
fn sqlite_mark_loses_nothing_however_it_is_killed() {
    run("sqlite mark", "mark", Shape::Eventuate);
}

#[test]
fn sqlite_delete_loses_nothing_however_it_is_killed() {
    run("sqlite delete", "delete", Shape::Outbox);
}
