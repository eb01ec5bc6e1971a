//! `outflow check` on a PostgreSQL database.

use outflow_sdk::{Findings, Result};

use super::address::Endpoint;
use super::describe::{self, Described, Relation};
use super::failure::{boolean, number, optional, text};
use super::notify;
use super::session::{Purpose, Session};
use super::source::refuse_standby;
use crate::config::{Delivered, TlsMode};
use crate::options::Options;
use crate::table::quoted;

/// The oldest server that has all that is used here.
const OLDEST: i32 = 120_000;

/// Looks at the server and its tables, on one connection that cannot write.
pub(crate) async fn check(endpoint: &Endpoint, options: &Options, findings: &mut Findings) {
    if let Err(error) = look(endpoint, options, findings).await {
        findings.fail(&error);
    }
}

async fn look(endpoint: &Endpoint, options: &Options, findings: &mut Findings) -> Result<()> {
    let session = Session::connect(endpoint, Purpose::Read).await?;
    let rows = session
        .query(
            "SELECT current_setting('server_version'), current_setting('server_version_num'), \
             coalesce((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false), current_user",
        )
        .await?;
    let Some(row) = rows.first() else { return Ok(()) };
    let verified = matches!(endpoint.mode, TlsMode::VerifyFull | TlsMode::VerifyCa);
    let tls = match (boolean(row, 2)?, verified) {
        (false, _) => "not encrypted",
        (true, false) => "TLS, certificate not verified",
        (true, true) => "TLS verified",
    };
    let version = text(row, 0)?;
    findings.ok("polling.connect", format!("PostgreSQL {version}, {tls}"));
    if number::<i32>(row, 1)? < OLDEST {
        findings.error(
            "polling.version",
            format!("PostgreSQL {version} is too old"),
            ["use PostgreSQL 12 or newer"],
        );
    }
    refuse_standby(&session).await?;
    let user = quoted(text(row, 3)?);
    for relation in describe::relations(&session, options).await? {
        match describe::describe(&session, options, &relation).await {
            Ok(described) => {
                findings.ok(
                    "polling.table",
                    format!(
                        "{}, followed by {}",
                        relation.qualified(),
                        described.table.key.sql.trim_matches('"')
                    ),
                );
                table(&session, options, &relation, &described, &user, findings).await?;
            }
            Err(error) => findings.fail(&error),
        }
    }
    open_transactions(&session, findings).await
}

async fn table(
    session: &Session,
    options: &Options,
    relation: &Relation,
    described: &Described,
    user: &str,
    findings: &mut Findings,
) -> Result<()> {
    grants(session, options, relation, described, user, findings).await?;
    if let Some(sequence) = &described.sequence {
        if sequence.readable {
            findings.ok("polling.sequence", format!("{} gives one id at a time", sequence.sql));
        } else {
            findings.warn(
                "polling.sequence",
                format!(
                    "{} cannot be read, so that ids which begin again would not be noticed",
                    sequence.sql
                ),
                [format!("GRANT SELECT ON SEQUENCE {} TO {user};", sequence.sql)],
            );
        }
    }
    index(session, relation, described, findings).await?;
    if notify::is_there(session, described).await? {
        findings.ok("polling.wakeup", format!("a trigger notifies {}", described.channel));
    } else {
        findings.warn(
            "polling.wakeup",
            format!(
                "{}: nothing tells of new rows, so they are looked for up to once a second",
                relation.qualified()
            ),
            notify::statements(described),
        );
    }
    Ok(())
}

