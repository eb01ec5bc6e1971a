//! Where a process stands, in a file that outlives it: lets crash tests say in which phase they killed it.
//!
//! Off unless the environment names a file in `OUTFLOW_CRASH_PHASES`. The file holds one record of 64 bytes,
//! overwritten in place: `<phase> <count>`, padded with spaces, ended by a newline. The count is that of events
//! emitted and not yet released: an upper bound of what comes again after a kill at this moment.
//! `OUTFLOW_CRASH_HOLD="<phase> <milliseconds>"` makes the process stay in a phase for so long each time it
//! enters it with something under way, so that short phases can be hit at all.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Duration;

/// What a pipeline is doing. When several go on, the later one counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Events were taken from the source and not offered to the sink.
    Read,
    /// Events were offered and are not released.
    InFlight,
    /// A checkpoint is being stored.
    Checkpoint,
    /// It is stored, and the source is being told.
    Release,
}

const WORDS: [&str; 4] = ["read", "in-flight", "checkpoint", "release"];

#[derive(Debug)]
struct Probe {
    file: File,
    hold: Option<(usize, Duration)>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Batches read and in flight, checkpoints and releases under way.
    under_way: [i64; 4],
    events: i64,
}

static PROBE: LazyLock<Option<Probe>> = LazyLock::new(|| {
    let path = std::env::var_os("OUTFLOW_CRASH_PHASES")?;
    let file = File::options().create(true).truncate(false).write(true).open(path).ok()?;
    let hold = std::env::var("OUTFLOW_CRASH_HOLD").ok().and_then(|text| {
        let (word, ms) = text.split_once(' ')?;
        let phase = WORDS.iter().position(|w| *w == word)?;
        Some((phase, Duration::from_millis(ms.parse().ok()?)))
    });
    Some(Probe { file, hold, state: Mutex::default() })
});

impl Probe {
    /// Applies a change and writes the record; the hold of the phase that is entered by it.
    fn change(&self, change: impl FnOnce(&mut State)) -> Option<Duration> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut state);
        let phase = state.under_way.iter().rposition(|n| *n > 0);
        let word = phase.map_or("idle", |p| WORDS[p]);
        let record = format!("{:<63}\n", format!("{word} {}", state.events.max(0)));
        // A probe that cannot write must not disturb what it watches.
        let _ = self.file.write_all_at(record.as_bytes(), 0);
        let (held, how_long) = self.hold?;
        (state.events > 0 && phase == Some(held)).then_some(how_long)
    }
}

async fn change(change: impl FnOnce(&mut State)) {
    if let Some(hold) = PROBE.as_ref().and_then(|probe| probe.change(change)) {
        tokio::time::sleep(hold).await;
    }
}

fn change_now(change: impl FnOnce(&mut State)) {
    if let Some(probe) = PROBE.as_ref() {
        probe.change(change);
    }
}

/// A batch is about to be passed on.
pub(crate) fn emitted(events: usize) {
    change_now(|state| {
        state.under_way[Phase::Read as usize] += 1;
        state.events += events as i64;
    });
}

/// A batch was taken from the queue. Holds the phase `read`.
pub(crate) async fn taken() {
    change(|_| {}).await;
}

/// A batch is offered to the sink, or needs no sink.
pub(crate) async fn offered() {
    change(|state| {
        state.under_way[Phase::Read as usize] -= 1;
        state.under_way[Phase::InFlight as usize] += 1;
    })
    .await;
}

/// The source was told of batches with so many events.
pub(crate) fn released(batches: usize, events: usize) {
    change_now(|state| {
        state.under_way[Phase::InFlight as usize] -= batches as i64;
        state.events -= events as i64;
    });
}

/// The attempt is over, and what it had under way with it.
pub(crate) fn reset() {
    change_now(|state| *state = State::default());
}

/// Ends its phase when dropped.
#[derive(Debug)]
pub(crate) struct Entered(Phase);

/// Enters a phase that has an end. Costs one load when the probe is off.
pub(crate) async fn enter(phase: Phase) -> Entered {
    let entered = Entered(phase);
    change(|state| state.under_way[phase as usize] += 1).await;
    entered
}

impl Drop for Entered {
    fn drop(&mut self) {
        change_now(|state| state.under_way[self.0 as usize] -= 1);
    }
}
