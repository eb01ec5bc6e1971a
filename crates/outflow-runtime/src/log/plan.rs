//! What is still to be read of what was there: kept in the checkpoint, so that a crash costs only the chunks under way.

use std::collections::VecDeque;

use outflow_sdk::{Checkpoint, Chunk, Error, Result, StateDelta};

/// The key of the server's identity.
pub(super) const SERVER: &str = "log.server";
/// The keys of chunks begin with this; the chunk's name follows.
const CHUNK: &str = "log.chunk.";

/// The chunks that are not done, in the order in which they are read.
#[derive(Debug, Default)]
pub(super) struct Plan(VecDeque<Chunk>);

impl Plan {
    pub(super) fn new(chunks: Vec<Chunk>) -> Self {
        Self(chunks.into())
    }

    /// The plan that a checkpoint holds.
    pub(super) fn stored(checkpoint: &Checkpoint) -> Result<Self> {
        let chunks = checkpoint.states().filter(|(key, _)| key.starts_with(CHUNK));
        let chunk = |(key, text): (&str, &str)| {
            serde_json::from_str(text).map_err(|error| {
                Error::permanent("log.plan")
                    .message(format!("the state {key} is no part of a snapshot"))
                    .hint("start anew:  outflow position reset")
                    .caused_by(error)
            })
        };
        chunks.map(chunk).collect::<Result<_>>().map(Self)
    }

    pub(super) fn is_done(&self) -> bool {
        self.0.is_empty()
    }

    /// All of it.
    pub(super) fn take(&mut self) -> VecDeque<Chunk> {
        std::mem::take(&mut self.0)
    }

    /// Puts this plan in the place of the one in `checkpoint`.
    pub(super) fn store(&self, checkpoint: &Checkpoint, state: &mut StateDelta, server: &str) -> Result<()> {
        let keys = checkpoint.states().map(|(key, _)| key);
        keys.filter(|key| key.starts_with(CHUNK)).for_each(|key| state.delete(key));
        state.put(SERVER, server);
        self.0.iter().try_for_each(|chunk| rest(state, chunk))
    }
}

/// The chunk has been delivered when the batch with this state has.
pub(super) fn done(state: &mut StateDelta, chunk: &Chunk) {
    state.delete(format!("{CHUNK}{}", chunk.name));
}

/// This is what is left of the chunk.
pub(super) fn rest(state: &mut StateDelta, chunk: &Chunk) -> Result<()> {
    let text = serde_json::to_string(chunk).map_err(|e| Error::internal("log.plan").caused_by(e))?;
    state.put(format!("{CHUNK}{}", chunk.name), text);
    Ok(())
}
