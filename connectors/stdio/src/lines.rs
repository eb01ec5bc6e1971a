//! Writes records as lines in a thread of its own.
//!
//! A write to a pipe or a disk can block for as long as it likes, and half a line must not be left behind when a
//! task is cancelled: so no task writes. Batches go through a bounded queue to a thread that writes all that is
//! waiting, makes it durable once, and only then acks: the slower the disk, the larger the group.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use outflow_sdk::{Ack, Error, RecordBatch, Result};
use tokio::sync::{mpsc, oneshot};

/// Where lines go. Called from one thread.
pub(crate) trait Destination: Send + 'static {
    /// Appends all of `bytes`.
    fn write(&mut self, bytes: &[u8]) -> Result<()>;

    /// Makes what was written durable, as far as the destination can.
    fn sync(&mut self) -> Result<()>;

    /// Takes back what was written since the last sync, as far as the destination can.
    fn undo(&mut self) {}
}

enum Job {
    Write(Arc<RecordBatch>, Ack),
    Flush(oneshot::Sender<()>),
}

/// The sink's side of the thread.
#[derive(Debug)]
pub(crate) struct LineWriter {
    jobs: mpsc::Sender<Job>,
    /// The sink was dropped without a close: what is still waiting is not written.
    abandoned: Arc<AtomicBool>,
    ended: Option<oneshot::Receiver<()>>,
}

impl LineWriter {
    /// Batches that wait for the thread. All of them are charged to the pipeline's budget until they are acked.
    const QUEUE: usize = 16;

    /// Starts the thread.
    pub(crate) fn start(name: &str, destination: impl Destination) -> Result<Self> {
        let (jobs, queue) = mpsc::channel(Self::QUEUE);
        let (end, ended) = oneshot::channel();
        let abandoned = Arc::new(AtomicBool::new(false));
        let worker = Worker {
            destination,
            buffer: Vec::with_capacity(Worker::<()>::BUFFER),
            failed: None,
            abandoned: Arc::clone(&abandoned),
        };
        let run = move || {
            worker.run(queue);
            // The destination is closed now; nobody may be listening.
            let _ = end.send(());
        };
        std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(run)
            .map_err(|e| Error::transient("lines.thread").message("cannot start a thread").caused_by(e))?;
        Ok(Self { jobs, abandoned, ended: Some(ended) })
    }

    async fn give(&self, job: Job) -> Result<()> {
        let gone = |_| {
            Error::internal("lines.gone").message("the thread that writes has ended; its panic is in the log")
        };
        self.jobs.send(job).await.map_err(gone)
    }

    /// Hands a batch to the thread; waits while the queue is full. Cancelled, nothing was handed over.
    pub(crate) async fn write(&self, batch: &Arc<RecordBatch>, ack: Ack) -> Result<()> {
        self.give(Job::Write(Arc::clone(batch), ack)).await
    }

    /// Returns when everything handed over before has been acked.
    pub(crate) async fn flush(&self) -> Result<()> {
        let (done, wait) = oneshot::channel();
        self.give(Job::Flush(done)).await?;
        // An error is a thread that ended: it has dropped, and so failed, every ack.
        let _ = wait.await;
        Ok(())
    }

    /// Flushes and waits until the destination is closed.
    pub(crate) async fn close(mut self) -> Result<()> {
        self.flush().await?;
        let ended = self.ended.take();
        drop(self);
        if let Some(ended) = ended {
            let _ = ended.await;
        }
        Ok(())
    }
}

impl Drop for LineWriter {
    fn drop(&mut self) {
        self.abandoned.store(true, Ordering::Release);
    }
}

struct Worker<D> {
    destination: D,
    buffer: Vec<u8>,
    /// After a failure nothing more is written: a later record of a key must not overtake one that is not there
    /// (invariant 3). The task rewinds and builds the sink anew.
    failed: Option<Error>,
    abandoned: Arc<AtomicBool>,
}

impl<D> Worker<D> {
    const BUFFER: usize = 256 << 10;
}

