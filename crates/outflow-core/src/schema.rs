//! Table schemas: what the columns of a row are called and mean.

use std::fmt;
use std::sync::Arc;

use xxhash_rust::xxh3::Xxh3;

use crate::logical::LogicalType;

/// One column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    pub(crate) name: String,
    pub(crate) source_type: String,
    pub(crate) logical: LogicalType,
    pub(crate) nullable: bool,
}

impl Column {
    /// A nullable column whose source type has no name of its own.
    pub fn new(name: impl Into<String>, logical: LogicalType) -> Self {
        Self { name: name.into(), source_type: String::new(), logical, nullable: true }
    }

    /// Names the type as the source spells it, such as `numeric(10,2)`.
    #[must_use]
    pub fn source_type(mut self, name: impl Into<String>) -> Self {
        self.source_type = name.into();
        self
    }

    /// States that the column never holds NULL.
    #[must_use]
    pub fn not_null(mut self) -> Self {
        self.nullable = false;
        self
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The type as the source spells it; empty when it has none.
    pub fn source_type_name(&self) -> &str {
        &self.source_type
    }

    /// The meaning.
    pub fn logical(&self) -> &LogicalType {
        &self.logical
    }

    /// Whether NULL is possible.
    pub fn is_nullable(&self) -> bool {
        self.nullable
    }
}

/// A hash of everything in a schema, stable across restarts and versions: encode plans and registries key on it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SchemaFingerprint(u128);

impl fmt::Display for SchemaFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for SchemaFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The shape of a table at one time. Shared by `Arc`; a batch lists each of its schemas once.
#[derive(Clone, Debug)]
pub struct TableSchema {
    database: String,
    schema: String,
    table: String,
    columns: Vec<Column>,
    key: Vec<u32>,
    open: bool,
    fingerprint: SchemaFingerprint,
}

impl PartialEq for TableSchema {
    fn eq(&self, other: &Self) -> bool {
        self.fingerprint == other.fingerprint
    }
}

impl Eq for TableSchema {}

impl TableSchema {
    /// Starts a schema. `database` and `schema` are empty where the source has no such level.
    pub fn builder(table: impl Into<String>) -> TableSchemaBuilder {
        TableSchemaBuilder {
            database: String::new(),
            schema: String::new(),
            table: table.into(),
            columns: Vec::new(),
            key: Vec::new(),
            open: false,
        }
    }

    /// A table of documents: a text key `key` and the whole document as JSON in `document`.
    ///
    /// The schema is open: formats print the fields of the document, not the column.
    pub fn document(table: impl Into<String>, key: impl Into<String>) -> Arc<Self> {
        Self::builder(table)
            .column(Column::new(key, LogicalType::Text).not_null())
            .column(Column::new("document", LogicalType::Json))
            .key_indexes([0])
            .open()
            .build()
    }

    /// The database, or empty.
    pub fn database(&self) -> &str {
        &self.database
    }

    /// The schema (namespace) within the database, or empty.
    pub fn schema(&self) -> &str {
        &self.schema
    }

    /// The table.
    pub fn table(&self) -> &str {
        &self.table
    }

    /// `schema.table`, or the table alone.
    pub fn qualified_name(&self) -> String {
        if self.schema.is_empty() { self.table.clone() } else { format!("{}.{}", self.schema, self.table) }
    }

    /// The columns, in row order.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// The index of the column of this name.
    pub fn column_index(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|c| c.name == name)
    }

    /// Indexes of the key columns, in key order; empty when the table has no key.
    pub fn key(&self) -> &[u32] {
        &self.key
    }

    /// True for documents: rows may hold more than the columns say.
    pub fn is_open(&self) -> bool {
        self.open
    }

    /// The index of the column that holds the document, in an open schema: the first JSON column outside the
    /// key.
    pub fn document_column(&self) -> Option<usize> {
        let is_document =
            |(i, c): (usize, &Column)| *c.logical() == LogicalType::Json && !self.key.contains(&(i as u32));
        if self.open { self.columns.iter().enumerate().position(is_document) } else { None }
    }

    /// The hash of everything above.
    pub fn fingerprint(&self) -> SchemaFingerprint {
        self.fingerprint
    }

    /// The same table with only the columns that `keep` accepts. Key columns that go are no longer key.
    pub fn project(&self, mut keep: impl FnMut(&Column) -> bool) -> Arc<Self> {
        let mut builder = Self::builder(&*self.table).database(&*self.database).schema(&*self.schema);
        let mut moved = vec![None; self.columns.len()];
        for (old, column) in self.columns.iter().enumerate() {
            if keep(column) {
                moved[old] = Some(builder.columns.len() as u32);
                builder.columns.push(column.clone());
            }
        }
        builder.key = self.key.iter().filter_map(|k| moved.get(*k as usize).copied().flatten()).collect();
        builder.open = self.open;
        builder.build()
    }
}

