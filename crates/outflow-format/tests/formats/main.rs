//! The formats, from the outside: events in, records out.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends where it fails")]

mod debezium;
mod json;
mod properties;
mod raw;
mod support;
