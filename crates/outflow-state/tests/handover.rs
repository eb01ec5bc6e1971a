//! Who may write when several want to: openers that race, leases that ran out, crashes between two file operations.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::sync::Barrier;
use std::time::Duration;

use common::{at, owner, poll, position, scope};
use outflow_sdk::{CheckpointStore as _, Lease, Owner, Uptime};
use outflow_state::{FileStore, MemoryStore};

const SHORT: Duration = Duration::from_millis(100);

/// Waits for the end of a lease by the clock that it is measured with.
async fn ended(lease: &Lease) {
    poll("the lease ends", async || (Uptime::now() >= lease.deadline()).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn of_openers_that_race_one_wins() {
    const OPENERS: usize = 4;
    let folder = tempfile::tempdir().unwrap();
    for round in 0..60_u64 {
        // What the last owner left behind is over: its deadline has passed.
        let text = fs::read_to_string(folder.path().join("orders/lock")).unwrap_or_default();
        if let Some(from) = text.find("\"deadline_ms\":") {
            let end = from + text[from..].find([',', '}']).unwrap();
            fs::write(
                folder.path().join("orders/lock"),
                format!("{}\"deadline_ms\":1{}", &text[..from], &text[end..]),
            )
            .unwrap();
        }
        let barrier = std::sync::Arc::new(Barrier::new(OPENERS));
        let tasks: Vec<_> = (0..OPENERS)
            .map(|n| {
                let (store, barrier) = (FileStore::at(folder.path()), barrier.clone());
                tokio::spawn(async move {
                    let owner = owner(&format!("{round}-{n}"));
                    tokio::task::block_in_place(|| barrier.wait());
                    let lease = store.acquire(&scope(), &owner).await;
                    lease.map(|lease| (store, lease))
                })
            })
            .collect();
        let mut winners = Vec::new();
        for task in tasks {
            match task.await.unwrap() {
                Ok(winner) => winners.push(winner),
                Err(error) => assert_eq!(error.code(), "state.held", "round {round}"),
            }
        }
        assert_eq!(winners.len(), 1, "round {round}");
        let (store, lease) = winners.pop().unwrap();
        store.commit(&lease, &at(round)).await.unwrap();
        assert_eq!(position(&store.load(&lease).await.unwrap()), Some(round.to_string().as_str()));
        store.release(lease).await.unwrap();
    }
}

/// Tries until it holds the lease, and commits 2; or until another has.
async fn take_over(store: FileStore, owner: Owner) -> Option<(FileStore, Lease)> {
    let end = Uptime::now().after(Duration::from_secs(30));
    loop {
        match store.acquire(&scope(), &owner).await {
            Ok(lease) => {
                store.commit(&lease, &at(2)).await.unwrap();
                return Some((store, lease));
            }
            Err(error) => assert_eq!(error.code(), "state.held"),
        }
        if position(&store.peek(&scope()).unwrap()) == Some("2") {
            return None;
        }
        assert!(Uptime::now() < end, "nobody took over");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn of_several_that_would_take_over_one_does() {
    const OPENERS: usize = 4;
    let folder = tempfile::tempdir().unwrap();
    let old_store = FileStore::at(folder.path()).lease(SHORT);
    let old = old_store.acquire(&scope(), &owner("old")).await.unwrap();
    old_store.commit(&old, &at(1)).await.unwrap();
    let tasks: Vec<_> = (0..OPENERS)
        .map(|n| tokio::spawn(take_over(FileStore::at(folder.path()), owner(&format!("new-{n}")))))
        .collect();
    let mut winners = Vec::new();
    for task in tasks {
        winners.extend(task.await.unwrap());
    }
    assert_eq!(winners.len(), 1);
    let (store, lease) = winners.pop().unwrap();
    assert_eq!(old_store.commit(&old, &at(9)).await.unwrap_err().code(), "state.fenced");
    store.commit(&lease, &at(3)).await.unwrap();
    assert_eq!(position(&store.peek(&scope()).unwrap()), Some("3"));
}

#[tokio::test]
async fn a_lease_that_ran_out_reads_and_writes_nothing_until_it_is_renewed() {
    let folder = tempfile::tempdir().unwrap();
    let store = FileStore::at(folder.path()).lease(SHORT);
    let lease = store.acquire(&scope(), &owner("a")).await.unwrap();
    ended(&lease).await;
    let before = fs::read(folder.path().join("orders/checkpoint")).unwrap();
    for error in
        [store.commit(&lease, &at(1)).await.unwrap_err(), store.load(&lease).await.map(drop).unwrap_err()]
    {
        assert_eq!((error.code(), error.is_transient()), ("state.lease_expired", true));
    }
    assert_eq!(fs::read(folder.path().join("orders/checkpoint")).unwrap(), before);
    // A renewal holds for whoever still has the lease of before it.
    let store = store.lease(Duration::from_secs(60));
    store.renew(&lease).await.unwrap();
    store.commit(&lease, &at(1)).await.unwrap();
    assert_eq!(position(&store.load(&lease).await.unwrap()), Some("1"));
}

#[tokio::test]
async fn what_was_released_may_not_write() {
    let folder = tempfile::tempdir().unwrap();
    let (file, memory) = (FileStore::at(folder.path()), MemoryStore::new());
    let stores: [&dyn outflow_sdk::CheckpointStore; 2] = [&file, &memory];
    for store in stores {
        let lease = store.acquire(&scope(), &owner("a")).await.unwrap();
        store.commit(&lease, &at(1)).await.unwrap();
        store.release(lease.clone()).await.unwrap();
        assert_eq!(store.commit(&lease, &at(2)).await.unwrap_err().code(), "state.fenced");
        let next = store.acquire(&scope(), &owner("b")).await.unwrap();
        assert_eq!(store.release(lease).await.unwrap_err().code(), "state.fenced");
        assert_eq!(position(&store.load(&next).await.unwrap()), Some("1"));
    }
}

#[tokio::test]
async fn a_short_name_after_a_long_one_is_still_read() {
    let folder = tempfile::tempdir().unwrap();
    let store = FileStore::at(folder.path());
    let long = Owner { host: "h".repeat(900), pid: 1, instance: "a".into() };
    store.release(store.acquire(&scope(), &long).await.unwrap()).await.unwrap();
    let _lease = store.acquire(&scope(), &Owner { pid: 77, ..owner("b") }).await.unwrap();
    let error = FileStore::at(folder.path()).acquire(&scope(), &owner("c")).await.unwrap_err();
    assert!(error.to_string().contains("process 77 on here"), "{error}");
}

#[tokio::test]
async fn what_a_crash_between_two_steps_leaves_behind_is_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let store = FileStore::at(folder.path());
    let lease = store.acquire(&scope(), &owner("a")).await.unwrap();
    store.commit(&lease, &at(1)).await.unwrap();
    store.release(lease).await.unwrap();
    let place = |name: &str| store.folder(&scope()).join(name);
    let whole = fs::read(place("checkpoint")).unwrap();
    // A new log half written, a new log not yet in place, a lock not yet in place, a lock not yet signed.
    for (name, content) in [
        ("checkpoint.new", &whole[..10]),
        ("checkpoint.new", &whole[..]),
        ("lock.new", b"".as_slice()),
        ("lock", b""),
    ] {
        fs::write(place(name), content).unwrap();
        let lease = store.acquire(&scope(), &owner("b")).await.unwrap();
        assert_eq!(position(&store.load(&lease).await.unwrap()), Some("1"), "after {name}");
        store.release(lease).await.unwrap();
    }
    // Someone removed the lock of a process that may still run.
    fs::remove_file(place("lock")).unwrap();
    let lease = store.acquire(&scope(), &owner("c")).await.unwrap();
    assert_eq!(position(&store.load(&lease).await.unwrap()), Some("1"));
}

#[tokio::test]
async fn who_lost_the_lock_file_is_fenced() {
    let folder = tempfile::tempdir().unwrap();
    let store = FileStore::at(folder.path());
    let old = store.acquire(&scope(), &owner("a")).await.unwrap();
    store.commit(&old, &at(1)).await.unwrap();
    fs::remove_file(folder.path().join("orders/lock")).unwrap();
    assert_eq!(store.commit(&old, &at(9)).await.unwrap_err().code(), "state.fenced");
    let other = FileStore::at(folder.path());
    let new = other.acquire(&scope(), &owner("b")).await.unwrap();
    other.commit(&new, &at(2)).await.unwrap();
    assert_eq!(store.commit(&old, &at(9)).await.unwrap_err().code(), "state.fenced");
    assert_eq!(position(&other.load(&new).await.unwrap()), Some("2"));
}
