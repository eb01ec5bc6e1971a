//! Tells the server how far we are, in a task of its own.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::io::{AsyncWriteExt as _, WriteHalf};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::lsn::Lsn;
use crate::socket::Socket;

/// Seconds from 1970 to 2000, where PostgreSQL's clock begins.
const EPOCH: u64 = 946_684_800;
/// How often the server is told of what was flushed, at most.
const TELL_EVERY: Duration = Duration::from_millis(100);

/// Tells the server what it may forget. Cheap to clone; all clones are one.
///
/// A task of its own sends it: when the server asks, soon after [`flushed`](Self::flushed), and at an interval, whether
/// anybody reads or not. It ends with the reader and all clones, or with the connection.
#[derive(Clone, Debug)]
pub struct Feedback(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    received: AtomicU64,
    flushed: AtomicU64,
    /// The server waits for an answer.
    asked: AtomicBool,
    /// We wait for one.
    asks: AtomicBool,
    closing: AtomicBool,
    something: Notify,
    broken: Mutex<Option<std::io::ErrorKind>>,
}

impl Feedback {
    /// Everything before `lsn` may be forgotten: the slot's `confirmed_flush_lsn` follows. Never goes back; returns at
    /// once, and only the newest counts.
    pub fn flushed(&self, lsn: Lsn) {
        if self.0.flushed.fetch_max(lsn.0, Ordering::AcqRel) < lsn.0 {
            self.0.something.notify_one();
        }
    }

    /// What was told last.
    pub fn confirmed(&self) -> Lsn {
        Lsn(self.0.flushed.load(Ordering::Acquire))
    }

    /// Asks the server where its log ends; a [`KeepAlive`](crate::Message::KeepAlive) answers. Where nothing is written
    /// for us, that is how an idle reader learns that it is not behind.
    pub fn ask(&self) {
        self.0.asks.store(true, Ordering::Release);
        self.0.something.notify_one();
    }

    pub(crate) fn received(&self) -> Lsn {
        Lsn(self.0.received.load(Ordering::Acquire))
    }

    pub(crate) fn receive(&self, lsn: Lsn) {
        self.0.received.fetch_max(lsn.0, Ordering::AcqRel);
    }

    pub(crate) fn answer(&self) {
        self.0.asked.store(true, Ordering::Release);
        self.0.something.notify_one();
    }

    /// The last status, and then the end.
    pub(crate) fn close(&self) {
        self.0.closing.store(true, Ordering::Release);
        self.0.something.notify_one();
    }

    /// Why nothing can be told any more.
    pub(crate) fn trouble(&self) -> Option<std::io::Error> {
        let broken = self.0.broken.lock().unwrap_or_else(PoisonError::into_inner);
        broken.map(std::io::Error::from)
    }
}

/// Starts the task.
pub(crate) fn start(write: WriteHalf<Socket>, interval: Duration, from: Lsn) -> Feedback {
    let shared = Arc::new(Shared {
        received: AtomicU64::new(from.0),
        flushed: AtomicU64::new(from.0),
        asked: AtomicBool::new(false),
        asks: AtomicBool::new(false),
        closing: AtomicBool::new(false),
        something: Notify::new(),
        broken: Mutex::new(None),
    });
    tokio::spawn(tell(write, interval, Arc::clone(&shared)));
    Feedback(shared)
}

async fn tell(mut write: WriteHalf<Socket>, interval: Duration, shared: Arc<Shared>) {
    let mut told = (Lsn::ZERO, Instant::now());
    loop {
        let (flushed, asked) =
            (Lsn(shared.flushed.load(Ordering::Acquire)), shared.asked.load(Ordering::Acquire));
        let (asks, closing) = (shared.asks.load(Ordering::Acquire), shared.closing.load(Ordering::Acquire));
        let due = if flushed > told.0 { told.1 + TELL_EVERY } else { told.1 + interval };
        if !(asked || asks || closing || Instant::now() >= due) {
            // A clone that is dropped says nothing: that all others are gone is noticed at the next status.
            tokio::select! {
                () = shared.something.notified() => {}
                () = tokio::time::sleep_until(due) => {}
            }
            if Arc::strong_count(&shared) == 1 {
                return;
            }
            continue;
        }
        shared.asked.store(false, Ordering::Release);
        shared.asks.store(false, Ordering::Release);
        let mut message = status(Lsn(shared.received.load(Ordering::Acquire)).max(flushed), flushed, asks);
        if closing {
            message.extend([b'c', 0, 0, 0, 4]);
        }
        let sent = async {
            write.write_all(&message).await?;
            write.flush().await
        };
        if let Err(error) = sent.await {
            *shared.broken.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.kind());
            return;
        }
        if closing {
            return;
        }
        told = (flushed, Instant::now());
    }
}

/// A StandbyStatusUpdate in its CopyData.
fn status(received: Lsn, flushed: Lsn, asks: bool) -> Vec<u8> {
    let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let now =
        u64::try_from(since_1970.saturating_sub(Duration::from_secs(EPOCH)).as_micros()).unwrap_or_default();
    let mut message = Vec::with_capacity(39 + 5);
    message.push(b'd');
    message.extend(38_u32.to_be_bytes());
    message.push(b'r');
    for lsn in [received, flushed, flushed] {
        message.extend(lsn.0.to_be_bytes());
    }
    message.extend(now.to_be_bytes());
    message.push(u8::from(asks));
    message
}
