//! What is worked out once a schema and used for each of its events.

use std::collections::HashMap;
use std::sync::Arc;

use outflow_core::{SchemaFingerprint, TableSchema};

/// Values that are made once a schema: encode plans, resolved columns.
///
/// Neighbouring events mostly have the same schema, so the usual look-up is the comparison of one pointer.
#[derive(Debug)]
pub struct SchemaCache<T> {
    /// The schema is kept so that its address stays its own.
    entries: Vec<(Arc<TableSchema>, T)>,
    by_fingerprint: HashMap<SchemaFingerprint, usize>,
    last: usize,
}

impl<T> Default for SchemaCache<T> {
    fn default() -> Self {
        Self { entries: Vec::new(), by_fingerprint: HashMap::new(), last: 0 }
    }
}

impl<T> SchemaCache<T> {
    /// Beyond so many schemas it starts again: an endless churn of schemas must not grow it for ever.
    const MAX: usize = 16_384;

    /// An empty cache.
    pub fn new() -> Self {
        Self::default()
    }

    /// The number of schemas that are known.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// True when none is known.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The value of this schema; `make` is called when it is new.
    pub fn get_or_make(&mut self, schema: &Arc<TableSchema>, make: impl FnOnce(&TableSchema) -> T) -> &mut T {
        let hit = self.entries.get(self.last).is_some_and(|(known, _)| Arc::ptr_eq(known, schema));
        if !hit {
            self.find(schema, make);
        }
        // `find` leaves `last` at an entry.
        &mut self.entries[self.last].1
    }

    fn find(&mut self, schema: &Arc<TableSchema>, make: impl FnOnce(&TableSchema) -> T) {
        if let Some(index) = self.by_fingerprint.get(&schema.fingerprint()) {
            self.last = *index;
            // Sources may rebuild a schema for each batch: go by the newest address from now on.
            self.entries[self.last].0 = Arc::clone(schema);
            return;
        }
        if self.entries.len() >= Self::MAX {
            self.entries.clear();
            self.by_fingerprint.clear();
        }
        self.last = self.entries.len();
        self.entries.push((Arc::clone(schema), make(schema)));
        self.by_fingerprint.insert(schema.fingerprint(), self.last);
    }
}

#[cfg(test)]
mod tests {
    use outflow_core::{Column, LogicalType};

    use super::*;

    fn table(name: &str) -> Arc<TableSchema> {
        TableSchema::builder(name).column(Column::new("id", LogicalType::Int(64))).build()
    }

    #[test]
    fn each_schema_is_made_once_whatever_its_address() {
        let mut cache = SchemaCache::new();
        let mut made = Vec::new();
        for name in ["a", "a", "b", "a", "b", "b"] {
            let found = cache.get_or_make(&table(name), |schema| {
                made.push(schema.table().to_owned());
                schema.table().to_owned()
            });
            assert_eq!(found, name);
        }
        assert_eq!(made, ["a", "b"]);
    }

    #[test]
    fn endless_churn_does_not_grow_it() {
        let mut cache = SchemaCache::new();
        for n in 0..=SchemaCache::<usize>::MAX {
            assert_eq!(*cache.get_or_make(&table(&n.to_string()), |_| n), n);
        }
        assert_eq!(cache.len(), 1);
    }
}
