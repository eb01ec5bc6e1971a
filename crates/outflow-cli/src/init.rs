//! `outflow init`: a pipeline file to start from, or a connector crate.

use std::path::Path;

use outflow_sdk::Registry;

use crate::arguments::Init;
use crate::exit::Exit;
use crate::logging::Process;
use crate::say::{say, tell};

/// Prints a pipeline file, or scaffolds a connector.
pub(crate) fn init(registry: &Registry, arguments: &Init, _: &Process) -> Exit {
    if arguments.source == "connector" {
        return connector(&arguments.sink);
    }
    let (Some(source), Some(sink)) =
        (registry.get_source(&arguments.source), registry.get_sink(&arguments.sink))
    else {
        let names = |all: Vec<&'static str>| all.join(", ");
        tell!(
            "error[config.unknown_type]: init needs a source and a sink of this build\n  sources: {}\n  sinks: {}",
            names(registry.sources().map(|s| s.type_name()).collect()),
            names(registry.sinks().map(|s| s.type_name()).collect())
        );
        return Exit::Configuration;
    };
    say!(
        "# A pipeline from {} to {}. All keys: outflow describe {}",
        source.type_name(),
        sink.type_name(),
        source.type_name()
    );
    say!("# Check it with   outflow check FILE   and run it with   outflow run FILE");
    say!("name: my-pipeline");
    say!("{}", block("source", source.type_name(), source.description().example));
    if arguments.source == "polling" {
        say!("transforms:\n  - type: outbox               # Debezium's column names; preset: eventuate");
    }
    say!("{}", block("sink", sink.type_name(), sink.description().example));
    say!("# on_error: dead-letter          # instead of stopping at an event that cannot be taken");
    Exit::Ok
}

/// The connector's own example, as the block of a file.
fn block(key: &str, kind: &str, example: &str) -> String {
    let example = example.trim_end();
    if example.starts_with(&format!("{key}:")) {
        return example.to_owned();
    }
    if example.is_empty() {
        return format!("{key}:\n  type: {kind}");
    }
    format!("{key}:\n  {}", example.replace('\n', "\n  "))
}

const MANIFEST: &str = include_str!("../templates/connector/Cargo.toml.in");
const LIBRARY: &str = include_str!("../templates/connector/lib.rs.in");
const TEST: &str = include_str!("../templates/connector/conformance.rs.in");
const README: &str = include_str!("../templates/connector/README.md.in");

/// Writes a connector crate into a folder of its name.
fn connector(name: &str) -> Exit {
    let fine = name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    if !fine {
        tell!(
            "error[init.name]: \"{name}\" is no crate name\n  use lower-case letters, digits and -, such as acme-outflow-kafka"
        );
        return Exit::Configuration;
    }
    let folder = Path::new(name);
    if folder.exists() {
        tell!("error[init.exists]: {name} is already there\n  choose another name");
        return Exit::Environment;
    }
    let files = [
        ("Cargo.toml", MANIFEST),
        ("src/lib.rs", LIBRARY),
        ("tests/conformance.rs", TEST),
        ("README.md", README),
    ];
    let kind = name.rsplit('-').next().unwrap_or(name);
    for (path, text) in files {
        let path = folder.join(path);
        let text =
            text.replace("@NAME@", name).replace("@CRATE@", &name.replace('-', "_")).replace("@TYPE@", kind);
        let text = text.replace("@VERSION@", env!("CARGO_PKG_VERSION"));
        let written =
            path.parent().map_or(Ok(()), std::fs::create_dir_all).and_then(|()| std::fs::write(&path, text));
        if let Err(error) = written {
            tell!("error[init.io]: cannot write {}: {error}", path.display());
            return Exit::Environment;
        }
        say!("{}", path.display());
    }
    Exit::Ok
}
