//! The conformance suites over the in-memory servers, and over doubles that each break one rule.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod broken_sinks;
mod broken_sources;
mod servers;
mod simple;

use outflow_testkit::conformance::{SinkCheck, SourceCheck};

#[test]
fn every_check_has_its_test_in_the_macros_and_its_line_in_the_documentation() {
    let (macros, table) =
        (include_str!("../../src/conformance/macros.rs"), include_str!("../../src/conformance.rs"));
    let sources = SourceCheck::ALL.iter().map(|check| (check.name(), format!("{check:?}")));
    let sinks = SinkCheck::ALL.iter().map(|check| (check.name(), format!("{check:?}")));
    for (name, variant) in sources.chain(sinks) {
        assert!(macros.contains(&format!("{name}: {variant},")), "{name} has no test");
        assert!(table.contains(&format!("//! | `{name}` |")), "{name} is not documented");
    }
}
