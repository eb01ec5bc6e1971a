//! What the documentation points at is there: linked files and headings, and the tests that prove the invariants.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends where it fails")]

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The files of this repository below `folder` with this ending.
fn files(folder: &Path, ending: &str, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        let name = entry.file_name().into_string().unwrap();
        if path.is_dir() {
            if name != "target" && !name.starts_with('.') {
                files(&path, ending, into);
            }
        } else if name.ends_with(ending) {
            into.push(path);
        }
    }
}

fn all(ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    files(&root(), ending, &mut found);
    assert!(!found.is_empty(), "no file ends with {ending}");
    found
}

/// The targets of `[text](target)`, outside of code blocks.
fn links(text: &str) -> Vec<&str> {
    let mut code = false;
    let prose = text.lines().filter(|line| {
        let fence = line.trim_start().starts_with("```");
        code ^= fence;
        !code && !fence
    });
    prose
        .flat_map(|line| {
            line.split("](").skip(1).filter_map(|rest| rest.split_once(')').map(|(link, _)| link))
        })
        .collect()
}

/// The anchor that GitHub gives a heading.
fn anchor(heading: &str) -> String {
    let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
    heading
        .trim_start_matches('#')
        .trim()
        .to_lowercase()
        .chars()
        .filter(kept)
        .collect::<String>()
        .replace(' ', "-")
}

#[test]
fn links_lead_somewhere() {
    let mut broken = Vec::new();
    for page in all(".md") {
        let text = fs::read_to_string(&page).unwrap();
        for link in links(&text).into_iter().filter(|l| !l.contains("://")) {
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { page.clone() } else { page.parent().unwrap().join(file) };
            let there = if heading.is_empty() {
                target.exists()
            } else {
                fs::read_to_string(&target)
                    .is_ok_and(|t| t.lines().any(|l| l.starts_with('#') && anchor(l) == heading))
            };
            if !there {
                broken.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn each_invariant_names_tests_that_exist() {
    let sources: Vec<(PathBuf, String)> =
        all(".rs").into_iter().map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect();
    let text = fs::read_to_string(root().join("docs/explanation/invariants.md")).unwrap();
    let rows: Vec<&str> = text.lines().filter(|l| l.starts_with("| ") && l.contains("**")).collect();
    assert_eq!(rows.len(), 12, "one row an invariant");
    let mut missing = Vec::new();
    for row in rows {
        let (number, tests) = (row.split('|').nth(1).unwrap(), row.split('|').nth(4).unwrap());
        for name in tests.split('`').skip(1).step_by(2) {
            let (module, function) = name.split_once("::").expect(name);
            let (stem, head) = (format!("{module}.rs"), format!("fn {function}("));
            let is_there = |(path, text): &(PathBuf, String)| {
                // `module` is a file, or the folder whose `tests.rs` has the test.
                let named = path.ends_with(&stem) || path.components().any(|c| c.as_os_str() == module);
                named && text.contains(&head)
            };
            if !sources.iter().any(is_there) {
                missing.push(format!("invariant{number}: {name}"));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

/// The quoted words that begin with `prefix.` and go on in small letters.
fn codes<'t>(text: &'t str, quote: char, prefix: &str) -> Vec<&'t str> {
    let is_code = |word: &&str| {
        word.strip_prefix(prefix)
            .and_then(|rest| rest.strip_prefix('.'))
            .is_some_and(|rest| !rest.is_empty() && rest.chars().all(|c| c.is_ascii_lowercase() || c == '_'))
    };
    text.split(quote).filter(is_code).collect()
}

#[test]
fn each_code_of_a_connector_is_in_its_readme() {
    for (connector, prefixes) in
        [("polling", ["polling"].as_slice()), ("stdio", &["stdout", "file", "blackhole", "generator"])]
    {
        let folder = root().join("connectors").join(connector);
        let readme = fs::read_to_string(folder.join("README.md")).unwrap();
        let (_, readme) = readme.split_once("## Codes").unwrap();
        let mut sources = Vec::new();
        files(&folder.join("src"), ".rs", &mut sources);
        let sources: String = sources.iter().map(|path| fs::read_to_string(path).unwrap()).collect();
        for prefix in prefixes {
            let (used, said) = (codes(&sources, '"', prefix), codes(readme, '`', prefix));
            let missing: Vec<&&str> = used.iter().filter(|code| !said.contains(code)).collect();
            let gone: Vec<&&str> = said.iter().filter(|code| !used.contains(code)).collect();
            assert!(missing.is_empty() && gone.is_empty(), "not said: {missing:?}; no more: {gone:?}");
        }
    }
}
