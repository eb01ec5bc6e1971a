//! What is wrong gets a code, a place and a remedy, an exit code of its own, and starts nothing.

use rusqlite::Connection;

use crate::support::{Folder, SHOP, outbox};

/// Runs a file that cannot be run as it is written.
#[track_caller]
fn refused(text: &str, says: &[&str]) {
    let folder = Folder::new();
    folder.write("shop.yaml", text);
    for verb in ["run", "validate", "check"] {
        let mut ended = folder.outflow(&[verb, "shop.yaml"]).code(2);
        for part in says {
            ended = ended.says(part);
        }
        assert!(ended.out.is_empty(), "{ended:?}");
        assert!(!folder.path(".outflow").exists());
    }
    // The same for programs: a code and a line.
    let json = folder.outflow(&["validate", "shop.yaml", "--json"]).code(2).json();
    assert_eq!(json["valid"], false);
    let first = &json["diagnostics"][0];
    assert!(first["code"].as_str().is_some_and(|c| c.contains('.')), "{json}");
    assert!(first["line"].is_u64(), "{json}");
    assert_eq!(first["file"], "shop.yaml");
}

#[test]
fn malformed_yaml() {
    refused("source: {type: polling\nsink: x\n", &["error[config.yaml]", "shop.yaml:1:9"]);
}

#[test]
fn a_tab() {
    refused("source:\n\ttype: polling\n", &["error[config.", "shop.yaml:2:1", "tab"]);
}

#[test]
fn a_key_twice() {
    refused(&format!("{SHOP}sink:\n  type: stdout\n"), &["error[config.duplicate_key]", "shop.yaml:10:1"]);
}

#[test]
fn an_unknown_key_each_time_at_its_own_line() {
    let text = SHOP.replace("  tables: [outbox]\n", "  # tabels\n  tabels: [outbox]\n");
    let text = text.replace("  type: stdout\n", "  type: stdout\n  tabels: x\n");
    refused(
        &text,
        &[
            "error[config.unknown_key]: source has no key \"tabels\"",
            "shop.yaml:6:3",
            "did you mean \"tables\"?",
            "shop.yaml:11:3",
            "outflow describe polling",
        ],
    );
}

#[test]
fn a_wrong_type() {
    refused(&SHOP.replace("[outbox]", "{outbox: 1}"), &["error[config.wrong_type]", "shop.yaml:5:"]);
}

#[test]
fn an_unset_variable() {
    refused(&SHOP.replace("sqlite:shop.db", "${SHOP_URL}"), &["error[config.", "shop.yaml:4:", "SHOP_URL"]);
}

#[test]
fn what_only_a_connector_can_know() {
    refused(&SHOP.replace("sqlite:shop.db", "\"sqlite::memory:\""), &["error[polling.url]", "shop.yaml:4:"]);
    let text = SHOP.replace("- type: outbox", "- type: filter\n    keep: \"op ==\"");
    refused(&text, &["error[filter.syntax]", "shop.yaml:7:5"]);
}

#[test]
fn all_mistakes_of_all_files_come_in_one_go() {
    let folder = Folder::new();
    folder.write("a/one.yaml", &SHOP.replace("tables", "tabels"));
    folder.write("a/two.yaml", &SHOP.replace("type: stdout", "type: stdoot"));
    folder
        .outflow(&["run", "a"])
        .code(2)
        .says("a/one.yaml:5:3")
        .says("did you mean \"tables\"?")
        .says("a/two.yaml:9:")
        .says("did you mean \"stdout\"?")
        .says("errors. Nothing was started.");
}

#[test]
fn two_pipelines_of_one_name() {
    let folder = Folder::new();
    folder.write("one.yaml", SHOP);
    folder.write("two.yaml", SHOP);
    folder
        .outflow(&["run", "one.yaml", "two.yaml"])
        .code(2)
        .says("error[config.duplicate_name]: two pipelines are called \"shop\": one.yaml and two.yaml");
}

#[test]
fn no_such_file_and_an_empty_folder() {
    let folder = Folder::new();
    folder.outflow(&["run", "none.yaml"]).code(2).says("error[config.not_found]").says("none.yaml");
    std::fs::create_dir(folder.path("empty")).unwrap();
    folder.outflow(&["run", "empty"]).code(2).says("the folder holds no pipeline files");
}

#[test]
fn a_value_of_the_command_line() {
    let folder = Folder::new();
    folder.write("shop.yaml", SHOP);
    folder.outflow(&["validate", "shop.yaml", "--set", "shop.sink.type=blackhole"]).code(0);
    folder
        .outflow(&["run", "shop.yaml", "--set", "shop.sink.tipe=x"])
        .code(2)
        .says("error[config.unknown_key]");
    folder.outflow(&["run", "shop.yaml", "--set", "shpo.sink.type=x"]).code(2).says("did you mean \"shop\"?");
}

#[test]
fn a_setting_of_the_environment() {
    let folder = Folder::new();
    folder.write("shop.yaml", SHOP);
    let mut command = folder.command(&["validate", "shop.yaml"]);
    command.env("OUTFLOW_LISTEN", "everywhere");
    crate::support::Running::of(command).wait().code(2).says("OUTFLOW_LISTEN must be an address with a port");
}

/// What is missing around: the environment, exit 3, and the code says what.
#[track_caller]
fn missing(folder: &Folder, code: &str) {
    let ended = folder.outflow(&["run", "shop.yaml"]).code(3).says(code);
    assert!(ended.err.contains("shop failed"), "{}", ended.err);
    assert!(ended.out.is_empty(), "{ended:?}");
}

