//! The stores by their types in pipeline files.

use std::path::PathBuf;
use std::sync::Arc;

use outflow_sdk::{
    BuildContext, CheckpointStore, Description, JsonSchema, Registry, Result, StoreFactory, Timespan,
};
use serde::Deserialize;

use crate::file::FileStore;
use crate::memory::MemoryStore;

/// Configuration of the store `file`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FileConfig {
    /// The folder; each pipeline has a folder of its name in it. Relative paths start from the pipeline file.
    #[serde(default)]
    pub path: Option<PathBuf>,
    /// How long a lease lasts without renewal.
    #[serde(default)]
    pub lease: Option<Timespan>,
}

/// The factory of the store `file`.
#[derive(Clone, Copy, Debug)]
pub struct FileStoreFactory;

impl StoreFactory for FileStoreFactory {
    type Config = FileConfig;

    fn type_name(&self) -> &'static str {
        "file"
    }

    fn description(&self) -> Description {
        Description {
            summary: "Checkpoints in a folder: a log of changes, synced at each, that a person can read.",
            guarantees: "Atomic and durable commits at the cost of the change; one writer, by a lock that ends with \
                         its process; torn writes are detected.",
            example: "state:\n  type: file\n  path: /var/lib/outflow\n",
        }
    }

    async fn build(&self, config: &FileConfig, cx: &BuildContext) -> Result<Arc<dyn CheckpointStore>> {
        let path = config.path.clone().unwrap_or_else(|| ".outflow".into());
        let mut store = FileStore::at(cx.base.join(path));
        if let Some(lease) = config.lease {
            store = store.lease(lease.0);
        }
        Ok(Arc::new(store))
    }
}

/// Configuration of the store `memory`.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MemoryConfig {}

/// The factory of the store `memory`.
#[derive(Clone, Copy, Debug)]
pub struct MemoryStoreFactory;

impl StoreFactory for MemoryStoreFactory {
    type Config = MemoryConfig;

    fn type_name(&self) -> &'static str {
        "memory"
    }

    fn description(&self) -> Description {
        Description {
            summary: "Checkpoints in memory: every start of the process is a first start.",
            guarantees: "None across processes.",
            example: "state:\n  type: memory\n",
        }
    }

    async fn build(&self, _: &MemoryConfig, _: &BuildContext) -> Result<Arc<dyn CheckpointStore>> {
        Ok(Arc::new(MemoryStore::new()))
    }
}

/// Adds the stores of this crate.
pub fn register(registry: &mut Registry) {
    registry.add_store(FileStoreFactory).add_store(MemoryStoreFactory);
}
