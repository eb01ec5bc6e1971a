//! What polling costs: an outbox drained against the bare client that fetches the same pages; the time from an
//! application's commit to the sink; the time from the start of the process to its first event; and the processor
//! time of an idle process.
//!
//! Needs PostgreSQL (`eval "$(dev/services env)"`) and, for the last two, the program (`cargo build --release`).

mod database;
mod drain;
mod latency;
mod process;

use outflow_bench::{Options, Result, Series};

use database::{Kind, Outbox, Seen};

const MEASURE: Options = Options { rows: 200_000, rounds: 7 };
const CHECK: Options = Options { rows: 500, rounds: 1 };

fn main() -> Result<()> {
    let options = Options::from_args(MEASURE, CHECK)?;
    let measures = std::env::args().any(|arg| arg == "--bench");
    for kind in [Kind::Sqlite, Kind::Postgres] {
        println!("{kind}");
        drained(kind, &options)?;
        // Rows at 1,000/s, so a hundredth of the drain's rows takes two seconds.
        latency::run(kind, (options.rows / 20).max(200))?;
        if measures {
            process::first_event(kind, options.rounds)?;
            process::idle(kind)?;
        }
    }
    Ok(())
}

/// Reads the whole outbox in turns: by the bare client, and through a pipeline.
fn drained(kind: Kind, options: &Options) -> Result<()> {
    let outbox = Outbox::create(kind)?;
    let expected = outbox.fill(options.rows)?;
    let (mut floor, mut ours) = (Series::default(), Series::default());
    let per_row = |elapsed: std::time::Duration| elapsed.as_secs_f64() * 1e9 / options.rows as f64;
    for _ in 0..options.rounds {
        let (seen, elapsed) = drain::bare(&outbox)?;
        same("the bare client", seen, expected)?;
        floor.push(per_row(elapsed));
        let (seen, elapsed) = drain::piped(&outbox)?;
        same("the pipeline", seen, expected)?;
        ours.push(per_row(elapsed));
    }
    let (f, o) = (floor.summary(), ours.summary());
    println!("  drain of {} rows, {} rounds", options.rows, options.rounds);
    println!("    bare client     {:>7.0} ns/row (min {:.0})", f.median, f.min);
    println!(
        "    outbox pipeline {:>7.0} ns/row (min {:.0}): {:.0} rows/s, {:.2} × the bare client's rate",
        o.median,
        o.min,
        1e9 / o.median,
        floor.ratio_to(&ours)
    );
    Ok(())
}

fn same(who: &str, seen: Seen, expected: Seen) -> Result<()> {
    if seen == expected {
        Ok(())
    } else {
        Err(format!("{who} saw {seen:?}, the rows are {expected:?}").into())
    }
}
