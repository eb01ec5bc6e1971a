//! The guides quote the examples as they are.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends where it fails")]

use std::path::{Path, PathBuf};

/// The contents of all Rust files below a folder, without what a build left there.
fn sources(folder: &Path, found: &mut Vec<String>) {
    for entry in folder.read_dir().unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("target") {
            sources(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(std::fs::read_to_string(path).unwrap());
        }
    }
}

/// The blocks of Rust in a guide.
fn quotes(guide: &str) -> Vec<&str> {
    guide.split("```rust\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect()
}

#[test]
fn rust_in_the_guides_stands_in_an_example() {
    let root: PathBuf = [env!("CARGO_MANIFEST_DIR"), "..", ".."].iter().collect();
    let mut examples = Vec::new();
    sources(&root.join("examples"), &mut examples);
    for name in ["embed.md", "write-a-connector.md"] {
        let guide = std::fs::read_to_string(root.join("docs/guides").join(name)).unwrap();
        let quotes = quotes(&guide);
        assert!(!quotes.is_empty(), "{name} quotes nothing");
        for quote in quotes {
            assert!(examples.iter().any(|code| code.contains(quote)), "{name}: in no example:\n{quote}");
        }
    }
}
