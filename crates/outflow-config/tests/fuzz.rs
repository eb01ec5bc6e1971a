//! No input makes the loader panic, point outside of the file or show what came from outside of it.

mod common;

use common::{Fixture, GOOD, World};
use outflow_config::{InputFile, Loader, Place, RenderOptions, render_all};
use proptest::prelude::*;

/// Exercises most of what the loader does.
const RICH: &str = r#"
x-base: &base {url: "postgres://${HOST}:${PORT}/d", tables: ["a.*", '{b}']}
name: orders
source:
  <<: [*base]
  type: postgres
  password: ${file:secret}
  slot: "${WORD}"
  poll_interval: 10s
transforms:
  - &m {type: mask, tables: [t], columns: [c]}
  - *m
sink:
  type: rabbitmq
  url: amqp://u:${PASSWORD}@h
  exchange: {name: e, declare: true}
  routing_key: >-
    {schema}
    .{table}
  format: {type: debezium-json, tombstones: false}
  headers: {a: |
    text}
state: {type: memory}
"#;

fn holds(text: &str) {
    thread_local! {
        static LOADER: Loader<'static> =
            Loader::new(&Fixture, &World).set(["orders.sink.url=canary", "orders.source.tls.mode=[require]"]);
    }
    let loaded = LOADER.with(|l| l.load(vec![InputFile::new("conf/orders.yaml", text)]));
    let lines = text.split(['\n', '\r']).count();
    for diagnostic in &loaded.diagnostics {
        if let Place::Line { line, column, width, excerpt, .. } = &diagnostic.place {
            assert!(*line >= 1 && *line as usize <= lines.max(1), "{diagnostic:?} in {text:?}");
            assert!(*column >= 1 && *width >= 1, "{diagnostic:?} in {text:?}");
            assert!(excerpt.marked.start <= excerpt.text.chars().count(), "{diagnostic:?} in {text:?}");
        }
    }
    let printed = render_all(&loaded.diagnostics, "", RenderOptions { colour: true });
    assert!(!printed.contains("canary-"), "{printed} for {text:?}");
    assert!(loaded.has_errors() || !loaded.pipelines.is_empty(), "nothing came of {text:?}");
}

#[test]
fn every_prefix_and_every_replaced_character() {
    for good in [GOOD, RICH] {
        let chars: Vec<char> = good.chars().collect();
        for at in 0..chars.len() {
            let (before, after) = (&chars[..at], &chars[at + 1..]);
            let text = |middle: &str| {
                before
                    .iter()
                    .chain(middle.chars().collect::<Vec<_>>().iter())
                    .chain(after)
                    .collect::<String>()
            };
            holds(&before.iter().collect::<String>());
            // A different few of them at each place.
            for middle in MIDDLES.iter().cycle().skip(at * 4 % MIDDLES.len()).take(4) {
                holds(&text(middle));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        if let Ok(file) = InputFile::from_bytes("x.yaml", bytes.clone()) {
            Loader::new(&Fixture, &World).load(vec![file]);
        }
        holds(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn any_tokens(tokens in prop::collection::vec(prop::sample::select(TOKENS.to_vec()), 0..60)) {
        holds(&tokens.concat());
    }

    #[test]
    fn any_mutations(edits in prop::collection::vec((any::<prop::sample::Index>(), 0usize..8, prop::sample::select(TOKENS.to_vec())), 1..12)) {
        let mut chars: Vec<char> = RICH.chars().collect();
        for (at, delete, insert) in edits {
            let at = at.index(chars.len() + 1);
            let end = (at + delete).min(chars.len());
            chars.splice(at..end, insert.chars());
        }
        holds(&chars.into_iter().collect::<String>());
    }
}

const MIDDLES: [&str; 18] =
    ["", "{", "}", "[", "*", "!", "&", "|", "\"", "'", ":", ": ", "#", "- ", "\t", "\n", "${", "é"];

const TOKENS: &[&str] = &[
    "a",
    "source",
    "sink",
    "type",
    "kafka",
    "postgres",
    "password",
    ": ",
    ":",
    "\n",
    "\n  ",
    "\n    ",
    "\n- ",
    "- ",
    "-",
    "{",
    "}",
    "[",
    "]",
    ", ",
    ",",
    "\"",
    "'",
    "\\",
    "#",
    " #",
    "&a ",
    "*a",
    "*",
    "!",
    "!!str ",
    "!x ",
    "|\n",
    ">-\n",
    "%",
    "@",
    "`",
    "?",
    "? ",
    "---",
    "...\n",
    "\t",
    "\r",
    "\r\n",
    "\u{85}",
    "\u{2028}",
    "\0",
    "\u{1b}",
    "é",
    "漢",
    "${",
    "}",
    "${HOST}",
    "${PASSWORD}",
    "${file:secret}",
    "${NO:-",
    "$${",
    "<<: ",
    "<<: *a",
    "~",
    "null",
    "true",
    "1",
    "0x",
    "1e9",
    ".inf",
    "%YAML 1.2\n",
    "%TAG ! a:\n",
    "url: ",
    "postgres://u:p@h",
    "tables: ",
    "x-",
    " ",
    "  ",
];
