//! The keys of a type, read from its JSON Schema: for people, for programs and for `init`.

use outflow_sdk::serde_json::{Value as Json, json};

/// One key of a block of a pipeline file.
pub(crate) struct Key {
    /// Its name; that of a block within the block is dotted.
    pub(crate) name: String,
    /// What may stand there: `duration`, `list of string`, `keep | mark | delete`.
    pub(crate) kind: String,
    /// The words that may stand there, where these are all.
    pub(crate) values: Vec<String>,
    pub(crate) required: bool,
    pub(crate) default: Option<Json>,
    /// What it means.
    pub(crate) about: String,
}

impl Key {
    pub(crate) fn to_json(&self) -> Json {
        json!({
            "name": self.name, "kind": self.kind, "values": self.values, "required": self.required,
            "default": self.default, "about": self.about,
        })
    }

    /// Whether it stands in the block itself.
    pub(crate) fn is_direct(&self) -> bool {
        !self.name.contains('.')
    }
}

/// Blocks within blocks are shown so deep.
const DEPTH: usize = 3;

/// The keys of a block, required ones first. `schema` is one of those in `root`, where its references lead.
pub(crate) fn keys(root: &Json, schema: &Json) -> Vec<Key> {
    let mut out = Vec::new();
    collect(root, resolve(root, schema), "", DEPTH, &mut out);
    out.sort_by_key(|k| !k.required);
    out
}

fn collect(root: &Json, schema: &Json, prefix: &str, depth: usize, out: &mut Vec<Key>) {
    for part in schema.get("allOf").and_then(Json::as_array).into_iter().flatten() {
        collect(root, resolve(root, part), prefix, depth, out);
    }
    let required: Vec<&str> = schema
        .get("required")
        .and_then(Json::as_array)
        .into_iter()
        .flatten()
        .filter_map(Json::as_str)
        .collect();
    for (name, property) in schema.get("properties").and_then(Json::as_object).into_iter().flatten() {
        // Everyone knows what the type is called who asks for its keys.
        if name == "type" && prefix.is_empty() {
            continue;
        }
        let target = resolve(root, property);
        let of = |word: &str| property.get(word).or_else(|| target.get(word)).filter(|v| !v.is_null());
        let name = format!("{prefix}{name}");
        out.push(Key {
            kind: kind(root, target),
            values: values(root, target),
            required: prefix.is_empty() && required.contains(&name.as_str()),
            default: of("default").cloned(),
            about: of("description").and_then(Json::as_str).unwrap_or_default().replace('\n', " "),
            name: name.clone(),
        });
        if depth > 0 {
            collect(root, block(root, target), &format!("{name}."), depth - 1, out);
        }
    }
}

/// What a property that may be left out is when it is there.
fn block<'a>(root: &'a Json, property: &'a Json) -> &'a Json {
    let options = property.get("anyOf").and_then(Json::as_array);
    let block =
        options.and_then(|all| all.iter().map(|o| resolve(root, o)).find(|o| o.get("properties").is_some()));
    block.unwrap_or(property)
}

/// Follows a reference.
fn resolve<'a>(root: &'a Json, property: &'a Json) -> &'a Json {
    let target = property.get("$ref").and_then(Json::as_str).and_then(|r| r.strip_prefix('#'));
    target.and_then(|pointer| root.pointer(pointer)).unwrap_or(property)
}

/// The options of a property that is one of several.
fn options<'a>(root: &'a Json, property: &'a Json) -> Vec<&'a Json> {
    let lists = ["anyOf", "oneOf"].into_iter().filter_map(|word| property.get(word)?.as_array());
    lists.flatten().map(|o| resolve(root, o)).filter(|o| o.get("type") != Some(&json!("null"))).collect()
}

/// The words that may stand for a property; empty when something else may, too.
fn values(root: &Json, property: &Json) -> Vec<String> {
    if let Some(values) = property.get("enum").and_then(Json::as_array) {
        return values.iter().filter_map(Json::as_str).map(str::to_owned).collect();
    }
    if let Some(value) = property.get("const").and_then(Json::as_str) {
        return vec![value.to_owned()];
    }
    let parts: Vec<Vec<String>> = options(root, property).into_iter().map(|o| values(root, o)).collect();
    if parts.iter().any(Vec::is_empty) { Vec::new() } else { parts.concat() }
}

fn kind(root: &Json, property: &Json) -> String {
    let words = values(root, property);
    if !words.is_empty() {
        return words.join(" | ");
    }
    let options = options(root, property);
    if !options.is_empty() {
        let mut kinds: Vec<String> = options.into_iter().map(|o| kind(root, o)).collect();
        kinds.dedup();
        return kinds.join(" | ");
    }
    let word = |kind: &str| match (property.get("format").and_then(Json::as_str), kind) {
        (Some("timespan"), _) => "duration".to_owned(),
        (Some("password"), _) => "secret".to_owned(),
        (Some("uri"), _) => "URL".to_owned(),
        (Some(format @ ("size" | "template")), _) => format.to_owned(),
        (_, "array") => {
            let items = property.get("items").map(|i| self::kind(root, resolve(root, i)));
            format!("list of {}", items.unwrap_or_else(|| "values".into()))
        }
        (_, "object") => "block".to_owned(),
        (_, kind) => kind.to_owned(),
    };
    let mut kinds: Vec<String> = match property.get("type") {
        Some(Json::String(one)) => vec![word(one)],
        Some(Json::Array(many)) => {
            many.iter().filter_map(Json::as_str).filter(|t| *t != "null").map(word).collect()
        }
        _ if property.get("properties").is_some() => vec!["block".to_owned()],
        _ => vec!["any".to_owned()],
    };
    kinds.dedup();
    kinds.join(" | ")
}
