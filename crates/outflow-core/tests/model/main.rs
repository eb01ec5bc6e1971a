//! The change model through its public face.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod builder;
mod checkpoint;
mod compact;
mod deserialize;
mod edit;
mod json;
mod pool;
mod support;
