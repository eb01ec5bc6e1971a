//! `outflow init`.

use crate::support::Folder;

#[test]
fn every_pair_gives_a_file_that_is_valid() {
    let folder = Folder::new();
    let list = folder.outflow(&["list", "--json"]).code(0).json();
    let of = |role: &str| {
        let all = list.as_array().unwrap().iter().filter(|e| e["role"] == role);
        all.map(|e| e["type"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    for source in of("source") {
        for sink in of("sink") {
            let text = folder.outflow(&["init", &source, &sink]).code(0).out;
            folder.write("orders.yaml", &text);
            let ended = folder.outflow(&["validate", "orders.yaml"]);
            assert_eq!(ended.status.code(), Some(0), "{source} to {sink}:\n{text}\n{}", ended.err);
            // What is left to comments is commented in.
            assert!(text.contains("# "), "{text}");
        }
    }
}

#[test]
fn keys_that_may_be_left_out_are_shown_as_comments() {
    let text = Folder::new().outflow(&["init", "polling", "file"]).code(0).out;
    for part in [
        "  url: ",
        "\n  # snapshot: initial",
        "  path: ",
        "\n  # headers:",
        "\n# on_error: stop",
        "\n# state:",
    ] {
        assert!(text.contains(part), "no {part:?} in\n{text}");
    }
}

#[test]
fn types_that_are_not_there_are_refused() {
    let folder = Folder::new();
    folder.outflow(&["init", "poling", "stdout"]).code(2).says("did you mean \"polling\"?");
    folder.outflow(&["init", "polling", "kafak"]).code(2).says("this build has no sink \"kafak\"");
    folder.outflow(&["init", "polling"]).code(2);
}

#[test]
fn a_connector_is_a_crate_with_a_test() {
    let folder = Folder::new();
    folder.outflow(&["init", "connector", "acme-outflow-hook"]).code(0);
    let manifest = folder.read("acme-outflow-hook/Cargo.toml");
    assert!(
        manifest.contains("name = \"acme-outflow-hook\"") && manifest.contains("outflow-sdk"),
        "{manifest}"
    );
    let library = folder.read("acme-outflow-hook/src/lib.rs");
    assert!(library.contains("SourceConnector") && library.contains("SinkConnector"), "{library}");
    assert!(folder.read("acme-outflow-hook/tests/conformance.rs").contains("conformance"));
    assert!(folder.read("acme-outflow-hook/README.md").contains("acme-outflow-hook"));
    for file in ["Cargo.toml", "src/lib.rs", "tests/conformance.rs", "README.md"] {
        assert!(!folder.read(&format!("acme-outflow-hook/{file}")).contains('@'), "{file}");
    }
    // Nothing is written over.
    folder.outflow(&["init", "connector", "acme-outflow-hook"]).code(3).says("error[init.exists]");
    folder.outflow(&["init", "connector", "../Acme"]).code(2).says("error[init.name]");
}