/// Builds a [`TableSchema`].
#[derive(Clone, Debug)]
pub struct TableSchemaBuilder {
    database: String,
    schema: String,
    table: String,
    columns: Vec<Column>,
    key: Vec<u32>,
    open: bool,
}

impl TableSchemaBuilder {
    /// Names the database.
    #[must_use]
    pub fn database(mut self, name: impl Into<String>) -> Self {
        self.database = name.into();
        self
    }

    /// Names the schema (namespace).
    #[must_use]
    pub fn schema(mut self, name: impl Into<String>) -> Self {
        self.schema = name.into();
        self
    }

    /// Adds a column.
    #[must_use]
    pub fn column(mut self, column: Column) -> Self {
        self.columns.push(column);
        self
    }

    /// States the key by column names; names without a column are ignored.
    #[must_use]
    pub fn key<'n>(mut self, names: impl IntoIterator<Item = &'n str>) -> Self {
        self.key = names
            .into_iter()
            .filter_map(|n| self.columns.iter().position(|c| c.name == n))
            .map(|i| i as u32)
            .collect();
        self
    }

    /// States the key by column indexes; indexes without a column are ignored.
    #[must_use]
    pub fn key_indexes(mut self, indexes: impl IntoIterator<Item = u32>) -> Self {
        self.key = indexes.into_iter().filter(|i| (*i as usize) < self.columns.len()).collect();
        self
    }

    /// States that rows are documents.
    #[must_use]
    pub fn open(mut self) -> Self {
        self.open = true;
        self
    }

    /// Finishes: computes the fingerprint.
    pub fn build(self) -> Arc<TableSchema> {
        let Self { database, schema, table, columns, key, open } = self;
        let mut hash = Hash::default();
        hash.text("outflow schema 1");
        hash.text(&database);
        hash.text(&schema);
        hash.text(&table);
        hash.number(columns.len());
        for column in &columns {
            hash.text(&column.name);
            hash.text(&column.source_type);
            hash.logical(&column.logical);
            hash.number(column.nullable.into());
        }
        hash.number(key.len());
        for k in &key {
            hash.number(*k as usize);
        }
        hash.number(open.into());
        let fingerprint = SchemaFingerprint(hash.0.digest128());
        Arc::new(TableSchema { database, schema, table, columns, key, open, fingerprint })
    }
}

/// What a fingerprint is made of. Every text and list is preceded by its length, so that no two schemas give
/// one input. Fingerprints are stored: what is hashed here never changes.
#[derive(Default)]
struct Hash(Xxh3);

impl Hash {
    fn number(&mut self, n: usize) {
        self.0.update(&(n as u64).to_le_bytes());
    }

    fn text(&mut self, text: &str) {
        self.number(text.len());
        self.0.update(text.as_bytes());
    }

    fn labels(&mut self, name: &str, labels: &[String]) {
        self.text(name);
        self.number(labels.len());
        for label in labels {
            self.text(label);
        }
    }

    fn logical(&mut self, logical: &LogicalType) {
        match logical {
            LogicalType::Enum(labels) => self.labels("enum", labels),
            LogicalType::Set(labels) => self.labels("set", labels),
            LogicalType::List(element) => {
                self.text("list");
                self.logical(element);
            }
            simple => self.text(&simple.name()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn orders() -> TableSchemaBuilder {
        TableSchema::builder("orders")
            .schema("public")
            .column(Column::new("id", LogicalType::Int(64)).source_type("bigint").not_null())
            .column(Column::new("total", LogicalType::Decimal(Some((10, 2)))))
            .key(["id"])
    }

    #[test]
    fn the_fingerprint_is_stable_and_covers_everything() {
        let fingerprint = orders().build().fingerprint();
        // Stored in checkpoints: must never change.
        assert_eq!(fingerprint.to_string(), EXPECTED);
        let others = [
            orders().database("shop").build(),
            orders().schema("other").build(),
            orders().column(Column::new("x", LogicalType::Text)).build(),
            orders().key([]).build(),
            orders().open().build(),
        ];
        for other in others {
            assert_ne!(other.fingerprint(), fingerprint, "{other:?}");
        }
    }

    const EXPECTED: &str = "d4faa0e75fc948f208304e8937250a6e";

    #[test]
    fn projection_moves_the_key() {
        let only_id = orders().build().project(|c| c.name() == "id");
        assert_eq!((only_id.columns().len(), only_id.key()), (1, &[0][..]));
        let no_key = orders().build().project(|c| c.name() == "total");
        assert!(no_key.key().is_empty());
    }
}
