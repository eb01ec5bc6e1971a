use outflow_sdk::{BatchBuilder, Op};
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{RngExt as _, SeedableRng as _};

use super::*;

fn ledger(generation: u64) -> Arc<Ledger> {
    Ledger::new(generation, Arc::new(Meter::new()))
}

fn emit(ledger: &Ledger, partition: &str, end: Option<u64>) -> Seq {
    let mut builder = BatchBuilder::new();
    builder.event(Op::Heartbeat).end();
    let mut batch = builder.finish(partition.into(), end.map(|n| Position::token(n.to_string())));
    ledger.emit(&mut batch)
}

fn offer(ledger: &Ledger, seq: Seq) -> AckToken {
    let payload = Payload::Records(Arc::default());
    let token = ledger.offer(seq, &payload, 1);
    ledger.arm(token);
    token
}

fn position(progress: &Progress, partition: &str) -> Option<u64> {
    let mut positions = progress.delta.positions();
    let (_, position) = positions.find(|(p, _)| p.as_str() == partition)?;
    position?.as_str().parse().ok()
}

#[test]
fn only_the_contiguous_prefix_counts() {
    let ledger = ledger(1);
    let tokens: Vec<_> = (0..4).map(|n| emit(&ledger, "p", Some(n))).map(|s| offer(&ledger, s)).collect();
    ledger.resolve(tokens[2], Outcome::Durable);
    ledger.resolve(tokens[1], Outcome::Durable);
    assert!(ledger.collect().is_empty());
    ledger.resolve(tokens[0], Outcome::Durable);
    assert_eq!(position(&ledger.collect(), "p"), Some(2));
    assert!(ledger.collect().is_empty(), "progress is told once");
    ledger.resolve(tokens[3], Outcome::Durable);
    assert_eq!(position(&ledger.collect(), "p"), Some(3));
    assert!(ledger.is_settled());
    assert_eq!(ledger.retained().0, 0);
}

#[test]
fn of_a_thousand_partitions_one_that_is_stuck_holds_up_no_other() {
    let ledger = ledger(1);
    let names: Vec<String> = (0..1000).map(|n| format!("shard-{n}")).collect();
    for name in &names {
        for n in 0..3 {
            let token = offer(&ledger, emit(&ledger, name, Some(n)));
            if name != "shard-500" || n > 0 {
                ledger.resolve(token, Outcome::Durable);
            }
        }
    }
    let progress = ledger.collect();
    assert_eq!(progress.releases.len(), 999);
    for name in &names {
        let expected = (name != "shard-500").then_some(2);
        assert_eq!(position(&progress, name), expected, "{name}");
    }
}

#[test]
fn a_late_ack_of_an_older_generation_or_offer_moves_nothing() {
    let old = ledger(1);
    let late = offer(&old, emit(&old, "p", Some(7)));
    let new = ledger(2);
    let seq = emit(&new, "p", Some(1));
    let first = offer(&new, seq);
    // The same sequence number, in another generation.
    assert_eq!(late.seq, first.seq);
    new.resolve(late, Outcome::Durable);
    assert!(new.collect().is_empty());
    // Offered again: the answer to the first offer no longer counts.
    let second = offer(&new, seq);
    new.resolve(first, Outcome::Failed(Error::transient("x")));
    assert!(new.take_failure().is_none());
    new.resolve(second, Outcome::Durable);
    new.resolve(second, Outcome::Durable);
    assert_eq!(position(&new.collect(), "p"), Some(1));
    // And after the end of a generation nothing counts.
    old.retire();
    old.resolve(late, Outcome::Durable);
    assert!(old.collect().is_empty());
}

#[test]
fn an_answer_before_the_batch_is_taken_counts_only_if_it_is_taken() {
    let ledger = ledger(1);
    let seq = emit(&ledger, "p", Some(1));
    let payload = Payload::Records(Arc::default());
    let refused = ledger.offer(seq, &payload, 1);
    // The sink resolved the ack and then returned an error: nothing was taken.
    ledger.resolve(refused, Outcome::Durable);
    let token = ledger.offer(seq, &payload, 1);
    assert!(ledger.collect().is_empty());
    ledger.resolve(token, Outcome::Durable);
    assert!(ledger.collect().is_empty());
    ledger.arm(token);
    assert_eq!(position(&ledger.collect(), "p"), Some(1));
}

