//! The binary of this workspace, from a CouchDB to a webhook.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends where it fails")]

#[path = "../../connector/tests/support/mod.rs"]
mod support;

use std::process::Output;

use serde_json::{Value, json};
use support::{couch::Couch, hook::Hook};
use tempfile::TempDir;
use tokio::process::Command;

/// A folder with a pipeline file in it.
fn pipeline(couch: &Couch, hook: &Hook) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        "name: couch-to-hook
source:
  type: couchdb
  url: {}
  password: ${{PASSWORD}}
transforms:
  - type: filter
    keep: op == \"delete\" || after.kind == \"order\"
sink:
  type: webhook
  url: {}
  token: ${{TOKEN}}
  format: json
on_error: dead-letter
dead_letter: {{type: file, path: dead.jsonl}}
",
        couch.url, hook.url
    );
    std::fs::write(folder.path().join("hook.yaml"), text).unwrap();
    folder
}

async fn outflow(folder: &TempDir, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_acme-outflow"));
    command.args(arguments).current_dir(folder.path()).env("PASSWORD", "canary").env("TOKEN", "canary");
    command.kill_on_drop(true).output().await.unwrap()
}

async fn run(folder: &TempDir) -> String {
    let ended = outflow(folder, &["run", "hook.yaml", "--stop-at", "current"]).await;
    let said = String::from_utf8(ended.stderr).unwrap();
    assert!(ended.status.success(), "{said}");
    assert!(!said.contains("canary"), "{said}");
    said
}

fn totals(lines: &[Value]) -> Vec<i64> {
    lines.iter().filter_map(|line| line["after"]["total"].as_i64()).collect()
}

#[tokio::test]
async fn orders_arrive_once_over_restarts() {
    let (couch, hook) = (Couch::start().await, Hook::start().await);
    let folder = pipeline(&couch, &hook);
    for n in 0..250 {
        couch.put(&format!("order-{n}"), json!({"kind": "order", "total": n}));
        couch.put(&format!("cart-{n}"), json!({"kind": "cart", "total": -1}));
    }
    // A far end that is down for a moment, and that takes fewer records at once than there are.
    hook.fail(2);
    run(&folder).await;
    assert_eq!(totals(&hook.lines(250).await), (0..250).collect::<Vec<_>>());

    couch.put("order-7", json!({"kind": "order", "total": 1007}));
    couch.put("order-8", json!({"kind": "order", "total": 1008}));
    couch.delete("order-9");
    run(&folder).await;
    let lines = hook.lines(253).await;
    assert_eq!(totals(&lines)[250..], [1007, 1008]);
    assert_eq!(
        (&lines[252]["op"], &lines[252]["key"]),
        (&json!("delete"), &json!({"_id": "order-9"})),
        "{}",
        lines[252]
    );
}

#[tokio::test]
async fn a_record_that_is_refused_goes_to_the_dead_letters_alone() {
    let (couch, hook) = (Couch::start().await, Hook::start().await);
    let folder = pipeline(&couch, &hook);
    for n in 0..50 {
        let note = if n == 23 { "poison" } else { "fine" };
        couch.put(&format!("order-{n}"), json!({"kind": "order", "total": n, "note": note}));
    }
    run(&folder).await;
    assert_eq!(totals(&hook.lines(49).await), (0..50).filter(|n| *n != 23).collect::<Vec<_>>());
    let dead = std::fs::read_to_string(folder.path().join("dead.jsonl")).unwrap();
    assert_eq!(dead.lines().count(), 1, "{dead}");
    assert!(dead.contains("order-23") && dead.contains("webhook.rejected"), "{dead}");
}

#[tokio::test]
async fn check_tells_what_is_wrong_without_the_password() {
    let (couch, hook) = (Couch::start().await, Hook::start().await);
    let folder = pipeline(&couch, &hook);
    let fine = outflow(&folder, &["check", "hook.yaml"]).await;
    assert!(fine.status.success(), "{}", String::from_utf8_lossy(&fine.stdout));

    let file = folder.path().join("hook.yaml");
    let text = std::fs::read_to_string(&file).unwrap().replace("/shop", "/shoe");
    std::fs::write(&file, text).unwrap();
    let wrong = outflow(&folder, &["check", "hook.yaml"]).await;
    let said = String::from_utf8([wrong.stdout, wrong.stderr].concat()).unwrap();
    assert_eq!(wrong.status.code(), Some(3), "{said}");
    assert!(said.contains("couchdb.reachable") && said.contains("couchdb.no_database"), "{said}");
    assert!(!said.contains("canary"), "{said}");
}
