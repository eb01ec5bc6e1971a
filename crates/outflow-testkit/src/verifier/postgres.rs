//! PostgreSQL, without TLS: over loopback or a Unix socket.

use std::sync::{Arc, LazyLock, mpsc};
use std::time::{Duration, Instant};

use outflow_core::{Error, Result, Retry};
use tokio::runtime::Runtime;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Config, NoTls, Statement};

use super::clock::unix_nanos;
use super::database::{Database, NewRow};
use super::table::{DESTINATION, Dialect, EVENT_TYPE, Shape, Table};

/// How long `committed` waits for the sessions of a writer to end.
const LAST_SESSION: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(20);

/// Drives all sessions of this process, so that a session can be used from wherever a test is.
static DRIVER: LazyLock<std::io::Result<Runtime>> = LazyLock::new(|| {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).thread_name("verifier").enable_all().build()
});

/// Carries out a future on the driver, and waits for it.
fn wait<T: Send + 'static>(
    future: impl Future<Output = std::result::Result<T, tokio_postgres::Error>> + Send + 'static,
) -> Result<T> {
    let driver = DRIVER.as_ref().map_err(|e| Error::permanent("verifier.database").message(e.to_string()))?;
    let (sender, receiver) = mpsc::sync_channel(1);
    driver.spawn(async move {
        // The receiver waits for as long as this lives.
        _ = sender.send(future.await);
    });
    receiver
        .recv()
        .map_err(|e| Error::internal("verifier.database").message("a call panicked").caused_by(e))?
        .map_err(failed)
}

pub(super) struct Postgres {
    client: Arc<Client>,
    table: Table,
    statements: Option<Statements>,
}

#[derive(Clone)]
struct Statements {
    reserve: Statement,
    insert: Statement,
    note: Statement,
}

impl Postgres {
    pub(super) fn open(url: &str, table: &Table, writer: &str) -> Result<Self> {
        let mut config: Config = url.parse().map_err(|e: tokio_postgres::Error| {
            // The cause could quote the URL, which may hold a password.
            _ = e;
            Error::configuration("verifier.url").message("this is no PostgreSQL URL")
        })?;
        config.application_name(application_name(writer));
        let client = wait(async move {
            let (client, connection) = config.connect(NoTls).await?;
            // Its end shows in every call to the client.
            tokio::spawn(connection);
            Ok(client)
        })?;
        Ok(Self { client: Arc::new(client), table: table.clone(), statements: None })
    }

    fn statements(&mut self) -> Result<Statements> {
        if let Some(statements) = &self.statements {
            return Ok(statements.clone());
        }
        let (table, keys, commits) = (self.table.quoted(), self.table.keys(), self.table.commits());
        // Rows are inserted, and locked, in the order in which they are sorted.
        let reserve = format!(
            "INSERT INTO {keys} AS k (key, seq) \
             SELECT r.key, r.count FROM unnest($1::text[], $2::bigint[]) WITH ORDINALITY AS r (key, count, n) \
             ORDER BY r.n ON CONFLICT (key) DO UPDATE SET seq = k.seq + excluded.seq RETURNING seq"
        );
        let insert = match self.table.shape() {
            Shape::Outbox => format!(
                "INSERT INTO {table} (id, aggregatetype, aggregateid, type, payload) \
                 SELECT r.id::uuid, '{DESTINATION}', r.key, '{EVENT_TYPE}', r.payload::jsonb \
                 FROM unnest($1::text[], $2::text[], $3::text[]) WITH ORDINALITY AS r (id, key, payload, n) \
                 ORDER BY r.n RETURNING seq"
            ),
            Shape::Eventuate => format!(
                "INSERT INTO {table} (id, destination, headers, payload, creation_time) \
                 SELECT r.id, '{DESTINATION}', r.headers, r.payload, $4 \
                 FROM unnest($1::text[], $2::text[], $3::text[]) WITH ORDINALITY AS r (id, headers, payload, n) \
                 ORDER BY r.n"
            ),
        };
        let note = format!("INSERT INTO {commits} (tx) VALUES ($1)");
        let client = Arc::clone(&self.client);
        let statements = wait(async move {
            Ok(Statements {
                reserve: client.prepare(&reserve).await?,
                insert: client.prepare(&insert).await?,
                note: client.prepare(&note).await?,
            })
        })?;
        Ok(self.statements.insert(statements).clone())
    }
}

impl Database for Postgres {
    fn execute(&mut self, statements: &str) -> Result<()> {
        let (client, statements) = (Arc::clone(&self.client), statements.to_owned());
        wait(async move { client.batch_execute(&statements).await })
    }