#[test]
fn refused_events_hold_the_position_until_they_are_seen_to() {
    let ledger = ledger(1);
    let seq = emit(&ledger, "p", Some(1));
    ledger.resolve(offer(&ledger, seq), Outcome::Rejected(vec![(0, Error::data("x.bad"))]));
    assert!(ledger.collect().is_empty());
    let refused = ledger.take_refused();
    assert_eq!((refused.len(), refused[0].bad.len()), (1, 1));
    ledger.finish(seq);
    assert_eq!(position(&ledger.collect(), "p"), Some(1));
}

#[test]
fn marks_release_without_a_position() {
    let ledger = ledger(1);
    let token = offer(&ledger, emit(&ledger, "outbox", None));
    ledger.resolve(token, Outcome::Durable);
    let progress = ledger.collect();
    assert!(progress.delta.is_empty());
    assert_eq!(progress.releases.len(), 1);
    assert_eq!(progress.releases[0].position, None);
}

#[test]
fn filtered_traffic_behind_a_blocked_sink_costs_one_entry() {
    let ledger = ledger(1);
    let blocked = offer(&ledger, emit(&ledger, "p", Some(0)));
    let charged = ledger.retained().0;
    for n in 1..10_000 {
        ledger.finish(emit(&ledger, "p", Some(n)));
    }
    assert_eq!(ledger.retained().0, charged);
    assert_eq!(ledger.lock().lanes[&PartitionId::from("p")].entries.len(), 2);
    ledger.resolve(blocked, Outcome::Durable);
    assert_eq!(position(&ledger.collect(), "p"), Some(9999));
}

#[test]
fn what_is_stored_no_longer_counts_as_to_be_replayed() {
    let ledger = ledger(1);
    let token = offer(&ledger, emit(&ledger, "p", Some(0)));
    emit(&ledger, "p", Some(1));
    let before = ledger.retained().1;
    ledger.resolve(token, Outcome::Durable);
    assert_eq!(ledger.retained().1, before, "durable is not yet stored");
    let progress = ledger.collect();
    ledger.stored(&progress);
    assert_eq!(ledger.retained().1, before / 2);
}

/// Against a model: whatever the order of acks, the stored position is the longest prefix that is done.
#[test]
fn any_order_of_acks_gives_the_longest_done_prefix() {
    for seed in 0..300 {
        let mut rng = StdRng::seed_from_u64(seed);
        let ledger = ledger(1);
        let lanes = rng.random_range(1..4_usize);
        let mut open: Vec<(usize, u64, AckToken)> = Vec::new();
        let mut emitted = vec![0_u64; lanes];
        let mut done = vec![Vec::<bool>::new(); lanes];
        let mut stored = vec![0_u64; lanes];
        for _ in 0..rng.random_range(1..200) {
            if rng.random_bool(0.5) || open.is_empty() {
                let lane = rng.random_range(0..lanes);
                let seq = emit(&ledger, &lane.to_string(), Some(emitted[lane]));
                open.push((lane, emitted[lane], offer(&ledger, seq)));
                emitted[lane] += 1;
                done[lane].push(false);
            } else {
                open.shuffle(&mut rng);
                let Some((lane, n, token)) = open.pop() else { continue };
                ledger.resolve(token, Outcome::Durable);
                done[lane][n as usize] = true;
            }
            if rng.random_bool(0.3) {
                let progress = ledger.collect();
                for lane in 0..lanes {
                    let prefix = done[lane].iter().take_while(|d| **d).count() as u64;
                    let expected = (prefix > stored[lane]).then(|| prefix - 1);
                    assert_eq!(position(&progress, &lane.to_string()), expected, "seed {seed}");
                    stored[lane] = prefix;
                }
            }
        }
    }
}
