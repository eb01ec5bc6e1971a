//! Where a process stands, in a file that outlives it: lets crash tests say in which phase they killed it.
//!
//! Off unless the environment names a file in `OUTFLOW_CRASH_PHASES`. The file holds one line of fixed width,
//! overwritten in place: `read=N in_flight=N checkpoint=N release=N`, each the number of such things under way
//! in the process (`in_flight` counts batches that no sink has confirmed).

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::sync::{Mutex, OnceLock, PoisonError};

/// What a pipeline is doing.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Phase {
    /// Reading from the source.
    Read,
    /// Storing a checkpoint.
    Checkpoint,
    /// Releasing the source.
    Release,
}

#[derive(Debug)]
struct Probe {
    file: Mutex<File>,
    counts: [AtomicI64; 4],
}

static PROBE: OnceLock<Option<Probe>> = OnceLock::new();

fn probe() -> Option<&'static Probe> {
    PROBE
        .get_or_init(|| {
            let path = std::env::var_os("OUTFLOW_CRASH_PHASES")?;
            let file = File::create(path).ok()?;
            Some(Probe { file: Mutex::new(file), counts: Default::default() })
        })
        .as_ref()
}

impl Probe {
    fn add(&self, index: usize, change: i64) {
        let file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        self.counts[index].fetch_add(change, Relaxed);
        let [read, in_flight, checkpoint, release] = &self.counts;
        let line = format!(
            "read={:06} in_flight={:06} checkpoint={:06} release={:06}\n",
            read.load(Relaxed),
            in_flight.load(Relaxed),
            checkpoint.load(Relaxed),
            release.load(Relaxed)
        );
        // A probe that cannot write must not disturb what it watches.
        let _ = file.write_all_at(line.as_bytes(), 0);
    }
}

/// Ends its phase when dropped.
#[derive(Debug)]
pub(crate) struct Entered(Option<usize>);

/// Enters a phase. Costs one load when the probe is off.
pub(crate) fn enter(phase: Phase) -> Entered {
    let Some(probe) = probe() else { return Entered(None) };
    let index = match phase {
        Phase::Read => 0,
        Phase::Checkpoint => 2,
        Phase::Release => 3,
    };
    probe.add(index, 1);
    Entered(Some(index))
}

/// The number of batches that no sink has confirmed has changed.
pub(crate) fn in_flight(change: i64) {
    if let Some(probe) = probe() {
        probe.add(1, change);
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        if let (Some(index), Some(probe)) = (self.0, probe()) {
            probe.add(index, -1);
        }
    }
}
