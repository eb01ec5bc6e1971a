//! Defaults, file and flags, one over the other.
//!
//! Figment does the layering. It has no place for what a value looked like and where it stood, so the leaves that it
//! merges are numbers of values in a list of ours, and the merged tree is put together again from them.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use figment::value::{Dict, Map as Profiles, Num, Tag, Value};
use figment::{Figment, Metadata, Profile, Provider};

use crate::diagnostic::{At, Finding};
use crate::text::Span;
use crate::tree::{Content, Entry, FLAG_WORD, Key, Map, Node, Origin};

/// One `--set NAME.key=value`.
#[derive(Clone)]
pub(crate) struct Flag {
    /// What is shown of it: everything but the value, which may be a credential (invariant 10).
    pub(crate) shown: String,
    /// The keys on the way, with their place in `shown`.
    keys: Vec<(String, Range<usize>)>,
    value: String,
}

impl Flag {
    /// Splits `NAME.key=value` for the pipeline that it names: the longest of `names` that fits, for names may hold
    /// dots. Gives the index of the name.
    pub(crate) fn parse(text: &str, names: &[&str]) -> Result<(usize, Self), FlagError> {
        let (path, value) = text.split_once('=').ok_or(FlagError::Form)?;
        let fits = |name: &&str| path.strip_prefix(name).is_some_and(|rest| rest.starts_with('.'));
        let named =
            names.iter().enumerate().filter(|(_, name)| fits(name)).max_by_key(|(_, name)| name.len());
        let Some((index, name)) = named else {
            return Err(if path.contains('.') { FlagError::Name } else { FlagError::Form });
        };
        let shown = format!("{}{path}", FLAG_WORD);
        let mut at = FLAG_WORD.len() + name.chars().count() + 1;
        let mut keys = Vec::new();
        for key in path.get(name.len() + 1..).unwrap_or_default().split('.') {
            let end = at + key.chars().count();
            if key.is_empty() {
                return Err(FlagError::Form);
            }
            keys.push((key.to_owned(), at..end));
            at = end + 1;
        }
        Ok((index, Self { shown, keys, value: value.to_owned() }))
    }
}

/// Why a flag cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FlagError {
    /// It is not of the form `NAME.key=value`.
    Form,
    /// No pipeline has the name.
    Name,
}

/// The merged document: defaults < file < flags. A flag that cannot be laid over the file is a finding.
pub(crate) fn merge(
    defaults: &Arc<Node>,
    file: &Arc<Node>,
    flags: &[Flag],
    findings: &mut Vec<Finding>,
) -> Option<Arc<Node>> {
    let mut leaves = Leaves::default();
    let flag_trees: Vec<Arc<Node>> = flags
        .iter()
        .enumerate()
        .filter_map(|(index, flag)| {
            if let Some(finding) = refused(file, index, flag) {
                findings.push(finding);
                return None;
            }
            Some(flag_tree(index, flag))
        })
        .collect();
    let mut figment = Figment::from(Layer::of("the defaults", defaults, &mut leaves));
    figment = figment.merge(Layer::of("the file", file, &mut leaves));
    for tree in &flag_trees {
        figment = figment.merge(Layer::of("--set", tree, &mut leaves));
    }
    let merged = figment.data().ok()?.remove(&Profile::Default)?;
    // A key's place is where the file has it, or else where a flag brings it in.
    let mut layers: Vec<&Node> = vec![file];
    layers.extend(flag_trees.iter().rev().map(AsRef::as_ref));
    layers.push(defaults);
    Some(leaves.rebuild_map(&merged, &layers))
}

fn flag_tree(index: usize, flag: &Flag) -> Arc<Node> {
    let origin = Origin::Flag(index);
    let leaf = Arc::new(Node::scalar(flag.value.as_str(), Span::default(), origin));
    flag.keys.iter().rev().fold(leaf, |value, (name, range)| {
        let key = Key { name: name.clone(), at: At::Flag(index, range.clone()) };
        let map = Map { entries: vec![Entry { key, value }], flow: false };
        Arc::new(Node::new(Content::Map(map), Span::default(), origin))
    })
}

