//! PostgreSQL: plans, wake-up, encryption, grants, types, and what is refused with which remedy.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]
#![cfg(feature = "postgres")]

#[path = "support/postgres.rs"]
mod server;
mod support;

use std::time::Duration;

use outflow_connector_polling::{Delivered, Polling, Tls, TlsMode};
use outflow_sdk::{BatchLimits, ConfiguredSource, Finding, Findings, Level, Value};
use server::{Database, value, variable};
use support::{DEADLINE, Driver, eventually, refused};
use tokio::net::{TcpListener, TcpStream};

const CANARY: &str = "c4naryS3cret";

async fn checked(source: &Polling) -> Findings {
    let mut findings = Findings::new();
    source.check(&mut findings).await;
    findings
}

fn of<'f>(findings: &'f Findings, code: &str) -> &'f Finding {
    findings.iter().find(|f| f.code == code).unwrap_or_else(|| panic!("no {code} in {findings:?}"))
}

/// What the server has counted: scans of the whole table, and rows that were found by its indexes.
async fn reads(database: &Database) -> (i64, i64) {
    let counts = "SELECT concat_ws(' ', seq_scan, (SELECT sum(idx_tup_read) FROM pg_stat_user_indexes \
         WHERE relname = 'outbox')) FROM pg_stat_user_tables WHERE relname = 'outbox'";
    let counts = value(&database.client().await, counts).await.unwrap();
    let (scans, rows) = counts.split_once(' ').unwrap();
    (scans.parse().unwrap(), rows.parse().unwrap())
}

#[tokio::test]
async fn pages_are_found_by_an_index_and_each_row_is_read_about_once() {
    const ROWS: i64 = 20_000;
    for delivered in [Delivered::Keep, Delivered::Mark, Delivered::Delete] {
        let database = Database::with(
            "CREATE TABLE outbox (id bigserial PRIMARY KEY, payload text, published boolean NOT NULL DEFAULT false); \
             CREATE INDEX undelivered ON outbox (id) WHERE NOT published; \
             ALTER TABLE outbox SET (autovacuum_enabled = false)",
        )
        .await;
        database
            .run(&format!(
                "INSERT INTO outbox (payload) SELECT repeat('x', 200) FROM generate_series(1, {ROWS})"
            ))
            .await;
        database.run("VACUUM ANALYZE outbox").await;
        let source = database.source().delivered(delivered);
        let mut driver = Driver::open(&source).await.unwrap();
        let (scans, rows) = reads(&database).await;
        driver.limits = BatchLimits { events: 500, ..BatchLimits::default() };
        let mut delivered_rows = 0;
        while delivered_rows < ROWS {
            delivered_rows += driver.poll().await.unwrap().0.len() as i64;
            driver.settle().await.unwrap();
        }
        // A session reports what it has read when it ends.
        drop(driver);
        let done = async || reads(&database).await.1 - rows >= ROWS;
        eventually("the server has counted the reads", done).await;
        let (scans_after, rows_after) = reads(&database).await;
        assert_eq!(scans_after, scans, "{delivered:?}: the whole table was read");
        // Each row once, to mark or delete it once more, and the last row of each page again. By OFFSET it would be
        // twenty times as many.
        let most = ROWS * if delivered == Delivered::Keep { 2 } else { 4 };
        assert!(rows_after - rows <= most, "{delivered:?}: {} rows read for {ROWS}", rows_after - rows);
    }
}

#[tokio::test]
async fn the_trigger_that_check_offers_wakes_it_up() {
    let database = Database::with(
        "CREATE TABLE outbox (id bigserial PRIMARY KEY); CREATE TABLE \"o'dd Näme\" (id bigserial PRIMARY KEY)",
    )
    .await;
    for table in ["outbox", "o'dd Näme"] {
        let source = Polling::postgres(&database.url).table(table);
        let findings = checked(&source).await;
        assert_eq!(of(&findings, "polling.wakeup").level, Level::Warn);
        database.run(&of(&findings, "polling.wakeup").remedy.join("\n")).await;
        assert_eq!(of(&checked(&source).await, "polling.wakeup").level, Level::Ok);

        let mut driver = Driver::open(&source).await.unwrap();
        driver.exactly(0).await;
        let insert = format!("INSERT INTO \"{table}\" DEFAULT VALUES");
        let (woken, ()) = tokio::join!(
            tokio::time::timeout(DEADLINE, driver.source.wait(Duration::from_secs(3600))),
            database.run(&insert)
        );
        woken.expect("it is woken").unwrap();
        driver.exactly(1).await;
    }
}

