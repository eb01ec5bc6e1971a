//! Mistakes that are not in one file alone: flags, names, paths, connectors' own errors.

mod common;

use std::fs;
use std::path::PathBuf;

use common::{Fixture, GOOD, World, load, load_files, shown};
use outflow_config::{InputFile, Loader, Part, Place, RenderOptions, expand, render, render_all};
use outflow_core::Error;
use serde_json::json;

#[test]
fn flags() {
    let flags = [
        "orders.sink.topik=canary",
        "orders.source.port=canary",
        "orders.source.password=[canary]",
        "orders.transforms.0.columns=[a]",
        "orders.name=x",
        "oders.sink.topic=canary",
        "other.sink.topic=canary",
        "canary",
        "topic=canary",
        "orders.source.tables=[a",
        "orders.source.tls={mode: canary, x: 1}",
    ];
    assert_eq!(
        shown(&load(GOOD, &flags)),
        r#"error[config.unknown_key]: sink has no key "topik"
  --set orders.sink.topik
                    ^^^^^ "topic" is there already
error[config.wrong_type]: source.port must be a whole number, found other text
  --set orders.source.port
        ^^^^^^^^^^^^^^^^^^
error[config.flag]: a flag cannot change an entry of a list
  --set orders.transforms.0.columns
                          ^ set the whole list: …=[a, b]
error[config.flag]: a flag cannot change the name by which it finds its pipeline
  --set orders.name
               ^^^^
error[config.wrong_type]: source.tables must be a list, found other text
  --set orders.source.tables
        ^^^^^^^^^^^^^^^^^^^^ write …=[a, b]
error[config.invalid_value]: source.tls.mode must be one of the known words, found other text
  --set orders.source.tls
        ^^^^^^^^^^^^^^^^^ known: disable, require, verify-full
error[config.unknown_key]: source.tls has no key "x"
  --set orders.source.tls
        ^^^^^^^^^^^^^^^^^ known keys: ca
error[config.unknown_pipeline]: no pipeline is called "oders"
  --set oders.sink.topic
        ^^^^^ did you mean "orders"?
error[config.unknown_pipeline]: no pipeline is called "other"
  --set other.sink.topic
        ^^^^^ known: orders
error[config.flag]: a flag gives no value
  --set
  ^^^^^ write --set NAME.key=value
error[config.flag]: a flag names no key
  --set topic
        ^^^^^ write --set NAME.key=value
11 errors. Nothing was started.   All keys: outflow describe kafka
"#
    );
}

#[test]
fn two_pipelines_of_one_name() {
    let text = "source: {type: file, path: a}\nsink: {type: stdout}\n";
    let files = [("a/orders.yaml", text), ("b.yaml", "name: orders\n"), ("c/orders.yml", text)];
    let loaded = load_files(&files, &[]);
    assert_eq!(loaded.pipelines.len(), 1);
    assert_eq!(
        shown(&loaded),
        r#"error[config.missing_key]: a pipeline needs "source"
  b.yaml:1:1
  1 | name: orders
    | ^^^^ source: Where changes come from
error[config.missing_key]: a pipeline needs "sink"
  b.yaml:1:1
  1 | name: orders
    | ^^^^ sink: Where changes go
error[config.duplicate_name]: two pipelines are called "orders": a/orders.yaml and b.yaml
  b.yaml:1:7
  1 | name: orders
    |       ^^^^^^ each needs a name of its own, for its state and its metrics
error[config.duplicate_name]: two pipelines are called "orders": a/orders.yaml and c/orders.yml
  c/orders.yml
  each needs a name of its own, for its state and its metrics
4 errors. Nothing was started.
"#
    );
}

#[test]
fn a_name_that_the_file_gives_is_checked_too() {
    let text = "source: {type: file, path: a}\nsink: {type: stdout}\n";
    let loaded = load_files(&[("My Orders.yaml", text)], &[]);
    assert_eq!(
        shown(&loaded),
        r#"error[config.invalid_value]: name must be lower-case letters, digits, ".", "_" and "-", at most 100 characters, found "My Orders"
  My Orders.yaml
  for example orders
1 error. Nothing was started.
"#
    );
}

