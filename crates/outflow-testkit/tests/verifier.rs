//! The checker, tested by planted faults: each is caught as what it is, and a clean run is clean.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends where it fails")]

use std::fs;

use outflow_testkit::verifier::journal::{Change, Entry, Journal, Row};
use outflow_testkit::verifier::{
    Checker, Delivery, History, Mark, Order, Problem, RepeatBound, Replica, Report, RowId, whole_lines,
};
use proptest::prelude::*;

/// A made-up past: what the journals say, and the deliveries of a pipeline that makes no mistake.
#[derive(Clone, Debug, Default)]
struct Past {
    entries: Vec<Entry>,
    deliveries: Vec<Delivery>,
    phantoms: Vec<Delivery>,
    rows: u128,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Commit,
    RollBack,
    /// The generator was killed around COMMIT, which was carried out or not.
    Killed {
        committed: bool,
    },
}

impl Past {
    /// A transaction that lasted from `begun` to `ended`, after all others. The rows of `undone` keys are taken back
    /// by a rollback to a savepoint.
    fn transaction(&mut self, keys: &[u8], undone: &[u8], end: End, begun: u64, ended: u64) {
        let number = self.entries.len();
        let (tx, writer) = (format!("t{number}"), (number % 3) as u32);
        let mut write = |key: &u8| {
            self.rows += 1;
            let row = Row {
                id: RowId::new(self.rows),
                key: format!("key-{key}"),
                seq: self.rows as u64,
                cursor: Some(self.rows as u64),
                padding: u32::from(*key % 2) * 20,
                change: Change::Write,
            };
            let mark = Mark { id: row.id, key: row.key.clone(), seq: row.seq, tx: tx.clone(), writer };
            (Delivery::from_json(mark.payload(row.padding).as_bytes()).unwrap(), row)
        };
        let (undone, undone_rows): (Vec<_>, Vec<_>) = undone.iter().map(&mut write).unzip();
        let (kept, rows): (Vec<_>, Vec<_>) = keys.iter().map(&mut write).unzip();
        let committed = matches!(end, End::Commit | End::Killed { committed: true });
        if end == End::RollBack {
            self.entries.push(Entry::RolledBack { tx, writer, rows });
        } else {
            self.entries.push(Entry::Intent { tx: tx.clone(), writer, begun, rows, undone: undone_rows });
            self.phantoms.extend(undone);
            if end == End::Commit {
                self.entries.push(Entry::Committed { tx, at: ended });
            }
        }
        if committed { &mut self.deliveries } else { &mut self.phantoms }.extend(kept);
    }

    /// Four transactions, one after the other, on two keys.
    fn example() -> Self {
        let mut past = Self::default();
        past.transaction(&[1, 2, 1], &[1], End::Commit, 10, 20);
        past.transaction(&[1, 2], &[], End::RollBack, 30, 40);
        past.transaction(&[2, 1], &[], End::Commit, 50, 60);
        past.transaction(&[1], &[], End::Commit, 70, 80);
        past
    }

    fn history(&self) -> History {
        let mut history = History::default();
        for entry in &self.entries {
            history.add(entry.clone()).unwrap();
        }
        history
    }

    fn check(&self, order: Order) -> Report {
        let mut checker = Checker::new(self.history(), order);
        self.deliveries.iter().for_each(|d| checker.deliver(d));
        checker.finish()
    }
}

const ORDERS: [Order; 3] = [Order::Sequence, Order::Cursor, Order::Visible];

/// Exactly these faults, and no others.
#[track_caller]
fn assert_faults(report: &Report, faults: &[&str]) {
    assert_eq!(report.faults(0), faults, "{report}");
}

#[test]
fn a_clean_run_is_clean() {
    for order in ORDERS {
        let report = Past::example().check(order);
        report.assert_clean(0);
        assert_eq!((report.written, report.transactions, report.delivered), (6, 3, 6));
    }
}

#[test]
fn a_dropped_row_is_lost() {
    for order in ORDERS {
        for dropped in 0..6 {
            let mut past = Past::example();
            let id = past.deliveries.remove(dropped).mark.id;
            let report = past.check(order);
            assert_faults(&report, &["1 lost"]);
            assert!(report.findings()[0].what.contains(&id.to_string()), "it is named");
        }
    }
}

