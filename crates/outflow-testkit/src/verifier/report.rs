//! What the checker found.

use std::fmt;

/// How many findings are kept word by word; all are counted.
const KEPT: usize = 10;

/// What can be wrong with a delivery, or with its absence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Problem {
    /// A committed change did not arrive.
    Lost,
    /// A change arrived that was rolled back or never written.
    Phantom,
    /// A change arrived for the first time after a later one of its key.
    OutOfOrder,
    /// A change arrived with other content than was written.
    Altered,
    /// Something arrived that is no record, or only a part of one.
    Unreadable,
}

const PROBLEMS: [(Problem, &str); 5] = [
    (Problem::Lost, "lost"),
    (Problem::Phantom, "phantoms"),
    (Problem::OutOfOrder, "out of order"),
    (Problem::Altered, "altered"),
    (Problem::Unreadable, "unreadable"),
];

/// One problem, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What is wrong.
    pub problem: Problem,
    /// With which row.
    pub what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = PROBLEMS.iter().find(|(p, _)| *p == self.problem).map_or("", |(_, word)| word);
        write!(f, "{word}: {}", self.what)
    }
}

/// How many deliveries may be repeats.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RepeatBound {
    /// So many in all.
    Total(u64),
    /// So many after each restart, and none before the first.
    PerRestart(u64),
    /// So many after each restart, by its number, and none before the first: for instance what had been emitted since
    /// the last stored checkpoint when the pipeline was killed.
    Restarts(Vec<u64>),
}

impl From<u64> for RepeatBound {
    fn from(total: u64) -> Self {
        Self::Total(total)
    }
}

/// The verdict. `Display` gives it in one line, and a second one with examples if something is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// Committed changes.
    pub written: u64,
    /// Transactions that committed them.
    pub transactions: u64,
    /// Records that arrived.
    pub delivered: u64,
    /// Repeats before the first restart, and after each.
    pub repeats: Vec<u64>,
    /// Transactions of which neither journal nor database could say whether they were committed.
    pub uncertain: u64,
    /// Those of them that were, as a row of theirs arrived.
    pub uncertain_committed: u64,
    counts: [u64; PROBLEMS.len()],
    findings: Vec<Finding>,
}

impl Default for Report {
    fn default() -> Self {
        Self {
            written: 0,
            transactions: 0,
            delivered: 0,
            repeats: vec![0],
            uncertain: 0,
            uncertain_committed: 0,
            counts: [0; PROBLEMS.len()],
            findings: Vec::new(),
        }
    }
}

impl Report {
    pub(super) fn add(&mut self, finding: Finding) {
        for ((problem, _), count) in PROBLEMS.iter().zip(&mut self.counts) {
            *count += u64::from(*problem == finding.problem);
        }
        if self.findings.len() < KEPT {
            self.findings.push(finding);
        }
    }

    pub(super) fn repeat(&mut self) {
        if let Some(current) = self.repeats.last_mut() {
            *current += 1;
        }
    }

    /// How often a problem was found.
    pub fn count(&self, problem: Problem) -> u64 {
        PROBLEMS.iter().zip(self.counts).filter(|((p, _), _)| *p == problem).map(|(_, count)| count).sum()
    }

    /// The first findings, in words.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// Deliveries of what had been delivered before.
    pub fn repeated(&self) -> u64 {
        self.repeats.iter().sum()
    }

    /// Everything that contradicts a clean delivery, in words; empty if nothing does. A check of nothing is not clean.
    pub fn faults(&self, repeats: impl Into<RepeatBound>) -> Vec<String> {
        let mut faults = Vec::new();
        if self.written == 0 {
            faults.push("nothing was written, so nothing was checked".to_owned());
        }
        for (problem, word) in PROBLEMS {
            match self.count(problem) {
                0 => {}
                count => faults.push(format!("{count} {word}")),
            }
        }
        let mut bound = |what: &str, repeats: u64, most: u64| {
            if repeats > most {
                faults.push(format!("{repeats} repeats {what}, at most {most} are allowed"));
            }
        };
        match repeats.into() {
            RepeatBound::Total(most) => bound("in all", self.repeated(), most),
            per_restart => {
                for (run, repeats) in self.repeats.iter().enumerate() {
                    let most = match (&per_restart, run.checked_sub(1)) {
                        (RepeatBound::PerRestart(most), Some(_)) => *most,
                        (RepeatBound::Restarts(most), Some(restart)) => {
                            most.get(restart).copied().unwrap_or(0)
                        }
                        _ => 0,
                    };
                    bound(&format!("after restart {run}"), *repeats, most);
                }
            }
        }
        faults
    }

    /// Panics with the report if anything is wrong, or if more was repeated than `repeats` allows.
    #[track_caller]
    #[expect(clippy::panic, reason = "an assertion for tests")]
    pub fn assert_clean(&self, repeats: impl Into<RepeatBound>) {
        let faults = self.faults(repeats);
        if !faults.is_empty() {
            panic!("the delivery is not clean: {}\n{self}", faults.join("; "));
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} changes in {} transactions written, {} delivered:",
            self.written, self.transactions, self.delivered
        )?;
        for ((_, word), count) in PROBLEMS.iter().zip(self.counts) {
            write!(f, " {count} {word},")?;
        }
        write!(f, " {} repeats over {} restarts", self.repeated(), self.repeats.len().saturating_sub(1))?;
        if self.uncertain > 0 {
            write!(
                f,
                ", {} of {} uncertain transactions committed",
                self.uncertain_committed, self.uncertain
            )?;
        }
        let mut separator = "\n";
        for finding in &self.findings {
            write!(f, "{separator}{finding}")?;
            separator = "; ";
        }
        Ok(())
    }
}