async fn grants(
    session: &Session,
    options: &Options,
    relation: &Relation,
    described: &Described,
    user: &str,
    findings: &mut Findings,
) -> Result<()> {
    let oid = relation.oid;
    let mark = described.table.mark.as_ref().map(|mark| mark.name.replace('\'', "''"));
    let update =
        mark.map_or_else(|| "true".into(), |m| format!("has_column_privilege({oid}, '{m}', 'UPDATE')"));
    let rows = session
        .query(&format!(
            "SELECT has_schema_privilege('{}', 'USAGE'), has_table_privilege({oid}, 'SELECT'), {update}, \
             has_table_privilege({oid}, 'DELETE')",
            relation.schema.replace('\'', "''"),
        ))
        .await?;
    let Some(row) = rows.first() else { return Ok(()) };
    let mut missing = Vec::new();
    if !boolean(row, 0)? {
        missing.push(format!("GRANT USAGE ON SCHEMA {} TO {user};", quoted(&relation.schema)));
    }
    let delete = options.delivered == Delivered::Delete || options.retention.is_some();
    let needed = [
        ("SELECT", boolean(row, 1)?, true),
        ("UPDATE", boolean(row, 2)?, options.delivered == Delivered::Mark),
        ("DELETE", boolean(row, 3)?, delete),
    ];
    let words: Vec<&str> =
        needed.iter().filter(|(_, there, needed)| *needed && !there).map(|(w, ..)| *w).collect();
    if !words.is_empty() {
        missing.push(format!("GRANT {} ON {} TO {user};", words.join(", "), relation.sql()));
    }
    if missing.is_empty() {
        findings.ok("polling.not_permitted", format!("{}: all grants are there", relation.qualified()));
    } else {
        findings.error(
            "polling.not_permitted",
            format!("{} lacks grants on {}", user.trim_matches('"'), relation.qualified()),
            missing,
        );
    }
    Ok(())
}

/// Whether an index leads to the rows without a mark: one that is limited by the mark, or begins with it.
async fn index(
    session: &Session,
    relation: &Relation,
    described: &Described,
    findings: &mut Findings,
) -> Result<()> {
    let Some(mark) = &described.table.mark else { return Ok(()) };
    let name = mark.name.replace('\'', "''");
    let rows = session
        .query(&format!(
            "SELECT EXISTS (SELECT FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid \
             WHERE i.indrelid = {} AND i.indisvalid AND a.attname = '{name}' \
             AND (i.indkey[0] = a.attnum OR strpos(pg_get_expr(i.indpred, i.indrelid), '{name}') > 0))",
            relation.oid
        ))
        .await?;
    if rows.first().map_or(Ok(true), |row| boolean(row, 0))? {
        findings.ok("polling.index", format!("{}: an index leads to undelivered rows", relation.qualified()));
    } else {
        findings.warn(
            "polling.index",
            format!(
                "{}: no index leads to the rows that are not delivered, so each look reads the whole table",
                relation.qualified()
            ),
            [format!(
                "CREATE INDEX CONCURRENTLY ON {} ({}) WHERE {};",
                relation.sql(),
                described.table.key.sql,
                mark.undelivered()
            )],
        );
    }
    Ok(())
}

/// Transactions that have been open for long hold up `delivered: keep` when they take an id.
async fn open_transactions(session: &Session, findings: &mut Findings) -> Result<()> {
    let rows = session
        .query(
            "SELECT pid, coalesce(usename, '?'), coalesce(nullif(application_name, ''), 'unnamed'), \
             extract(epoch FROM now() - xact_start)::bigint FROM pg_stat_activity \
             WHERE datname = current_database() AND xact_start < now() - interval '1 minute' \
             AND pid <> pg_backend_pid() ORDER BY xact_start LIMIT 1",
        )
        .await?;
    match rows.first() {
        Some(row) => findings.warn(
            "polling.open_transaction",
            format!(
                "pid {} ({}, user {}) has a transaction open for {} s",
                text(row, 0)?,
                text(row, 2)?,
                text(row, 1)?,
                optional(row, 3).unwrap_or("?"),
            ),
            ["end it; it holds up delivery when it takes an id, and vacuum in any case"],
        ),
        None => findings.ok("polling.open_transaction", "none is open for more than a minute"),
    }
    Ok(())
}
