//! The contract of Outflow connectors as tests, and what tests of pipelines stand on.
//!
//! - [`conformance`]: the suites that every source and sink passes, ours and others'. A connector's crate says
//!   [`source_conformance!`] or [`sink_conformance!`] over a fixture and gets one test a rule.
//! - [`memory`]: in-memory servers that do what a real one cannot be made to do on demand.
//! - [`proxy`]: a TCP proxy that cuts, delays and throttles connections.
//! - [`verifier`]: writers that journal what they commit, and the checks of what arrived against it.

pub mod conformance;
pub mod memory;
pub mod proxy;
pub mod verifier;
