//! The file store: durability, damage, leases.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use common::{at, owner, poll, position, schema, scope};
use outflow_sdk::{Checkpoint, CheckpointStore as _, Lease, Result};
use outflow_state::FileStore;

async fn open(store: &FileStore) -> Result<Lease> {
    store.acquire(&scope(), &owner("a")).await
}

/// A store with these commits, given up.
async fn filled(commits: u64) -> (tempfile::TempDir, FileStore, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let store = FileStore::at(folder.path());
    let lease = open(&store).await.unwrap();
    for n in 1..=commits {
        store.commit(&lease, &schema(n, n, "{}")).await.unwrap();
    }
    store.release(lease).await.unwrap();
    let file = store.folder(&scope()).join("checkpoint");
    (folder, store, file)
}

async fn loaded(store: &FileStore) -> Result<Checkpoint> {
    let lease = open(store).await?;
    let checkpoint = store.load(&lease).await?;
    store.release(lease).await?;
    Ok(checkpoint)
}

#[tokio::test]
async fn what_is_committed_is_there_at_the_next_start() {
    let (_folder, store, file) = filled(3).await;
    let checkpoint = loaded(&FileStore::at(file.parent().unwrap().parent().unwrap())).await.unwrap();
    assert_eq!((position(&checkpoint), checkpoint.states().len()), (Some("3"), 3));
    assert_eq!(store.peek(&scope()).unwrap(), checkpoint);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(file.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);
}

#[tokio::test]
async fn a_write_torn_at_any_byte_is_taken_back() {
    let (_folder, store, file) = filled(5).await;
    let whole = fs::read(&file).unwrap();
    let last = whole[..whole.len() - 1].iter().rposition(|b| *b == b'\n').unwrap() + 1;
    for cut in last..whole.len() {
        fs::write(&file, &whole[..cut]).unwrap();
        assert_eq!(position(&loaded(&store).await.unwrap()), Some("4"), "cut at {cut}");
        // And the log goes on from there.
        let lease = open(&store).await.unwrap();
        store.commit(&lease, &at(6)).await.unwrap();
        store.release(lease).await.unwrap();
        assert_eq!(position(&loaded(&store).await.unwrap()), Some("6"), "cut at {cut}");
    }
}

#[tokio::test]
async fn damage_anywhere_else_is_an_error_and_nothing_is_touched() {
    let (_folder, store, file) = filled(5).await;
    let whole = fs::read(&file).unwrap();
    let last = whole[..whole.len() - 1].iter().rposition(|b| *b == b'\n').unwrap() + 1;
    for place in 0..last {
        let mut damaged = whole.clone();
        damaged[place] ^= 0x01;
        fs::write(&file, &damaged).unwrap();
        let error = loaded(&store).await.unwrap_err();
        assert!(
            ["state.corrupt", "state.newer_format", "state.other_pipeline"].contains(&error.code()),
            "byte {place}: {error}"
        );
        assert!(error.hint_text().is_some());
        assert_eq!(fs::read(&file).unwrap(), damaged);
    }
}

#[tokio::test]
async fn a_file_that_lost_all_its_changes_is_no_first_start() {
    let (_folder, store, file) = filled(3).await;
    let whole = fs::read(&file).unwrap();
    let header = whole.iter().position(|b| *b == b'\n').unwrap() + 1;
    let first = header + whole[header..].iter().position(|b| *b == b'\n').unwrap() + 1;
    for cut in 0..first {
        fs::write(&file, &whole[..cut]).unwrap();
        assert_eq!(loaded(&store).await.unwrap_err().code(), "state.corrupt", "cut at {cut}");
        assert_eq!(store.peek(&scope()).unwrap_err().code(), "state.corrupt", "cut at {cut}");
    }
}

#[tokio::test]
async fn a_log_that_cannot_be_written_anew_goes_on_growing() {
    let (_folder, store, file) = filled(1).await;
    let lease = open(&store).await.unwrap();
    // In the way of the new log.
    let way = file.with_file_name("checkpoint.new");
    fs::create_dir(&way).unwrap();
    let text = "x".repeat(1000);
    for n in 0..300 {
        store.commit(&lease, &schema(n % 10, n, &text)).await.unwrap();
    }
    assert!(fs::metadata(&file).unwrap().len() > 300_000);
    fs::remove_dir(&way).unwrap();
    for n in 0..300 {
        store.commit(&lease, &schema(n % 10, n, &text)).await.unwrap();
    }
    assert!(fs::metadata(&file).unwrap().len() < 150_000);
    store.release(lease).await.unwrap();
    assert_eq!(loaded(&store).await.unwrap().states().len(), 10);
}

