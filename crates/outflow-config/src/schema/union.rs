//! `oneOf` and `anyOf`: the branch that a value was meant for.

use serde_json::Value as Json;

use super::view::{Fragments, Shapes, leaves};
use super::{Checker, words};
use crate::diagnostic::{At, Finding};
use crate::suggest::{listed, nearest};
use crate::tree::{Content, Map, Node, Path, Scalar};

/// The branch of a union that applies.
pub(super) struct Chosen<'s> {
    /// `None`: the value stands for itself, such as null.
    pub(super) schema: Option<&'s Json>,
    /// What its discriminating key says.
    pub(super) kind: Option<String>,
}

struct Branch<'s> {
    schema: &'s Json,
    view: Fragments<'s>,
    shapes: Shapes,
}

impl<'s> Checker<'_, 's> {
    /// Chooses a branch; `None` when no branch fits, and a finding says so.
    pub(super) fn choose(
        &mut self,
        union: &'s [Json],
        role: Option<&str>,
        node: &Node,
        path: Path<'_>,
        block: &At,
    ) -> Option<Chosen<'s>> {
        let branches: Vec<Branch<'s>> = leaves(self.root, union)
            .into_iter()
            .map(|schema| {
                let view = Fragments::of(self.root, schema);
                let shapes = view.shapes();
                Branch { schema, view, shapes }
            })
            .collect();
        if node.as_scalar().is_some_and(Scalar::is_null)
            && let Some(null) = branches.iter().find(|b| b.shapes.null)
        {
            return Some(Chosen { schema: Some(null.schema), kind: None });
        }
        let fits = |b: &&Branch<'s>| match &node.content {
            Content::Scalar(_) => b.shapes.scalar,
            Content::List(_) => b.shapes.list,
            Content::Map(_) => b.shapes.map,
            Content::Unreadable => false,
        };
        let fitting: Vec<&Branch<'s>> = branches.iter().filter(fits).collect();
        if fitting.is_empty() {
            self.no_shape(&branches, role, node, path);
            return None;
        }
        match &node.content {
            Content::Scalar(scalar) => self.choose_scalar(&fitting, role, scalar, node, path),
            Content::Map(map) => self.choose_block(&fitting, role, map, node, path, block),
            Content::List(_) | Content::Unreadable => self.try_each(&fitting, node, path, block),
        }
    }

    fn no_shape(&mut self, branches: &[Branch<'s>], role: Option<&str>, node: &Node, path: Path<'_>) {
        let all = branches.iter().fold(Shapes::default(), |a, b| Shapes {
            null: a.null || b.shapes.null,
            scalar: a.scalar || b.shapes.scalar,
            list: a.list || b.shapes.list,
            map: a.map || b.shapes.map,
        });
        // One type besides null is named exactly.
        let mut typed = branches.iter().filter(|b| b.shapes != Shapes { null: true, ..Shapes::default() });
        if let (Some(one), None) = (typed.next(), typed.next()) {
            let view = one.view.clone();
            return self.wrong_type(&view, node, path);
        }
        if role.is_some() && branches.is_empty() {
            return self.not_among(&[], role, node, path, false);
        }
        let found = words::found(node, &path, false);
        let message =
            format!("{} must be {}, found {found}", words::subject(&path), words::expected_shapes(all));
        let finding = Finding::new("config.wrong_type", node.at(), message);
        let types: &[&str] = if all.scalar { &["string"] } else { &[] };
        let kinds =
            discriminator(branches.iter().filter(|b| b.shapes.map)).map(|d| d.kinds).unwrap_or_default();
        let named = node.as_scalar().filter(|s| kinds.iter().any(|(k, _)| *k == s.text));
        let label = match named {
            Some(scalar) => Some(format!("write {{type: {}}}", scalar.text)),
            None => self.type_remedy(types, node, &path, false),
        };
        let finding = match label {
            Some(label) => finding.label(label),
            None => finding,
        };
        self.push(finding, path);
    }

    fn choose_scalar(
        &mut self,
        branches: &[&Branch<'s>],
        role: Option<&str>,
        scalar: &Scalar,
        node: &Node,
        path: Path<'_>,
    ) -> Option<Chosen<'s>> {
        let is_word = |b: &Branch<'s>| b.view.choices().is_some();
        let words = |b: &Branch<'s>| -> Vec<&'s str> {
            b.view.choices().into_iter().flatten().filter_map(Json::as_str).collect()
        };
        if let Some(branch) = branches.iter().find(|b| words(b).contains(&scalar.text.as_str())) {
            let kind = role.map(|_| scalar.text.clone());
            return Some(Chosen { schema: Some(branch.schema), kind });
        }
        let free: Vec<&Branch<'s>> = branches.iter().copied().filter(|b| !is_word(b)).collect();
        if free.is_empty() {
            let all: Vec<&str> = branches.iter().flat_map(|b| words(b)).collect();
            self.not_among(&all, role, node, path, false);
            return None;
        }
        self.try_each(&free, node, path, &node.at())
    }

    fn choose_block(
        &mut self,
        branches: &[&Branch<'s>],
        role: Option<&str>,
        map: &Map,
        node: &Node,
        path: Path<'_>,
        block: &At,
    ) -> Option<Chosen<'s>> {
        if let Some(tag) = discriminator(branches.iter().copied()) {
            return self.by_tag(&tag, role, map, path, block);
        }
        // An externally tagged enum: each branch is a block with one key of its own.
        let complete = |b: &&&Branch<'s>| {
            let mut required = b.view.required().peekable();
            required.peek().is_some() && required.all(|k| map.get(k).is_some())
        };
        let mut present = branches.iter().filter(complete);
        if let (Some(one), None) = (present.next(), present.next()) {
            return Some(Chosen { schema: Some(one.schema), kind: None });
        }
        self.try_each(branches, node, path, block)
    }

    fn by_tag(
        &mut self,
        tag: &Discriminator<'s>,
        role: Option<&str>,
        map: &Map,
        path: Path<'_>,
        block: &At,
    ) -> Option<Chosen<'s>> {
        let known: Vec<&str> = tag.kinds.iter().map(|(kind, _)| *kind).collect();
        let Some(entry) = map.get(tag.key) else {
            let misspelt = map.entries.iter().find(|e| nearest(&e.key.name, [tag.key]).is_some());
            if let Some(entry) = misspelt {
                self.push_unknown_key(entry, &format!("did you mean {:?}?", tag.key), path);
                return None;
            }
            let message = format!("{} needs {:?}", words::subject(&path), tag.key);
            let finding = Finding::new("config.missing_key", block.clone(), message);
            let label = format!("one of: {}", listed(known.iter().copied()));
            self.push(finding.label(label), Path::Key(&path, tag.key));
            return None;
        };
        let here = Path::Key(&path, tag.key);
        match &entry.value.content {
            Content::Unreadable => None,
            Content::Scalar(scalar) if !scalar.is_null() => {
                let found = tag.kinds.iter().find(|(kind, _)| *kind == scalar.text);
                if found.is_none() {
                    self.not_among(&known, role, &entry.value, here, false);
                }
                found.map(|(kind, schema)| Chosen { schema: Some(schema), kind: Some((*kind).to_owned()) })
            }
            _ => {
                let found = words::found(&entry.value, &here, false);
                let message = format!("{here} must be a word, found {found}");
                let label = format!("one of: {}", listed(known));
                self.push(Finding::new("config.wrong_type", entry.value.at(), message).label(label), here);
                None
            }
        }
    }

    /// The first branch without a mistake, or else the one with the fewest.
    fn try_each(
        &mut self,
        branches: &[&Branch<'s>],
        node: &Node,
        path: Path<'_>,
        block: &At,
    ) -> Option<Chosen<'s>> {
        let mut best: Option<(usize, &'s Json)> = None;
        if branches.len() > 1 {
            let before = std::mem::take(self.findings);
            for branch in branches {
                self.value(branch.schema, node, path, block);
                let mistakes = std::mem::take(self.findings).len();
                if best.is_none_or(|(fewest, _)| mistakes < fewest) {
                    best = Some((mistakes, branch.schema));
                }
                if mistakes == 0 {
                    break;
                }
            }
            *self.findings = before;
        }
        let schema = best.map(|(_, schema)| schema).or_else(|| branches.first().map(|b| b.schema))?;
        Some(Chosen { schema: Some(schema), kind: None })
    }
}

/// The key whose constant tells the branches of a union apart.
struct Discriminator<'s> {
    key: &'s str,
    kinds: Vec<(&'s str, &'s Json)>,
}

fn discriminator<'a, 's: 'a>(
    branches: impl Iterator<Item = &'a Branch<'s>> + Clone,
) -> Option<Discriminator<'s>> {
    let first = branches.clone().next()?;
    let constant = |branch: &Branch<'s>, key: &str| -> Option<&'s str> {
        let schema = branch.view.property(key)?;
        let only =
            schema.get("enum").and_then(Json::as_array).filter(|e| e.len() == 1).and_then(|e| e.first());
        schema.get("const").or(only).and_then(Json::as_str)
    };
    first.view.keys().find_map(|key| {
        let kinds: Option<Vec<_>> =
            branches.clone().map(|b| constant(b, key).map(|kind| (kind, b.schema))).collect();
        kinds.map(|kinds| Discriminator { key, kinds })
    })
}
