//! A small stand-in for the runtime: an intake with a bound, acks that are noted.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use outflow_sdk::{
    Ack, AckPort, AckToken, BatchLimits, BuildContext, ChangeBatch, Checkpoint, CheckpointDelta,
    ConfiguredSink, ConfiguredSource, Control, EmitterPort, Error, EventRef, Outcome, PartitionId,
    RecordBatch, RecordWriter, Release, ReleasedPort, Result, Seq, Sink, SinkContext, SinkKind,
    SourceContext, SourceKind, SourcePort,
};

/// What a source emitted. Takes `room` batches, then none until some are taken out.
#[derive(Default)]
pub(crate) struct Intake {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    room: usize,
    seq: u64,
    batches: VecDeque<ChangeBatch>,
    waker: Option<Waker>,
    arrived: Option<Waker>,
    connected: bool,
}

impl Intake {
    pub(crate) fn new(room: usize) -> Arc<Self> {
        let state = State { room, ..State::default() };
        Arc::new(Self { state: Mutex::new(state) })
    }

    /// A context that goes on after `checkpoint`.
    pub(crate) fn context(self: &Arc<Self>, checkpoint: Checkpoint, stop_at_current: bool) -> SourceContext {
        let limits = BatchLimits { bytes: 64 << 10, events: 1000 };
        SourceContext::new(Arc::new(Port(Arc::clone(self))), "test", checkpoint, limits, stop_at_current)
    }

    /// The next batch; waits for it.
    pub(crate) async fn next(&self) -> ChangeBatch {
        let next = std::future::poll_fn(|cx| {
            let mut state = self.state.lock().unwrap();
            match state.batches.pop_front() {
                Some(batch) => {
                    if let Some(waker) = state.waker.take() {
                        waker.wake();
                    }
                    Poll::Ready(batch)
                }
                None => {
                    state.arrived = Some(cx.waker().clone());
                    Poll::Pending
                }
            }
        });
        tokio::time::timeout(Duration::from_secs(20), next).await.expect("a batch within the deadline")
    }

    /// What is there now.
    pub(crate) fn drain(&self) -> Vec<ChangeBatch> {
        self.state.lock().unwrap().batches.drain(..).collect()
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.state.lock().unwrap().connected
    }
}

struct Port(Arc<Intake>);

impl SourcePort for Port {
    fn emitter(&self, _: PartitionId) -> Box<dyn EmitterPort> {
        Box::new(Emit(Arc::clone(&self.0)))
    }

    fn released(&self) -> Box<dyn ReleasedPort> {
        Box::new(Never)
    }

    fn poll_control(&self, _: &mut Context<'_>) -> Poll<Control> {
        Poll::Pending
    }

    fn connected(&self) {
        self.0.state.lock().unwrap().connected = true;
    }

    fn finished(&self) {}

    fn note(&self, _: Option<String>) {}
}

struct Never;

impl ReleasedPort for Never {
    fn poll_next(&mut self, _: &mut Context<'_>) -> Poll<Release> {
        Poll::Pending
    }
}

struct Emit(Arc<Intake>);

impl EmitterPort for Emit {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let mut state = self.0.state.lock().unwrap();
        if state.batches.len() < state.room {
            return Poll::Ready(Ok(()));
        }
        state.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    fn try_ready(&mut self) -> bool {
        let state = self.0.state.lock().unwrap();
        state.batches.len() < state.room
    }

    fn send(&mut self, batch: ChangeBatch) -> Seq {
        let mut state = self.0.state.lock().unwrap();
        state.seq += 1;
        state.batches.push_back(batch);
        if let Some(waker) = state.arrived.take() {
            waker.wake();
        }
        Seq(state.seq)
    }
}

