//! What the layouts without arenas have in common: one flat vector of values a batch, and small changes that point
//! into it.

use outflow_core::ValueRef;

use crate::layout::{Batch, Change, Pool, Row};

/// A value of such a layout.
pub(crate) trait Value: Send + 'static {
    fn get(&self) -> ValueRef<'_>;

    /// Moves the content into memory that nothing else shares.
    fn detach(&mut self);
}

/// The vectors of a batch, as its pool keeps them.
pub(crate) type Buffers<V> = (Vec<V>, Vec<Change>);

/// A batch of flat values.
pub(crate) struct FlatBatch<V: Value> {
    values: Vec<V>,
    changes: Vec<Change>,
    /// None when a filter left so little that the batch has small vectors of its own.
    pool: Option<Pool<Buffers<V>>>,
}

impl<V: Value> FlatBatch<V> {
    pub(crate) fn new(pool: &Pool<Buffers<V>>) -> Self {
        let (values, changes) = pool.take();
        Self { values, changes, pool: Some(pool.clone()) }
    }

    pub(crate) fn push_value(&mut self, value: V) {
        self.values.push(value);
    }

    /// Completes a row of the values that were pushed since the last one.
    pub(crate) fn end_row(&mut self) {
        let start = self.changes.last().map_or(0, |last| last.start + last.len);
        self.changes.push(Change { start, len: self.values.len() - start });
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }
}

impl<V: Value> Drop for FlatBatch<V> {
    fn drop(&mut self) {
        if let Some(pool) = self.pool.take() {
            self.values.clear();
            self.changes.clear();
            pool.put((std::mem::take(&mut self.values), std::mem::take(&mut self.changes)));
        }
    }
}

impl<V: Value> Batch for FlatBatch<V> {
    type Row<'b> = FlatRow<'b, V>;

    fn len(&self) -> usize {
        self.changes.len()
    }

    fn rows(&self) -> impl Iterator<Item = FlatRow<'_, V>> {
        self.changes.iter().map(|change| FlatRow(change.of(&self.values)))
    }

    /// Also drops the values of the other rows, for each of them may keep memory alive, and gives vectors that have
    /// become far too large back to the pool.
    fn retain(&mut self, mut keep: impl FnMut(FlatRow<'_, V>) -> bool) {
        let Self { values, changes, .. } = self;
        let mut kept = 0;
        changes.retain_mut(|change| {
            let from = change.start;
            if !keep(FlatRow(change.of(values))) {
                return false;
            }
            for i in 0..change.len {
                values.swap(kept + i, from + i);
            }
            change.start = kept;
            kept += change.len;
            true
        });
        values.truncate(kept);
        if kept * 4 < values.capacity() {
            let mut own = Vec::with_capacity(kept);
            own.append(values);
            *self = Self { values: own, changes: changes.clone(), pool: None };
        }
    }

    fn compact_if_sparse(&mut self) {
        if self.pool.is_none() {
            self.values.iter_mut().for_each(V::detach);
        }
    }
}

/// A row of flat values.
pub(crate) struct FlatRow<'b, V>(&'b [V]);

impl<V> Clone for FlatRow<'_, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<V> Copy for FlatRow<'_, V> {}

impl<'b, V: Value> Row<'b> for FlatRow<'b, V> {
    fn get(self, column: usize) -> ValueRef<'b> {
        self.0.get(column).map_or(ValueRef::Null, V::get)
    }

    fn values(self) -> impl Iterator<Item = ValueRef<'b>> {
        self.0.iter().map(V::get)
    }
}
