//! The binary as people meet it: what it prints, where, and how it ends.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

mod bad_input;
mod init;
mod position;
mod postgres;
mod quickstart;
mod reference;
mod run;
mod secrets;
mod signals;
mod verbs;
