//! `outflow list`, `describe`, `schema`, `completions` and `version`.

use std::sync::Arc;

use clap::CommandFactory as _;
use outflow_config::{Role, nearest, pipeline_schema};
use outflow_sdk::serde_json::{self, Value as Json};
use outflow_sdk::{Description, Error, Registered, Registry};

use crate::arguments::Arguments;
use crate::exit::Exit;
use crate::keys::{Key, keys};
use crate::process::Process;
use crate::say::{mistake, say};

/// One registered type.
struct Entry {
    role: Role,
    name: &'static str,
    description: Description,
    schema: Json,
    /// Of a sink: the format of its records where none is named.
    format: Option<&'static str>,
}

impl Entry {
    fn keys(&self, root: &Json) -> Vec<Key> {
        let mut keys = keys(root, &root["$defs"][format!("{}.{}", self.role.word(), self.name)]);
        // The runtime's keys of a sink have the sink's own defaults.
        if let (Some(format), Some(key)) = (self.format, keys.iter_mut().find(|k| k.name == "format")) {
            key.default.get_or_insert_with(|| format.into());
        }
        keys
    }
}

fn entries(registry: &Registry) -> Vec<Entry> {
    fn of<'a, R: Registered + ?Sized + 'a>(
        role: Role,
        all: impl Iterator<Item = &'a Arc<R>>,
    ) -> impl Iterator<Item = Entry> {
        all.map(move |r| Entry {
            role,
            name: r.type_name(),
            description: r.description(),
            schema: r.schema(),
            format: None,
        })
    }
    let mut entries: Vec<Entry> = of(Role::Source, registry.sources())
        .chain(of(Role::Sink, registry.sinks()))
        .chain(of(Role::Transform, registry.transforms()))
        .chain(of(Role::Format, registry.formats()))
        .chain(of(Role::Store, registry.stores()))
        .collect();
    for entry in entries.iter_mut().filter(|e| e.role == Role::Sink) {
        entry.format = registry.get_sink(entry.name).and_then(|s| s.default_format());
    }
    entries
}

/// Lists everything in this build.
pub(crate) fn list(registry: &Registry, process: &Process) -> Exit {
    let entries = entries(registry);
    if process.json {
        let list: Vec<Json> = entries
            .iter()
            .map(|e| serde_json::json!({ "role": e.role.word(), "type": e.name, "summary": e.description.summary }))
            .collect();
        say!("{}", Json::Array(list));
        return Exit::Ok;
    }
    let width = entries.iter().map(|e| e.name.len()).max().unwrap_or(0);
    for entry in entries {
        say!("{:<10} {:<width$}  {}", entry.role.word(), entry.name, entry.description.summary);
    }
    Exit::Ok
}

/// Describes every role of one type.
pub(crate) fn describe(registry: &Registry, name: &str, process: &Process) -> Exit {
    let all = entries(registry);
    let found: Vec<&Entry> = all.iter().filter(|e| e.name == name).collect();
    if found.is_empty() {
        let mut names: Vec<&str> = all.iter().map(|e| e.name).collect();
        names.sort_unstable();
        names.dedup();
        return process.refuse(&unknown_type("type", name, &names));
    }
    let root = pipeline_schema(registry);
    if process.json {
        let list: Vec<Json> = found
            .iter()
            .map(|e| {
                serde_json::json!({
                    "role": e.role.word(), "type": e.name, "description": e.description,
                    "keys": e.keys(&root).iter().map(Key::to_json).collect::<Vec<_>>(), "schema": e.schema,
                })
            })
            .collect();
        say!("{}", Json::Array(list));
        return Exit::Ok;
    }
    for (i, entry) in found.iter().enumerate() {
        if i > 0 {
            say!();
        }
        say!("{} {}\n{}", entry.role.word(), entry.name, entry.description.summary);
        print(&entry.keys(&root));
        if !entry.description.guarantees.is_empty() {
            say!("\nGuarantees\n  {}", entry.description.guarantees.replace('\n', "\n  "));
        }
        if !entry.description.example.is_empty() {
            say!("\nExample\n  {}", entry.description.example.trim_end().replace('\n', "\n  "));
        }
    }
    Exit::Ok
}

/// A type that is not there, with what is near it or else what there is.
pub(crate) fn unknown_type(role: &str, name: &str, known: &[&str]) -> Error {
    let hint = match nearest(name, known.iter().copied()) {
        Some(near) => format!("did you mean \"{near}\"?"),
        None => format!("there are {}", known.join(", ")),
    };
    let what = if role == "type" { String::new() } else { format!("{role} ") };
    mistake("config.unknown_type", format!("this build has no {what}\"{name}\""), hint)
}

/// Prints the keys, each with its type, default and meaning.
fn print(keys: &[Key]) {
    if keys.is_empty() {
        return;
    }
    say!("\nKeys");
    let width = keys.iter().map(|k| k.name.len()).max().unwrap_or(0);
    for key in keys {
        let default = match &key.default {
            _ if key.required => " (required)".to_owned(),
            Some(Json::String(word)) => format!(" (default {word})"),
            Some(default) => format!(" (default {default})"),
            None => String::new(),
        };
        say!("  {:<width$}  {}{default}", key.name, key.kind);
        if !key.about.is_empty() {
            say!("  {:width$}    {}", "", key.about);
        }
    }
}

/// Prints the schema of pipeline files.
pub(crate) fn schema(registry: &Registry) -> Exit {
    let schema = pipeline_schema(registry);
    say!("{}", serde_json::to_string_pretty(&schema).unwrap_or_default());
    Exit::Ok
}

/// Prints completions.
pub(crate) fn completions(shell: clap_complete::Shell) -> Exit {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "outflow", &mut script);
    say!("{}", String::from_utf8_lossy(&script).trim_end());
    Exit::Ok
}

/// Prints the version.
pub(crate) fn version(process: &Process) -> Exit {
    if process.json {
        say!("{}", serde_json::json!({ "version": env!("CARGO_PKG_VERSION") }));
    } else {
        say!("outflow {}", env!("CARGO_PKG_VERSION"));
    }
    Exit::Ok
}
