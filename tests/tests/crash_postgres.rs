//! SIGKILL while writers commit, roll back and hold their transactions and ids open, on PostgreSQL.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends where it fails")]

use outflow_testkit::verifier::{Discipline, Shape};
use outflow_tests::crash::{Case, crash};
use outflow_tests::database::Shop;
use outflow_tests::programs;

fn run(name: &'static str, delivered: &'static str, discipline: Discipline, shape: Shape) {
    let shop = Shop::postgres(&name.replace([' ', ','], "_"));
    crash(&programs!(), &shop, Case { name, delivered, discipline, shape, of: 4 });
}

#[test]
fn postgres_keep_loses_nothing_however_it_is_killed() {
    run("postgres keep", "keep", Discipline::Serialised, Shape::Outbox);
}

#[test]
fn postgres_keep_with_writers_side_by_side_loses_nothing_however_it_is_killed() {
    run("postgres keep, free writers", "keep", Discipline::Free, Shape::Outbox);
}

#[test]
fn postgres_mark_loses_nothing_however_it_is_killed() {
    run("postgres mark", "mark", Discipline::Serialised, Shape::Eventuate);
}

#[test]
fn postgres_delete_loses_nothing_however_it_is_killed() {
    run("postgres delete", "delete", Discipline::Serialised, Shape::Outbox);
}