#[test]
fn no_database() {
    let folder = Folder::new();
    folder.write("shop.yaml", SHOP);
    missing(&folder, "polling.database_missing");
    // A check says the same, and makes nothing.
    let ended = folder.outflow(&["check", "shop.yaml"]).code(3);
    assert!(ended.out.contains("error") && ended.out.contains("polling.database_missing"), "{}", ended.out);
    assert!(ended.out.contains("Nothing was changed."), "{}", ended.out);
    assert_eq!(std::fs::read_dir(folder.path(".")).unwrap().count(), 2, "the file and its state");
    assert!(!folder.path("shop.db").exists());
}

#[test]
fn no_table() {
    let folder = Folder::new();
    folder.write("shop.yaml", SHOP);
    outbox(&folder.path("shop.db"), 0);
    folder.write("shop.yaml", &SHOP.replace("[outbox]", "[outbocks]"));
    missing(&folder, "polling.table_missing");
}

#[test]
fn no_column() {
    let folder = Folder::new();
    folder.write("shop.yaml", SHOP);
    let connection = Connection::open(folder.path("shop.db")).unwrap();
    connection
        .execute_batch(
            "CREATE TABLE outbox (id INTEGER PRIMARY KEY AUTOINCREMENT, body TEXT);
             INSERT INTO outbox VALUES (1, 'x')",
        )
        .unwrap();
    folder
        .outflow(&["run", "shop.yaml"])
        .code(2)
        .says("shop failed")
        .says("error[outbox.missing_column]")
        .says("aggregatetype");
}

#[test]
fn a_database_that_is_none() {
    let folder = Folder::new();
    folder.write("shop.yaml", SHOP);
    folder.write(
        "shop.db",
        "this is no database, however long one looks at it, and nobody ever said it was one",
    );
    missing(&folder, "polling.");
}

#[test]
fn state_that_cannot_be_written() {
    let folder = Folder::new();
    folder.write("shop.yaml", SHOP);
    outbox(&folder.path("shop.db"), 1);
    folder.write("in-the-way", "a file");
    let ended = folder.outflow(&["run", "shop.yaml", "--state-dir", "in-the-way"]).code(3);
    ended.says("state.no_folder").says("--state-dir");
    // Nobody may make a folder there, not even root.
    let ended = folder.outflow(&["run", "shop.yaml", "--state-dir", "/sys/outflow"]).code(3);
    ended.says("state.").says("--state-dir");
}

#[test]
fn a_full_disk_for_the_state() {
    let folder = Folder::new();
    folder.write("shop.yaml", &format!("{SHOP}startup_timeout: 1s\n"));
    outbox(&folder.path("shop.db"), 1);
    // No file may grow: what a full disk does, without one.
    let mut command = std::process::Command::new("sh");
    let script = "trap '' XFSZ; ulimit -f 0; exec \"$0\" run shop.yaml";
    command.args(["-c", script, env!("CARGO_BIN_EXE_outflow")]).current_dir(folder.path("."));
    let ended = crate::support::Running::of(command).wait().code(3).says("state.disk_full");
    assert!(ended.out.is_empty(), "{ended:?}");
}

/// The file in which the checkpoint of `shop` is.
fn checkpoint(folder: &Folder) -> std::path::PathBuf {
    folder.path(".outflow/shop/checkpoint")
}

fn delivered_once() -> Folder {
    let folder = Folder::new();
    folder.write("shop.yaml", SHOP);
    outbox(&folder.path("shop.db"), 3);
    assert_eq!(folder.outflow(&["run", "shop.yaml", "--stop-at", "current"]).code(0).lines().len(), 3);
    folder
}

#[test]
fn a_damaged_state_file() {
    let folder = delivered_once();
    let mut bytes = std::fs::read(checkpoint(&folder)).unwrap();
    // Within the first change, which others follow: no torn write.
    let change = bytes.iter().position(|b| *b == b'\n').unwrap() + 1;
    bytes[change] ^= 0x01;
    std::fs::write(checkpoint(&folder), bytes).unwrap();
    let ended = folder.outflow(&["run", "shop.yaml"]).code(3).says("state.corrupt");
    assert!(ended.out.is_empty(), "nothing is read or written: {ended:?}");
    ended.says("outflow position reset");
    // The remedy works.
    folder.outflow(&["position", "reset", "shop.yaml"]).code(0);
    assert_eq!(folder.outflow(&["run", "shop.yaml", "--stop-at", "current"]).code(0).lines().len(), 3);
}

#[test]
fn a_state_file_of_another_source() {
    let folder = delivered_once();
    outbox(&folder.path("other.db"), 2);
    folder.write("shop.yaml", &SHOP.replace("shop.db", "other.db"));
    let ended = folder.outflow(&["run", "shop.yaml"]).code(3).says("state.other_source");
    assert!(ended.out.is_empty(), "{ended:?}");
    folder.outflow(&["position", "reset", "shop.yaml"]).code(0);
    assert_eq!(folder.outflow(&["run", "shop.yaml", "--stop-at", "current"]).code(0).lines().len(), 2);
}

#[test]
fn a_state_file_of_a_newer_format() {
    let folder = delivered_once();
    let text = folder.read(".outflow/shop/checkpoint");
    let first = text.lines().next().unwrap();
    let newer: String = first.replacen('1', "999", 1);
    assert_ne!(newer, first);
    folder.write(".outflow/shop/checkpoint", &text.replacen(first, &newer, 1));
    folder.outflow(&["run", "shop.yaml"]).code(3).says("state.newer_format");
}