#[tokio::test]
async fn a_look_at_an_idle_table_waits_as_long_as_it_was_told() {
    let database = Database::with("CREATE TABLE outbox (id bigserial PRIMARY KEY)").await;
    let mut driver = Driver::open(&database.source()).await.unwrap();
    driver.exactly(0).await;
    let wait = driver.source.wait(Duration::from_secs(3600));
    // Nothing ends the wait; that the time has passed shows only that it does not spin.
    assert!(tokio::time::timeout(Duration::from_millis(300), wait).await.is_err());
}

#[tokio::test]
async fn what_check_prints_makes_the_finding_vanish() {
    let database = Database::with(
        "CREATE TABLE outbox (id bigserial PRIMARY KEY, payload text, published boolean NOT NULL DEFAULT false)",
    )
    .await;
    let user = format!("{}_reader", database.name);
    database
        .run(&format!("CREATE ROLE {user} LOGIN PASSWORD '{CANARY}'; INSERT INTO outbox DEFAULT VALUES"))
        .await;
    let (_, place) = database.url.split_once('@').unwrap();
    let source = Polling::postgres(format!("postgres://{user}@{place}")).password(CANARY).table("outbox");
    for (delivered, words) in [
        (Delivered::Keep, "GRANT SELECT ON"),
        (Delivered::Mark, "GRANT UPDATE ON"),
        (Delivered::Delete, "GRANT DELETE ON"),
    ] {
        let source = source.clone().delivered(delivered);
        let findings = checked(&source).await;
        let missing = of(&findings, "polling.not_permitted");
        assert_eq!(missing.level, Level::Error, "{findings:?}");
        assert!(missing.remedy.iter().any(|sql| sql.starts_with(words)), "{missing:?}");
        // Statements, as they are, of every finding that has some.
        for finding in findings.iter().filter(|f| f.level != Level::Ok) {
            for statement in &finding.remedy {
                if statement.starts_with("CREATE INDEX") || statement.starts_with("GRANT") {
                    database.run(statement).await;
                }
            }
        }
        let findings = checked(&source).await;
        assert!(findings.iter().all(|f| f.level != Level::Error), "{findings:?}");
        assert!(findings.iter().all(|f| f.code != "polling.index" || f.level == Level::Ok), "{findings:?}");
        assert!(!format!("{findings:?}").contains(CANARY));
        let mut driver = Driver::open(&source).await.unwrap();
        assert_eq!(driver.poll().await.unwrap().0.len(), 1);
        if delivered == Delivered::Delete {
            driver.settle().await.unwrap();
        }
    }
    database.run(&format!("DROP OWNED BY {user}; DROP ROLE {user}")).await;
}

#[tokio::test]
async fn what_is_missing_is_named_with_a_remedy() {
    let database = Database::with("CREATE TABLE outbox (id bigserial PRIMARY KEY, name text)").await;
    let url = &database.url;
    let other = |from: &str, to: &str| url.replace(from, to);
    let missing = other(&database.name, "no_such_database");
    let closed = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        format!("postgres://outflow:{CANARY}@{}/x", listener.local_addr().unwrap())
    };
    let (user, _) = url.split_once("://").unwrap().1.split_once(':').unwrap();
    let (_, place) = url.split_once('@').unwrap();
    let wrong = format!("postgres://{user}:{CANARY}@{place}");
    for (source, code) in [
        (Polling::postgres(&missing).table("outbox"), "polling.database_missing"),
        (Polling::postgres(url).table("outbocks"), "polling.table_missing"),
        (Polling::postgres(url).table("outbox").cursor("sequence"), "polling.column_missing"),
        (Polling::postgres(url).table("outbox").delivered(Delivered::Mark), "polling.mark"),
        (Polling::postgres(&wrong).table("outbox"), "polling.login"),
        (Polling::postgres(&closed).table("outbox"), "polling.unreachable"),
    ] {
        let error = refused(&source).await;
        assert!(error.code().starts_with(code), "{code}: {error:?}");
        assert!(error.hint_text().is_some_and(|hint| !hint.is_empty()), "no remedy: {error:?}");
        assert!(!format!("{error} {error:?}").contains(CANARY), "{error:?}");
        assert_eq!(error.is_transient(), code == "polling.unreachable", "{error:?}");
    }
}

