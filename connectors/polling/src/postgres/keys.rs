//! Which column identifies the rows, and where its values come from.

use outflow_sdk::{Error, Result};

use super::describe::{ColumnInfo, Relation, names};
use super::failure::{boolean, number, optional, text};
use super::session::Session;
use crate::error;
use crate::options::Options;
use crate::table::{KeyKind, quoted};

/// An index.
pub(super) struct Index {
    primary: bool,
    unique: bool,
    /// Numbers of its columns; 0 for an expression.
    columns: Vec<i16>,
}

/// The sequence behind a column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sequence {
    pub(super) oid: u32,
    /// Its lowest value.
    pub(super) first: i64,
    /// Whether we may read how far it is.
    pub(super) readable: bool,
    /// The quoted name.
    pub(super) sql: String,
}

/// The valid, full indexes of a table.
pub(super) async fn indexes(session: &Session, relation: &Relation) -> Result<Vec<Index>> {
    let rows = session
        .query(&format!(
            "SELECT indisprimary, indisunique, \
             (SELECT string_agg(k::text, ' ' ORDER BY n) FROM unnest(indkey) WITH ORDINALITY AS u(k, n) \
              WHERE n <= indnkeyatts) \
             FROM pg_index WHERE indrelid = {} AND indisvalid AND indpred IS NULL ORDER BY indexrelid",
            relation.oid
        ))
        .await?;
    rows.iter()
        .map(|row| {
            let columns = text(row, 2)?.split(' ').filter_map(|n| n.parse().ok()).collect();
            Ok(Index { primary: boolean(row, 0)?, unique: boolean(row, 1)?, columns })
        })
        .collect()
}

/// The column that identifies the rows: the one that is named, else the primary key.
pub(super) fn choose(
    relation: &Relation,
    options: &Options,
    columns: &[ColumnInfo],
    indexes: &[Index],
) -> Result<usize> {
    let table = relation.qualified();
    let at = |number: i16| columns.iter().position(|c| c.number == number);
    let Some(cursor) = &options.cursor else {
        return match indexes.iter().find(|i| i.primary).map(|i| i.columns.as_slice()) {
            Some([number]) => at(*number).ok_or_else(|| error::key_missing(&table, "no primary key")),
            None => Err(error::key_missing(&table, "no primary key")),
            Some(more) => {
                Err(error::key_missing(&table, &format!("a primary key of {} columns", more.len())))
            }
        };
    };
    let Some(index) = columns.iter().position(|c| c.name == *cursor) else {
        return Err(error::column_missing("cursor", cursor, &table, &names(columns)));
    };
    let (Some(column), sql) = (columns.get(index), quoted(cursor)) else {
        return Err(Error::internal("polling.key").message("the cursor lies outside the table"));
    };
    // Naming it states that its values are unique. Whether an index says so too does not matter: those of a
    // partitioned table must have more columns.
    if !indexes.iter().any(|i| i.unique && i.columns.first() == Some(&column.number)) {
        return Err(Error::permanent("polling.cursor_not_indexed")
            .message(format!("cursor: no unique index begins with {table}.{cursor}"))
            .hint(format!("CREATE UNIQUE INDEX CONCURRENTLY ON {} ({sql});", relation.sql())));
    }
    if !column.not_null {
        return Err(Error::permanent("polling.cursor_nullable")
            .message(format!("cursor: {table}.{cursor} may be NULL, and such rows would never be seen"))
            .hint(format!("ALTER TABLE {} ALTER COLUMN {sql} SET NOT NULL;", relation.sql())));
    }
    Ok(index)
}

/// The columns of the primary key, or the chosen one.
pub(super) fn primary(columns: &[ColumnInfo], indexes: &[Index], chosen: usize) -> Vec<usize> {
    let at = |number: &i16| columns.iter().position(|c| c.number == *number);
    match indexes.iter().find(|i| i.primary) {
        Some(index) => index.columns.iter().filter_map(at).collect(),
        None => vec![chosen],
    }
}

/// The sequence that gives a column its values, one at a time.
///
/// `delivered: keep` rests on this: whoever takes an id from a sequence holds a lock on it until the transaction's
/// end, so an id that is taken and not yet seen has a holder. That is no longer so when ids are taken in advance.
pub(super) async fn sequence(
    session: &Session,
    relation: &Relation,
    column: &ColumnInfo,
    kind: KeyKind,
) -> Result<Sequence> {
    let (table, name) = (relation.qualified(), &column.name);
    let instead = "or use   delivered: mark   or   delivered: delete";
    if kind == KeyKind::Text {
        return Err(error::keep_needs(
            "polling.text_key",
            format!("the key {table}.{name} is no number, and a later row may have a lower one"),
            format!("name a column of numbers that a sequence gives:   cursor: seq\n{instead}"),
        ));
    }
    // An identity column, or a default that is nothing but the next value.
    let rows = session
        .query(&format!(
            "SELECT s.seqrelid, format('%I.%I', n.nspname, c.relname), s.seqcache, s.seqincrement, s.seqcycle, \
                 has_sequence_privilege(s.seqrelid, 'SELECT, USAGE'), s.seqmin \
             FROM pg_sequence s JOIN pg_class c ON c.oid = s.seqrelid JOIN pg_namespace n ON n.oid = c.relnamespace \
             WHERE s.seqrelid IN ( \
                 SELECT objid FROM pg_depend WHERE classid = 'pg_class'::regclass \
                     AND refclassid = 'pg_class'::regclass AND refobjid = {oid} AND refobjsubid = {number} \
                     AND deptype = 'i' \
                 UNION ALL \
                 SELECT d.refobjid FROM pg_attrdef a JOIN pg_depend d \
                     ON d.classid = 'pg_attrdef'::regclass AND d.objid = a.oid AND d.refclassid = 'pg_class'::regclass \
                 WHERE a.adrelid = {oid} AND a.adnum = {number} \
                     AND pg_get_expr(a.adbin, a.adrelid) ~ '^nextval\\(''([^'']|'''')*''::regclass\\)$')",
            oid = relation.oid,
            number = column.number,
        ))
        .await?;
    let Some(row) = rows.first() else {
        return Err(error::keep_needs(
            "polling.no_sequence",
            format!(
                "{table}.{name} does not get its values from a sequence; a later row may have a lower one"
            ),
            format!(
                "ALTER TABLE {} ALTER COLUMN {} ADD GENERATED BY DEFAULT AS IDENTITY;\n{instead}",
                relation.sql(),
                quoted(name)
            ),
        ));
    };
    let sql = text(row, 1)?.to_owned();
    let (cache, increment, cycle) = (number::<i64>(row, 2)?, number::<i64>(row, 3)?, boolean(row, 4)?);
    let refuse = |code, message: String, remedy: &str| {
        Err(error::keep_needs(code, message, format!("ALTER SEQUENCE {sql} {remedy};\n{instead}")))
    };
    if cache != 1 {
        return refuse(
            "polling.sequence_cache",
            format!("{sql} gives {cache} ids at once to each session, which may use them much later"),
            "CACHE 1",
        );
    }
    if increment != 1 {
        return refuse(
            "polling.sequence_increment",
            format!(
                "{sql} goes on by {increment}: the ids in between may be used by the application, at any time"
            ),
            "INCREMENT BY 1",
        );
    }
    if cycle {
        return refuse("polling.sequence_cycle", format!("{sql} begins again at its end"), "NO CYCLE");
    }
    let readable = optional(row, 5) == Some("t");
    Ok(Sequence { oid: number(row, 0)?, first: number(row, 6)?, readable, sql })
}
