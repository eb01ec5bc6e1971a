//! `outflow list`, `describe`, `schema`, `completions` and `version`.

use std::sync::Arc;

use clap::CommandFactory as _;
use outflow_config::pipeline_schema;
use outflow_sdk::serde_json::{self, Value as Json};
use outflow_sdk::{Description, Registered, Registry};

use crate::arguments::Arguments;
use crate::exit::Exit;
use crate::logging::Process;
use crate::say::{say, tell};

/// One registered type.
struct Entry {
    role: &'static str,
    name: &'static str,
    description: Description,
    schema: Json,
}

fn entries(registry: &Registry) -> Vec<Entry> {
    fn of<'a, R: Registered + ?Sized + 'a>(
        role: &'static str,
        all: impl Iterator<Item = &'a Arc<R>>,
    ) -> impl Iterator<Item = Entry> {
        all.map(move |r| Entry {
            role,
            name: r.type_name(),
            description: r.description(),
            schema: r.schema(),
        })
    }
    of("source", registry.sources())
        .chain(of("sink", registry.sinks()))
        .chain(of("transform", registry.transforms()))
        .chain(of("format", registry.formats()))
        .chain(of("store", registry.stores()))
        .collect()
}

/// Lists everything in this build.
pub(crate) fn list(registry: &Registry, process: &Process) -> Exit {
    let entries = entries(registry);
    if process.json {
        let list: Vec<Json> = entries
            .iter()
            .map(|e| serde_json::json!({ "role": e.role, "type": e.name, "summary": e.description.summary }))
            .collect();
        say!("{}", Json::Array(list));
        return Exit::Ok;
    }
    let width = entries.iter().map(|e| e.name.len()).max().unwrap_or(0);
    for entry in entries {
        say!("{:<10} {:<width$}  {}", entry.role, entry.name, entry.description.summary);
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
        tell!("error[config.unknown_type]: this build has no \"{name}\"\n  it has {}", names.join(", "));
        return Exit::Configuration;
    }
    if process.json {
        let list: Vec<Json> = found
            .iter()
            .map(|e| {
                serde_json::json!({
                    "role": e.role, "type": e.name, "description": e.description, "schema": e.schema,
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
        say!("{} {}\n{}", entry.role, entry.name, entry.description.summary);
        keys(&entry.schema);
        if !entry.description.guarantees.is_empty() {
            say!("\nGuarantees\n  {}", entry.description.guarantees.replace('\n', "\n  "));
        }
        if !entry.description.example.is_empty() {
            say!("\nExample\n  {}", entry.description.example.trim_end().replace('\n', "\n  "));
        }
    }
    Exit::Ok
}

/// Prints the keys of a schema: required ones first, each with type, default and meaning.
fn keys(schema: &Json) {
    let Some(properties) = schema.get("properties").and_then(Json::as_object).filter(|p| !p.is_empty())
    else {
        return;
    };
    let required: Vec<&str> = schema
        .get("required")
        .and_then(Json::as_array)
        .into_iter()
        .flatten()
        .filter_map(Json::as_str)
        .collect();
    say!("\nKeys");
    let width = properties.keys().map(String::len).max().unwrap_or(0);
    let mut names: Vec<&String> = properties.keys().collect();
    names.sort_by_key(|n| !required.contains(&n.as_str()));
    for name in names {
        let property = resolve(schema, &properties[name]);
        let default = match property.get("default").or_else(|| properties[name].get("default")) {
            Some(Json::Null) | None if required.contains(&name.as_str()) => " (required)".to_owned(),
            Some(Json::Null) | None => String::new(),
            Some(default) => format!(" (default {default})"),
        };
        let about = properties[name].get("description").or_else(|| property.get("description"));
        let about = about.and_then(Json::as_str).unwrap_or_default().replace('\n', " ");
        say!("  {name:<width$}  {}{default}\n  {:width$}    {about}", kind(schema, property), "");
    }
}

/// Follows a reference within the schema.
fn resolve<'a>(schema: &'a Json, property: &'a Json) -> &'a Json {
    let target = property.get("$ref").and_then(Json::as_str).and_then(|r| r.strip_prefix('#'));
    target.and_then(|pointer| schema.pointer(pointer)).unwrap_or(property)
}

fn kind(schema: &Json, property: &Json) -> String {
    if let Some(values) = property.get("enum").and_then(Json::as_array) {
        return values.iter().filter_map(Json::as_str).collect::<Vec<_>>().join(" | ");
    }
    if let Some(value) = property.get("const").and_then(Json::as_str) {
        return value.to_owned();
    }
    for word in ["anyOf", "oneOf"] {
        if let Some(options) = property.get(word).and_then(Json::as_array) {
            let mut kinds: Vec<String> = options.iter().map(|o| kind(schema, resolve(schema, o))).collect();
            kinds.retain(|k| k != "null");
            kinds.dedup();
            return kinds.join(" | ");
        }
    }
    match (property.get("format").and_then(Json::as_str), property.get("type")) {
        (Some(format @ ("size" | "timespan" | "password" | "uri")), _) => match format {
            "timespan" => "duration".into(),
            "password" => "secret".into(),
            "uri" => "URL".into(),
            other => other.into(),
        },
        (_, Some(Json::String(one))) if one == "array" => {
            let items = property.get("items").map(|i| kind(schema, resolve(schema, i)));
            format!("list of {}", items.unwrap_or_else(|| "values".into()))
        }
        (_, Some(Json::String(one))) if one == "object" => "block".into(),
        (_, Some(Json::String(one))) => one.clone(),
        (_, Some(Json::Array(many))) => {
            many.iter().filter_map(Json::as_str).filter(|t| *t != "null").collect::<Vec<_>>().join(" | ")
        }
        _ => "any".into(),
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
    clap_complete::generate(shell, &mut Arguments::command(), "outflow", &mut std::io::stdout());
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
