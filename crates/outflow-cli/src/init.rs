//! `outflow init`: a pipeline file to start from, or a connector crate.

use std::fmt::Write as _;
use std::path::Path;

use outflow_config::pipeline_schema;
use outflow_sdk::serde_json::{Value as Json, json};
use outflow_sdk::{Registry, Result};

use crate::arguments::Init;
use crate::describe::unknown_type;
use crate::exit::Exit;
use crate::keys::{Key, keys};
use crate::process::Process;
use crate::say::{mistake, obstacle, say};

/// Prints a pipeline file, or scaffolds a connector.
pub(crate) fn init(registry: &Registry, arguments: &Init, process: &Process) -> Exit {
    let made = if arguments.source == "connector" {
        connector(&arguments.sink).map(|files| {
            let text = files.join("\n");
            (json!({ "files": files }), text)
        })
    } else {
        pipeline(registry, arguments).map(|text| (json!({ "pipeline": text }), text))
    };
    match made {
        Ok((document, _)) if process.json => process.document(&document),
        Ok((_, text)) => say!("{}", text.trim_end()),
        Err(error) => return process.refuse(&error),
    }
    Exit::Ok
}

/// A pipeline file: the examples of both, and what else may be said as comments.
fn pipeline(registry: &Registry, arguments: &Init) -> Result<String> {
    let source = registry.get_source(&arguments.source).ok_or_else(|| {
        let known: Vec<&str> = registry.sources().map(|s| s.type_name()).collect();
        unknown_type("source", &arguments.source, &known)
    })?;
    let sink = registry.get_sink(&arguments.sink).ok_or_else(|| {
        let known: Vec<&str> = registry.sinks().map(|s| s.type_name()).collect();
        unknown_type("sink", &arguments.sink, &known)
    })?;
    let root = pipeline_schema(registry);
    let (from, to) = (source.type_name(), sink.type_name());
    let mut text = format!(
        "# From {from} to {to}. All keys:   outflow describe {from}   outflow describe {to}\n\
         # Look for mistakes with   outflow check FILE   and start it with   outflow run FILE\n\
         name: my-pipeline\n"
    );
    text += &block(&root, "source", from, source.description().example);
    if registry.get_transform("outbox").is_some() && from == "polling" {
        text += "transforms:\n  - type: outbox      # Debezium's column names; or   preset: eventuate\n";
    }
    text += &block(&root, "sink", to, sink.description().example);
    let own = keys(&root, &root);
    let own = own.iter().filter(|k| !["name", "source", "transforms", "sink"].contains(&k.name.as_str()));
    text += &comments("", own);
    Ok(text)
}

/// The connector's own example with the keys that are not in it.
fn block(root: &Json, role: &str, kind: &str, example: &str) -> String {
    let begins = format!("{role}:\n");
    let mut text = if example.starts_with(&begins) {
        example.trim_end().to_owned()
    } else {
        format!("{begins}  type: {kind}")
    };
    text.push('\n');
    let keys = keys(root, &root["$defs"][format!("{role}.{kind}")]);
    let left_out = keys.iter().filter(|k| !text.contains(&format!("\n  {}:", k.name)));
    let comments = comments("  ", left_out);
    text + &comments
}

/// Keys that may be left out, each as a comment.
fn comments<'a>(indent: &str, keys: impl Iterator<Item = &'a Key>) -> String {
    let mut text = String::new();
    for key in keys.filter(|k| k.is_direct()) {
        let value = key.default.as_ref().map(|d| match d {
            Json::String(word) => format!(" {word}"),
            other => format!(" {other}"),
        });
        let line = format!("{indent}# {}:{}", key.name, value.unwrap_or_default());
        let _ = writeln!(text, "{line:<34} # {}", key.kind);
    }
    text
}

const MANIFEST: &str = include_str!("../templates/connector/Cargo.toml.in");
const LIBRARY: &str = include_str!("../templates/connector/lib.rs.in");
const TEST: &str = include_str!("../templates/connector/conformance.rs.in");
const README: &str = include_str!("../templates/connector/README.md.in");

/// Writes a connector crate into a folder of its name; gives the names of its files.
fn connector(name: &str) -> Result<Vec<String>> {
    let fine = name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
        && !name.ends_with('-');
    if !fine {
        let hint = "use lower-case letters, digits and -, such as acme-outflow-kafka";
        return Err(mistake("init.name", format!("\"{name}\" is no crate name"), hint));
    }
    let folder = Path::new(name);
    if folder.exists() {
        return Err(obstacle("init.exists", format!("{name} is already there"), "choose another name"));
    }
    let kind = name.rsplit('-').next().unwrap_or(name);
    let mut written = Vec::new();
    for (path, text) in [
        ("Cargo.toml", MANIFEST),
        ("src/lib.rs", LIBRARY),
        ("tests/conformance.rs", TEST),
        ("README.md", README),
    ] {
        let path = folder.join(path);
        let text = text
            .replace("@NAME@", name)
            .replace("@CRATE@", &name.replace('-', "_"))
            .replace("@TYPE@", kind)
            .replace("@VERSION@", env!("CARGO_PKG_VERSION"));
        let done =
            path.parent().map_or(Ok(()), std::fs::create_dir_all).and_then(|()| std::fs::write(&path, text));
        done.map_err(|e| {
            let message = format!("cannot write {}: {e}", path.display());
            obstacle("init.io", message, "run it in a folder that can be written to")
        })?;
        written.push(path.display().to_string());
    }
    Ok(written)
}
