//! The contract of Outflow connectors as tests: conformance suites, fakes, fault proxy, delivery verifier

pub mod proxy;
pub mod verifier;
