//! The delivery verifier: writers that journal what they commit, and a checker that compares it with what arrived.
//!
//! A [`Generator`], or a [`GeneratorProcess`] that can be killed, carries out a [`Workload`]: transactions that commit,
//! roll back and stay open, on an outbox table. Every row has a [`Mark`] in its payload, by which it is known wherever
//! it arrives. What the writers did is in their [`journal`]s, from which a [`History`] is read. A [`Checker`] compares
//! the history with the deliveries and gives a [`Report`]: what was lost, repeated, out of order, altered or never
//! committed. [`crash`] kills the pipeline meanwhile; a [`Replica`] adds deliveries up to a final state.
//!
//! The databases are behind the crate features `verifier-sqlite` and `verifier-postgres`; everything else needs none.
//! All calls block, so call them outside of async code, or from a multi-thread runtime.
//!
//! ```no_run
//! # use std::path::Path;
//! use outflow_testkit::verifier::{Checker, Generator, History, Order, Workload};
//!
//! # fn example(output: &Path) -> outflow_core::Result<()> {
//! let workload = Workload::new("sqlite:shop.db", "journals").writers(8).rate(1_000.0);
//! workload.create_tables()?;
//! let generator = Generator::start(workload.clone())?;
//! // … a pipeline follows the table `outbox` and appends to a file …
//! generator.stop()?;
//!
//! let mut history = History::read(Path::new("journals"))?;
//! let mut database = workload.open()?;
//! history.resolve(|tx| database.committed(tx))?;
//! let mut checker = Checker::new(history, Order::Sequence);
//! checker.deliver_file(output, &[])?;
//! checker.finish().assert_clean(0);
//! # Ok(())
//! # }
//! ```

mod check;
mod clock;
pub mod crash;
pub mod database;
mod delivery;
mod generator;
mod history;
pub mod journal;
mod mark;
#[cfg(feature = "verifier-postgres")]
mod postgres;
mod process;
mod replica;
mod report;
#[cfg(feature = "verifier-sqlite")]
mod sqlite;
mod table;
mod workload;

pub use check::{Checker, Order};
pub use clock::unix_nanos;
pub use delivery::{Delivery, Step, steps, whole_lines};
pub use generator::{Generator, Progress};
pub use history::History;
pub use mark::{InvalidRowId, Mark, RowId, RowIds};
pub use process::{GeneratorProcess, generator_main};
pub use replica::{Difference, Replica};
pub use report::{Finding, Problem, RepeatBound, Report};
pub use table::{DESTINATION, Dialect, EVENT_TYPE, Shape, Table};
pub use workload::{Discipline, Workload};