#[test]
fn two_swapped_rows_of_a_key_are_out_of_order() {
    for order in ORDERS {
        for (one, other) in [(0, 2), (2, 4), (4, 5), (1, 3)] {
            let mut past = Past::example();
            past.deliveries.swap(one, other);
            assert_faults(&past.check(order), &["1 out of order"]);
        }
        let mut past = Past::example();
        past.deliveries.swap(2, 3); // of different keys
        past.check(order).assert_clean(0);
    }
}

#[test]
fn rows_of_overlapping_transactions_may_come_in_either_order_if_only_visibility_is_promised() {
    let mut past = Past::default();
    past.transaction(&[1, 1], &[], End::Commit, 10, 40);
    past.transaction(&[1], &[], End::Commit, 20, 30);
    past.transaction(&[1], &[], End::Commit, 41, 50);
    past.deliveries.rotate_left(2); // second, third, first, first
    assert_faults(&past.check(Order::Visible), &["2 out of order"]);
    past.deliveries.swap(1, 2);
    assert_faults(&past.check(Order::Visible), &["1 out of order"]);
    past.deliveries.swap(2, 3); // second, first, first, third
    past.check(Order::Visible).assert_clean(0);
    assert_faults(&past.check(Order::Cursor), &["2 out of order"]);
    past.deliveries.swap(1, 2); // a transaction's own rows keep their order
    assert_faults(&past.check(Order::Visible), &["1 out of order"]);
}

#[test]
fn phantoms_are_caught() {
    let rolled_back = Past::example().phantoms;
    assert_eq!(rolled_back.len(), 3, "two by a rollback, one by a rollback to a savepoint");
    let mut never_written = rolled_back[0].clone();
    never_written.mark.id = RowId::new(999);
    for phantom in rolled_back.into_iter().chain([never_written]) {
        let mut past = Past::example();
        past.deliveries.insert(3, phantom);
        assert_faults(&past.check(Order::Sequence), &["1 phantoms"]);
    }
}

#[test]
fn losing_the_last_row_of_a_transaction_is_noticed_even_if_its_commit_is_uncertain() {
    let mut past = Past::example();
    past.transaction(&[1, 2, 1], &[], End::Killed { committed: true }, 90, 95);
    let report = past.check(Order::Sequence);
    report.assert_clean(0);
    assert_eq!((report.uncertain, report.uncertain_committed, report.written), (1, 1, 9));
    past.deliveries.pop();
    assert_faults(&past.check(Order::Sequence), &["1 lost"]);

    // If nothing of it arrives, only the database knows.
    past.deliveries.truncate(6);
    let report = past.check(Order::Sequence);
    report.assert_clean(0);
    assert_eq!((report.uncertain, report.uncertain_committed), (1, 0));
    let mut history = past.history();
    assert_eq!((history.uncertain(), history.committed()), (1, 6));
    assert_eq!(history.resolve(|tx| Ok(tx == "t7")).unwrap(), 1);
    assert_eq!((history.uncertain(), history.committed()), (0, 9));
    let mut checker = Checker::new(history, Order::Sequence);
    past.deliveries.iter().for_each(|d| checker.deliver(d));
    assert_faults(&checker.finish(), &["3 lost"]);

    // And what the database has rolled back is a phantom.
    past.transaction(&[1], &[], End::Killed { committed: false }, 96, 97);
    let mut history = past.history();
    history.resolve(|_| Ok(false)).unwrap();
    let mut checker = Checker::new(history, Order::Sequence);
    checker.deliver(past.phantoms.last().unwrap());
    assert_eq!(checker.finish().count(Problem::Phantom), 1);
}

