//! Meters: processor time and allocations of one thread.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// What a piece of work took of its thread.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// Processor time, user and system.
    pub cpu: Duration,
    /// Allocations; growth of a buffer counts as one.
    pub allocations: u64,
}

/// Does `work` on this thread and tells what it took.
pub fn measured<T>(work: impl FnOnce() -> T) -> (T, Usage) {
    let start = thread_cpu();
    let (done, heap) = counted(work);
    (done, Usage { cpu: thread_cpu().saturating_sub(start), allocations: heap.count_total })
}

/// Drops `held` and tells how many bytes of heap that gave back: what it alone kept alive.
pub fn freed_by<T>(held: T) -> u64 {
    let ((), heap) = counted(|| drop(held));
    heap.bytes_current.min(0).unsigned_abs()
}

fn counted<T>(work: impl FnOnce() -> T) -> (T, allocation_counter::AllocationInfo) {
    let mut done = None;
    let heap = allocation_counter::measure(|| done = Some(work()));
    match done {
        Some(done) => (done, heap),
        None => unreachable!("`measure` runs its closure"),
    }
}

fn thread_cpu() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec.unsigned_abs(), now.tv_nsec.unsigned_abs() as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn allocations_and_what_a_drop_frees_are_counted() {
        let (held, usage) = measured(|| vec![0_u8; 100_000]);
        assert_eq!(usage.allocations, 1);
        assert_eq!(freed_by(held), 100_000);
    }
}
