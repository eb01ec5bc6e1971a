//! What the tests of the stores share.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, reason = "each test uses its part")]

pub mod child;

use std::time::{Duration, Instant};

use outflow_sdk::{Checkpoint, CheckpointDelta, Owner, Position, StateDelta, StateScope};

pub fn owner(instance: &str) -> Owner {
    Owner { host: "here".into(), pid: std::process::id(), instance: instance.into() }
}

pub fn scope() -> StateScope {
    StateScope::pipeline("orders")
}

/// A change of the only partition's position.
pub fn at(n: u64) -> CheckpointDelta {
    let mut delta = CheckpointDelta::new();
    delta.set_position("main".into(), Position::token(n.to_string()));
    delta
}

/// A position together with a schema.
pub fn schema(table: u64, n: u64, text: &str) -> CheckpointDelta {
    let mut state = StateDelta::default();
    state.put(format!("schema/{table}"), text);
    let mut delta = at(n);
    delta.append_state(state);
    delta
}

pub fn position(checkpoint: &Checkpoint) -> Option<&str> {
    checkpoint.position(&"main".into()).map(Position::as_str)
}

/// Asks until there is an answer, for at most 30 seconds.
pub async fn poll<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < end, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
