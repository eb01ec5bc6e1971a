//! Checks a document against a JSON Schema (draft 2020-12, as `schemars` writes it), converting scalars on the way.
//!
//! A validator of our own, because messages must name the line, the key and the remedy, an interpolated scalar has no
//! type before the schema gives it one, and of a union only the branch that was meant may be spoken of.

mod block;
mod union;
mod value;
mod view;
mod words;

use serde_json::Value as Json;

use crate::diagnostic::{At, Finding, Hidden};
use crate::findings::Findings;
use crate::text::SourceText;
use crate::tree::{Content, Node, Path};
use view::Fragments;

/// A schema may carry this keyword beside a union of connectors: the word for what its branches are. Mistakes within
/// them then point to the description of the connector.
pub(crate) const ROLE: &str = "x-outflow-role";

/// How many values are looked at before a file is given up: unions of unions multiply.
const FUEL: u32 = 2_000_000;

/// Checks one document.
pub(crate) struct Checker<'a, 's> {
    /// The schema that references point into.
    root: &'s Json,
    text: &'a SourceText,
    findings: &'a mut Findings,
    hidden: &'a mut Hidden,
    connector: Option<String>,
    fuel: u32,
}

/// The schemas that apply to a value, and the branch that its `type` chose.
struct Applied<'s> {
    view: Fragments<'s>,
    kind: Option<String>,
}

impl<'a, 's> Checker<'a, 's> {
    pub(crate) fn new(
        root: &'s Json,
        text: &'a SourceText,
        findings: &'a mut Findings,
        hidden: &'a mut Hidden,
    ) -> Self {
        Self { root, text, findings, hidden, connector: None, fuel: FUEL }
    }

    /// Checks the whole document. The value is worth something only if there is no finding.
    pub(crate) fn document(&mut self, node: &Node) -> Json {
        self.value(self.root, node, Path::Root, &node.at())
    }

    /// Checks one value. `block` is the place of the key that it stands under.
    fn value(&mut self, schema: &'s Json, node: &Node, path: Path<'_>, block: &At) -> Json {
        self.fuel = self.fuel.saturating_sub(1);
        if self.fuel == 0 || matches!(node.content, Content::Unreadable) {
            return Json::Null;
        }
        if let Some(written_out) = self.flag_as_block(schema, node) {
            return self.value(schema, &written_out, path, block);
        }
        let connector = self.connector.clone();
        let value = match self.apply(schema, node, path, block) {
            Some(applied) => self.applied(&applied, node, path, block),
            None => Json::Null,
        };
        self.connector = connector;
        value
    }

    /// The schemas that apply to a value: in each union the branch that was meant. `None` when there is none, and a
    /// finding says so.
    fn apply(&mut self, schema: &'s Json, node: &Node, path: Path<'_>, block: &At) -> Option<Applied<'s>> {
        let mut view = Fragments::of(self.root, schema);
        let mut kind = None;
        let mut done = 0;
        // Branches may bring unions of their own.
        while let Some(union) = view.unions().get(done).copied() {
            done += 1;
            let role = view.text(ROLE);
            let chosen = self.choose(union, role, node, path, block)?;
            if let Some(name) = chosen.kind {
                if role.is_some() {
                    self.connector = Some(name.clone());
                }
                kind = Some(name);
            }
            if let Some(branch) = chosen.schema {
                view.add(self.root, branch);
            }
            if done > usize::from(u8::MAX) {
                break;
            }
        }
        Some(Applied { view, kind })
    }

    fn applied(&mut self, applied: &Applied<'s>, node: &Node, path: Path<'_>, block: &At) -> Json {
        let view = &applied.view;
        match &node.content {
            Content::Unreadable => Json::Null,
            Content::Scalar(scalar) => self.scalar(view, scalar, node, path),
            Content::List(items) if view.is_any() || view.shapes().list => self.list(view, items, node, path),
            Content::Map(map) if view.is_any() || view.shapes().map => self.block(applied, map, path, block),
            Content::List(_) | Content::Map(_) => {
                self.wrong_type(view, node, path);
                Json::Null
            }
        }
    }

    /// A flag's value is one scalar; where only a list or a block can stand it is read as one: `[a, b]`.
    fn flag_as_block(&self, schema: &'s Json, node: &Node) -> Option<Node> {
        let crate::tree::Origin::Flag(_) = node.origin else { return None };
        let text = node.as_scalar()?.text.trim();
        if !text.starts_with(['[', '{']) {
            return None;
        }
        let view = Fragments::of(self.root, schema);
        let takes_scalar = match view.union() {
            Some(union) => {
                view::leaves(self.root, union).iter().any(|l| Fragments::of(self.root, l).shapes().scalar)
            }
            None => view.shapes().scalar,
        };
        if takes_scalar {
            return None;
        }
        crate::yaml::parse_flow(text).map(|parsed| parsed.with_origin(node.origin))
    }

    fn push(&mut self, finding: Finding, path: Path<'_>) {
        let mut finding = finding.path(path);
        finding.connector.clone_from(&self.connector);
        self.findings.push(finding);
    }
}
