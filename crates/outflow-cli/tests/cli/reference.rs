//! The reference of the command line names what there is, and nothing else.

use std::collections::BTreeSet;

use crate::support::Folder;

const REFERENCE: &str = include_str!("../../../../docs/reference/cli.md");

/// The help of every verb, `position show` among them.
fn verbs(folder: &Folder, words: &[&str]) -> Vec<(String, String)> {
    let help = folder.outflow(&[words, &["--help"]].concat()).code(0).out;
    let mut all = vec![(words.join(" "), help.clone())];
    let section = help.split("\nCommands:\n").nth(1).unwrap_or_default();
    for line in section.lines().take_while(|l| !l.is_empty()) {
        if let Some(verb) = line.split_whitespace().next() {
            all.extend(verbs(folder, &[words, &[verb]].concat()));
        }
    }
    all
}

/// The flags in a text: words that begin with two dashes.
fn flags(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !(c.is_ascii_lowercase() || c == '-'));
    words.filter(|w| w.len() > 2 && w.starts_with("--") && !w.starts_with("---")).collect()
}

#[test]
fn every_verb_and_flag_is_in_the_reference_and_no_other() {
    let verbs = verbs(&Folder::new(), &[]);
    assert!(verbs.len() > 12, "{verbs:?}");
    let mut known = BTreeSet::new();
    for (verb, help) in &verbs {
        if !verb.is_empty() {
            assert!(
                REFERENCE.contains(&format!("`outflow {verb}")),
                "`outflow {verb}` is not in the reference"
            );
        }
        known.extend(flags(help));
    }
    let documented = flags(REFERENCE);
    assert_eq!(documented, known, "flags: the reference, and the command line");
}

#[test]
fn every_status_word_exit_code_and_variable_is_in_the_reference() {
    for word in ["starting", "snapshot", "flowing", "idle", "stalled", "stopped", "failed"] {
        assert!(REFERENCE.contains(&format!("| `{word}` |")), "{word}");
    }
    for code in 0..=3 {
        assert!(REFERENCE.contains(&format!("\n| {code} |")), "{code}");
    }
    for name in ["OUTFLOW_LOG", "OUTFLOW_LOG_FORMAT", "OUTFLOW_LISTEN", "OUTFLOW_STATE_DIR", "NO_COLOR"] {
        assert!(REFERENCE.contains(&format!("| `{name}` |")), "{name}");
    }
}
