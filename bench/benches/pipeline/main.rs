//! What the pipeline itself costs: a source that makes a fresh row an event, through the whole runtime (intake,
//! ledger, path, checkpoints, acks out of order), to a sink that visits every value. The floor is the same rows
//! built and visited in one loop without a pipeline.

mod parts;

use std::sync::Arc;
use std::time::{Duration, Instant};

use outflow_bench::{Options, Result, Series, measured};
use outflow_runtime::{Pipeline, PipelineOptions, PipelineSpec};
use outflow_testkit::memory::MemoryCheckpoints;
use rustix::time::{ClockId, clock_gettime};

use parts::{Rows, Seen, Visitor, visit};

const MEASURE: Options = Options { rows: 2_000_000, rounds: 5 };
const CHECK: Options = Options { rows: 20_000, rounds: 1 };

fn main() -> Result<()> {
    let options = Options::from_args(MEASURE, CHECK)?;
    println!(
        "{} rows of 12 columns, about 200 bytes, all different; {} rounds",
        options.rows, options.rounds
    );
    for arrivals in [1_000, 1] {
        let (mut floor, mut ours, mut elapsed) = (Series::default(), Series::default(), Series::default());
        for _ in 0..options.rounds {
            let (expected, cpu) = bare(options.rows, arrivals);
            floor.push(cpu.as_secs_f64() * 1e9 / options.rows as f64);
            let (seen, cpu, wall) = piped(options.rows, arrivals)?;
            if seen != expected {
                return Err(format!("the sink saw {seen:?}, the rows are {expected:?}").into());
            }
            ours.push(cpu.as_secs_f64() * 1e9 / options.rows as f64);
            elapsed.push(wall.as_secs_f64() * 1e9 / options.rows as f64);
        }
        let (f, o, e) = (floor.summary(), ours.summary(), elapsed.summary());
        println!("arrivals of {arrivals}");
        println!("  bare loop       cpu {:>6.0} ns/event (min {:.0})", f.median, f.min);
        println!(
            "  pipeline        cpu {:>6.0} ns/event (min {:.0}), {:.2} × the loop; elapsed {:.0} ns/event",
            o.median,
            o.min,
            ours.ratio_to(&floor),
            e.median
        );
        println!("                  {:.2} M events/s a core", 1e3 / o.median);
        println!("  allocations     {:.4} an event", allocations(options.rows.min(500_000), arrivals)?);
    }
    Ok(())
}

/// The rows built and visited in one loop.
fn bare(rows: u64, arrivals: u64) -> (Seen, Duration) {
    let start = process_cpu();
    let mut source = Rows::new(rows, arrivals);
    let mut builder = outflow_core::BatchBuilder::new();
    let mut seen = Seen::default();
    // The pipeline is free to join arrivals; the loop takes batches as large as the pipeline's.
    while source.fill(&mut builder, 1_000) > 0 {
        let batch = builder.finish("rows".into(), None);
        visit(&batch, &mut seen);
    }
    (seen, process_cpu() - start)
}

fn piped(rows: u64, arrivals: u64) -> Result<(Seen, Duration, Duration)> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let (start, cpu) = (Instant::now(), process_cpu());
    let seen = runtime.block_on(run(rows, arrivals))?;
    Ok((seen, process_cpu() - cpu, start.elapsed()))
}

/// Both tasks on one thread, whose allocations are counted; the first tenth warms up.
fn allocations(rows: u64, arrivals: u64) -> Result<f64> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (_, warm) = measured(|| runtime.block_on(run(rows / 10, arrivals)));
    let (_, all) = measured(|| runtime.block_on(run(rows / 10 + rows, arrivals)));
    Ok(all.allocations.saturating_sub(warm.allocations) as f64 / rows as f64)
}

async fn run(rows: u64, arrivals: u64) -> Result<Seen> {
    let sink = Visitor::default();
    let mut options = PipelineOptions::default();
    options.stop_at_current = true;
    let spec = PipelineSpec {
        name: "bench".into(),
        source: Arc::new(Rows::new(rows, arrivals)),
        transforms: Vec::new(),
        format: None,
        sink: Arc::new(sink.clone()),
        dead_letter: None,
        store: Arc::new(MemoryCheckpoints::default()),
        options,
    };
    Pipeline::start(spec).await?.wait().await?;
    Ok(sink.seen())
}

fn process_cpu() -> Duration {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(now.tv_sec.unsigned_abs(), now.tv_nsec.unsigned_abs() as u32)
}