impl<D: Destination> Worker<D> {
    fn run(mut self, mut queue: mpsc::Receiver<Job>) {
        let mut acks = Vec::new();
        let mut flushes = Vec::new();
        while let Some(first) = queue.blocking_recv() {
            let mut next = Some(first);
            while let Some(job) = next.take() {
                match job {
                    // Dropped acks count as failed; the runtime has moved on.
                    Job::Write(..) if self.abandoned.load(Ordering::Acquire) => {}
                    Job::Write(batch, ack) => {
                        self.write(&batch);
                        acks.push((batch, ack));
                    }
                    Job::Flush(done) => flushes.push(done),
                }
                if acks.len() < LineWriter::QUEUE {
                    next = queue.try_recv().ok();
                }
            }
            self.settle(&mut acks);
            for done in flushes.drain(..) {
                // Whoever asked may have been cancelled.
                let _ = done.send(());
            }
        }
    }

    fn write(&mut self, batch: &RecordBatch) {
        if self.failed.is_some() {
            return;
        }
        for record in batch.iter() {
            // A tombstone has no content, so it has no line.
            let Some(value) = record.value() else { continue };
            if let Err(error) = self.line(value) {
                self.failed = Some(error);
                return;
            }
        }
    }

    fn line(&mut self, value: &[u8]) -> Result<()> {
        if value.len() >= Self::BUFFER {
            // A large record is not copied, so that it costs no memory a second time.
            self.drain()?;
            self.destination.write(value)?;
            return self.destination.write(b"\n");
        }
        if self.buffer.len() + value.len() >= Self::BUFFER {
            self.drain()?;
        }
        self.buffer.extend_from_slice(value);
        self.buffer.push(b'\n');
        Ok(())
    }

    fn drain(&mut self) -> Result<()> {
        if !self.buffer.is_empty() {
            self.destination.write(&self.buffer)?;
            self.buffer.clear();
        }
        Ok(())
    }

    /// Makes the group durable, then acks it: never another order (invariant 1).
    fn settle(&mut self, acks: &mut Vec<(Arc<RecordBatch>, Ack)>) {
        if acks.is_empty() {
            return;
        }
        if self.failed.is_none() {
            self.failed = self.drain().and_then(|()| self.destination.sync()).err();
            if self.failed.is_some() {
                self.destination.undo();
            }
        } else {
            self.destination.undo();
        }
        for (_, ack) in acks.drain(..) {
            match &self.failed {
                None => ack.durable(),
                Some(error) => ack.failed(again(error)),
            }
        }
        if self.failed.is_some() {
            self.buffer.clear();
        }
    }
}

