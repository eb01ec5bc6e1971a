//! Shrinks a batch to what its remaining events refer to.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::arena::{BatchData, Parts, Transaction, index};
use crate::batch::ChangeBatch;
use crate::cell::{Arena, Range, Unfit};
use crate::event::Event;

impl ChangeBatch {
    /// Copies what the remaining events refer to into arenas of that size and lets go of the rest.
    ///
    /// Indexes, ids and values stay the same. One surviving small event must not pin a megabyte (invariant 7).
    pub fn compact(&mut self) {
        let mut copy = Compaction::new(&self.parts);
        let all = self.events.iter().chain(self.rejected.iter().map(|r| &r.event));
        let Ok(mut events) = all.map(|event| copy.event(event)).collect::<Result<Vec<_>, _>>() else {
            // Copies of one large row are more than a batch can address, so sharing it takes less.
            return;
        };
        let parts = copy.finish();
        for (rejected, event) in self.rejected.iter_mut().zip(events.drain(self.events.len()..)) {
            rejected.event = event;
        }
        events.shrink_to_fit();
        self.rejected.shrink_to_fit();
        let old = std::mem::replace(&mut self.parts, parts);
        let old_events = std::mem::replace(&mut self.events, events);
        // The buffers left now are of an odd size: not worth a place in the pool.
        if let Some(pool) = self.pool.take() {
            pool.put(old, old_events);
        }
    }
}

/// A batch being copied. Everything ends in `data`, but routes, which live in the overlay.
struct Compaction<'a> {
    from: &'a Parts,
    data: BatchData,
    overlay: BatchData,
    schemas: Moved,
    transactions: Moved,
    routes: Moved,
    /// The images and message of the last event, old and new: parts of a split event share theirs.
    last: [(Range, Range); 3],
}

/// Old index → new index.
type Moved = BTreeMap<u32, u32>;

impl<'a> Compaction<'a> {
    fn new(from: &'a Parts) -> Self {
        let mut data = BatchData::default();
        data.origin = data.push_text(from.origin());
        Self {
            from,
            data,
            overlay: BatchData::default(),
            schemas: Moved::new(),
            transactions: Moved::new(),
            routes: Moved::new(),
            last: [(Range::ABSENT, Range::ABSENT); 3],
        }
    }

    fn event(&mut self, event: &Event) -> Result<Event, Unfit> {
        let mut copy = *event;
        for (i, range) in [&mut copy.before, &mut copy.after, &mut copy.message].into_iter().enumerate() {
            if self.last[i].0 != *range {
                self.last[i] = (*range, self.row(*range)?);
            }
            *range = self.last[i].1;
        }
        let Self { from, data, overlay, .. } = self;
        if let Some(schema) = from.schema(event.schema) {
            copy.schema = *self.schemas.entry(event.schema).or_insert_with(|| {
                data.schemas.push(Arc::clone(schema));
                index(data.schemas.len() - 1)
            });
        }
        if let Some(transaction) = from.data.transactions.get(event.transaction as usize) {
            copy.transaction = *self.transactions.entry(event.transaction).or_insert_with(|| {
                let commit = data.push_text(from.data.text_of(transaction.commit));
                data.transactions.push(Transaction { commit, time: transaction.time });
                index(data.transactions.len() - 1)
            });
        }
        if let Some(route) = from.route(event.route) {
            copy.route = *self.routes.entry(event.route).or_insert_with(|| overlay.push_route(route));
        }
        Ok(copy)
    }

    fn row(&mut self, range: Range) -> Result<Range, Unfit> {
        if range.is_absent() {
            return Ok(range);
        }
        let start = self.data.reserve_cells(range.len())?;
        for (i, cell) in self.from.cells(range).iter().enumerate() {
            let cell = self.data.push_value(self.from.value(cell), Arena::Data, 0)?;
            self.data.cells[start + i] = cell;
        }
        Range::new(start, range.len(), Arena::Data)
    }

    fn finish(mut self) -> Parts {
        self.data.shrink_to_fit();
        self.overlay.shrink_to_fit();
        Parts { data: Arc::new(self.data), overlay: Arc::new(self.overlay) }
    }
}
