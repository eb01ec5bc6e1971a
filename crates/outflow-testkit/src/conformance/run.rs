//! Runs a check as a test.

use super::verdict::{Verdict, Violation};

/// Runs a test's future on a runtime of its own, so that a connector's tests need no other.
pub fn block_on<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    #[expect(clippy::expect_used, reason = "a test fails by panicking")]
    let runtime = runtime.expect("a runtime for the test");
    runtime.block_on(test)
}

/// Fails the test where a rule is broken, and says so where it does not bear on the connector.
///
/// # Panics
/// On a violation.
#[expect(
    clippy::panic,
    clippy::print_stderr,
    reason = "a test fails by panicking, and its notes go to stderr"
)]
pub fn require(result: Result<Verdict, Violation>) {
    match result {
        Ok(Verdict::Passed) => {}
        Ok(Verdict::NotApplicable(why)) => eprintln!("not applicable: {why}"),
        Err(violation) => panic!("{violation}"),
    }
}
