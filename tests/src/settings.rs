//! What the environment says about a run of the tests.

use std::str::FromStr;

/// A number from the environment, or `default` where the variable is not set.
///
/// # Panics
/// When the variable holds something else.
pub fn number<T: FromStr>(name: &str, default: T) -> T {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")),
        Err(_) => default,
    }
}

/// A variable that names a server. Tests do not pass without their server.
///
/// # Panics
/// When it is not set.
pub fn server(name: &str) -> String {
    std::env::var(name)
        .unwrap_or_else(|_| panic!("{name} is not set: run dev/test, or eval \"$(dev/services env)\""))
}

/// The seed of a run: `OUTFLOW_CRASH_SEED`, else another one each time. It is printed, so that the run can be had
/// again.
pub fn seed() -> u64 {
    let now = outflow_testkit::verifier::unix_nanos();
    number("OUTFLOW_CRASH_SEED", now % 1_000_000)
}
