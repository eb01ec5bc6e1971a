//! The contract of connectors as checks, each a test with a name.
//!
//! A connector author says how changes get into the source's system ([`SourceFixture`]), or what the destination
//! durably holds ([`SinkFixture`]); the suite drives the connector as a pipeline would, and also as a crash would.
//!
//! ```text
//! outflow_testkit::source_conformance!(MySource::start().await);
//! outflow_testkit::sink_conformance!(MySink::start().await);
//! ```
//!
//! Each check gets a fixture of its own: the expression is evaluated anew. A connector that lacks the capability
//! that a check is about passes it; what it prints says so. [`configured_source`] and [`configured_sink`] make a
//! fixture's connector of a configuration. [`source()`] and [`sink()`] run all checks at once and give a [`Report`].
//!
//! Transient errors are tried again, as in a pipeline; all others break the rule of the check.
//!
//! # Sources
//!
//! | check | rule | a failure means |
//! | --- | --- | --- |
//! | `nothing_is_lost_or_repeated_over_a_clean_restart` | capability `resume` | the position is off by some rows, or is not read at start |
//! | `changes_of_a_key_come_in_commit_order` | invariant 3 | readers overtake each other, or pages are not sorted |
//! | `progress_is_carried_by_every_batch` | invariant 2 | fully filtered traffic is read again after each restart, and log is kept for ever |
//! | `a_drop_at_any_await_loses_nothing` | cancellation is a drop | something is taken out of the system, or kept on the side, before it was emitted |
//! | `stop_at_current_ends` | capability `stop_at_current` | `outflow run --stop-at current` hangs, or ends too early |
//! | `an_order_to_stop_is_obeyed` | `SourceContext::control` | each shutdown waits for `shutdown_timeout` |
//! | `a_replay_gives_the_same_ids` | invariant 8 | consumers cannot drop repeats |
//! | `positions_grow_and_read_back` | `PositionCodec` | `outflow position` misleads |
//!
//! # Sinks
//!
//! | check | rule | a failure means |
//! | --- | --- | --- |
//! | `an_ack_means_durable` | invariant 1 | a crash after the ack loses what the source was told to forget |
//! | `rejected_records_are_named` | capability `rejects` | good records become dead letters, or bad ones are taken for delivered |
//! | `records_of_a_key_arrive_in_order` | capability `ordered`, invariant 3 | consumers end with an old state |
//! | `a_dropped_write_loses_nothing` | `Sink::write` | a restart in the middle of a write loses or reorders records |
//! | `flush_resolves_every_ack` | `Sink::flush` | a pipeline never ends in order |
//! | `nothing_is_lost_over_close_and_reopen` | invariant 1 | a restart overwrites or cuts off what was delivered |
//! | `an_empty_batch_is_acked` | invariant 2 | progress stands still behind filtered traffic |

mod change;
mod configured;
mod macros;
mod run;
mod sink;
mod source;
mod verdict;

use std::time::Duration;

pub use change::Change;
pub use configured::{configured_sink, configured_source};
pub use run::{block_on, require};
pub use sink::{SinkCheck, SinkFixture, sink};
pub use source::{SourceCheck, SourceFixture, source};
pub use verdict::{Report, Verdict, Violation};

/// How long a connector may take for what it has to do; only a broken one needs it.
const PATIENCE: Duration = Duration::from_secs(20);
