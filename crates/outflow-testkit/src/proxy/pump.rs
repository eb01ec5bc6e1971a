//! One direction of one connection.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rand::RngExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::fault::{Direction, Fault, Faults};

/// How many bytes a direction holds back before it stops reading.
const HELD_LIMIT: usize = 8 << 20;
const READ_SIZE: usize = 64 << 10;
/// A throttled direction writes about so many slices a second.
const SLICES_PER_SECOND: u64 = 50;

/// Why a connection ended before both sides had said all they wanted.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Close it.
    Closed,
    /// Reset it.
    Reset,
}

/// Bytes that were read and wait for their time.
struct Held {
    due: Instant,
    bytes: Vec<u8>,
    written: usize,
}

pub(super) struct Pump<'a> {
    pub(super) reader: ReadHalf<'a>,
    pub(super) writer: WriteHalf<'a>,
    pub(super) direction: Direction,
    pub(super) faults: watch::Receiver<Faults>,
    /// Counts what was passed on.
    pub(super) passed: &'a AtomicU64,
    /// Counts what was taken and dropped.
    pub(super) swallowed: &'a AtomicU64,
}

/// The state that a fault needs while it is in force.
struct InForce {
    fault: Fault,
    version: u64,
    /// Bytes passed since the fault was set.
    passed: u64,
    /// A throttled direction writes next at this time.
    next_slice: Instant,
}

impl Pump<'_> {
    /// Passes bytes on until the sender has closed its direction and all that it sent has been passed on.
    pub(super) async fn run(mut self) -> Result<(), End> {
        let (fault, version) = self.faults.borrow_and_update().of(self.direction);
        let mut now = InForce { fault, version, passed: 0, next_slice: Instant::now() };
        let mut held: VecDeque<Held> = VecDeque::new();
        let mut held_bytes = 0;
        let mut ended: Option<Instant> = None; // the sender closed; the receiver learns it at this time
        let mut swallowed = false;
        let mut buffer = vec![0; READ_SIZE];

        loop {
            match now.fault {
                Fault::Cut => return Err(End::Closed),
                Fault::ResetAfter { bytes } if now.passed >= bytes => return Err(End::Reset),
                Fault::HalfOpen => {
                    swallowed |= held_bytes > 0;
                    self.swallowed.fetch_add(held_bytes as u64, Ordering::Relaxed);
                    held.clear();
                    held_bytes = 0;
                }
                _ => {}
            }
            let reads = now.fault != Fault::Stall && ended.is_none() && held_bytes < HELD_LIMIT;
            let writes = !matches!(
                now.fault,
                Fault::Stall | Fault::HalfOpen | Fault::Throttle { bytes_per_second: 0 }
            );
            let front = if writes { held.front() } else { None };
            let due = front.map(|h| now.write_time(h.due)).or(ended.filter(|_| writes));
            let is_due = due.is_some_and(|d| d <= Instant::now());
            let slice =
                front.filter(|_| is_due).and_then(|h| h.bytes.get(h.written..)).map(|bytes| now.slice(bytes));
            if slice.is_none() && is_due {
                // Nothing is held any more, and the sender has closed.
                self.writer.shutdown().await.map_err(|_| End::Reset)?;
                return Ok(());
            }

            // Every branch is cancel-safe. A change of the fault comes first, so that nothing passes after it.
            tokio::select! {
                biased;
                changed = self.faults.changed() => {
                    if changed.is_err() {
                        return Err(End::Closed); // the proxy was dropped
                    }
                    let (fault, version) = self.faults.borrow_and_update().of(self.direction);
                    if version != now.version {
                        if now.fault == Fault::HalfOpen && swallowed && fault != Fault::HalfOpen {
                            return Err(End::Reset);
                        }
                        now = InForce { fault, version, passed: 0, next_slice: Instant::now() };
                    }
                }
                written = write(&mut self.writer, slice), if is_due => {
                    let written = written.map_err(|_| End::Reset)?;
                    self.passed.fetch_add(written as u64, Ordering::Relaxed);
                    now.count(written);
                    held_bytes -= written;
                    if let Some(front) = held.front_mut() {
                        front.written += written;
                        if front.written == front.bytes.len() {
                            held.pop_front();
                        }
                    }
                }
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() && !is_due => {}
                read = self.reader.read(&mut buffer), if reads => {
                    let read = read.map_err(|_| End::Reset)?;
                    let due = now.arrival().max(held.back().map_or_else(Instant::now, |h| h.due));
                    match buffer.get(..read) {
                        _ if read == 0 => ended = Some(due),
                        _ if now.fault == Fault::HalfOpen => {
                            swallowed = true;
                            self.swallowed.fetch_add(read as u64, Ordering::Relaxed);
                        }
                        Some(bytes) => {
                            held_bytes += read;
                            held.push_back(Held { due, bytes: bytes.to_vec(), written: 0 });
                        }
                        None => {}
                    }
                }
            }
        }
    }
}

async fn write(writer: &mut WriteHalf<'_>, slice: Option<&[u8]>) -> io::Result<usize> {
    match slice {
        Some(bytes) => writer.write(bytes).await,
        None => Ok(0),
    }
}

impl InForce {
    /// When bytes that were read now may be passed on.
    fn arrival(&self) -> Instant {
        let Fault::Delay { latency, jitter } = self.fault else { return Instant::now() };
        let deviation = rand::rng().random_range(Duration::ZERO..=jitter.saturating_mul(2));
        Instant::now() + (latency + deviation).saturating_sub(jitter)
    }

    /// When bytes that are due at `due` may be written.
    fn write_time(&self, due: Instant) -> Instant {
        if matches!(self.fault, Fault::Throttle { .. }) { due.max(self.next_slice) } else { due }
    }

    /// As much of `bytes` as may be written in one go.
    fn slice<'b>(&self, bytes: &'b [u8]) -> &'b [u8] {
        let most = match self.fault {
            Fault::Throttle { bytes_per_second } => (bytes_per_second / SLICES_PER_SECOND).max(1),
            Fault::ResetAfter { bytes } => bytes.saturating_sub(self.passed),
            _ => u64::MAX,
        };
        let most = usize::try_from(most).unwrap_or(usize::MAX).min(bytes.len());
        bytes.get(..most).unwrap_or(bytes)
    }

    fn count(&mut self, written: usize) {
        self.passed += written as u64;
        if let Fault::Throttle { bytes_per_second } = self.fault {
            let pause = Duration::from_secs_f64(written as f64 / bytes_per_second.max(1) as f64);
            self.next_slice = self.next_slice.max(Instant::now()) + pause;
        }
    }
}
