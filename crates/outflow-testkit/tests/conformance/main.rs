//! The conformance suites over the in-memory servers, and over doubles that each break one rule.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod broken_sinks;
mod broken_sources;
mod servers;
