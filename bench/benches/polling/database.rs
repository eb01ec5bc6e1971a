//! An outbox in a database of its own.

use std::fmt;
use std::path::PathBuf;

use outflow_bench::Result;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tempfile::TempDir;
use tokio_postgres::{Client, NoTls};
use xxhash_rust::xxh3::xxh3_64;

/// Where the outbox is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Sqlite,
    Postgres,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sqlite => "SQLite",
            Self::Postgres => "PostgreSQL",
        })
    }
}

/// How many rows were seen, and the sum of their hashes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) rows: u64,
    sum: u64,
}

impl Seen {
    /// Adds a message.
    pub(crate) fn add(&mut self, id: &str, key: &str, kind: &str, body: &[u8]) {
        self.rows += 1;
        for part in [id.as_bytes(), key.as_bytes(), kind.as_bytes(), body] {
            self.sum = self.sum.rotate_left(5).wrapping_add(xxh3_64(part));
        }
    }
}

/// A table `outbox` that goes with this.
pub(crate) struct Outbox {
    pub(crate) kind: Kind,
    folder: TempDir,
    url: String,
    /// The name of the schema's database, to be dropped.
    database: Option<String>,
}

impl Outbox {
    pub(crate) fn create(kind: Kind) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        if kind == Kind::Sqlite {
            let url = format!("sqlite:{}", folder.path().join("shop.db").display());
            let outbox = Self { kind, folder, url, database: None };
            outbox.sqlite()?.execute_batch(
                "PRAGMA journal_mode = WAL;
                 CREATE TABLE outbox (seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL,
                     aggregatetype TEXT NOT NULL, aggregateid TEXT NOT NULL, type TEXT NOT NULL,
                     payload TEXT NOT NULL);",
            )?;
            return Ok(outbox);
        }
        let server = server()?;
        let name = format!("outflow_bench_{}", std::process::id());
        let (head, _) = server.rsplit_once('/').ok_or("the URL of PostgreSQL names no database")?;
        let url = format!("{head}/{name}");
        let user = server.split("://").nth(1).and_then(|u| u.split([':', '@']).next()).unwrap_or_default();
        let admin = std::env::var("OUTFLOW_TEST_POSTGRES_ADMIN_URL").unwrap_or_else(|_| server.clone());
        runtime()?.block_on(async {
            let admin = connect(&admin).await?;
            admin.batch_execute(&format!("DROP DATABASE IF EXISTS {name}")).await?;
            admin.batch_execute(&format!("CREATE DATABASE {name} OWNER {user}")).await?;
            Result::Ok(())
        })?;
        let outbox = Self { kind, folder, url, database: Some(name) };
        runtime()?.block_on(async {
            let client = outbox.postgres().await?;
            client
                .batch_execute(
                    "CREATE TABLE outbox (seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, id text NOT NULL,
                         aggregatetype text NOT NULL, aggregateid text NOT NULL, type text NOT NULL,
                         payload text NOT NULL);
                     CREATE FUNCTION outflow_notify() RETURNS trigger LANGUAGE plpgsql AS
                         $$ BEGIN PERFORM pg_notify(TG_ARGV[0], ''); RETURN NULL; END $$;",
                )
                .await?;
            Result::Ok(())
        })?;
        Ok(outbox)
    }

    /// The URL for a pipeline.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The name of the table.
    pub(crate) fn table(&self) -> &'static str {
        if self.kind == Kind::Sqlite { "outbox" } else { "public.outbox" }
    }

    /// A folder for files beside the database.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn sqlite(&self) -> Result<rusqlite::Connection> {
        let path = self.url.strip_prefix("sqlite:").ok_or("not a SQLite database")?;
        let connection = rusqlite::Connection::open(path)?;
        connection.busy_timeout(std::time::Duration::from_secs(10))?;
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        Ok(connection)
    }

    pub(crate) async fn postgres(&self) -> Result<Client> {
        connect(&self.url).await
    }

    /// Commits rows, all different, in one transaction.
    pub(crate) fn fill(&self, rows: u64) -> Result<Seen> {
        let mut seen = Seen::default();
        let rows =
            (0..rows).map(Message::new).inspect(|m| seen.add(&m.id, &m.key, m.kind, m.body.as_bytes()));
        if self.kind == Kind::Sqlite {
            let mut connection = self.sqlite()?;
            let transaction = connection.transaction()?;
            for row in rows {
                transaction.execute(&insert("?1, ?2, ?3, ?4"), (&row.id, &row.key, row.kind, &row.body))?;
            }
            transaction.commit()?;
        } else {
            let rows: Vec<_> = rows.collect();
            runtime()?.block_on(async {
                let client = self.postgres().await?;
                for rows in rows.chunks(1_000) {
                    let values: Vec<_> = rows.iter().map(Message::values).collect();
                    client
                        .batch_execute(&format!(
                            "INSERT INTO outbox (id, aggregatetype, aggregateid, type, payload) VALUES {}",
                            values.join(", ")
                        ))
                        .await?;
                }
                client.batch_execute("VACUUM ANALYZE outbox").await?;
                Result::Ok(())
            })?;
        }
        Ok(seen)
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        let Some(name) = &self.database else { return };
        let dropped = runtime().and_then(|runtime| {
            runtime.block_on(async {
                let admin = std::env::var("OUTFLOW_TEST_POSTGRES_ADMIN_URL")?;
                let admin = connect(&admin).await?;
                Ok(admin.batch_execute(&format!("DROP DATABASE {name} WITH (FORCE)")).await?)
            })
        });
        if let Err(error) = dropped {
            eprintln!("database {name} was not dropped: {error}");
        }
    }
}

/// The statement that adds a row, of an aggregate type of its own.
pub(crate) fn insert(places: &str) -> String {
    let places: Vec<_> = places.split(", ").collect();
    format!(
        "INSERT INTO outbox (id, aggregatetype, aggregateid, type, payload) VALUES ({}, 'orders', {}, {}, {})",
        places[0], places[1], places[2], places[3]
    )
}

/// A row.
pub(crate) struct Message {
    pub(crate) id: String,
    pub(crate) key: String,
    pub(crate) kind: &'static str,
    pub(crate) body: String,
}

impl Message {
    pub(crate) fn new(n: u64) -> Self {
        let mut random = StdRng::seed_from_u64(n);
        let filler: String = (0..240).map(|_| char::from(random.random_range(b'a'..=b'z'))).collect();
        Self {
            id: format!("{:032x}", random.random::<u128>()),
            key: format!("order-{}", random.random_range(0..10_000)),
            kind: ["OrderPlaced", "OrderPaid", "OrderShipped"][random.random_range(0..3)],
            body: format!("{{\"n\":{n},\"filler\":\"{filler}\"}}"),
        }
    }

    fn values(&self) -> String {
        format!("('{}', 'orders', '{}', '{}', '{}')", self.id, self.key, self.kind, self.body)
    }
}

pub(crate) fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?)
}

fn server() -> Result<String> {
    std::env::var("OUTFLOW_TEST_POSTGRES_URL")
        .map_err(|_| "OUTFLOW_TEST_POSTGRES_URL is not set: eval \"$(dev/services env)\"".into())
}

async fn connect(url: &str) -> Result<Client> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}