#[test]
fn paths() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let text = "source: {type: file, path: a}\nsink: {type: stdout}\n";
    for name in ["b.yaml", "a.yml", ".hidden.yaml", "notes.txt", "deep.d/c.yaml"] {
        fs::create_dir_all(path(name).parent().unwrap()).unwrap();
        fs::write(path(name), text).unwrap();
    }
    fs::create_dir(path("empty")).unwrap();
    let (files, problems) = expand(&[path("b.yaml"), folder.path().to_path_buf(), path("deep.d")]);
    let names: Vec<PathBuf> =
        files.iter().map(|f| f.strip_prefix(folder.path()).unwrap().to_path_buf()).collect();
    assert_eq!(names, ["b.yaml", "a.yml", "deep.d/c.yaml"].map(PathBuf::from));
    assert_eq!(problems, []);

    fs::write(path("large.yaml"), vec![b'#'; (1 << 20) + 1]).unwrap();
    fs::write(path("latin.yaml"), b"name: x\nsource: \xe4\n").unwrap();
    let paths = ["none.yaml", "empty", "large.yaml", "latin.yaml", "b.yaml"].map(path);
    let loaded = Loader::new(&Fixture, &World).load_paths(&paths);
    assert_eq!(loaded.pipelines.len(), 1);
    let printed = render_all(&loaded.diagnostics, "", RenderOptions::default());
    assert_eq!(
        printed.replace(&folder.path().display().to_string(), "DIR"),
        r#"error[config.not_found]: there is no such file
  DIR/none.yaml
  name a pipeline file, or a folder that holds some
error[config.not_found]: the folder holds no pipeline files
  DIR/empty
  they end in .yaml or .yml
error[config.too_large]: the file is larger than 1 MiB
  DIR/large.yaml
error[config.encoding]: the file is no UTF-8 text: line 2 holds other bytes
  DIR/latin.yaml
  save it as UTF-8
4 errors.
"#
    );
}

#[test]
fn a_connectors_own_error_gets_its_line() {
    let loaded = load(GOOD, &[]);
    let file = &loaded.pipelines[0];
    let error = Error::configuration("postgres.pattern")
        .message("no table is called \"public.orders\" for canary-file")
        .with("path", "tables[1]")
        .hint("see canary-file");
    let diagnostic = file.diagnose(Part::Source, &error);
    assert_eq!(
        render(&diagnostic, RenderOptions::default()),
        r#"error[postgres.pattern]: no table is called "public.orders" for ***
  conf/orders.yaml:7:27
  7 |   tables: [public.orders, public.order_lines]
    |                           ^^^^^^^^^^^^^^^^^^ see ***
"#
    );
    for (part, path, line) in [
        (Part::Source, "", 3),
        (Part::Source, "tables", 7),
        (Part::Source, "nothing.of.the.kind", 3),
        (Part::Transform(0), "columns", 12),
        (Part::Transform(0), "", 10),
        (Part::Sink, "bootstrap_servers[1]", 15),
        (Part::Format, "", 17),
    ] {
        let error = Error::configuration("x.y").message("no").with("path", path);
        let Place::Line { line: found, .. } = file.diagnose(part, &error).place else { panic!("no line") };
        assert_eq!(found, line, "{part:?} {path}");
    }
    let error = Error::configuration("x.y").message("no");
    assert!(matches!(file.diagnose(Part::State, &error).place, Place::File { .. }));
}

#[test]
fn as_json_and_as_error() {
    let loaded = load("source: {type: file, pth: a}\nsink: {type: stdout}\n", &[]);
    assert_eq!(
        loaded.diagnostics[0].to_json(),
        json!({
            "severity": "error",
            "code": "config.unknown_key",
            "message": "source has no key \"pth\"",
            "file": "conf/orders.yaml",
            "line": 1,
            "column": 22,
            "width": 3,
            "path": "source.pth",
            "help": "did you mean \"path\"?",
        })
    );
    let error = Error::from(loaded.diagnostics[0].clone());
    assert_eq!(error.code(), "config.unknown_key");
    assert_eq!(error.text(), "conf/orders.yaml:1:22: source has no key \"pth\"");
    assert_eq!(error.hint_text(), Some("did you mean \"path\"?"));
}

#[test]
fn colour_only_when_it_is_asked_for() {
    let loaded = load("source: {type: file, pth: a}\nsink: {type: stdout}\n", &[]);
    let plain = render_all(&loaded.diagnostics, "", RenderOptions::default());
    let colour = render_all(&loaded.diagnostics, "", RenderOptions { colour: true });
    assert!(!plain.contains('\u{1b}'));
    assert!(colour.contains("\u{1b}[1;31merror[config.unknown_key]\u{1b}[0m: source has no key"));
    let mut stripped = colour;
    for code in ["1;31", "1;33", "2", "0"] {
        stripped = stripped.replace(&format!("\u{1b}[{code}m"), "");
    }
    assert_eq!(stripped, plain);
}

#[test]
fn bytes_of_any_kind_are_no_panic() {
    assert!(InputFile::from_bytes("x", vec![0xff; 10]).is_err());
    assert!(InputFile::from_bytes("x", Vec::new()).is_ok());
}
