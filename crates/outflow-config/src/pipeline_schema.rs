//! The JSON Schema of a whole pipeline file: what `outflow schema` prints is what is enforced.

use std::collections::HashSet;

use outflow_sdk::schemars::generate::SchemaSettings;
use serde_json::{Map, Value as Json, json};

use crate::catalog::{Catalog, Role};
use crate::schema::ROLE;
use crate::settings::Settings;

/// What a pipeline may be called.
const NAME_PATTERN: &str = "^[a-z0-9][a-z0-9._-]{0,99}$";

/// The keys of a sink that belong to the runtime: they are taken out before the connector sees its own.
pub(crate) const RUNTIME_KEYS: [&str; 3] = ["format", "key", "headers"];

/// The JSON Schema (draft 2020-12) of a pipeline file with what the catalog knows. Editors take it through
/// `# yaml-language-server: $schema=…`.
pub fn pipeline_schema(catalog: &dyn Catalog) -> Json {
    let mut defs = Map::new();
    for role in Role::ALL {
        for name in catalog.types(role) {
            if let Some(schema) = catalog.schema(role, &name) {
                let definition = format!("{}.{name}", role.word());
                defs.insert(definition.clone(), block(schema, role, &name, &format!("#/$defs/{definition}")));
            }
        }
    }
    // A sink for dead letters has none of the runtime's keys: letters have one form.
    for name in catalog.types(Role::Sink) {
        if let Some(schema) = catalog.schema(Role::Sink, &name) {
            let definition = format!("dead_letter.{name}");
            let pointer = format!("#/$defs/{definition}");
            defs.insert(definition, block(schema, Role::Store, &name, &pointer));
        }
    }
    let union = |prefix: &str, role: Role, description: &str| {
        let types = catalog.types(role);
        let branches: Vec<Json> =
            types.iter().map(|t| json!({"$ref": format!("#/$defs/{prefix}.{t}")})).collect();
        json!({"description": description, ROLE: role.word(), "oneOf": branches})
    };
    let mut properties = json!({
        "name": {
            "description": "What the pipeline is called in logs, metrics and its state. By default the file's name",
            "type": "string", "pattern": NAME_PATTERN, "examples": ["orders"],
            "x-outflow-form": "lower-case letters, digits, \".\", \"_\" and \"-\", at most 100 characters",
        },
        "source": union("source", Role::Source, "Where changes come from"),
        "transforms": {
            "description": "What is done to changes, in order",
            "type": "array",
            "items": union("transform", Role::Transform, "One transform"),
        },
        "sink": union("sink", Role::Sink, "Where changes go"),
        "dead_letter": union("dead_letter", Role::Sink,
            "Where events go that cannot be taken. By default a file beside the state"),
        "state": {
            "description": "Where progress is kept: a folder or a store. By default .outflow/<name>/ beside the file",
            ROLE: Role::Store.word(),
            "anyOf": [{"type": "string", "minLength": 1}, union("store", Role::Store, "A store")],
        },
    });
    let settings = SchemaSettings::draft2020_12().with(|s| s.inline_subschemas = true);
    let settings = settings.into_generator().into_root_schema_for::<Settings>().to_value();
    if let (Some(all), Some(Json::Object(own))) = (properties.as_object_mut(), settings.get("properties")) {
        all.extend(own.clone());
    }
    defs.insert("runtime".to_owned(), runtime_keys(catalog));
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Outflow pipeline",
        "type": "object",
        "required": ["source", "sink"],
        "properties": properties,
        "patternProperties": {"^x-": true},
        "additionalProperties": false,
        "$defs": defs,
    })
}

fn runtime_keys(catalog: &dyn Catalog) -> Json {
    let formats = catalog.types(Role::Format);
    let blocks: Vec<Json> = formats.iter().map(|f| json!({"$ref": format!("#/$defs/format.{f}")})).collect();
    json!({
        "format": {
            "description": "How records are made of changes: a word, or a block with the format's own keys",
            ROLE: Role::Format.word(),
            "anyOf": [{"enum": formats}, {"oneOf": blocks}],
        },
        "key": {
            "description": "What orders a record among others, as a template. By default the format's own key",
            "type": "string", "format": "template", "examples": ["{tenant}:{id}"],
        },
        "headers": {
            "description": "Headers to add to each record, as templates",
            "type": "object",
            "additionalProperties": {"type": "string", "format": "template"},
        },
    })
}

