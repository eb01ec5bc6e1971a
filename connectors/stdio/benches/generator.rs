//! What the generator and the blackhole cost a row, on one thread and without a runtime between them.
//!
//! `cargo bench -p outflow-connector-stdio --bench generator` prints nanoseconds a row for making rows and for
//! visiting them. The checksum of two runs must be the same, and that of another seed another.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a benchmark ends where it fails")]

use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use outflow_connector_stdio::{BlackholeSink, Generator};
use outflow_sdk::{
    Ack, AckPort, AckToken, BatchLimits, BuildContext, ChangeBatch, Checkpoint, ConfiguredSink as _,
    ConfiguredSource as _, Control, EmitterPort, Outcome, PartitionId, Release, ReleasedPort, Result, Seq,
    Sink, SinkKind, SourceContext, SourceKind, SourcePort,
};

const ROWS: u64 = 2_000_000;

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let mut sums = Vec::new();
    for seed in [1, 1, 2] {
        let (made, visited, hole) = runtime.block_on(run(seed));
        let a_row = |time: Duration| time.as_nanos() as f64 / ROWS as f64;
        println!(
            "made {:>4.0} ns/row   visited {:>4.0} ns/row   {:>5.2}M rows/s   {}",
            a_row(made),
            a_row(visited),
            ROWS as f64 / (made + visited).as_secs_f64() / 1e6,
            hole.totals()
        );
        assert_eq!(hole.totals().rows(), ROWS);
        sums.push(hole.totals().checksum());
    }
    assert!(sums[0] == sums[1] && sums[1] != sums[2], "{sums:x?}");
}

async fn run(seed: u64) -> (Duration, Duration, BlackholeSink) {
    let hole = BlackholeSink::new();
    let cx = BuildContext::new("bench");
    let SinkKind::Changes(sink) = hole.build(&cx).await.unwrap() else { panic!("typed batches") };
    let taken = Arc::new(Mutex::new((sink, Duration::ZERO)));
    let SourceKind::Custom(source) = Generator::new().rows(ROWS).seed(seed).build(&cx).await.unwrap() else {
        panic!("a custom source")
    };
    let source_cx = SourceContext::new(
        Arc::new(Port(Arc::clone(&taken))),
        "bench",
        Checkpoint::new(),
        BatchLimits { events: 1_000, ..BatchLimits::default() },
        false,
    );
    let start = Instant::now();
    source.run(source_cx).await.unwrap();
    let all = start.elapsed();
    let visited = taken.lock().unwrap().1;
    (all - visited, visited, hole)
}

/// The sink, and the time that it has taken.
type Taken = Arc<Mutex<(Box<dyn Sink>, Duration)>>;

/// Writes each batch to the sink at once.
struct Port(Taken);

struct Emit(Taken);

struct Ignored;

impl AckPort for Ignored {
    fn resolve(&self, _: AckToken, outcome: Outcome) {
        assert!(matches!(outcome, Outcome::Durable));
    }
}

impl EmitterPort for Emit {
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(Ok(()))
    }

    // Only full batches, as under load.
    fn try_ready(&mut self) -> bool {
        false
    }

    fn send(&mut self, batch: ChangeBatch) -> Seq {
        let batch = Arc::new(batch);
        let ack = Ack::new(Arc::new(Ignored), AckToken { generation: 0, seq: 0, attempt: 0 });
        let mut sink = self.0.lock().unwrap();
        let start = Instant::now();
        let done = {
            let mut write = std::pin::pin!(sink.0.write(&batch, ack));
            write.as_mut().poll(&mut Context::from_waker(std::task::Waker::noop()))
        };
        assert!(matches!(done, Poll::Ready(Ok(()))));
        let took = start.elapsed();
        sink.1 += took;
        Seq(0)
    }
}

impl SourcePort for Port {
    fn emitter(&self, _: PartitionId) -> Box<dyn EmitterPort> {
        Box::new(Emit(Arc::clone(&self.0)))
    }

    fn released(&self) -> Box<dyn ReleasedPort> {
        struct Never;
        impl ReleasedPort for Never {
            fn poll_next(&mut self, _: &mut Context<'_>) -> Poll<Release> {
                Poll::Pending
            }
        }
        Box::new(Never)
    }

    fn poll_control(&self, _: &mut Context<'_>) -> Poll<Control> {
        Poll::Pending
    }

    fn connected(&self) {}

    fn finished(&self) {}

    fn note(&self, _: Option<String>) {}
}