    fn create(&mut self) -> Result<()> {
        self.execute(&self.table.create(Dialect::Postgres).join(";"))
    }

    fn reserve(&mut self, keys: &[(String, u64)]) -> Result<Vec<u64>> {
        let (client, statement) = (Arc::clone(&self.client), self.statements()?.reserve);
        let (keys, counts): (Vec<String>, Vec<i64>) =
            keys.iter().map(|(key, count)| (key.clone(), count.cast_signed())).unzip();
        wait(async move {
            let rows = client.query(&statement, &[&keys, &counts]).await?;
            rows.iter().map(|row| row.try_get(0).map(i64::cast_unsigned)).collect()
        })
    }

    fn insert(&mut self, rows: Vec<NewRow>) -> Result<Vec<Option<u64>>> {
        let (client, statement) = (Arc::clone(&self.client), self.statements()?.insert);
        let (shape, count) = (self.table.shape(), rows.len());
        let cursors = wait(async move {
            let (mut ids, mut texts, mut payloads) = (Vec::new(), Vec::new(), Vec::new());
            for NewRow { row, payload } in rows {
                match shape {
                    Shape::Outbox => {
                        ids.push(row.id.to_string());
                        texts.push(row.key);
                    }
                    Shape::Eventuate => {
                        ids.push(row.id.eventuate());
                        texts.push(super::table::eventuate_headers(&row));
                    }
                }
                payloads.push(payload);
            }
            match shape {
                Shape::Outbox => {
                    let rows = client.query(&statement, &[&ids, &texts, &payloads]).await?;
                    let cursor = |row: tokio_postgres::Row| row.try_get(0).map(i64::cast_unsigned).map(Some);
                    rows.into_iter().map(cursor).collect()
                }
                Shape::Eventuate => {
                    let now = (unix_nanos() / 1_000_000).cast_signed();
                    client.execute(&statement, &[&ids, &texts, &payloads, &now]).await?;
                    Ok(vec![None; count])
                }
            }
        })?;
        Ok(cursors)
    }

    fn note(&mut self, tx: &str) -> Result<()> {
        let (client, statement, tx) = (Arc::clone(&self.client), self.statements()?.note, tx.to_owned());
        wait(async move { client.execute(&statement, &[&tx]).await }).map(drop)
    }

    fn committed(&mut self, tx: &str) -> Result<bool> {
        let deadline = Instant::now() + LAST_SESSION;
        let writer = tx.rsplit_once('-').map_or(tx, |(writer, _)| writer);
        let name = application_name(writer);
        loop {
            let (client, name) = (Arc::clone(&self.client), name.clone());
            let query = "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1";
            let sessions: i64 = wait(async move { client.query_one(query, &[&name]).await?.try_get(0) })?;
            if sessions == 0 {
                break;
            }
            if Instant::now() > deadline {
                return Err(Error::permanent("verifier.database")
                    .message(format!("a session of writer {writer} is still open"))
                    .hint("stop the generator before its transactions are resolved"));
            }
            std::thread::sleep(POLL);
        }
        let query = format!("SELECT count(*) FROM {} WHERE tx = $1", self.table.commits());
        let (client, tx) = (Arc::clone(&self.client), tx.to_owned());
        let found: i64 = wait(async move { client.query_one(&query, &[&tx]).await?.try_get(0) })?;
        Ok(found > 0)
    }

    fn pairs(&mut self, query: &str) -> Result<Vec<(String, String)>> {
        use tokio_postgres::SimpleQueryMessage::Row;

        let (client, query) = (Arc::clone(&self.client), query.to_owned());
        wait(async move {
            let mut pairs = Vec::new();
            for message in client.simple_query(&query).await? {
                if let Row(row) = message {
                    let text = |column| row.try_get(column).map(|t| t.unwrap_or_default().to_owned());
                    pairs.push((text(0)?, text(1)?));
                }
            }
            Ok(pairs)
        })
    }
}

fn application_name(writer: &str) -> String {
    format!("outflow-generator {writer}")
}

fn failed(error: tokio_postgres::Error) -> Error {
    let transient = match error.code() {
        Some(state) => {
            // Connection exceptions, resources, operator intervention (a shutdown), serialisation and deadlocks.
            let class = state.code().get(..2).unwrap_or_default();
            ["08", "40", "53", "57"].contains(&class) || *state == SqlState::LOCK_NOT_AVAILABLE
        }
        None => true,
    };
    Error::transient("verifier.database")
        .message("PostgreSQL")
        .retry(if transient { Retry::Transient } else { Retry::Permanent })
        .caused_by(error)
}
