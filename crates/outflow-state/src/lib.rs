//! Checkpoint stores: [`MemoryStore`] and [`FileStore`], with leases.
//!
//! A lease makes one instance the only writer of a pipeline's state (invariant 12). The file store rests on a lock
//! of the operating system, so that a killed process gives its lease up at once, and on an epoch, so that a process
//! that slept past its deadline is fenced when another has taken over.

mod file;
mod memory;
mod refusal;
mod register;

pub use file::FileStore;
pub use memory::MemoryStore;
pub use register::{FileConfig, FileStoreFactory, MemoryConfig, MemoryStoreFactory, register};
