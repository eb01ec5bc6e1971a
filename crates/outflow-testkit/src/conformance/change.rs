//! What was committed against what arrived.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::verdict::Mismatch;

/// One change as both sides know it: the key, and a content that differs from all others of the key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Change {
    /// What orders it among others.
    pub key: String,
    /// What tells it from the other changes of its key.
    pub content: String,
}

impl Change {
    /// A change of `key`.
    pub fn new(key: impl Into<String>, content: impl Into<String>) -> Self {
        Self { key: key.into(), content: content.into() }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.key, self.content)
    }
}

/// A few changes, for a message.
pub(super) fn list<'a>(changes: impl IntoIterator<Item = &'a Change>) -> String {
    const SHOWN: usize = 5;
    let mut changes = changes.into_iter();
    let shown: Vec<_> = changes.by_ref().take(SHOWN).map(ToString::to_string).collect();
    match changes.count() {
        0 => shown.join(", "),
        more => format!("{}, and {more} more", shown.join(", ")),
    }
}

/// The changes of `expected` that did not come.
pub(super) fn missing<'a>(expected: &'a [Change], came: &[Change]) -> Vec<&'a Change> {
    let came: BTreeSet<_> = came.iter().collect();
    expected.iter().filter(|change| !came.contains(change)).collect()
}

/// All came; repeats are allowed.
pub(super) fn nothing_lost(expected: &[Change], came: &[Change]) -> Result<(), Mismatch> {
    let missing = missing(expected, came);
    if missing.is_empty() {
        return Ok(());
    }
    Err(Mismatch::new(
        format!("all {} changes", expected.len()),
        format!("{} of them lost: {}", missing.len(), list(missing)),
    ))
}

/// Nothing came that was not committed.
pub(super) fn nothing_made_up(expected: &[Change], came: &[Change]) -> Result<(), Mismatch> {
    let phantoms = missing(came, expected);
    if phantoms.is_empty() {
        return Ok(());
    }
    Err(Mismatch::new("only what was committed", format!("also {}", list(phantoms))))
}

/// Nothing came twice.
pub(super) fn nothing_repeated(came: &[Change]) -> Result<(), Mismatch> {
    let mut seen = BTreeSet::new();
    let repeats: Vec<_> = came.iter().filter(|change| !seen.insert(*change)).collect();
    if repeats.is_empty() {
        return Ok(());
    }
    Err(Mismatch::new("each change once", format!("again {}", list(repeats))))
}

/// After removing every repeat, the changes of each key came in the order of `expected` (invariant 3).
pub(super) fn in_order(expected: &[Change], came: &[Change]) -> Result<(), Mismatch> {
    let came = by_key(came);
    for (key, wanted) in by_key(expected) {
        let came = came.get(key).map(Vec::as_slice).unwrap_or_default();
        let arrived: BTreeSet<_> = came.iter().collect();
        let wanted: Vec<_> = wanted.into_iter().filter(|content| arrived.contains(content)).collect();
        let known: BTreeSet<_> = wanted.iter().collect();
        let came: Vec<_> = came.iter().copied().filter(|content| known.contains(content)).collect();
        if wanted != came {
            return Err(Mismatch::new(
                format!("the changes of key {key} in the order {}", wanted.join(", ")),
                came.join(", "),
            ));
        }
    }
    Ok(())
}

/// The first arrivals of each key's changes, in order.
fn by_key(changes: &[Change]) -> BTreeMap<&str, Vec<&str>> {
    let mut seen = BTreeSet::new();
    let mut keys: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for change in changes.iter().filter(|change| seen.insert(*change)) {
        keys.entry(&change.key).or_default().push(&change.content);
    }
    keys
}
