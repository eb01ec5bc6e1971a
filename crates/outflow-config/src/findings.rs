//! Collects findings, but not without end.

use crate::diagnostic::{At, Finding, Severity};

/// How many mistakes of one file are shown.
const MOST: usize = 100;

/// The findings of one file.
#[derive(Clone, Default)]
pub(crate) struct Findings {
    list: Vec<Finding>,
    more: bool,
}

impl Findings {
    pub(crate) fn push(&mut self, finding: Finding) {
        if self.list.len() < MOST {
            self.list.push(finding);
        } else {
            self.more = true;
        }
    }

    pub(crate) fn append(&mut self, other: Self) {
        self.more |= other.more;
        other.list.into_iter().for_each(|f| self.push(f));
    }

    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// All findings, and a last one if some were left out.
    pub(crate) fn into_list(mut self) -> Vec<Finding> {
        if self.more {
            let message = format!("there are more than {MOST} mistakes; only these are shown");
            let mut last = Finding::new("config.too_many", At::File, message);
            last.severity = Severity::Warning;
            self.list.push(last);
        }
        self.list
    }
}
