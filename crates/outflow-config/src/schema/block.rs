//! Blocks: keys that are known, unknown and missing.

use serde_json::{Map as JsonMap, Value as Json};

use super::view::Fragments;
use super::{Applied, Checker, words};
use crate::diagnostic::{At, Finding};
use crate::suggest::{listed, nearest};
use crate::tree::{Entry, Map, Origin, Path};

impl<'s> Checker<'_, 's> {
    pub(super) fn block(&mut self, applied: &Applied<'s>, map: &Map, path: Path<'_>, block: &At) -> Json {
        let view = &applied.view;
        let mut out = JsonMap::new();
        let mut meant: Vec<&str> = Vec::new();
        for entry in &map.entries {
            let name = entry.key.name.as_str();
            let here = Path::Key(&path, name);
            if view.secret() {
                self.hide(&entry.value);
            }
            let value = if let Some(schema) = view.property(name) {
                self.value(schema, &entry.value, here, &entry.key.at)
            } else if view.is_any() {
                self.untyped(&entry.value, here)
            } else if let Some(schema) = view.other_keys() {
                self.value(schema, &entry.value, here, &entry.key.at)
            } else {
                meant.extend(self.unknown_key(view, map, entry, path));
                continue;
            };
            out.insert(name.to_owned(), value);
        }
        for key in view.required() {
            if map.get(key).is_none() && !meant.contains(&key) {
                self.missing_key(applied, key, path, block);
            }
        }
        Json::Object(out)
    }

    /// Reports a key that does not exist and gives the one that was probably meant.
    fn unknown_key(
        &mut self,
        view: &Fragments<'s>,
        map: &Map,
        entry: &Entry,
        path: Path<'_>,
    ) -> Option<&'s str> {
        let name = entry.key.name.as_str();
        let keys: Vec<&'s str> = view.keys().collect();
        let written = |key: &str| map.get(key).is_some_and(|e| e.value.origin != Origin::Default);
        let free: Vec<&'s str> = keys.iter().copied().filter(|k| !written(k)).collect();
        let near = nearest(name, keys.iter().copied());
        let label = match near {
            Some(near) if written(near) => format!("{near:?} is there already"),
            Some(near) => format!("did you mean {near:?}?"),
            None if keys.is_empty() => "it takes no keys".to_owned(),
            None if free.is_empty() => "all its keys are there already".to_owned(),
            None => format!("known keys: {}", listed(free)),
        };
        // `pasword: …` holds a password all the same.
        let near_schema = near.and_then(|n| view.property(n));
        if near_schema.is_some_and(|s| Fragments::of(self.root, s).secret()) {
            self.hide(&entry.value);
        }
        self.push_unknown_key(entry, &label, path);
        near
    }

    pub(super) fn push_unknown_key(&mut self, entry: &Entry, label: &str, path: Path<'_>) {
        let name = entry.key.name.as_str();
        let message = format!("{} has no key {}", words::subject(&path), words::quoted(name));
        let finding = Finding::new("config.unknown_key", entry.key.at.clone(), message).label(label);
        self.push(finding, Path::Key(&path, name));
    }

    pub(super) fn missing_key(&mut self, applied: &Applied<'s>, key: &str, path: Path<'_>, block: &At) {
        let kind = applied.kind.as_ref().map(|k| format!(" {k:?}")).unwrap_or_default();
        let message = format!("{}{kind} needs {key:?}", words::subject(&path));
        let view = applied.view.property(key).map(|s| Fragments::of(self.root, s)).unwrap_or_default();
        let label = match (view.example(), view.summary()) {
            (Some(example), _) => format!("for example   {key}: {}", words::inline(example)),
            (None, Some(summary)) => format!("{key}: {summary}"),
            (None, None) => format!("add {key}"),
        };
        let finding = Finding::new("config.missing_key", block.clone(), message).label(label);
        self.push(finding, Path::Key(&path, key));
    }
}
