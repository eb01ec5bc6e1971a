//! Which layout a batch should have: arenas, one `Bytes` slice a value, or owned values. Three prototypes that do no
//! more than their layout needs, and the product, which has the first of them.
//!
//! `cargo bench -p outflow-bench --bench batch_layout [-- --rows N --rounds N]`; see the README beside `benches`.

mod arena;
mod bytes;
mod expected;
mod flat;
mod layout;
mod owned;
mod product;
mod run;

use std::time::Duration;

use outflow_bench::{COLUMNS, Options, Result, Series, Summary, Wire};

use crate::arena::ArenaReader;
use crate::bytes::BytesReader;
use crate::expected::Expected;
use crate::layout::Reader;
use crate::owned::OwnedReader;
use crate::product::ProductReader;
use crate::run::{BATCH, HELD, Outcome, Work, run};

/// The contenders. The first is the one that the others are compared with.
const CONTENDERS: [Contender; 4] = [
    Contender { name: ArenaReader::NAME, run: run::<ArenaReader> },
    Contender { name: BytesReader::NAME, run: run::<BytesReader> },
    Contender { name: OwnedReader::NAME, run: run::<OwnedReader> },
    Contender { name: ProductReader::NAME, run: run::<ProductReader> },
];

const TIMED: [Work; 3] = [Work::Filter { compact: false }, Work::Filter { compact: true }, Work::Encode];
const HOLDING: [Work; 3] = [Work::Hold, Work::Filter { compact: false }, Work::Filter { compact: true }];

struct Contender {
    name: &'static str,
    run: fn(&Wire, Work) -> Result<Outcome>,
}

impl Contender {
    fn run(&self, wire: &Wire, work: Work, expected: &Expected) -> Result<Outcome> {
        let outcome = (self.run)(wire, work)?;
        expected.verify(self.name, work, &outcome)?;
        Ok(outcome)
    }
}

fn main() -> Result<()> {
    let measure = Options { rows: 512 * 1024, rounds: 25 };
    let check = Options { rows: 16 * 1024, rounds: 1 };
    let options = Options::from_args(measure, check)?;
    let wire = Wire::of_rows(options.rows);
    let expected = Expected::of_rows(options.rows)?;
    println!(
        "batch_layout: {} distinct rows of {COLUMNS} columns and {} bytes on the wire, {BATCH} a batch, {} rounds",
        options.rows,
        wire.len() as u64 / options.rows,
        options.rounds,
    );
    if cfg!(debug_assertions) {
        println!("built without optimisation: the contents are checked, the times mean nothing");
    }
    hold(&wire, &expected)?;
    time(&wire, &expected, options.rounds)?;
    println!("\nevery run saw the values, or wrote the JSON, that the rows were generated with");
    Ok(())
}

/// Memory that the consumer retains; the same in every round, so there is only one.
fn hold(wire: &Wire, expected: &Expected) -> Result<()> {
    println!("\nmemory retained by the last {HELD} batches that have rows left");
    println!("{:<18} {:<21} {:>10} {:>10} {:>12}", "work", "layout", "rows", "MiB", "bytes/row");
    for work in HOLDING {
        for contender in &CONTENDERS {
            let outcome = contender.run(wire, work, expected)?;
            let (rows, bytes) = (outcome.held_rows, outcome.held_bytes);
            let mebibytes = bytes as f64 / 1024.0 / 1024.0;
            let name = contender.name;
            println!("{work:<18} {name:<21} {rows:>10} {mebibytes:>10.2} {:>12}", bytes / rows.max(1));
        }
    }
    Ok(())
}

/// Time and allocations; the contenders take turns, so that a slow moment of the machine meets them all.
fn time(wire: &Wire, expected: &Expected, rounds: usize) -> Result<()> {
    println!(
        "\ntime a row in ns, median (minimum); CPU is user + system of both threads; x is to the first layout"
    );
    println!(
        "{:<18} {:<21} {:>12} {:>12} {:>12} {:>12} {:>6} {:>7} {:>11}",
        "work", "layout", "elapsed", "producer CPU", "consumer CPU", "CPU", "x CPU", "x elap.", "allocs/row"
    );
    for work in TIMED {
        let mut results: [Results; CONTENDERS.len()] = Default::default();
        for _ in 0..rounds {
            for (contender, results) in CONTENDERS.iter().zip(&mut results) {
                results.push(&contender.run(wire, work, expected)?);
            }
        }
        for (contender, own) in CONTENDERS.iter().zip(&results) {
            println!("{work:<18} {:<21} {}", contender.name, own.line(&results[0]));
        }
    }
    Ok(())
}

/// What all rounds of one contender at one work took, a row.
#[derive(Default)]
struct Results {
    elapsed: Series,
    producer: Series,
    consumer: Series,
    cpu: Series,
    allocations: Series,
}

impl Results {
    fn push(&mut self, outcome: &Outcome) {
        let rows = outcome.seen.received as f64;
        let nanos = |time: Duration| time.as_nanos() as f64 / rows;
        self.elapsed.push(nanos(outcome.elapsed));
        self.producer.push(nanos(outcome.producer.cpu));
        self.consumer.push(nanos(outcome.consumer.cpu));
        self.cpu.push(nanos(outcome.producer.cpu + outcome.consumer.cpu));
        self.allocations.push((outcome.producer.allocations + outcome.consumer.allocations) as f64 / rows);
    }

    fn line(&self, base: &Self) -> String {
        let cell = |series: &Series| {
            let Summary { median, min } = series.summary();
            format!("{median:.0} ({min:.0})")
        };
        format!(
            "{:>12} {:>12} {:>12} {:>12} {:>6.2} {:>7.2} {:>11.4}",
            cell(&self.elapsed),
            cell(&self.producer),
            cell(&self.consumer),
            cell(&self.cpu),
            self.cpu.ratio_to(&base.cpu),
            self.elapsed.ratio_to(&base.elapsed),
            self.allocations.summary().median,
        )
    }
}
