//! The envelope and its constant parts.

use outflow_sdk::{EventRef, Image, Op, Result, RowRef, TableSchema};

use super::columns::{Rules, Values};
use crate::head::{KeyColumns, Names, open_object};
use crate::text::{write_integer, write_string};

/// The part of `source` that a pipeline fixes: `"source":{"version":…,"connector":…,"name":…,"ts_ms":`.
#[derive(Debug)]
pub(super) struct Source {
    head: Vec<u8>,
}

impl Source {
    pub(super) fn new(connector: &str, name: &str) -> Self {
        let mut head = b"\"source\":{\"version\":".to_vec();
        write_string(&mut head, env!("CARGO_PKG_VERSION"));
        head.extend_from_slice(b",\"connector\":");
        write_string(&mut head, connector);
        head.extend_from_slice(b",\"name\":");
        write_string(&mut head, name);
        head.extend_from_slice(b",\"ts_ms\":");
        Self { head }
    }

    /// The whole of `source` for messages that belong to no table.
    pub(super) fn write_without_table(&self, out: &mut Vec<u8>, event: EventRef<'_>) {
        out.extend_from_slice(&self.head);
        write_time(out, event);
        out.extend_from_slice(b",\"snapshot\":\"false\",\"db\":\"\",\"table\":\"\"}");
    }
}

/// What a schema fixes of its records.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) qualified: String,
    pub(super) key: KeyColumns,
    rules: Vec<Rules>,
    names: Names,
    source: Vec<u8>,
    /// What stands behind `ts_ms` in `source`: of changes, and of rows that a snapshot read.
    change: Vec<u8>,
    read: Vec<u8>,
    /// Rows are documents: the column that holds them.
    document: Option<usize>,
}

impl Plan {
    pub(super) fn new(schema: &TableSchema, source: &Source) -> Self {
        let end = |snapshot: &str| {
            let mut end = b",\"snapshot\":".to_vec();
            write_string(&mut end, snapshot);
            end.extend_from_slice(b",\"db\":");
            write_string(&mut end, schema.database());
            if !schema.schema().is_empty() {
                end.extend_from_slice(b",\"schema\":");
                write_string(&mut end, schema.schema());
            }
            end.extend_from_slice(b",\"table\":");
            write_string(&mut end, schema.table());
            end.push(b'}');
            end
        };
        let is_content = |index: &usize| !schema.key().iter().any(|k| *k as usize == *index);
        Self {
            qualified: schema.qualified_name(),
            key: KeyColumns::new(schema),
            rules: schema.columns().iter().map(Rules::of).collect(),
            names: Names::new(schema.columns().iter().map(|c| c.name())),
            source: source.head.clone(),
            change: end("false"),
            read: end("true"),
            document: (0..schema.columns().len()).find(is_content).filter(|_| schema.is_open()),
        }
    }

    /// Writes the key of one image.
    ///
    /// # Errors
    /// When the source sent a key column in neither image.
    pub(super) fn write_key(
        &self,
        out: &mut Vec<u8>,
        event: EventRef<'_>,
        image: Image,
        values: &mut Values,
    ) -> Result<()> {
        self.key.write_object(out, event, image, |out, index, value| {
            values.write(out, value, &self.rules.get(index).copied().unwrap_or_default());
        })
    }

    pub(super) fn write_source(&self, out: &mut Vec<u8>, event: EventRef<'_>) {
        out.extend_from_slice(&self.source);
        write_time(out, event);
        out.extend_from_slice(if event.op() == Op::Read { &self.read } else { &self.change });
    }
}

/// Writes when the change was committed, in milliseconds; null where the source does not tell.
pub(super) fn write_time(out: &mut Vec<u8>, event: EventRef<'_>) {
    match event.commit_time() {
        Some(time) => write_integer(out, time.millis()),
        None => out.extend_from_slice(b"null"),
    }
}

/// Writes `{"before":…,"after":…,"source":{…},"op":…,"ts_ms":…}`.
pub(super) fn write_envelope(
    out: &mut Vec<u8>,
    plan: &Plan,
    event: EventRef<'_>,
    op: &str,
    before: Option<RowRef<'_>>,
    after: Option<RowRef<'_>>,
    values: &mut Values,
) {
    out.extend_from_slice(b"{\"before\":");
    write_image(out, plan, before, values, |_, _, _, _| {});
    out.extend_from_slice(b",\"after\":");
    write_image(out, plan, after, values, |out, name, rules, values| {
        out.extend_from_slice(name);
        values.placeholder(out, rules);
    });
    out.push(b',');
    plan.write_source(out, event);
    out.extend_from_slice(b",\"op\":\"");
    out.extend_from_slice(op.as_bytes());
    out.extend_from_slice(b"\",\"ts_ms\":");
    write_time(out, event);
    out.push(b'}');
}

/// Writes a row, or null. Absent is not null (invariant 6): `absent` decides what a value that the source did not
/// send looks like.
fn write_image(
    out: &mut Vec<u8>,
    plan: &Plan,
    row: Option<RowRef<'_>>,
    values: &mut Values,
    absent: impl Fn(&mut Vec<u8>, &[u8], &Rules, &Values),
) {
    let Some(row) = row else {
        out.extend_from_slice(b"null");
        return;
    };
    // Documents are strings of JSON, as in Debezium's connector for MongoDB.
    if let Some(document) = plan.document.and_then(|index| row.get(index)).filter(|d| !d.is_unavailable()) {
        values.write(out, document, &Rules::default());
        return;
    }
    let start = out.len();
    for ((name, rules), value) in plan.names.iter().zip(&plan.rules).zip(row.values()) {
        if value.is_unavailable() {
            absent(out, name, rules, values);
        } else {
            out.extend_from_slice(name);
            values.write(out, value, rules);
        }
    }
    open_object(out, start);
}