/// The schema of a connector's own keys with `type` and, for a sink, the runtime's keys added.
fn block(mut schema: Json, role: Role, name: &str, pointer: &str) -> Json {
    rebase(&mut schema, pointer);
    let open = open_references(&schema);
    close(&mut schema, false, pointer, &open);
    let own = match schema {
        Json::Object(object) => object,
        _ => Map::new(),
    };
    // What is a plain block gets the keys; what is more than that stays whole beside them.
    let composed = ["$ref", "oneOf", "anyOf", "allOf"].iter().any(|k| own.contains_key(*k));
    let mut out = if composed { Map::new() } else { own.clone() };
    if composed {
        let mut inner = own;
        for keyword in ["$schema", "title", "additionalProperties", "unevaluatedProperties"] {
            inner.remove(keyword);
        }
        let nested = inner.remove("$defs");
        out.extend(nested.map(|defs| ("$defs".to_owned(), defs)));
        out.insert("allOf".to_owned(), json!([inner]));
        out.insert("unevaluatedProperties".to_owned(), Json::Bool(false));
    } else if !out.contains_key("additionalProperties") {
        out.insert("additionalProperties".to_owned(), Json::Bool(false));
    }
    out.remove("$schema");
    out.insert("type".to_owned(), json!("object"));
    let mut properties = Map::new();
    properties.insert("type".to_owned(), json!({"const": name}));
    if let Some(Json::Object(own)) = out.remove("properties") {
        properties.extend(own);
    }
    if role == Role::Sink {
        for key in RUNTIME_KEYS {
            properties.insert(key.to_owned(), json!({"$ref": format!("#/$defs/runtime/{key}")}));
        }
    }
    out.insert("properties".to_owned(), Json::Object(properties));
    let mut required = vec![json!("type")];
    if let Some(Json::Array(own)) = out.remove("required") {
        required.extend(own);
    }
    out.insert("required".to_owned(), Json::Array(required));
    Json::Object(out)
}

/// References into the schema's own root follow it to its new place.
fn rebase(schema: &mut Json, pointer: &str) {
    match schema {
        Json::Object(object) => {
            if let Some(Json::String(reference)) = object.get_mut("$ref")
                && let Some(rest) = reference.strip_prefix('#')
            {
                *reference = format!("{pointer}{rest}");
            }
            object.values_mut().for_each(|v| rebase(v, pointer));
        }
        Json::Array(items) => items.iter_mut().for_each(|v| rebase(v, pointer)),
        _ => {}
    }
}

/// Schemas that apply together with others, so that they cannot say which keys are all.
fn open_references(schema: &Json) -> HashSet<String> {
    fn collect(schema: &Json, open: bool, out: &mut HashSet<String>) {
        match schema {
            Json::Object(object) => {
                if let (Some(Json::String(reference)), true) = (object.get("$ref"), open) {
                    out.insert(reference.clone());
                }
                for (keyword, value) in object {
                    collect(value, opens(keyword, object, open), out);
                }
            }
            Json::Array(items) => items.iter().for_each(|v| collect(v, open, out)),
            _ => {}
        }
    }
    let mut out = HashSet::new();
    collect(schema, false, &mut out);
    out
}

fn opens(keyword: &str, object: &Map<String, Json>, open: bool) -> bool {
    match keyword {
        "allOf" => true,
        "oneOf" | "anyOf" => open || object.contains_key("properties"),
        _ => false,
    }
}

/// Blocks that name their keys allow no others: editors are told what the checks enforce.
fn close(schema: &mut Json, open: bool, pointer: &str, open_references: &HashSet<String>) {
    match schema {
        Json::Object(object) => {
            let says =
                ["additionalProperties", "unevaluatedProperties"].iter().any(|k| object.contains_key(*k));
            if object.get("properties").is_some_and(Json::is_object) && !says && !open {
                let composed = ["$ref", "oneOf", "anyOf", "allOf"].iter().any(|k| object.contains_key(*k));
                let keyword = if composed { "unevaluatedProperties" } else { "additionalProperties" };
                object.insert(keyword.to_owned(), Json::Bool(false));
            }
            let inherited: Vec<(String, bool)> =
                object.keys().map(|k| (k.clone(), opens(k, object, open))).collect();
            for (keyword, open) in inherited {
                let Some(value) = object.get_mut(&keyword) else { continue };
                match value {
                    Json::Object(definitions) if keyword == "$defs" => {
                        for (name, definition) in definitions {
                            let referenced = open_references.contains(&format!("{pointer}/$defs/{name}"));
                            close(definition, referenced, pointer, open_references);
                        }
                    }
                    // Keys may be called like keywords.
                    Json::Object(keys) if matches!(keyword.as_str(), "properties" | "patternProperties") => {
                        keys.values_mut().for_each(|v| close(v, false, pointer, open_references));
                    }
                    Json::Object(_) | Json::Array(_)
                        if !matches!(keyword.as_str(), "examples" | "default" | "const" | "enum") =>
                    {
                        close(value, open, pointer, open_references);
                    }
                    _ => {}
                }
            }
        }
        Json::Array(items) => items.iter_mut().for_each(|v| close(v, open, pointer, open_references)),
        _ => {}
    }
}
