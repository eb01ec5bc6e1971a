//! The change model through its public face.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod json;
mod support;