/// The same error for another ack.
fn again(error: &Error) -> Error {
    let copy = Error::new(error.kind(), error.retry_class(), error.code().to_owned())
        .scope(error.scope_of())
        .message(error.text());
    let copy = error.context().fold(copy, |copy, (key, value)| copy.with(key.to_owned(), value));
    match error.hint_text() {
        Some(hint) => copy.hint(hint),
        None => copy,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, mpsc as std_mpsc};

    use outflow_sdk::{AckPort, AckToken, Outcome, RecordWriter};

    use super::*;

    /// A destination whose syncs wait to be let through, and that notes what it was asked.
    struct Gated {
        calls: Arc<Mutex<Vec<String>>>,
        at_sync: std_mpsc::Sender<()>,
        pass: std_mpsc::Receiver<()>,
    }

    impl Destination for Gated {
        fn write(&mut self, bytes: &[u8]) -> Result<()> {
            let text = String::from_utf8(bytes.to_vec()).unwrap();
            self.calls.lock().unwrap().push(text.clone());
            if text.contains("bad") { Err(Error::transient("test.bad")) } else { Ok(()) }
        }

        fn sync(&mut self) -> Result<()> {
            self.at_sync.send(()).unwrap();
            self.pass.recv().unwrap();
            self.calls.lock().unwrap().push("sync".to_owned());
            Ok(())
        }

        fn undo(&mut self) {
            self.calls.lock().unwrap().push("undo".to_owned());
        }
    }

    #[derive(Default)]
    struct Outcomes(Mutex<Vec<(u64, Option<String>)>>);

    impl AckPort for Outcomes {
        fn resolve(&self, token: AckToken, outcome: Outcome) {
            let code = match outcome {
                Outcome::Durable => None,
                Outcome::Failed(error) => Some(error.code().to_owned()),
                other => panic!("{other:?}"),
            };
            self.0.lock().unwrap().push((token.seq, code));
        }
    }

    struct Bench {
        writer: LineWriter,
        calls: Arc<Mutex<Vec<String>>>,
        at_sync: std_mpsc::Receiver<()>,
        pass: std_mpsc::Sender<()>,
        outcomes: Arc<Outcomes>,
    }

    impl Bench {
        fn new() -> Self {
            let (reached, at_sync) = std_mpsc::channel();
            let (pass, gate) = std_mpsc::channel();
            let calls = Arc::default();
            let gated = Gated { calls: Arc::clone(&calls), at_sync: reached, pass: gate };
            let writer = LineWriter::start("test", gated).unwrap();
            Self { writer, calls, at_sync, pass, outcomes: Arc::default() }
        }

        async fn write(&self, seq: u64, value: &str) {
            let mut out = RecordWriter::new();
            let mut record = out.begin(0);
            record
                .value(|out| {
                    out.extend_from_slice(value.as_bytes());
                    Ok(())
                })
                .unwrap();
            record.end();
            let ack = Ack::new(Arc::clone(&self.outcomes) as _, AckToken { generation: 0, seq, attempt: 0 });
            self.writer.write(&Arc::new(out.finish_detached()), ack).await.unwrap();
        }

        fn outcomes(&self) -> Vec<(u64, Option<String>)> {
            self.outcomes.0.lock().unwrap().clone()
        }

        fn calls(&self) -> Vec<String> {
            self.calls.lock().unwrap().clone()
        }
    }

    #[tokio::test]
    async fn acks_come_after_the_sync_and_what_waits_is_synced_together() {
        let bench = Bench::new();
        bench.write(1, "a").await;
        bench.at_sync.recv().unwrap();
        assert_eq!(bench.outcomes(), [], "written, and not durable");
        for (seq, value) in [(2, "b"), (3, "c"), (4, "d")] {
            bench.write(seq, value).await;
        }
        bench.pass.send(()).unwrap();
        bench.pass.send(()).unwrap();
        bench.writer.flush().await.unwrap();
        assert_eq!(bench.calls(), ["a\n", "sync", "b\nc\nd\n", "sync"]);
        assert_eq!(bench.outcomes(), [(1, None), (2, None), (3, None), (4, None)]);
    }

    #[tokio::test]
    async fn after_a_failure_nothing_later_is_written() {
        let bench = Bench::new();
        bench.write(1, "bad").await;
        bench.writer.flush().await.unwrap();
        bench.write(2, "good").await;
        bench.writer.flush().await.unwrap();
        let failed = || Some("test.bad".to_owned());
        assert_eq!(bench.outcomes(), [(1, failed()), (2, failed())]);
        assert!(!bench.calls().iter().any(|call| call.contains("good")));
        assert_eq!(bench.calls()[1], "undo");
    }

    #[tokio::test]
    async fn a_sink_that_is_dropped_writes_nothing_more() {
        let bench = Bench::new();
        bench.write(1, "a").await;
        bench.at_sync.recv().unwrap();
        bench.write(2, "b").await;
        let Bench { mut writer, calls, pass, outcomes, .. } = bench;
        let ended = writer.ended.take().unwrap();
        drop(writer);
        pass.send(()).unwrap();
        ended.await.unwrap();
        assert_eq!(*calls.lock().unwrap(), ["a\n", "sync"]);
        let dropped = Some("sink.ack_dropped".to_owned());
        let mut seen = outcomes.0.lock().unwrap().clone();
        seen.sort();
        assert_eq!(seen, [(1, None), (2, dropped)]);
    }

    #[tokio::test]
    async fn a_full_queue_is_back_pressure() {
        let bench = Bench::new();
        bench.write(0, "a").await;
        bench.at_sync.recv().unwrap();
        for seq in 1..=LineWriter::QUEUE as u64 {
            bench.write(seq, "b").await;
        }
        let one_more = bench.write(99, "c");
        tokio::pin!(one_more);
        let pending =
            std::future::poll_fn(|cx| std::task::Poll::Ready(one_more.as_mut().poll(cx).is_pending()));
        assert!(pending.await);
        for _ in 0..3 {
            bench.pass.send(()).unwrap();
        }
        one_more.await;
        bench.writer.flush().await.unwrap();
        assert_eq!(bench.outcomes().len(), LineWriter::QUEUE + 2);
    }
}
