//! Pauses between attempts: exponential with full jitter.
//!
//! Source: "Exponential Backoff And Jitter", Marc Brooker, AWS Architecture Blog, 2015 ("full jitter").

use std::time::Duration;

use rand::RngExt as _;

/// The pauses of one retried operation.
#[derive(Clone, Debug)]
pub(crate) struct Backoff {
    attempt: u32,
    max: Duration,
}

impl Backoff {
    const BASE: Duration = Duration::from_millis(50);

    pub(crate) fn new(max: Duration) -> Self {
        Self { attempt: 0, max }
    }

    /// How often it has failed in a row.
    pub(crate) fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Starts over: the operation worked.
    pub(crate) fn reset(&mut self) {
        self.attempt = 0;
    }

    /// The next pause: anything up to the doubled bound, but at least a tenth of it, so that a broken server is
    /// never asked in a busy loop.
    pub(crate) fn next(&mut self) -> Duration {
        let bound = Self::BASE.saturating_mul(1 << self.attempt.min(20)).min(self.max);
        self.attempt = self.attempt.saturating_add(1);
        bound.mul_f64(rand::rng().random_range(0.1..=1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_bound_and_start_over() {
        let mut backoff = Backoff::new(Duration::from_secs(1));
        for n in 0..40 {
            let bound = (Backoff::BASE * (1 << n.min(20))).min(Duration::from_secs(1));
            let pause = backoff.next();
            assert!(pause <= bound && pause >= bound / 11, "{n}: {pause:?}");
        }
        assert_eq!(backoff.attempt(), 40);
        backoff.reset();
        assert!(backoff.next() <= Backoff::BASE);
    }
}
