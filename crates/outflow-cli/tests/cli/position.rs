//! `outflow position`.

use crate::support::{Folder, SHOP, ids, outbox};

const CURRENT: [&str; 4] = ["run", "shop.yaml", "--stop-at", "current"];

fn delivered(rows: usize) -> Folder {
    let folder = Folder::new();
    folder.write("shop.yaml", SHOP);
    outbox(&folder.path("shop.db"), rows);
    assert_eq!(folder.outflow(&CURRENT).code(0).lines().len(), rows);
    folder
}

fn again(folder: &Folder) -> Vec<String> {
    ids(&folder.outflow(&CURRENT).code(0).lines())
}

#[test]
fn it_is_shown() {
    let folder = delivered(3);
    let text = folder.outflow(&["position", "show", "shop.yaml"]).code(0).out;
    assert_eq!(text, "shop   shop.db, append by primary key\n  outbox  3\n");
    let json = folder.outflow(&["position", "show", "shop.yaml", "--json"]).code(0).json();
    assert_eq!(json[0]["positions"], serde_json::json!({ "outbox": "3" }));
    assert_eq!(
        (&json[0]["pipeline"], &json[0]["source"]),
        (&"shop".into(), &"shop.db, append by primary key".into())
    );
}

#[test]
fn it_is_shown_before_the_first_run_and_makes_nothing() {
    let folder = Folder::new();
    folder.write("shop.yaml", SHOP);
    assert_eq!(folder.outflow(&["position", "show", "shop.yaml"]).code(0).out, "shop   nothing stored\n");
    let json = folder.outflow(&["position", "reset", "shop.yaml", "--json"]).code(0).json();
    assert_eq!(json, serde_json::json!({ "pipeline": "shop", "kept": null }));
    assert!(!folder.path(".outflow").exists());
}

#[test]
fn it_is_set_and_the_next_run_goes_on_there() {
    let folder = delivered(4);
    let set = |position: &str| folder.outflow(&["position", "set", "shop.yaml", "outbox", position]);
    assert_eq!(set("2").code(0).out, "shop: outbox goes on after 2\n");
    assert_eq!(again(&folder), ["id-2", "id-3"]);
    let json = folder.outflow(&["position", "set", "shop.yaml", "outbox", "3", "--json"]).code(0).json();
    assert_eq!(json, serde_json::json!({ "pipeline": "shop", "partition": "outbox", "position": "3" }));
    assert_eq!(again(&folder), ["id-3"]);
    set("0/16B3748").code(2).says("error[polling.");
    let unknown = folder.outflow(&["position", "set", "shop.yaml", "outbocks", "1"]).code(2);
    unknown.says("error[position.unknown_partition]").says("it has outbox");
    let json = folder.outflow(&["position", "set", "shop.yaml", "outbocks", "1", "--json"]).code(2).json();
    assert_eq!(json["error"]["code"], "position.unknown_partition");
    assert!(again(&folder).is_empty(), "what was refused has changed nothing");
}

#[test]
fn it_is_reset_and_the_old_one_is_kept() {
    let folder = delivered(2);
    let before = folder.read(".outflow/shop/checkpoint");
    let json = folder.outflow(&["position", "reset", "shop.yaml", "--json"]).code(0).json();
    assert_eq!(folder.read(json["kept"].as_str().unwrap()), before);
    assert_eq!(again(&folder), ["id-0", "id-1"]);
}

#[test]
fn a_damaged_one_is_shown_as_such_and_put_aside() {
    let folder = delivered(2);
    folder.write(".outflow/shop/checkpoint", "nothing of ours\n");
    folder
        .outflow(&["position", "show", "shop.yaml"])
        .code(3)
        .says("error[state.corrupt]")
        .says("position reset");
    folder.outflow(&["position", "set", "shop.yaml", "outbox", "1"]).code(3).says("error[state.corrupt]");
    assert_eq!(folder.read(".outflow/shop/checkpoint"), "nothing of ours\n", "nothing was touched");
    let said = folder.outflow(&["position", "reset", "shop.yaml"]).code(0).out;
    assert!(said.starts_with("shop: starts from the beginning; what was stored is kept as "), "{said}");
    assert_eq!(again(&folder), ["id-0", "id-1"]);
}

#[test]
fn it_is_shown_and_not_changed_while_the_pipeline_runs() {
    let folder = delivered(2);
    let running = folder.start(&["run", "shop.yaml"]);
    running.says("shop idle");
    let shown = folder.outflow(&["position", "show", "shop.yaml"]).code(0).out;
    assert!(shown.contains("outbox  2"), "{shown}");
    for change in [&["position", "reset", "shop.yaml"][..], &["position", "set", "shop.yaml", "outbox", "1"]]
    {
        folder.outflow(change).code(3).says("error[state.held]");
    }
    running.terminate();
    running.wait().code(0);
    assert!(again(&folder).is_empty());
}

#[test]
fn the_state_is_looked_for_where_the_file_or_the_flag_says() {
    let folder = Folder::new();
    outbox(&folder.path("shop.db"), 1);
    folder.write("shop.yaml", &format!("{SHOP}state: progress\n"));
    folder.outflow(&CURRENT).code(0);
    assert!(folder.path("progress/shop/checkpoint").exists());
    let show = ["position", "show", "shop.yaml"];
    assert!(folder.outflow(&show).code(0).out.contains("outbox  1"));
    let elsewhere = [&show[..], &["--state-dir", "elsewhere"]].concat();
    assert!(folder.outflow(&elsewhere).code(0).out.contains("nothing stored"));
    folder.write("shop.yaml", &format!("{SHOP}state: {{type: memory}}\n"));
    folder.outflow(&show).code(2).says("error[state.not_in_files]");
    folder.write("two/a.yaml", SHOP);
    folder.write("two/b.yaml", &SHOP.replace("name: shop", "name: other"));
    folder.outflow(&["position", "reset", "two"]).code(2).says("error[config.one_pipeline]");
}
