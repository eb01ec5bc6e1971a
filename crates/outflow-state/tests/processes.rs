//! Two processes and one pipeline: what becomes of its state when one is killed, stopped, or stopped for too long.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::path::Path;
use std::time::Duration;

use common::child::{Child, Start, serve, text};
use common::{at, owner, poll, position, scope};
use outflow_sdk::{Checkpoint, CheckpointStore as _, Lease, Uptime};
use outflow_state::FileStore;

const LONG: Duration = Duration::from_secs(600);
const SHORT: Duration = Duration::from_millis(100);

fn child(test: &str, folder: &Path, lease: Duration) -> Child {
    Start { test, folder, lease, run_as: None }.start()
}

/// Acquires as soon as it is not refused any more.
async fn take_over(store: &FileStore) -> Lease {
    poll("the lease is taken over", async || match store.acquire(&scope(), &owner("parent")).await {
        Ok(lease) => Some(lease),
        Err(error) => {
            assert_eq!(error.code(), "state.held");
            None
        }
    })
    .await
}

/// What a child stored up to some change: that one whole, and nothing of a later one.
fn is_whole(checkpoint: &Checkpoint) -> u64 {
    let last: u64 = position(checkpoint).unwrap().parse().unwrap();
    for n in last.saturating_sub(9).max(1)..=last {
        let stored = checkpoint.state(&format!("schema/{}", n % 10));
        assert_eq!(stored, Some(text(n).as_str()), "change {n} of {last}");
    }
    last
}

#[tokio::test]
async fn after_sigkill_the_next_start_acquires_at_once_and_finds_all_that_was_confirmed() {
    if serve() {
        return;
    }
    let test = "after_sigkill_the_next_start_acquires_at_once_and_finds_all_that_was_confirmed";
    let folder = tempfile::tempdir().unwrap();
    let store = FileStore::at(folder.path());
    let mut from = 1;
    for round in 0..10_u64 {
        let mut child = child(test, folder.path(), LONG);
        child.done("acquire");
        let before = (fs::read(folder.path().join("orders/lock")), store.peek(&scope()));
        let error = store.acquire(&scope(), &owner("parent")).await.unwrap_err();
        assert_eq!(error.code(), "state.held");
        assert!(error.to_string().contains(&format!("process {} on here", child.id())), "{error}");
        let after = (fs::read(folder.path().join("orders/lock")), store.peek(&scope()));
        assert_eq!((before.0.unwrap(), before.1.unwrap()), (after.0.unwrap(), after.1.unwrap()));

        child.tell(&format!("run {from}"));
        let mut confirmed = from - 1;
        // A different moment in each round; the log is written anew about every forty.
        for _ in 0..10 + round * 7 {
            confirmed = child.answer()[3..].parse().unwrap();
        }
        if let Some(last) = child.kill().last() {
            confirmed = last[3..].parse().unwrap();
        }
        // At once: the first attempt, long before the deadline.
        let lease = store.acquire(&scope(), &owner("parent")).await.unwrap();
        let stored = is_whole(&store.load(&lease).await.unwrap());
        assert!((confirmed..=confirmed + 1).contains(&stored), "confirmed {confirmed}, stored {stored}");
        store.release(lease).await.unwrap();
        from = stored + 1;
    }
}

#[tokio::test]
async fn a_stopped_process_is_fenced_when_another_took_over() {
    if serve() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut child = child("a_stopped_process_is_fenced_when_another_took_over", folder.path(), SHORT);
    child.done("acquire");
    child.done("store 1");
    child.stop();
    let store = FileStore::at(folder.path()).lease(LONG);
    let lease = take_over(&store).await;
    assert_eq!(position(&store.load(&lease).await.unwrap()), Some("1"));
    store.commit(&lease, &at(2)).await.unwrap();
    let log = folder.path().join("orders/checkpoint.1");
    let before = fs::read(&log).unwrap();

    child.tell("commit 9");
    child.go_on();
    assert!(child.answer().starts_with("error state.fenced transient=false"));
    for order in ["renew", "load", "store 9", "release"] {
        child.refused(order, "state.fenced");
    }
    assert_eq!(fs::read(&log).unwrap(), before);
    store.commit(&lease, &at(3)).await.unwrap();
    assert_eq!(position(&store.peek(&scope()).unwrap()), Some("3"));
}

#[tokio::test]
async fn a_stopped_process_writes_nothing_until_it_has_renewed_and_then_goes_on() {
    if serve() {
        return;
    }
    let test = "a_stopped_process_writes_nothing_until_it_has_renewed_and_then_goes_on";
    let folder = tempfile::tempdir().unwrap();
    let mut child = child(test, folder.path(), SHORT);
    child.done("acquire");
    child.done("store 1");
    child.stop();
    // Longer ago than any renewal that it may have made.
    let deadline = Uptime::now().after(SHORT);
    poll("the deadline passes", async || (Uptime::now() > deadline).then_some(())).await;
    let log = folder.path().join("orders/checkpoint");
    let before = fs::read(&log).unwrap();
    child.tell("commit 2");
    child.go_on();
    let answer = child.answer();
    assert!(answer.starts_with("error state.lease_expired transient=true"), "{answer}");
    child.refused("load", "state.lease_expired");
    assert_eq!(fs::read(&log).unwrap(), before);

    child.done("renew");
    child.done("store 2");
    child.done("release");
    let store = FileStore::at(folder.path());
    let lease = store.acquire(&scope(), &owner("parent")).await.unwrap();
    assert_eq!(is_whole(&store.load(&lease).await.unwrap()), 2);
}

/// Stopped anywhere in a commit, also in the middle of writing the log anew.
#[test]
fn a_process_stopped_at_any_moment_does_no_harm_to_its_successor() {
    if serve() {
        return;
    }
    let test = "a_process_stopped_at_any_moment_does_no_harm_to_its_successor";
    let round = |round: u64| async move {
        let folder = tempfile::tempdir().unwrap();
        let mut child = child(test, folder.path(), SHORT);
        child.done("acquire");
        child.tell("run 1");
        for _ in 0..35 + round * 2 {
            assert!(child.answer().starts_with("ok"));
        }
        let store = FileStore::at(folder.path()).lease(LONG);
        let mut stopped: Option<Uptime> = None;
        let lease = poll("the lease is taken over", async || {
            // One that was stopped while it renewed may still do so: it gets another moment to be stopped at.
            if stopped.is_none_or(|at| Uptime::now().since(at) > Duration::from_secs(5)) {
                child.go_on();
                assert!(child.answer().starts_with("ok"));
                child.stop();
                stopped = Some(Uptime::now());
            }
            store.acquire(&scope(), &owner("parent")).await.ok()
        })
        .await;
        let found = is_whole(&store.load(&lease).await.unwrap());
        store.commit(&lease, &at(found + 1_000_000)).await.unwrap();
        child.go_on();
        while !child.answer().starts_with("error state.fenced") {}
        let stored = store.load(&lease).await.unwrap();
        assert_eq!(position(&stored), Some((found + 1_000_000).to_string().as_str()));
        assert_eq!(store.peek(&scope()).unwrap(), stored);
        store.release(lease).await.unwrap();
        let lease = store.acquire(&scope(), &owner("next")).await.unwrap();
        assert_eq!(store.load(&lease).await.unwrap(), stored);
    };
    std::thread::scope(|threads| {
        for n in 0..8 {
            threads.spawn(move || {
                let mut builder = tokio::runtime::Builder::new_current_thread();
                builder.enable_time().build().unwrap().block_on(round(n));
            });
        }
    });
}
