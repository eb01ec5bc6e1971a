//! `mask`: hides values of columns.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use outflow_sdk::{
    BatchEdit, BuildContext, Description, Error, Image, JsonSchema, Result, SchemaFingerprint, TablePatterns,
    TableSchema, Transform, TransformContext, TransformFactory, ValueRef,
};
use serde::Deserialize;

/// Configuration of `mask`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MaskConfig {
    /// The tables concerned; all when left out.
    #[serde(default)]
    pub tables: TablePatterns,
    /// The columns whose values are hidden, in the rows before and after a change.
    pub columns: Vec<String>,
    /// What stands in the place of text. Values of other types become null.
    #[serde(default = "default_replacement")]
    pub replacement: String,
}

fn default_replacement() -> String {
    "****".into()
}

/// The factory of `mask`.
#[derive(Clone, Copy, Debug)]
pub struct Mask;

impl TransformFactory for Mask {
    type Config = MaskConfig;

    fn type_name(&self) -> &'static str {
        "mask"
    }

    fn description(&self) -> Description {
        Description {
            summary: "Hides values of columns: text becomes ****, anything else null.",
            guarantees: "A column that a selected table does not have, or that is part of its key, stops the \
                         pipeline: a mask never misses in silence.",
            example: "- type: mask\n  tables: [public.orders]\n  columns: [card]\n",
        }
    }

    fn build(&self, config: &MaskConfig, _: &BuildContext) -> Result<Box<dyn Transform>> {
        if config.columns.is_empty() {
            return Err(Error::configuration("mask.no_columns")
                .message("mask names no columns")
                .hint("name them, for example   columns: [card]"));
        }
        Ok(Box::new(MaskTransform { config: config.clone(), plans: HashMap::new() }))
    }
}

struct MaskTransform {
    config: MaskConfig,
    /// The columns to hide, by schema; empty for tables that are not concerned.
    plans: HashMap<SchemaFingerprint, Vec<usize>>,
}

fn compile(config: &MaskConfig, schema: &TableSchema) -> Result<Vec<usize>> {
    if !config.tables.matches_or_empty(schema.schema(), schema.table()) {
        return Ok(Vec::new());
    }
    let column = |name: &String| {
        let problem = |code, what| {
            Error::configuration(code)
                .message(format!("mask: column \"{name}\" of {} {what}", schema.qualified_name()))
                .hint("correct the columns, or name only the tables that have them under   tables:")
        };
        let index =
            schema.column_index(name).ok_or_else(|| problem("mask.unknown_column", "does not exist"))?;
        if schema.key().iter().any(|k| *k as usize == index) {
            return Err(problem("mask.key_column", "is part of the key, which must stay what it is"));
        }
        Ok(index)
    };
    config.columns.iter().map(column).collect()
}

impl Transform for MaskTransform {
    fn apply(&mut self, edit: &mut BatchEdit<'_>, _: &mut TransformContext) -> Result<()> {
        let Self { config, plans } = self;
        for index in 0..edit.len() {
            let Some(schema) = edit.get(index).and_then(|e| e.schema().cloned()) else { continue };
            let plan = match plans.entry(schema.fingerprint()) {
                Entry::Occupied(plan) => plan.into_mut(),
                Entry::Vacant(place) => place.insert(compile(config, &schema)?),
            };
            for (column, image) in plan.iter().flat_map(|c| [(*c, Image::Before), (*c, Image::After)]) {
                let value = edit.get(index).and_then(|e| e.row(image)?.get(column));
                let masked = match value {
                    None | Some(ValueRef::Null | ValueRef::Unavailable) => continue,
                    Some(ValueRef::Text(_)) => ValueRef::Text(&config.replacement),
                    Some(_) => ValueRef::Null,
                };
                if let Some(mut event) = edit.get_mut(index) {
                    event.row_mut(image).set(column, masked);
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use outflow_sdk::{BatchBuilder, ChangeBatch, Column, LogicalType, Op};

    use super::*;

    fn batch(table: &str) -> ChangeBatch {
        let schema = TableSchema::builder(table)
            .schema("public")
            .column(Column::new("id", LogicalType::Int(64)))
            .column(Column::new("card", LogicalType::Text))
            .column(Column::new("limit", LogicalType::Int(64)))
            .key(["id"])
            .build();
        let mut builder = BatchBuilder::new();
        let schema = builder.schema(&schema);
        let mut event = builder.event(Op::Update).schema(schema);
        let mut row = event.before();
        row.i64(1);
        row.unavailable();
        row.null();
        row.end().unwrap();
        let mut row = event.after();
        row.i64(1);
        row.text("4111");
        row.i64(900);
        row.end().unwrap();
        event.end();
        builder.finish("p".into(), None)
    }

    fn mask(columns: &[&str], batch: &mut ChangeBatch) -> Result<()> {
        let config = MaskConfig {
            tables: TablePatterns::new(["public.orders"]),
            columns: columns.iter().map(|c| (*c).to_owned()).collect(),
            replacement: default_replacement(),
        };
        let mut mask = Mask.build(&config, &BuildContext::new("p"))?;
        mask.apply(&mut BatchEdit::new(batch), &mut TransformContext::new("p"))
    }

    #[test]
    fn hides_values_and_keeps_null_and_unavailable() {
        let mut batch = batch("orders");
        mask(&["card", "limit"], &mut batch).unwrap();
        let event = batch.get(0).unwrap();
        let values = |row: outflow_sdk::RowRef<'_>| row.values().map(ValueRef::to_value).collect::<Vec<_>>();
        use outflow_sdk::Value::{I64, Null, Text, Unavailable};
        assert_eq!(values(event.before().unwrap()), [I64(1), Unavailable, Null]);
        assert_eq!(values(event.after().unwrap()), [I64(1), Text("****".into()), Null]);
    }

    #[test]
    fn leaves_other_tables_alone() {
        let mut batch = batch("audit");
        mask(&["card"], &mut batch).unwrap();
        assert_eq!(batch.get(0).unwrap().after().unwrap().by_name("card"), Some(ValueRef::Text("4111")));
    }

    #[test]
    fn never_misses_in_silence() {
        assert_eq!(mask(&["crad"], &mut batch("orders")).unwrap_err().code(), "mask.unknown_column");
        assert_eq!(mask(&["id"], &mut batch("orders")).unwrap_err().code(), "mask.key_column");
        assert_eq!(mask(&[], &mut batch("orders")).unwrap_err().code(), "mask.no_columns");
    }
}
