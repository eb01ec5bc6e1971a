//! A disk that is full, and a folder that may not be written.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use common::child::{Child, Start, serve, text};
use common::{owner, position, scope};
use outflow_sdk::CheckpointStore as _;
use outflow_state::FileStore;

fn child(test: &str, folder: &Path) -> Child {
    Start { test, folder, lease: Duration::from_secs(600), run_as: None }.start()
}

fn stored(folder: &Path) -> String {
    let checkpoint = FileStore::at(folder).peek(&scope()).unwrap();
    position(&checkpoint).unwrap().to_owned()
}

fn is_full(answer: &str) {
    assert!(answer.contains("transient=true") && answer.contains("free some space"), "{answer}");
}

#[test]
fn a_full_disk_is_said_and_the_next_commit_works_when_there_is_room() {
    if serve() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut child = child("a_full_disk_is_said_and_the_next_commit_works_when_there_is_room", folder.path());
    let log = folder.path().join("orders/checkpoint");
    child.done("acquire");
    for n in 1..=5 {
        child.done(&format!("store {n}"));
    }
    let before = fs::read(&log).unwrap();
    // No room at all; room for a part of the change.
    for room in [0, 1, 700] {
        child.done(&format!("limit {}", before.len() + room));
        is_full(&child.refused("commit 6", "state.disk_full"));
        assert_eq!(fs::read(&log).unwrap(), before, "with room for {room} bytes");
    }
    child.done("limit");
    child.done("commit 6");
    assert_eq!(stored(folder.path()), "6");
    let after = fs::read(&log).unwrap();
    assert!(after.starts_with(&before), "one line more: nothing had to be written anew");
}

#[test]
fn a_log_that_is_to_be_written_anew_on_a_full_disk_is_left_whole() {
    if serve() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut child = child("a_log_that_is_to_be_written_anew_on_a_full_disk_is_left_whole", folder.path());
    let log = folder.path().join("orders/checkpoint");
    child.done("acquire");
    let mut n = 0;
    while fs::metadata(&log).unwrap().len() <= 64 << 10 {
        n += 1;
        child.done(&format!("store {n}"));
    }
    let before = fs::read(&log).unwrap();
    child.done("limit 5000");
    is_full(&child.refused(&format!("commit {}", n + 1), "state.disk_full"));
    assert_eq!(fs::read(&log).unwrap(), before);
    let left: Vec<_> = fs::read_dir(log.parent().unwrap()).unwrap().map(|f| f.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name == "checkpoint.new"), "{left:?}");
    child.done("limit");
    for _ in 0..100 {
        n += 1;
        child.done(&format!("store {n}"));
    }
    assert_eq!(stored(folder.path()), n.to_string());
    assert!(fs::metadata(&log).unwrap().len() < 200 << 10, "it was written anew when there was room");
    child.done("release");
}

#[test]
fn a_start_on_a_full_disk_is_refused_and_changes_nothing() {
    if serve() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut child = child("a_start_on_a_full_disk_is_refused_and_changes_nothing", folder.path());
    child.done("limit 0");
    is_full(&child.refused("acquire", "state.disk_full"));
    child.done("limit");
    child.done("acquire");
    child.done("store 1");
    child.done("release");
    child.done("limit 0");
    is_full(&child.refused("acquire", "state.disk_full"));
    assert_eq!(stored(folder.path()), "1");
    child.done("limit");
    child.done("acquire");
    assert_eq!(child.ask("load"), "ok 1");
}

/// Rights do not bind the superuser: then the child is nobody, with a copy of this binary that nobody may run.
#[test]
fn a_folder_that_may_not_be_written_is_said_and_left_alone() {
    if serve() {
        return;
    }
    let mode = |path: &Path, mode: u32| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    mode(folder.path(), 0o777);
    let run_as = rustix::process::geteuid().is_root().then(|| {
        let copy = folder.path().join("test");
        fs::copy(std::env::current_exe().unwrap(), &copy).unwrap();
        mode(&copy, 0o755);
        (copy, 65534)
    });
    let test = "a_folder_that_may_not_be_written_is_said_and_left_alone";
    let lease = Duration::from_secs(600);
    let mut child = Start { test, folder: folder.path(), lease, run_as }.start();
    child.done("acquire");
    child.done("store 1");
    child.done("release");

    let orders = folder.path().join("orders");
    let names = ["lock", "lock.gate", "checkpoint"];
    let before: Vec<_> = names.iter().map(|name| fs::read(orders.join(name)).unwrap()).collect();
    names.iter().for_each(|name| mode(&orders.join(name), 0o400));
    mode(&orders, 0o500);
    let answer = child.refused("acquire", "state.read_only");
    assert!(answer.contains("transient=false") && answer.contains("--state-dir"), "{answer}");
    let after: Vec<_> = names.iter().map(|name| fs::read(orders.join(name)).unwrap()).collect();
    assert!(before == after);

    mode(&orders, 0o700);
    names.iter().for_each(|name| mode(&orders.join(name), 0o600));
    child.done("acquire");
    assert_eq!(child.ask("load"), "ok 1");
    // A new log cannot be put in place: the old one goes on.
    mode(&orders, 0o500);
    for n in 2..=100 {
        child.done(&format!("store {n}"));
    }
    mode(&orders, 0o700);
    assert_eq!(stored(folder.path()), "100");
    let checkpoint = FileStore::at(folder.path()).peek(&scope()).unwrap();
    assert_eq!(checkpoint.state("schema/0"), Some(text(100).as_str()));
}

#[tokio::test]
async fn a_folder_that_cannot_be_made_is_said() {
    // Nobody may make folders there, whoever asks.
    let error = FileStore::at("/sys/outflow").acquire(&scope(), &owner("a")).await.unwrap_err();
    assert_eq!(error.code(), "state.read_only");
    assert!(error.hint_text().unwrap().contains("--state-dir"));
}
