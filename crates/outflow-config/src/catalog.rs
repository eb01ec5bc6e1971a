//! The seam to what a binary knows: types of connectors, formats, transforms and stores, and the schemas of their keys.

use outflow_sdk::{Registered, Registry};
use serde_json::Value as Json;

/// What a typed block is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Where changes come from.
    Source,
    /// Where they go.
    Sink,
    /// What is done to them on their way.
    Transform,
    /// How records are made of them.
    Format,
    /// Where progress is kept.
    Store,
}

impl Role {
    /// All roles.
    pub const ALL: [Self; 5] = [Self::Source, Self::Sink, Self::Transform, Self::Format, Self::Store];

    /// The word for it in messages.
    pub fn word(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Sink => "sink",
            Self::Transform => "transform",
            Self::Format => "format",
            Self::Store => "store",
        }
    }
}

/// Knows which types may stand in a pipeline file. Implemented by [`Registry`].
pub trait Catalog {
    /// The words that may follow `type:`, in the order in which they are listed.
    fn types(&self, role: Role) -> Vec<String>;

    /// The JSON Schema (draft 2020-12) of a type's own keys: without `type`, and without those of the runtime.
    fn schema(&self, role: Role, type_name: &str) -> Option<Json>;
}

impl Catalog for Registry {
    fn types(&self, role: Role) -> Vec<String> {
        fn names<'a, R: Registered + ?Sized + 'a>(
            all: impl Iterator<Item = &'a std::sync::Arc<R>>,
        ) -> Vec<String> {
            all.map(|r| r.type_name().to_owned()).collect()
        }
        match role {
            Role::Source => names(self.sources()),
            Role::Sink => names(self.sinks()),
            Role::Transform => names(self.transforms()),
            Role::Format => names(self.formats()),
            Role::Store => names(self.stores()),
        }
    }

    fn schema(&self, role: Role, type_name: &str) -> Option<Json> {
        match role {
            Role::Source => self.get_source(type_name).map(|r| r.schema()),
            Role::Sink => self.get_sink(type_name).map(|r| r.schema()),
            Role::Transform => self.get_transform(type_name).map(|r| r.schema()),
            Role::Format => self.get_format(type_name).map(|r| r.schema()),
            Role::Store => self.get_store(type_name).map(|r| r.schema()),
        }
    }
}
