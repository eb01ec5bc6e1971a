//! `outflow quickstart`.

use std::collections::HashMap;

use crate::support::{Folder, ids, json_lines, outbox};

/// What was committed, in the order of the ids: id, key, type and payload.
fn committed(folder: &Folder, database: &str) -> Vec<[String; 4]> {
    let connection = rusqlite::Connection::open(folder.path(database)).unwrap();
    let mut rows =
        connection.prepare("SELECT id, aggregateid, type, payload FROM outbox ORDER BY seq").unwrap();
    let row = |row: &rusqlite::Row<'_>| Ok([row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?]);
    rows.query_map([], row).unwrap().map(Result::unwrap).collect()
}

#[test]
fn once_prints_one_event_a_line_and_nothing_else() {
    let folder = Folder::new();
    let mut command = folder.command(&["quickstart", "--once"]);
    // Whatever it makes must be gone at the end.
    std::fs::create_dir(folder.path("tmp")).unwrap();
    command.env("TMPDIR", folder.path("tmp"));
    let ended = crate::support::Running::of(command).wait().code(0);
    assert!(ended.err.is_empty(), "{}", ended.err);
    let events = ended.lines();
    assert!(events.len() >= 20, "{}", ended.out);
    let mut steps: HashMap<String, Vec<String>> = HashMap::new();
    for event in &events {
        assert_eq!(event["destination"], "orders");
        assert!(event["payload"].is_object(), "{event}");
        let key = event["key"].as_str().unwrap().to_owned();
        steps.entry(key).or_default().push(event["type"].as_str().unwrap().to_owned());
    }
    let all = ["OrderPlaced", "OrderPaid", "OrderPacked", "OrderShipped"];
    assert!(steps.values().all(|of_one| of_one[..] == all[..of_one.len()]), "{steps:?}");
    assert_eq!(std::fs::read_dir(folder.path("tmp")).unwrap().count(), 0);
}

#[test]
fn what_is_printed_is_what_was_committed_and_a_kept_shop_goes_on() {
    let folder = Folder::new();
    let printed = folder.outflow(&["quickstart", "--once", "--keep", "shop"]).code(0).lines();
    let rows = committed(&folder, "shop/shop.db");
    let text = |event: &serde_json::Value, key: &str| event[key].as_str().unwrap().to_owned();
    let events: Vec<[String; 4]> = printed
        .iter()
        .map(|e| [text(e, "id"), text(e, "key"), text(e, "type"), e["payload"].to_string()])
        .collect();
    assert_eq!(events, rows);
    // The same files run by themselves, and nothing comes twice.
    let run = ["run", "shop/shop.yaml", "--stop-at", "current"];
    assert!(folder.outflow(&run).code(0).out.is_empty());
    outbox(&folder.path("shop/shop.db"), 2);
    assert_eq!(folder.outflow(&run).code(0).lines().len(), 2);
    // And so does the shop.
    let more = folder.outflow(&["quickstart", "--once", "--keep", "shop"]).code(0).lines();
    let now: Vec<String> = committed(&folder, "shop/shop.db").into_iter().map(|[id, ..]| id).collect();
    assert_eq!(ids(&more), now[rows.len() + 2..]);
}

#[test]
fn a_kept_file_is_its_owners_to_change() {
    let folder = Folder::new();
    folder.outflow(&["quickstart", "--once", "--keep", "shop"]).code(0);
    let changed = folder.read("shop/shop.yaml").replace("type: stdout", "type: file\n  path: orders.jsonl");
    folder.write("shop/shop.yaml", &changed);
    let ended = folder.outflow(&["quickstart", "--once", "--keep", "shop"]).code(0);
    assert!(ended.out.is_empty(), "{}", ended.out);
    assert_eq!(folder.read("shop/shop.yaml"), changed);
    assert!(json_lines(&folder.read("shop/orders.jsonl")).len() >= 20);
}

#[test]
fn it_flows_until_it_is_stopped_and_accounts_for_everything() {
    let folder = Folder::new();
    let running = folder.start(&["quickstart", "--keep", "shop"]);
    running.says("A small shop in SQLite: 4 writers, an outbox, one pipeline. Everything is in shop");
    let line = running.says_that("figures", |all| all.contains("flowing") && all.contains("^C stops\n"));
    assert!(line.contains("commit→printed p99 "), "{line}");
    running.prints(5);
    running.signal(rustix::process::Signal::INT);
    let ended = running.wait().code(0);
    let rows = committed(&folder, "shop/shop.db").len();
    assert_eq!(ended.lines().len(), rows);
    ended
        .says(&format!("stopped   written {rows}, delivered {rows}, lost 0, out of order 0, rolled back"))
        .says("outflow run shop/shop.yaml");
}

#[test]
fn a_folder_that_cannot_be_made_is_said() {
    let folder = Folder::new();
    folder.write("in-the-way", "");
    folder.outflow(&["quickstart", "--keep", "in-the-way"]).code(3).says("error[quickstart.folder]");
}
