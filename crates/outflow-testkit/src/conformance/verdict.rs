//! What a check found.

use std::fmt;

/// What became of one check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// The connector keeps the rule.
    Passed,
    /// The rule does not bear on this connector, for this reason.
    NotApplicable(&'static str),
}

/// A rule of the contract that a connector breaks.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Violation {
    /// The check, as its test is named.
    pub check: &'static str,
    /// The rule.
    pub rule: &'static str,
    /// What should have come.
    pub expected: String,
    /// What came.
    pub came: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "the connector breaks a rule of the contract: {}", self.check)?;
        writeln!(f, "  rule:     {}", self.rule)?;
        writeln!(f, "  expected: {}", self.expected)?;
        write!(f, "  came:     {}", self.came)
    }
}

impl std::error::Error for Violation {}

/// Expectation and finding of a check that does not know its own name.
#[derive(Debug)]
pub(super) struct Mismatch {
    expected: String,
    came: String,
}

impl Mismatch {
    pub(super) fn new(expected: impl Into<String>, came: impl Into<String>) -> Self {
        Self { expected: expected.into(), came: came.into() }
    }

    pub(super) fn of(self, check: &'static str, rule: &'static str) -> Violation {
        Violation { check, rule, expected: self.expected, came: self.came }
    }

    /// A step of the connector failed that no check wanted to fail.
    pub(super) fn failed(step: &str) -> impl Fn(outflow_sdk::Error) -> Self + use<'_> {
        move |error| Self::new(format!("{step} without an error"), error.to_string())
    }
}

/// What a whole suite found.
#[derive(Debug, Default)]
pub struct Report {
    results: Vec<(&'static str, Result<Verdict, Violation>)>,
}

impl Report {
    pub(super) fn push(&mut self, check: &'static str, result: Result<Verdict, Violation>) {
        self.results.push((check, result));
    }

    /// Each check with what it found, in the order they ran.
    pub fn results(&self) -> impl Iterator<Item = (&'static str, &Result<Verdict, Violation>)> {
        self.results.iter().map(|(check, result)| (*check, result))
    }

    /// The rules that are broken.
    pub fn violations(&self) -> impl Iterator<Item = &Violation> {
        self.results.iter().filter_map(|(_, result)| result.as_ref().err())
    }

    /// True when no rule is broken.
    pub fn is_clean(&self) -> bool {
        self.violations().next().is_none()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (check, result) in &self.results {
            match result {
                Ok(Verdict::Passed) => writeln!(f, "passed          {check}")?,
                Ok(Verdict::NotApplicable(why)) => writeln!(f, "not applicable  {check}: {why}")?,
                Err(violation) => writeln!(f, "broken          {check}\n{violation}")?,
            }
        }
        Ok(())
    }
}
