//! Buffers that finished batches give back.

use std::sync::{Arc, Mutex, PoisonError};

use crate::arena::{BatchData, Parts};
use crate::event::Event;

/// Vectors that finished batches return to their builder, so that a steady flow allocates nothing an event.
#[derive(Clone, Debug, Default)]
pub struct BatchPool(Arc<Mutex<Sets>>);

#[derive(Debug, Default)]
struct Sets {
    sets: Vec<Buffers>,
    bytes: usize,
}

/// The buffers of one batch, empty and owned by nobody else.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    pub(crate) data: Arc<BatchData>,
    pub(crate) overlay: Arc<BatchData>,
    pub(crate) events: Vec<Event>,
}

impl Buffers {
    fn charge(&self) -> usize {
        self.data.charge() + self.overlay.charge() + self.events.capacity() * size_of::<Event>()
    }
}

impl BatchPool {
    /// One set above this is let go: one huge row must not be kept for ever.
    const MAX_SET_BYTES: usize = 4 << 20;
    /// What all sets together may keep.
    const MAX_BYTES: usize = 8 << 20;
    /// More sets than a source task, a sink task and a hand-over between them can use help nobody.
    const MAX_SETS: usize = 6;

    /// A pool of its own.
    pub fn new() -> Self {
        Self::default()
    }

    /// Bytes of capacity that wait here for the next batch, at most 8 MiB (invariant 7).
    pub fn charge(&self) -> usize {
        self.sets(|sets| sets.bytes)
    }

    fn sets<T>(&self, visit: impl FnOnce(&mut Sets) -> T) -> T {
        // The lists are whole at every moment, so a panic elsewhere has not damaged them.
        visit(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn take(&self) -> Buffers {
        self.sets(|sets| {
            let buffers = sets.sets.pop()?;
            sets.bytes -= buffers.charge();
            Some(buffers)
        })
        .unwrap_or_default()
    }

    pub(crate) fn put(&self, parts: Parts, events: Vec<Event>) {
        let Parts { mut data, mut overlay } = parts;
        // Only the last clone gives back.
        let (Some(d), Some(o)) = (Arc::get_mut(&mut data), Arc::get_mut(&mut overlay)) else { return };
        d.clear();
        o.clear();
        let mut buffers = Buffers { data, overlay, events };
        buffers.events.clear();
        let charge = buffers.charge();
        if charge > Self::MAX_SET_BYTES {
            return;
        }
        self.sets(|sets| {
            if sets.sets.len() < Self::MAX_SETS && sets.bytes + charge <= Self::MAX_BYTES {
                sets.bytes += charge;
                sets.sets.push(buffers);
            }
        });
    }
}
