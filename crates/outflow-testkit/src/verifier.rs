//! The delivery verifier: writers that journal what they commit, and a checker that compares it with what arrived.

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
