//! Verbs that tell about this build.

use crate::support::Folder;

#[test]
fn the_version_is_printed() {
    let folder = Folder::new();
    let text = format!("outflow {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(folder.outflow(&["version"]).code(0).out, text);
    assert_eq!(folder.outflow(&["--version"]).code(0).out, text);
    assert_eq!(folder.outflow(&["version", "--json"]).code(0).json()["version"], env!("CARGO_PKG_VERSION"));
}

#[test]
fn a_wrong_command_line_is_a_configuration_error() {
    let folder = Folder::new();
    for arguments in [&[][..], &["rum"], &["run", "--lissten", "x"], &["run", "--stop-at", "never", "a.yaml"]]
    {
        let ended = folder.outflow(arguments).code(2);
        assert!(ended.out.is_empty() && !ended.err.is_empty(), "{ended:?}");
    }
    assert!(folder.outflow(&["--help"]).code(0).out.contains("quickstart"));
    assert!(folder.outflow(&["run", "--help"]).code(0).out.contains("--stop-at"));
}

#[test]
fn the_list_has_every_role() {
    let folder = Folder::new();
    let text = folder.outflow(&["list"]).code(0).out;
    for word in ["polling", "generator", "stdout", "blackhole", "outbox", "mask", "debezium-json", "memory"] {
        assert!(text.contains(word), "no {word} in\n{text}");
    }
    let list = folder.outflow(&["list", "--json"]).code(0).json();
    let has = |role: &str, name: &str| {
        list.as_array().is_some_and(|all| all.iter().any(|e| e["role"] == role && e["type"] == name))
    };
    assert!(has("source", "polling") && has("sink", "file") && has("source", "file"), "{list}");
    assert!(has("transform", "outbox") && has("format", "raw") && has("store", "file"), "{list}");
}

#[test]
fn a_description_has_keys_guarantees_and_an_example() {
    let folder = Folder::new();
    let text = folder.outflow(&["describe", "polling"]).code(0).out;
    for part in [
        "source polling",
        "url",
        "required",
        "append",
        "keep | mark | delete",
        "Guarantees",
        "at least once",
        "Example",
        "type: polling",
    ] {
        assert!(text.contains(part), "no {part:?} in\n{text}");
    }
    // A word that stands for two things is described twice.
    let text = folder.outflow(&["describe", "file"]).code(0).out;
    assert!(
        text.contains("source file") && text.contains("sink file") && text.contains("store file"),
        "{text}"
    );
    // The runtime's keys of a sink are among its keys, with the format that it has by default.
    let text = folder.outflow(&["describe", "stdout"]).code(0).out;
    assert!(text.contains("format") && text.contains("json") && text.contains("headers"), "{text}");
}

#[test]
fn a_description_is_for_programs_too() {
    let described = Folder::new().outflow(&["describe", "polling", "--json"]).code(0).json();
    let entry = &described[0];
    assert_eq!((&entry["role"], &entry["type"]), (&"source".into(), &"polling".into()));
    let keys = entry["keys"].as_array().unwrap();
    let key = |name: &str| keys.iter().find(|k| k["name"] == name).unwrap();
    assert_eq!(key("url")["required"], true);
    assert_eq!(key("delivered")["values"], serde_json::json!(["keep", "mark", "delete"]));
    assert_eq!(key("delivered")["default"], "keep");
    assert_eq!(key("tls.mode")["required"], false);
}

#[test]
fn a_type_that_is_not_there_is_named_with_what_is_near() {
    Folder::new()
        .outflow(&["describe", "poling"])
        .code(2)
        .says("error[config.unknown_type]: this build has no \"poling\"")
        .says("did you mean \"polling\"?");
}

#[test]
fn the_schema_is_one_json_document() {
    let schema = Folder::new().outflow(&["schema"]).code(0).json();
    assert_eq!(schema["title"], "Outflow pipeline");
    assert!(schema["$defs"]["source.polling"]["properties"]["url"].is_object(), "{schema}");
}

#[test]
fn completions_name_the_verbs() {
    let folder = Folder::new();
    for shell in ["bash", "zsh", "fish"] {
        let text = folder.outflow(&["completions", shell]).code(0).out;
        assert!(text.contains("quickstart") && text.contains("outflow"), "{shell}: {text}");
    }
    folder.outflow(&["completions", "cmd"]).code(2);
}