fn refused(file: &Node, index: usize, flag: &Flag) -> Option<Finding> {
    if let [(key, range)] = flag.keys.as_slice()
        && key == "name"
    {
        let message = "a flag cannot change the name by which it finds its pipeline";
        return Some(Finding::new("config.flag", At::Flag(index, range.clone()), message));
    }
    let mut node = file;
    for (key, range) in &flag.keys {
        match &node.content {
            Content::Map(map) => node = &map.get(key)?.value,
            Content::List(_) => {
                let finding = Finding::new(
                    "config.flag",
                    At::Flag(index, range.clone()),
                    "a flag cannot change an entry of a list",
                );
                return Some(finding.label("set the whole list: …=[a, b]"));
            }
            _ => return None,
        }
    }
    None
}

/// What figment merges: blocks as they are, everything else as the number of a leaf.
struct Layer {
    name: &'static str,
    dict: Dict,
}

impl Layer {
    fn of(name: &'static str, node: &Arc<Node>, leaves: &mut Leaves) -> Self {
        let dict = match leaves.value(node) {
            Value::Dict(_, dict) => dict,
            _ => Dict::new(),
        };
        Self { name, dict }
    }
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.name)
    }

    fn data(&self) -> Result<Profiles<Profile, Dict>, figment::Error> {
        Ok(Profile::Default.collect(self.dict.clone()))
    }
}

#[derive(Default)]
struct Leaves {
    nodes: Vec<Arc<Node>>,
}

impl Leaves {
    fn value(&mut self, node: &Arc<Node>) -> Value {
        match &node.content {
            Content::Map(map) => {
                let entries = map.entries.iter().map(|e| (e.key.name.clone(), self.value(&e.value)));
                Value::Dict(Tag::Default, entries.collect())
            }
            _ => {
                self.nodes.push(Arc::clone(node));
                Value::Num(Tag::Default, Num::USize(self.nodes.len() - 1))
            }
        }
    }

    fn rebuild(&self, value: &Value, layers: &[&Node]) -> Arc<Node> {
        match value {
            Value::Dict(_, dict) => self.rebuild_map(dict, layers),
            Value::Num(_, Num::USize(index)) => self.nodes.get(*index).map_or_else(unreadable, Arc::clone),
            _ => unreadable(),
        }
    }

    /// `layers` are the values that stand here in each layer, the one that gives places first.
    fn rebuild_map(&self, dict: &BTreeMap<String, Value>, layers: &[&Node]) -> Arc<Node> {
        let maps: Vec<&Map> = layers.iter().filter_map(|n| n.as_map()).collect();
        let mut entries: Vec<Entry> = Vec::with_capacity(dict.len());
        let mut done = std::collections::HashSet::new();
        // Figment sorts keys; what is shown of them keeps the order of the file.
        for entry in maps.iter().flat_map(|m| &m.entries) {
            let name = entry.key.name.as_str();
            let Some(value) = dict.get(name).filter(|_| done.insert(name)) else { continue };
            let below: Vec<&Node> =
                maps.iter().filter_map(|m| m.get(name)).map(|e| e.value.as_ref()).collect();
            entries.push(Entry { key: entry.key.clone(), value: self.rebuild(value, &below) });
        }
        let first = layers.iter().find(|n| n.as_map().is_some());
        let (span, origin) = first.map_or((Span::default(), Origin::Default), |n| (n.span, n.origin));
        let flow = first.and_then(|n| n.as_map()).is_some_and(|m| m.flow);
        Arc::new(Node::new(Content::Map(Map { entries, flow }), span, origin))
    }
}

fn unreadable() -> Arc<Node> {
    Arc::new(Node::new(Content::Unreadable, Span::default(), Origin::Default))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_names_the_longest_pipeline() {
        let names = ["shop", "shop.eu", "a"];
        let (index, flag) = Flag::parse("shop.eu.sink.topic=a=b", &names).ok().unwrap();
        assert_eq!((index, flag.value.as_str()), (1, "a=b"));
        assert_eq!(flag.shown, "--set shop.eu.sink.topic");
        assert_eq!(flag.keys, [("sink".to_owned(), 14..18), ("topic".to_owned(), 19..24)]);
        for (text, error) in [
            ("x.sink.topic=1", FlagError::Name),
            ("sink=1", FlagError::Form),
            ("shop.sink.topic", FlagError::Form),
            ("shop.=1", FlagError::Form),
            ("shop..a=1", FlagError::Form),
            ("", FlagError::Form),
        ] {
            assert_eq!(Flag::parse(text, &names).err(), Some(error), "{text}");
        }
    }
}