#[tokio::test]
async fn a_log_put_aside_is_kept_and_the_next_start_is_a_first_one() {
    let (_folder, store, file) = filled(3).await;
    let before = fs::read(&file).unwrap();
    let aside = store.set_aside(&scope()).await.unwrap().unwrap();
    assert_eq!(fs::read(&aside).unwrap(), before);
    assert!(store.peek(&scope()).unwrap().is_empty());
    assert_eq!(store.set_aside(&scope()).await.unwrap(), None, "there is nothing more");
    assert!(loaded(&store).await.unwrap().is_empty());
    // Also a damaged one, but none in use.
    fs::write(&file, "damaged").unwrap();
    let second = store.set_aside(&scope()).await.unwrap().unwrap();
    assert_ne!(second, aside);
    let _lease = open(&store).await.unwrap();
    assert_eq!(store.set_aside(&scope()).await.unwrap_err().code(), "state.held");
}

#[tokio::test]
async fn a_newer_format_and_another_pipelines_file_are_refused() {
    let (_folder, store, file) = filled(1).await;
    let whole = fs::read_to_string(&file).unwrap();
    fs::write(&file, whole.replacen(" 1 ", " 2 ", 1)).unwrap();
    assert_eq!(loaded(&store).await.unwrap_err().code(), "state.newer_format");
    fs::write(&file, whole.replacen("orders", "invoices", 1)).unwrap();
    assert_eq!(loaded(&store).await.unwrap_err().code(), "state.other_pipeline");
}

#[tokio::test]
async fn the_log_is_written_anew_and_keeps_what_it_says() {
    let (_folder, store, file) = filled(1).await;
    let lease = open(&store).await.unwrap();
    let text = "x".repeat(1000);
    let mut largest = 0;
    for n in 0..1000 {
        store.commit(&lease, &schema(n % 10, n, &text)).await.unwrap();
        largest = largest.max(fs::metadata(&file).unwrap().len());
    }
    assert!(largest < 150_000, "{largest}");
    store.release(lease).await.unwrap();
    assert_eq!(loaded(&store).await.unwrap().states().len(), 10);
}

#[tokio::test]
async fn a_live_lease_refuses_a_second_instance_and_names_the_owner() {
    let (_folder, store, file) = filled(1).await;
    let lease = open(&store).await.unwrap();
    let before = fs::read(&file).unwrap();
    let other = FileStore::at(file.parent().unwrap().parent().unwrap());
    let error = other.acquire(&scope(), &owner("b")).await.unwrap_err();
    assert_eq!((error.code(), error.is_transient()), ("state.held", true));
    assert!(error.to_string().contains(&format!("process {} on here", std::process::id())), "{error}");
    assert_eq!(fs::read(&file).unwrap(), before);
    store.release(lease).await.unwrap();
    let lease = other.acquire(&scope(), &owner("b")).await.unwrap();
    assert_eq!(other.renew(&lease).await.unwrap().epoch(), lease.epoch());
}

#[tokio::test]
async fn an_instance_that_stood_still_is_fenced_when_another_took_over() {
    let folder = tempfile::tempdir().unwrap();
    let store = || FileStore::at(folder.path()).lease(Duration::from_millis(100));
    // Not renewed, as by a process that is stopped; its lock is still held.
    let (old_store, new_store) = (store(), store());
    let old = open(&old_store).await.unwrap();
    old_store.commit(&old, &at(1)).await.unwrap();
    let new =
        poll("the lease is taken over", async || match new_store.acquire(&scope(), &owner("b")).await {
            Ok(lease) => Some(lease),
            Err(error) => {
                assert_eq!(error.code(), "state.held");
                None
            }
        })
        .await;
    let new_store = new_store.lease(Duration::from_secs(60));
    let new = new_store.renew(&new).await.unwrap();
    assert!(!old.is_live(), "taken over only after the deadline");
    assert!(new.epoch() > old.epoch());
    new_store.commit(&new, &at(2)).await.unwrap();
    for error in [
        old_store.commit(&old, &at(9)).await.unwrap_err(),
        old_store.renew(&old).await.unwrap_err(),
        old_store.load(&old).await.unwrap_err(),
    ] {
        assert_eq!((error.code(), error.is_fenced()), ("state.fenced", true));
    }
    assert_eq!(position(&new_store.peek(&scope()).unwrap()), Some("2"));
}

#[tokio::test]
async fn what_is_in_the_way_of_the_folder_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let error = open(&FileStore::at(file.join("state"))).await.unwrap_err();
    assert_eq!(error.code(), "state.no_folder");
    assert!(error.hint_text().unwrap().contains("--state-dir"));
}

#[tokio::test]
async fn a_dropped_commit_is_stored_wholly_or_not_at_all_and_a_later_one_follows_it() {
    let (_folder, store, _file) = filled(1).await;
    let lease = open(&store).await.unwrap();
    for n in 10..310 {
        let delta = at(n);
        // Polled once, then dropped.
        let dropped = store.commit(&lease, &delta);
        let _ = tokio::time::timeout(Duration::ZERO, dropped).await;
        store.commit(&lease, &at(n + 1000)).await.unwrap();
        assert_eq!(position(&store.load(&lease).await.unwrap()), Some((n + 1000).to_string().as_str()));
    }
}