#[test]
fn repeats_are_counted_by_restart_and_bounded() {
    let past = Past::example();
    let mut checker = Checker::new(past.history(), Order::Sequence);
    past.deliveries[..4].iter().for_each(|d| checker.deliver(d));
    checker.restarted();
    past.deliveries[2..5].iter().for_each(|d| checker.deliver(d));
    checker.restarted();
    past.deliveries[4..].iter().for_each(|d| checker.deliver(d));
    let report = checker.finish();
    assert_eq!(report.repeats, [0, 2, 1]);
    report.assert_clean(3);
    report.assert_clean(RepeatBound::PerRestart(2));
    report.assert_clean(RepeatBound::Restarts(vec![2, 1]));
    assert_eq!(report.faults(2), ["3 repeats in all, at most 2 are allowed"]);
    assert_eq!(
        report.faults(RepeatBound::PerRestart(1)),
        ["2 repeats after restart 1, at most 1 are allowed"]
    );
    assert_eq!(
        report.faults(RepeatBound::Restarts(vec![2])),
        ["1 repeats after restart 2, at most 0 are allowed"]
    );
}

#[test]
fn altered_content_is_caught() {
    let alter: [fn(&mut Delivery); 5] = [
        |d| d.mark.key = "key-9".into(),
        |d| d.mark.seq += 1,
        |d| d.mark.tx = "t9".into(),
        |d| d.mark.writer += 1,
        |d| d.padding = None,
    ];
    for alter in alter {
        let mut past = Past::example();
        alter(&mut past.deliveries[3]);
        assert_faults(&past.check(Order::Sequence), &["1 altered"]);
    }
}

#[test]
fn deletions_and_updates_are_changes_of_their_own() {
    let mut past = Past::example();
    let written = past.deliveries[5].clone();
    let deletion = Row {
        id: written.mark.id,
        key: written.mark.key.clone(),
        seq: 100,
        cursor: None,
        padding: 0,
        change: Change::Delete,
    };
    past.entries.push(Entry::Intent {
        tx: "d".into(),
        writer: 0,
        begun: 90,
        rows: vec![deletion],
        undone: vec![],
    });
    past.entries.push(Entry::Committed { tx: "d".into(), at: 95 });
    assert_faults(&past.check(Order::Sequence), &["1 lost"]);
    let deleted = Delivery { change: Change::Delete, ..written };
    past.deliveries.push(deleted);
    past.check(Order::Sequence).assert_clean(0);
    past.deliveries.swap(5, 6);
    assert_faults(&past.check(Order::Sequence), &["1 out of order"]);

    let json = format!(
        r#"{{"payload": {{"op": "d", "before": {}, "after": null}}}}"#,
        past.deliveries[0].mark.payload(0)
    );
    assert_eq!(Delivery::from_json(json.as_bytes()).unwrap().change, Change::Delete);
}

#[test]
fn a_check_of_nothing_is_not_clean() {
    assert_faults(&Past::default().check(Order::Sequence), &["nothing was written, so nothing was checked"]);
}

#[test]
#[should_panic(
    expected = "the delivery is not clean: 1 lost\n6 changes in 3 transactions written, 5 delivered: 1 \
                           lost, 0 phantoms, 0 out of order, 0 altered, 0 unreadable, 0 repeats over 0 restarts"
)]
fn the_assertion_shows_the_report() {
    let mut past = Past::example();
    past.deliveries.pop();
    past.check(Order::Sequence).assert_clean(0);
}

#[test]
fn an_output_file_is_read_with_its_restarts_and_its_torn_line() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("out.jsonl");
    assert_eq!(whole_lines(&output).unwrap(), 0);
    let past = Past::example();
    let line = |d: &Delivery| {
        let payload = d.mark.payload(d.padding.unwrap());
        format!("{}\n", serde_json::json!({"id": d.mark.id, "payload": payload}))
    };
    let first: String = past.deliveries[..4].iter().map(line).collect();
    let second: String = past.deliveries[3..].iter().map(line).collect();

    // Killed in the middle of a line: the restarted pipeline cuts it off.
    fs::write(&output, format!("{first}{{\"torn")).unwrap();
    let restart = whole_lines(&output).unwrap();
    assert_eq!(restart, first.len() as u64);
    fs::write(&output, format!("{first}{second}")).unwrap();
    let whole = whole_lines(&output).unwrap();
    let check = |restarts: &[u64]| {
        let mut checker = Checker::new(past.history(), Order::Sequence);
        checker.deliver_file(&output, restarts).unwrap();
        checker.finish()
    };
    // A second kill before anything more was delivered, and a third at the end.
    let report = check(&[restart, restart, whole]);
    assert_eq!(report.repeats, [0, 0, 1, 0]);
    report.assert_clean(1);

    // Nobody cut off the torn line.
    fs::write(&output, format!("{first}{second}{{\"torn")).unwrap();
    assert_eq!(check(&[restart]).faults(1), ["1 unreadable"]);
    fs::write(&output, format!("{first}{{\"torn{second}")).unwrap();
    assert_eq!(check(&[restart]).faults(1), ["1 unreadable"], "the row was delivered before");
    // Large lines, read back from the end.
    fs::write(&output, format!("{first}{}", "x".repeat(200_000))).unwrap();
    assert_eq!(whole_lines(&output).unwrap(), restart);
    fs::write(&output, "x".repeat(200_000)).unwrap();
    assert_eq!(whole_lines(&output).unwrap(), 0);
}

