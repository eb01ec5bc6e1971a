//! Checkpoints and their deltas, and the text form of positions and ids.

use outflow_core::*;
use proptest::collection::vec;
use proptest::prelude::*;

fn delta() -> impl Strategy<Value = CheckpointDelta> {
    let positions = vec(("[a-c]", proptest::option::of("[0-9]{1,3}")), 0..4);
    let state = vec(("[k-m]", proptest::option::of("[x-z]")), 0..4);
    (proptest::option::of("[fg]"), positions, state).prop_map(|(fingerprint, positions, state)| {
        let mut delta = CheckpointDelta::new();
        if let Some(fingerprint) = fingerprint {
            delta.set_fingerprint(fingerprint);
        }
        for (partition, position) in positions {
            match position {
                Some(at) => delta.set_position(partition.as_str().into(), Position::token(at)),
                None => delta.remove_partition(partition.as_str().into()),
            }
        }
        let mut changes = StateDelta::default();
        for (key, value) in state {
            match value {
                Some(value) => changes.put(key, value),
                None => changes.delete(key),
            }
        }
        delta.append_state(changes);
        delta
    })
}

proptest! {
    /// The last word on every key counts, and what a delta does not name stays.
    #[test]
    fn deltas_apply_in_order(deltas in vec(delta(), 0..6)) {
        let mut checkpoint = Checkpoint::new();
        deltas.iter().for_each(|delta| checkpoint.apply(delta));
        for partition in ["a", "b", "c"] {
            let id = PartitionId::from(partition);
            let last = deltas.iter().rev().find_map(|d| {
                d.positions().find(|(p, _)| **p == id).map(|(_, position)| position.cloned())
            });
            prop_assert_eq!(checkpoint.position(&id).cloned(), last.flatten());
        }
        for key in ["k", "l", "m"] {
            let all = deltas.iter().flat_map(|d| d.state().iter());
            let last = all.filter(|(k, _)| *k == key).last().and_then(|(_, value)| value);
            prop_assert_eq!(checkpoint.state(key), last);
        }
        let fingerprint = deltas.iter().rev().find_map(CheckpointDelta::fingerprint);
        prop_assert_eq!(checkpoint.fingerprint(), fingerprint);
        let text = serde_json::to_string(&checkpoint).unwrap();
        prop_assert_eq!(serde_json::from_str::<Checkpoint>(&text).unwrap(), checkpoint);
    }
}

#[test]
fn a_checkpoint_can_be_read_by_a_person() {
    let mut delta = CheckpointDelta::new();
    assert!(delta.is_empty());
    delta.set_fingerprint("f1");
    delta.set_position("wal".into(), Position::new(2, "0/16B3748+3"));
    let mut state = StateDelta::default();
    state.put("schema/orders", "{}");
    assert!(state.charge() >= "schema/orders{}".len());
    delta.append_state(state);
    assert!(!delta.is_empty());
    let mut checkpoint = Checkpoint::new();
    assert!(checkpoint.is_empty());
    checkpoint.apply(&delta);
    assert!(!checkpoint.is_empty());
    assert_eq!(
        serde_json::to_string(&checkpoint).unwrap(),
        r#"{"fingerprint":"f1","positions":{"wal":{"v":2,"at":"0/16B3748+3"}},"state":{"schema/orders":"{}"}}"#
    );
    assert_eq!(checkpoint.positions().len() + checkpoint.states().len(), 2);
}

#[test]
fn state_changes_keep_their_order() {
    let mut first = StateDelta::default();
    first.put("k", "1");
    let mut later = StateDelta::default();
    later.delete("k");
    later.put("k", "2");
    first.append(later);
    assert_eq!(first.iter().collect::<Vec<_>>(), [("k", Some("1")), ("k", None), ("k", Some("2"))]);
}

#[test]
fn positions_and_ids_print_as_people_know_them() {
    let position = Position::new(3, "binlog.000012:4711");
    assert_eq!((position.to_string(), position.version()), ("binlog.000012:4711".to_owned(), 3));
    let id = EventId { origin: "pg-7/1", commit: "0/16B3748", ordinal: 3, sub: 0 };
    assert_eq!(id.to_string(), "pg-7/1:0/16B3748:3");
    assert_eq!(EventId { commit: "", sub: 2, ..id }.to_string(), "pg-7/1:3.2");
}
