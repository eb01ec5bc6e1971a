//! Why a store refuses, in the same words for every store.

use std::fmt::Display;

use outflow_sdk::{Error, StateScope};

/// Another instance has taken over: final.
pub(crate) fn fenced(scope: &StateScope) -> Error {
    Error::fenced("state.fenced")
        .message(format!("another instance has taken over the state of {scope}"))
        .hint("nothing is lost: the other instance goes on. Stop one of the two for good")
}

/// The lease ran out and has not been renewed yet.
pub(crate) fn expired(scope: &StateScope) -> Error {
    Error::transient("state.lease_expired")
        .message(format!(
            "the lease on the state of {scope} ran out: this process or its machine stood still"
        ))
        .hint("nothing is lost: it goes on once the lease is renewed, unless another instance has taken over")
}

/// Another instance is at work.
pub(crate) fn held(scope: &StateScope, holder: impl Display) -> Error {
    Error::transient("state.held")
        .message(format!("{scope} is already run by {holder}"))
        .hint("stop that one first, or give this pipeline another name")
}