#[test]
fn journals_survive_their_writer() {
    let folder = tempfile::tempdir().unwrap();
    let past = Past::example();
    assert!(History::read(folder.path()).is_err_and(|e| e.code() == "verifier.journal"), "no journal");
    let mut journal = Journal::create(folder.path(), "a").unwrap();
    for entry in &past.entries {
        journal.append(entry).unwrap();
    }
    assert!(Journal::create(folder.path(), "a").is_err(), "a journal is never written by two");
    let history = History::read(folder.path()).unwrap();
    assert_eq!((history.committed(), history.uncertain()), (6, 0));
    assert_eq!(history.committed_at(past.deliveries[5].mark.id), Some(80));
    assert_eq!(history.committed_at(past.phantoms[0].mark.id), None);

    // A torn outcome leaves its intent open; a torn intent was never followed by COMMIT.
    let path = folder.path().join("a.journal");
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() - 1]).unwrap();
    let history = History::read(folder.path()).unwrap();
    assert_eq!((history.committed(), history.uncertain()), (5, 1));
    let intent = whole[..whole.len() - 1].iter().rposition(|b| *b == b'\n').unwrap();
    fs::write(&path, &whole[..intent]).unwrap();
    let history = History::read(folder.path()).unwrap();
    assert_eq!((history.committed(), history.uncertain()), (5, 0));

    fs::write(&path, [b"nonsense\n", &whole[..]].concat()).unwrap();
    let error = History::read(folder.path()).err().unwrap();
    assert!(error.to_string().contains("line=1"), "{error}");
}

#[test]
fn contradictions_of_journals_are_refused() {
    let past = Past::example();
    for index in 0..past.entries.len() {
        let mut history = past.history();
        let error = history.add(past.entries[index].clone()).unwrap_err();
        assert_eq!(error.code(), "verifier.journal");
    }
    let committed = Entry::Committed { tx: "nobody's".into(), at: 1 };
    assert!(History::default().add(committed).is_err());
}

#[test]
fn the_final_state_is_compared() {
    let mut replica = Replica::new();
    for (key, row) in [("1", "a"), ("2", "b"), ("3", "c"), ("1", "d")] {
        replica.write(key, row);
    }
    replica.delete("3");
    replica.delete("3");
    let table = |rows: &[(&str, &str)]| -> Vec<(String, String)> {
        rows.iter().map(|(k, r)| ((*k).to_owned(), (*r).to_owned())).collect()
    };
    replica.compare(table(&[("2", "b"), ("1", "d")])).assert_none();
    let difference = replica.compare(table(&[("1", "a"), ("4", "e")]));
    assert_eq!((difference.equal, difference.missing, difference.extra, difference.different), (0, 1, 1, 1));
    assert!(!difference.is_none());
    replica.clear();
    replica.compare(table(&[])).assert_none();
}

/// Transactions one after the other, as serialised writers make them.
fn pasts() -> impl Strategy<Value = Past> {
    let end = prop_oneof![
        4 => Just(End::Commit),
        1 => Just(End::RollBack),
        1 => any::<bool>().prop_map(|committed| End::Killed { committed }),
    ];
    let keys = || prop::collection::vec(0..4_u8, 1..5);
    let undone = prop_oneof![3 => Just(vec![]), 1 => keys()];
    prop::collection::vec((keys(), undone, end), 1..20).prop_map(|transactions| {
        let mut past = Past::default();
        past.transaction(&[0, 1, 2, 3, 0], &[2], End::Commit, 1, 2);
        for (time, (keys, undone, end)) in transactions.into_iter().enumerate() {
            let time = 10 * (time as u64 + 1);
            past.transaction(&keys, &undone, end, time, time + 5);
        }
        past
    })
}

