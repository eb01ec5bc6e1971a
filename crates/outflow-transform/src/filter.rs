//! `filter`: keeps or drops events by an expression.

use outflow_sdk::{
    BatchEdit, BuildContext, Description, Error, EventRef, JsonSchema, Result, Scope, TablePatterns,
    Transform, TransformContext, TransformFactory,
};
use serde::Deserialize;

use crate::expression::Expression;

/// Configuration of `filter`: one of `keep` and `drop`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FilterConfig {
    /// The tables concerned; all when left out. Events of other tables pass.
    #[serde(default)]
    pub tables: TablePatterns,
    /// Keeps the events for which this holds, such as   after.kind == "order"
    #[serde(default)]
    pub keep: Option<String>,
    /// Drops the events for which this holds, such as   op == "delete"
    #[serde(default)]
    pub drop: Option<String>,
}

/// The factory of `filter`.
#[derive(Clone, Copy, Debug)]
pub struct Filter;

impl TransformFactory for Filter {
    type Config = FilterConfig;

    fn type_name(&self) -> &'static str {
        "filter"
    }

    fn description(&self) -> Description {
        Description {
            summary: "Keeps or drops events by an expression over op, table, after, before, type, key and payload.",
            guarantees: "A filtered event counts as done. An event for which the expression cannot be decided \
                         (unknown column, a value the source did not send) is an error under on_error.",
            example: "- type: filter\n  keep: after.kind == \"order\" && after.total >= 10\n",
        }
    }

    fn build(&self, config: &FilterConfig, _: &BuildContext) -> Result<Box<dyn Transform>> {
        let (expression, keep) = match (&config.keep, &config.drop) {
            (Some(keep), None) => (Expression::parse(keep)?, true),
            (None, Some(drop)) => (Expression::parse(drop)?, false),
            _ => {
                return Err(Error::configuration("filter.keep_or_drop")
                    .message("filter needs either keep or drop")
                    .hint("write for example   keep: after.kind == \"order\""));
            }
        };
        Ok(Box::new(FilterTransform {
            tables: config.tables.clone(),
            expression,
            keep,
            verdicts: Vec::new(),
        }))
    }
}

struct FilterTransform {
    tables: TablePatterns,
    expression: Expression,
    /// What becomes of an event for which the expression holds.
    keep: bool,
    /// Used again for each batch.
    verdicts: Vec<bool>,
}

impl FilterTransform {
    fn keeps(&self, event: EventRef<'_>) -> Result<bool> {
        let (schema, table) = event.schema().map_or(("", ""), |s| (s.schema(), s.table()));
        if !self.tables.matches_or_empty(schema, table) {
            return Ok(true);
        }
        Ok(self.expression.holds(event)? == self.keep)
    }
}

impl Transform for FilterTransform {
    fn apply(&mut self, edit: &mut BatchEdit<'_>, _: &mut TransformContext) -> Result<()> {
        let mut verdicts = std::mem::take(&mut self.verdicts);
        verdicts.clear();
        for index in 0..edit.len() {
            let Some(event) = edit.get(index) else { break };
            match self.keeps(event) {
                Ok(keep) => verdicts.push(keep),
                // Leaves the list of events by the next line, so it gets no verdict.
                Err(error) if error.scope_of() == Scope::Events => edit.reject(index, error),
                Err(error) => return Err(error),
            }
        }
        let mut verdict = verdicts.iter();
        edit.retain(|_| verdict.next().copied().unwrap_or(true));
        self.verdicts = verdicts;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use outflow_sdk::{BatchBuilder, Column, LogicalType, Op, TableSchema};

    use super::*;

    fn run(config: &FilterConfig) -> (Vec<u64>, Vec<u64>) {
        let table = |name: &str, column: &str| {
            TableSchema::builder(name)
                .schema("public")
                .column(Column::new(column, LogicalType::Int(64)))
                .build()
        };
        let mut builder = BatchBuilder::new();
        for (n, schema) in
            [table("a", "n"), table("b", "m"), table("a", "n"), table("a", "n")].iter().enumerate()
        {
            let index = builder.schema(schema);
            let mut event = builder.event(Op::Insert).schema(index).ordinal(n as u64);
            let mut row = event.after();
            row.i64(n as i64);
            row.end().unwrap();
            event.end();
        }
        let mut batch = builder.finish("p".into(), None);
        let mut filter = Filter.build(config, &BuildContext::new("p")).unwrap();
        filter.apply(&mut BatchEdit::new(&mut batch), &mut TransformContext::new("p")).unwrap();
        let kept = batch.iter().map(|e| e.id().ordinal).collect();
        (kept, batch.rejected().map(|(e, _)| e.id().ordinal).collect())
    }

    #[test]
    fn keeps_drops_and_refuses() {
        let config = |tables: &[&str], keep: Option<&str>, drop: Option<&str>| FilterConfig {
            tables: TablePatterns::new(tables.iter().copied()),
            keep: keep.map(Into::into),
            drop: drop.map(Into::into),
        };
        assert_eq!(run(&config(&["a"], Some("after.n >= 2"), None)), (vec![1, 2, 3], vec![]));
        assert_eq!(run(&config(&["a"], None, Some("after.n >= 2"))), (vec![0, 1], vec![]));
        // Table b has no such column: its event is refused, the others are decided each by itself.
        assert_eq!(run(&config(&[], Some("after.n >= 2"), None)), (vec![2, 3], vec![1]));
        let both = Filter.build(&config(&[], Some("op == 1"), Some("op == 1")), &BuildContext::new("p"));
        assert_eq!(both.err().map(|e| e.code().to_owned()), Some("filter.keep_or_drop".into()));
    }
}
