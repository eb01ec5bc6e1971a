//! The connectors, from the outside: driven as the runtime drives them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends where it fails")]

mod blackhole;
mod file_sink;
mod file_source;
mod generator;
mod support;