/// Runs a source to its end with room for everything; gives what it emitted.
pub(crate) async fn run_to_end(
    source: &dyn ConfiguredSource,
    checkpoint: Checkpoint,
) -> Result<Vec<ChangeBatch>> {
    let intake = Intake::new(usize::MAX);
    let run = start(source, intake.context(checkpoint, false)).await?;
    tokio::time::timeout(Duration::from_secs(60), run).await.expect("the source ends")?;
    assert!(intake.is_connected());
    Ok(intake.drain())
}

/// Builds a source; the future is its run.
pub(crate) async fn start(
    source: &dyn ConfiguredSource,
    cx: SourceContext,
) -> Result<impl Future<Output = Result<()>> + Send + 'static> {
    match source.build(&BuildContext::new("test")).await? {
        SourceKind::Custom(source) => Ok(source.run(cx)),
        other => panic!("a custom source, not {other:?}"),
    }
}

/// The checkpoint of a run whose batches up to this one are stored.
pub(crate) fn after(batch: &ChangeBatch) -> Checkpoint {
    let mut delta = CheckpointDelta::default();
    delta.set_position(batch.partition().clone(), batch.end().unwrap().clone());
    let mut checkpoint = Checkpoint::new();
    checkpoint.apply(&delta);
    checkpoint
}

/// An event in full, as text.
pub(crate) fn text(event: EventRef<'_>) -> String {
    let mut line = Vec::new();
    outflow_sdk::json::write_event(event, &mut line);
    String::from_utf8(line).unwrap()
}

/// All events of some batches, as text.
pub(crate) fn texts(batches: &[ChangeBatch]) -> Vec<String> {
    batches.iter().flat_map(|batch| batch.iter().map(text)).collect()
}

/// Outcomes of acks, by batch.
#[derive(Default)]
pub(crate) struct Outcomes {
    list: Mutex<Vec<(u64, Result<(), Error>)>>,
    given: Mutex<u64>,
}

impl AckPort for Outcomes {
    fn resolve(&self, token: AckToken, outcome: Outcome) {
        let outcome = match outcome {
            Outcome::Durable => Ok(()),
            Outcome::Failed(error) => Err(error),
            other => panic!("neither durable nor failed: {other:?}"),
        };
        self.list.lock().unwrap().push((token.seq, outcome));
    }
}

impl Outcomes {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    /// An ack for the next batch.
    pub(crate) fn ack(self: &Arc<Self>) -> Ack {
        let mut given = self.given.lock().unwrap();
        *given += 1;
        Ack::new(Arc::clone(self) as _, AckToken { generation: 0, seq: *given, attempt: 0 })
    }

    /// What is resolved so far: the batch, and the code of its error.
    pub(crate) fn so_far(&self) -> Vec<(u64, Option<String>)> {
        let list = self.list.lock().unwrap();
        list.iter().map(|(seq, o)| (*seq, o.as_ref().err().map(|e| e.code().to_owned()))).collect()
    }
}

/// A batch of records with these contents; `None` is a tombstone.
pub(crate) fn records(values: &[Option<&str>]) -> Arc<RecordBatch> {
    let mut out = RecordWriter::new();
    for (i, value) in values.iter().enumerate() {
        let mut record = out.begin(i);
        record.id(i);
        record
            .key(|key| {
                key.push(b'k');
                Ok(())
            })
            .unwrap();
        if let Some(value) = value {
            record
                .value(|out| {
                    out.extend_from_slice(value.as_bytes());
                    Ok(())
                })
                .unwrap();
        }
        record.end();
    }
    Arc::new(out.finish_detached())
}

/// A sink of records, opened.
pub(crate) async fn open(sink: &dyn ConfiguredSink) -> Result<Box<dyn Sink<RecordBatch>>> {
    let cx = BuildContext::new("test").has_format(true);
    let SinkKind::Records(mut sink) = sink.build(&cx).await? else { panic!("a sink of records") };
    sink.open(SinkContext::new("test", Checkpoint::new(), 1 << 20)).await?;
    Ok(sink)
}