proptest! {
    /// A pipeline that is killed again and again, and each time goes on at an earlier place, is clean; and each fault
    /// that is planted into its deliveries is found, as what it is.
    #[test]
    fn random_histories(
        past in pasts(),
        kills in prop::collection::vec((any::<prop::sample::Index>(), 0..6_usize), 0..5),
        victim in any::<prop::sample::Index>(),
        other in any::<prop::sample::Index>(),
    ) {
        // What arrives: the deliveries, with a jump back at each kill.
        let mut runs: Vec<Vec<Delivery>> = vec![vec![]];
        let (mut next, mut repeats) = (0, vec![]);
        let mut stops: Vec<_> = kills.iter().map(|(at, back)| (at.index(past.deliveries.len()), *back)).collect();
        stops.sort_unstable();
        for (at, back) in stops {
            let at = at.max(next);
            runs.last_mut().unwrap().extend_from_slice(&past.deliveries[next..at]);
            next = at.saturating_sub(back);
            repeats.push((at - next) as u64);
            runs.push(vec![]);
        }
        runs.last_mut().unwrap().extend_from_slice(&past.deliveries[next..]);
        let check = |history: History, runs: &[Vec<Delivery>], order| {
            let mut checker = Checker::new(history, order);
            for (number, run) in runs.iter().enumerate() {
                if number > 0 {
                    checker.restarted();
                }
                run.iter().for_each(|d| checker.deliver(d));
            }
            checker.finish()
        };
        let resolved = || {
            let mut history = past.history();
            let committed = |tx: &str| past.deliveries.iter().any(|d| d.mark.tx == tx);
            history.resolve(|tx| Ok(committed(tx))).unwrap();
            history
        };
        for order in ORDERS {
            for history in [past.history(), resolved()] {
                let report = check(history, &runs, order);
                prop_assert_eq!(report.faults(RepeatBound::Restarts(repeats.clone())), Vec::<String>::new());
                prop_assert_eq!(report.written, past.deliveries.len() as u64);
            }
        }

        let found = |runs: &[Vec<Delivery>], order, problem| check(resolved(), runs, order).count(problem);
        // Lose a row wherever it was delivered.
        let lost = &past.deliveries[victim.index(past.deliveries.len())].mark.id;
        let mut faulty = runs.clone();
        faulty.iter_mut().for_each(|run| run.retain(|d| d.mark.id != *lost));
        prop_assert_eq!(found(&faulty, Order::Sequence, Problem::Lost), 1);
        // Deliver what was rolled back.
        let mut faulty = runs.clone();
        faulty[0].insert(0, past.phantoms[other.index(past.phantoms.len())].clone());
        prop_assert_eq!(found(&faulty, Order::Sequence, Problem::Phantom), 1);
        // Let a row be overtaken by the next of its key.
        let mut deliveries = past.deliveries.clone();
        let index = victim.index(deliveries.len());
        let key = deliveries[index].mark.key.clone();
        if let Some(later) = (index + 1..deliveries.len()).find(|i| deliveries[*i].mark.key == key) {
            // Where nobody saw when a commit was over, it may have overlapped with all that follow.
            let timed = past.history().committed_at(deliveries[index].mark.id).is_some();
            deliveries.swap(index, later);
            for order in ORDERS.into_iter().filter(|order| timed || *order != Order::Visible) {
                prop_assert!(found(&[deliveries.clone()], order, Problem::OutOfOrder) >= 1, "{:?}", order);
            }
        }
        // Repeat once more than allowed.
        let mut faulty = runs.clone();
        let last = faulty.last_mut().unwrap();
        last.extend(past.deliveries.last().cloned());
        let report = check(resolved(), &faulty, Order::Sequence);
        prop_assert_eq!(report.faults(repeats.iter().sum::<u64>()).len(), 1);
    }
}