#[tokio::test]
async fn text_ids_are_followed_by_marks_alone() {
    let database = Database::with(
        "CREATE TABLE outbox (id text PRIMARY KEY, published boolean NOT NULL DEFAULT false); \
         INSERT INTO outbox (id) VALUES ('b'), ('a')",
    )
    .await;
    let error = refused(&database.source()).await;
    assert!(error.hint_text().is_some_and(|hint| hint.contains("delivered")), "{error:?}");
    let mut driver = Driver::open(&database.source().delivered(Delivered::Mark)).await.unwrap();
    let rows = driver.exactly(2).await;
    assert_eq!(
        rows.iter().map(|r| r.get("id").clone()).collect::<Vec<_>>(),
        [Value::Text("a".into()), Value::Text("b".into())]
    );
    // In flight: not read again, until they are settled or forgotten.
    assert!(driver.poll().await.unwrap().0.is_empty());
    driver.settle().await.unwrap();
    assert!(driver.poll().await.unwrap().0.is_empty());
}

/// A server of the same machine under another name, by forwarding.
async fn forwarded(place: &str) -> String {
    let listener = TcpListener::bind("127.0.0.2:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let place = place.to_owned();
    tokio::spawn(async move {
        while let Ok((mut inner, _)) = listener.accept().await {
            let mut outer = TcpStream::connect(&place).await.unwrap();
            tokio::spawn(async move { tokio::io::copy_bidirectional(&mut inner, &mut outer).await });
        }
    });
    address
}

#[tokio::test]
async fn the_server_must_be_who_it_says_it_is() {
    let database = Database::with("CREATE TABLE outbox (id bigserial PRIMARY KEY)").await;
    let (login, rest) = database.url.split_once('@').unwrap();
    let (place, name) = rest.split_once('/').unwrap();
    let elsewhere = forwarded(place).await;
    let ca = variable("OUTFLOW_TEST_POSTGRES_CA");
    let tls = |mode, ca: Option<&str>| Tls { mode: Some(mode), ca: ca.map(Into::into), ..Tls::default() };
    let source =
        |place: &str, tls: Tls| Polling::postgres(format!("{login}@{place}/{name}")).table("outbox").tls(tls);

    for (place, tls) in [
        (place, tls(TlsMode::VerifyFull, Some(&ca))),
        (elsewhere.as_str(), tls(TlsMode::VerifyCa, Some(&ca))),
        (elsewhere.as_str(), tls(TlsMode::Require, None)),
    ] {
        let source = source(place, tls);
        Driver::open(&source).await.unwrap().exactly(0).await;
        let connected = checked(&source).await;
        assert!(of(&connected, "polling.connect").message.contains("TLS"), "{connected:?}");
    }
    for (place, tls) in [
        // Another name than the certificate's; an authority that nobody knows.
        (elsewhere.as_str(), tls(TlsMode::VerifyFull, Some(&ca))),
        (place, tls(TlsMode::VerifyFull, None)),
        (place, tls(TlsMode::VerifyCa, None)),
    ] {
        let error = refused(&source(place, tls)).await;
        assert_eq!(error.code(), "polling.tls", "{error:?}");
        assert!(!error.is_transient());
    }
    // Off this machine, a certificate is asked for by default; 127.0.0.2 is this machine.
    assert!(Driver::open(&source(&elsewhere, Tls::default())).await.is_ok());
}

/// The value as `column::text` gives it, where it is kept as text; else none.
fn as_text(value: &Value) -> Option<String> {
    Some(match value {
        Value::Bool(yes) => (if *yes { "true" } else { "false" }).to_owned(),
        Value::I64(n) => n.to_string(),
        Value::U64(n) => n.to_string(),
        Value::F32(n) if n.is_finite() => n.to_string(),
        Value::F64(n) if n.is_finite() => n.to_string(),
        Value::F32(n) => f64::from(*n).to_string().replace("inf", "Infinity"),
        Value::F64(n) => n.to_string().replace("inf", "Infinity"),
        Value::Decimal(text)
        | Value::Text(text)
        | Value::Json(text)
        | Value::Enum(text)
        | Value::Other(text) => text.clone(),
        Value::Bytes(bytes) => bytes.iter().fold("\\x".to_owned(), |text, byte| format!("{text}{byte:02x}")),
        Value::Uuid(id) => {
            let hex: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
        }
        _ => return None,
    })
}

#[tokio::test]
async fn values_are_those_that_the_server_prints() {
    let values = [
        ("boolean", "true"),
        ("smallint", "-32768"),
        ("integer", "2147483647"),
        ("bigint", "-9223372036854775808"),
        ("real", "1.5"),
        ("double precision", "'-Infinity'"),
        ("double precision", "0.1"),
        ("numeric", "12345678901234567890123456789012345678.000000000000000000001"),
        ("numeric", "'NaN'"),
        ("numeric", "'Infinity'"),
        ("numeric(10,2)", "-0.50"),
        ("money", "'-12.34'"),
        ("text", "E'a\\\\b\\t\\n''ä\u{1f980}'"),
        ("varchar(5)", "'abc'"),
        ("char(5)", "'ab'"),
        ("\"char\"", "'x'"),
        ("name", "'n'"),
        ("bytea", "'\\x00ff5c'"),
        ("uuid", "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'"),
        ("json", "'{\"b\": 1,  \"a\": [1.0, null]}'"),
        ("jsonb", "'{\"b\": 1,  \"a\": [1.0, null]}'"),
        ("xml", "'<a>1</a>'"),
        ("inet", "'192.168.0.1/24'"),
        ("cidr", "'10.0.0.0/8'"),
        ("macaddr", "'08:00:2b:01:02:03'"),
        ("point", "'(1.5,-2)'"),
        ("int4range", "'[1,10)'"),
        ("tstzrange", "'[2024-01-01 00:00:00+00,)'"),
        ("int4multirange", "'{[1,3),[5,8)}'"),
        ("tsvector", "'a fat cat'"),
        ("pg_lsn", "'16/B374D848'"),
        ("mood", "'sad ''quoted'''"),
        ("amount", "7.5"),
        ("pair", "ROW(1, 'a,b')"),
    ];
    let database = Database::with(
        "CREATE TYPE mood AS ENUM ('ok', 'sad ''quoted'''); CREATE DOMAIN amount AS numeric(8,2); \
         CREATE TYPE pair AS (n int, t text); CREATE TABLE outbox (id bigserial PRIMARY KEY)",
    )
    .await;
    let client = database.client().await;
    // Settings of the database that would change how values print.
    database
        .run(&format!(
            "ALTER DATABASE {0} SET bytea_output = 'escape'; ALTER DATABASE {0} SET extra_float_digits = 0; \
             ALTER DATABASE {0} SET \"DateStyle\" = 'German, DMY'; ALTER DATABASE {0} SET lc_monetary = 'C'; \
             ALTER DATABASE {0} SET \"IntervalStyle\" = 'sql_standard'; ALTER DATABASE {0} SET \"TimeZone\" = 'Asia/Tokyo'",
            database.name
        ))
        .await;
    for (n, (kind, _)) in values.iter().enumerate() {
        client.batch_execute(&format!("ALTER TABLE outbox ADD COLUMN c{n} {kind}")).await.unwrap();
    }
    let literals: Vec<&str> = values.iter().map(|(_, literal)| *literal).collect();
    client.batch_execute("SET \"TimeZone\" = 'UTC'; SET \"DateStyle\" = 'ISO, YMD'").await.unwrap();
    client
        .batch_execute(&format!(
            "INSERT INTO outbox VALUES (1, {}); INSERT INTO outbox (id) VALUES (2)",
            literals.join(", ")
        ))
        .await
        .unwrap();
    let mut driver = Driver::open(&database.source()).await.unwrap();
    let rows = driver.exactly(2).await;
    for (n, (kind, literal)) in values.iter().enumerate() {
        let column = format!("c{n}");
        // An amount has no currency sign that depends on a setting.
        let text = if *kind == "money" { "numeric::text" } else { "text" };
        let expected =
            value(&client, &format!("SELECT {column}::{text} FROM outbox WHERE id = 1")).await.unwrap();
        // Padding of `char(n)` is no part of its text.
        let expected = if kind.starts_with("char(") { format!("{expected:<5}") } else { expected };
        let found = rows[0].get(&column);
        assert_eq!(as_text(found).as_deref(), Some(expected.as_str()), "{kind} {literal}: {found:?}");
        assert_eq!(*rows[1].get(&column), Value::Null, "{kind}");
    }
}
