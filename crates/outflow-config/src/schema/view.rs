//! A JSON Schema as the checks look at it: references followed, `allOf` spread out.

use regex_lite::Regex;
use serde_json::{Map, Value as Json};

/// How many references may lead to one schema, and how deep `allOf` may be nested.
const MAX_HOPS: u8 = 32;

/// The schemas that apply to one value together.
#[derive(Clone, Default)]
pub(super) struct Fragments<'s> {
    list: Vec<&'s Map<String, Json>>,
    /// `false`: nothing may stand here.
    never: bool,
}

/// What kinds of values a schema takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Shapes {
    pub(super) null: bool,
    pub(super) scalar: bool,
    pub(super) list: bool,
    pub(super) map: bool,
}

impl<'s> Fragments<'s> {
    /// Spreads out a schema. Its `oneOf` and `anyOf` stay: which branch applies depends on the value.
    pub(super) fn of(root: &'s Json, schema: &'s Json) -> Self {
        let mut out = Self::default();
        out.add(root, schema);
        out
    }

    pub(super) fn add(&mut self, root: &'s Json, schema: &'s Json) {
        self.spread(root, schema, 0);
    }

    fn spread(&mut self, root: &'s Json, schema: &'s Json, hops: u8) {
        let object = match schema {
            Json::Bool(false) => {
                self.never = true;
                return;
            }
            Json::Object(object) if hops < MAX_HOPS => object,
            _ => return,
        };
        self.list.push(object);
        if let Some(target) = object.get("$ref").and_then(Json::as_str).and_then(|r| resolve(root, r)) {
            self.spread(root, target, hops + 1);
        }
        for part in object.get("allOf").and_then(Json::as_array).into_iter().flatten() {
            self.spread(root, part, hops + 1);
        }
    }

    /// The values of a keyword, from the outermost schema inwards.
    pub(super) fn each(&self, keyword: &str) -> impl Iterator<Item = &'s Json> {
        self.list.iter().filter_map(move |f| f.get(keyword))
    }

    pub(super) fn first(&self, keyword: &str) -> Option<&'s Json> {
        self.each(keyword).next()
    }

    pub(super) fn text(&self, keyword: &str) -> Option<&'s str> {
        self.first(keyword).and_then(Json::as_str)
    }

    /// The first union that is still open, as its branches.
    pub(super) fn union(&self) -> Option<&'s [Json]> {
        ["oneOf", "anyOf"].iter().find_map(|k| self.first(k)).and_then(Json::as_array).map(Vec::as_slice)
    }

    /// All without their unions, for the branch that was chosen to be added.
    pub(super) fn unions(&self) -> Vec<&'s [Json]> {
        let all = ["oneOf", "anyOf"].into_iter().flat_map(|k| self.each(k));
        all.filter_map(Json::as_array).map(Vec::as_slice).collect()
    }

    /// The JSON types that may stand here; `None` for any.
    pub(super) fn types(&self) -> Option<Vec<&'s str>> {
        let sets = self.each("type").map(|t| match t {
            Json::String(one) => vec![one.as_str()],
            Json::Array(many) => many.iter().filter_map(Json::as_str).collect(),
            _ => Vec::new(),
        });
        sets.reduce(|a, b| a.into_iter().filter(|t| b.contains(t)).collect())
    }

    /// The only values that may stand here.
    pub(super) fn choices(&self) -> Option<Vec<&'s Json>> {
        if let Some(value) = self.first("const") {
            return Some(vec![value]);
        }
        self.first("enum").and_then(Json::as_array).map(|values| values.iter().collect())
    }

    pub(super) fn shapes(&self) -> Shapes {
        if self.never {
            return Shapes::default();
        }
        if let Some(choices) = self.choices() {
            let null = choices.iter().any(|c| c.is_null());
            return Shapes { null, scalar: choices.iter().any(|c| !c.is_null()), list: false, map: false };
        }
        match self.types() {
            Some(types) => Shapes {
                null: types.contains(&"null"),
                scalar: types.iter().any(|t| matches!(*t, "string" | "integer" | "number" | "boolean")),
                list: types.contains(&"array"),
                map: types.contains(&"object"),
            },
            None if self.has_keys() => Shapes { map: true, ..Shapes::default() },
            None => Shapes { null: true, scalar: true, list: true, map: true },
        }
    }

    /// True when it names keys, which makes it the schema of a block.
    pub(super) fn has_keys(&self) -> bool {
        self.first("properties").is_some()
    }

    /// True when nothing is said of the value.
    pub(super) fn is_any(&self) -> bool {
        let said = ["type", "properties", "enum", "const", "oneOf", "anyOf", "additionalProperties"];
        !self.never && said.iter().all(|k| self.first(k).is_none())
    }

    /// A credential: never shown (invariant 10).
    pub(super) fn secret(&self) -> bool {
        self.each("format").any(|f| f == "password") || self.each("writeOnly").any(|w| w == true)
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &'s str> {
        self.each("properties").filter_map(Json::as_object).flat_map(|p| p.keys().map(String::as_str))
    }

    pub(super) fn required(&self) -> impl Iterator<Item = &'s str> {
        self.each("required").filter_map(Json::as_array).flatten().filter_map(Json::as_str)
    }

    /// The schema of a key that is named or fits a pattern.
    pub(super) fn property(&self, key: &str) -> Option<&'s Json> {
        let named = || self.each("properties").find_map(|p| p.get(key));
        named().or_else(|| {
            let mut patterns = self.each("patternProperties").filter_map(Json::as_object).flatten();
            patterns.find(|(pattern, _)| Regex::new(pattern).is_ok_and(|r| r.is_match(key))).map(|(_, s)| s)
        })
    }

    /// The schema of all other keys. `None`: there are no others. A schema that names keys and says nothing of others
    /// allows none, whether or not its author denied unknown fields.
    pub(super) fn other_keys(&self) -> Option<&'s Json> {
        let open = self.each("additionalProperties").chain(self.each("unevaluatedProperties"));
        open.into_iter().find(|s| **s != Json::Bool(false))
    }

    /// What to show for an example: a given one, or else nothing.
    pub(super) fn example(&self) -> Option<&'s Json> {
        self.each("examples").find_map(|e| e.as_array()?.first())
    }

    /// The first sentence of what it is for.
    pub(super) fn summary(&self) -> Option<&'s str> {
        let text = self.text("description")?;
        let line = text.lines().next().unwrap_or_default();
        Some(line.split_once(". ").map_or(line, |(first, _)| first).trim_end_matches('.'))
    }
}

fn resolve<'s>(root: &'s Json, reference: &str) -> Option<&'s Json> {
    root.pointer(reference.strip_prefix('#')?)
}

/// The branches of a union with unions among them spread out.
pub(super) fn leaves<'s>(root: &'s Json, branches: &'s [Json]) -> Vec<&'s Json> {
    let mut out = Vec::new();
    add_leaves(root, branches, 0, &mut out);
    out
}

fn add_leaves<'s>(root: &'s Json, branches: &'s [Json], depth: u8, out: &mut Vec<&'s Json>) {
    for branch in branches {
        let view = Fragments::of(root, branch);
        match view.union().filter(|_| depth < MAX_HOPS && !view.has_keys() && view.types().is_none()) {
            Some(inner) => add_leaves(root, inner, depth + 1, out),
            None => out.push(branch),
        }
    }
}
