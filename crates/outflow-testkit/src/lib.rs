//! The contract of Outflow connectors as tests: conformance suites, fakes, fault proxy, delivery verifier

pub mod memory;
pub mod proxy;
pub mod verifier;
