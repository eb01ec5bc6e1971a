//! `docs/reference/state.md` knows every code, and no other.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// All `state.…` between two of these marks.
fn codes(text: &str, mark: char) -> impl Iterator<Item = String> {
    let word = |part: &&str| {
        let name = part.strip_prefix("state.");
        name.is_some_and(|name| !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c == '_'))
    };
    text.split(mark).filter(word).map(str::to_owned).collect::<Vec<_>>().into_iter()
}

fn sources(folder: &Path, text: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, text);
        } else if path.extension().is_some_and(|e| e == "rs") {
            text.push_str(&fs::read_to_string(path).unwrap());
        }
    }
}

#[test]
fn every_code_is_in_the_reference() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut text = String::new();
    for name in ["outflow-state", "outflow-runtime", "outflow-cli"] {
        sources(&root.join("crates").join(name).join("src"), &mut text);
    }
    let ours: BTreeSet<_> = codes(&text, '"').collect();
    let reference = fs::read_to_string(root.join("docs/reference/state.md")).unwrap();
    let rows = reference.lines().filter(|line| line.starts_with("| `state."));
    let told: BTreeSet<_> =
        rows.flat_map(|row| codes(row.split('|').nth(1).unwrap(), '`').collect::<Vec<_>>()).collect();
    assert!(ours.len() > 10, "{ours:?}");
    assert_eq!(ours, told);
}
