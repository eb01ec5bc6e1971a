//! `docs/reference/configuration.md` knows every key, default and code, and its examples do what it says.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::Path;

use common::{Fixture, shown};
use outflow_config::{Environment, InputFile, Loaded, Loader, ProcessSettings, Settings, pipeline_schema};
use serde_json::Value as Json;

/// An environment in which nothing is set, with a password in a file.
struct Bare;

impl Environment for Bare {
    fn variable(&self, _: &str) -> Result<Option<String>, OsString> {
        Ok(None)
    }

    fn file(&self, path: &Path) -> io::Result<Vec<u8>> {
        if path == Path::new("/run/secrets/pg") {
            Ok(b"pw\n".to_vec())
        } else {
            Err(io::ErrorKind::NotFound.into())
        }
    }
}

fn reference() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/configuration.md");
    fs::read_to_string(path).unwrap()
}

/// The cells of the table rows that begin with a name in backticks.
fn rows(text: &str) -> Vec<Vec<String>> {
    let lines = text.lines().filter(|line| line.starts_with("| `"));
    lines
        .map(|line| line.split(" | ").map(|cell| cell.trim_matches(['|', ' ']).to_owned()).collect())
        .collect()
}

fn names_within(cell: &str) -> impl Iterator<Item = String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned)
}

/// The fenced blocks of a language.
fn blocks<'a>(text: &'a str, language: &str) -> Vec<&'a str> {
    let fences: Vec<&str> = text.split("```").collect();
    let inner = fences.into_iter().skip(1).step_by(2);
    inner.filter_map(|block| block.strip_prefix(language)?.strip_prefix('\n')).collect()
}

fn load(text: &str) -> Loaded {
    Loader::new(&Fixture, &Bare).load(vec![InputFile::new("orders.yaml", text)])
}

fn keys(properties: &Json) -> impl Iterator<Item = String> {
    properties.as_object().unwrap().keys().cloned()
}

#[test]
fn every_key_is_in_the_reference_with_its_default() {
    let schema = pipeline_schema(&Fixture);
    let known: BTreeSet<String> = keys(&schema["properties"])
        .chain(keys(&schema["$defs"]["runtime"]))
        .chain(["x-…".to_owned()])
        .collect();
    let text = reference();
    let tables = text.split("## Keys").nth(1).unwrap().split("### Values").next().unwrap();
    let rows = rows(tables);
    let told: BTreeSet<String> =
        rows.iter().flat_map(|row| names_within(&row[0]).collect::<Vec<_>>()).collect();
    assert_eq!(told, known);

    let defaults = serde_json::to_value(Settings::default()).unwrap();
    for (key, default) in defaults.as_object().unwrap() {
        let row = rows.iter().find(|row| row[0] == format!("`{key}`")).unwrap();
        assert_eq!(row[1].trim_matches('`'), default.as_str().unwrap(), "{key}");
    }
}

#[test]
fn every_code_is_in_the_reference() {
    fn sources(folder: &Path, text: &mut String) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { sources(&path, text) } else { *text += &fs::read_to_string(path).unwrap() }
        }
    }
    let mut source = String::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut source);
    let is_code = |word: &&str| {
        let name = word.strip_prefix("config.");
        name.is_some_and(|name| !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c == '_'))
    };
    let ours: BTreeSet<String> = source.split('"').filter(is_code).map(str::to_owned).collect();
    let text = reference();
    let rows = rows(text.split("## Errors").nth(1).unwrap());
    let told: BTreeSet<String> =
        rows.iter().flat_map(|row| names_within(&row[0]).collect::<Vec<_>>()).collect();
    assert_eq!(told, ours);
}

#[test]
fn the_examples_do_what_is_said() {
    let text = reference();
    let [good, bad] = blocks(&text, "yaml")[..] else { panic!("two pipelines") };
    let loaded = load(good);
    assert_eq!(shown(&loaded), "");
    assert_eq!(loaded.pipelines[0].source.config["url"], "postgres://outflow@db.internal/shop");
    assert_eq!(loaded.pipelines[0].source.config["password"], "pw");

    let printed = blocks(&text, "").into_iter().find(|block| block.starts_with("error[")).unwrap();
    assert_eq!(shown(&load(bad)), printed);
}

#[test]
fn the_variables_of_the_process_are_those_of_the_reference() {
    let text = reference();
    for (name, value) in
        [("OUTFLOW_STATE_DIR", "/x"), ("OUTFLOW_LISTEN", "127.0.0.1:1"), ("OUTFLOW_LOG_FORMAT", "json")]
    {
        assert!(text.contains(&format!("| `{name}` |")), "{name}");
        let (settings, _) = ProcessSettings::read([(name.into(), value.into())]);
        assert_ne!(settings, ProcessSettings::default(), "{name}");
    }
}

#[test]
fn quotes_make_text() {
    let quoted = "source: {type: polling, url: \"sqlite:a\", port: \"5432\"}\nsink: {type: stdout}\n";
    assert!(shown(&load(quoted)).contains("config.wrong_type"));
    let words = "source: {type: polling, url: \"sqlite:a\", slot: yes}\nsink: {type: stdout}\n";
    assert_eq!(load(words).pipelines[0].source.config["slot"], "yes");
}
