//! Repetitions of one measurement and how they are summed up.

/// The results of one contender, one a round.
#[derive(Clone, Debug, Default)]
pub struct Series(Vec<f64>);

/// Median and smallest of a series. On a shared machine the smallest is nearest to the cost of the work itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    /// The middle one.
    pub median: f64,
    /// The smallest.
    pub min: f64,
}

impl Series {
    /// Adds the result of the next round.
    pub fn push(&mut self, value: f64) {
        self.0.push(value);
    }

    /// Median and minimum; NaN of an empty series.
    pub fn summary(&self) -> Summary {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let at = |i: usize| sorted.get(i).copied().unwrap_or(f64::NAN);
        let (low, high) = (at(sorted.len().saturating_sub(1) / 2), at(sorted.len() / 2));
        Summary { median: f64::midpoint(low, high), min: at(0) }
    }

    /// The median over the rounds of this result divided by that of `base` in the same round, so that a slow moment
    /// of the machine weighs on both.
    pub fn ratio_to(&self, base: &Self) -> f64 {
        let ratios = self.0.iter().zip(&base.0).map(|(own, base)| own / base).collect();
        Self(ratios).summary().median
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summaries_and_ratios() {
        let own = Series(vec![30.0, 10.0, 22.0]);
        let base = Series(vec![10.0, 10.0, 10.0]);
        assert_eq!(own.summary(), Summary { median: 22.0, min: 10.0 });
        assert_eq!(own.ratio_to(&base), 2.2);
        assert_eq!(Series(vec![1.0, 2.0]).summary().median, 1.5);
    }
}
