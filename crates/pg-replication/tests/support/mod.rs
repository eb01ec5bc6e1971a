//! A database of its own on the test server, with a table, a publication and the name of a slot.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use pg_replication::{Config, Lsn, Message, Reader};
use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

/// How long a test waits for what must happen.
const DEADLINE: Duration = Duration::from_secs(30);

/// What `pgoutput` is told.
pub const OPTIONS: &[(&str, &str)] = &[("proto_version", "1"), ("publication_names", "all_tables")];

fn variable(name: &str) -> String {
    std::env::var(name)
        .unwrap_or_else(|_| panic!("{name} is not set: run dev/test, or eval \"$(dev/services env)\""))
}

/// A database that is dropped at the end, with its slot.
pub struct Server {
    pub database: String,
    pub slot: String,
    admin: tokio_postgres::Config,
    sql: Client,
}

async fn connect(config: &tokio_postgres::Config) -> Client {
    let (client, connection) = config.connect(NoTls).await.expect("the test server answers");
    tokio::spawn(connection);
    client
}

impl Server {
    pub async fn new(name: &str) -> Self {
        let admin: tokio_postgres::Config = variable("OUTFLOW_TEST_POSTGRES_ADMIN_URL").parse().unwrap();
        let database = format!("replication_{}_{name}", std::process::id());
        let all = connect(&admin).await;
        all.batch_execute(&format!("CREATE DATABASE {database}")).await.unwrap();
        let sql = connect(admin.clone().dbname(&database)).await;
        sql.batch_execute(
            "CREATE TABLE items (id bigint, text text); CREATE PUBLICATION all_tables FOR ALL TABLES",
        )
        .await
        .unwrap();
        Self { slot: format!("{database}_slot"), database, admin, sql }
    }

    pub fn config(&self) -> Config {
        let (host, port) = (&self.admin.get_hosts()[0], self.admin.get_ports()[0]);
        let tokio_postgres::config::Host::Tcp(host) = host else { panic!("the test server has an address") };
        let password = String::from_utf8(self.admin.get_password().unwrap().to_vec()).unwrap();
        Config::tcp(host, port)
            .user(self.admin.get_user().unwrap())
            .password(password)
            .database(&self.database)
            .status_interval(Duration::from_secs(1))
    }

    pub async fn sql(&self, statements: &str) {
        self.sql.batch_execute(statements).await.expect(statements);
    }

    /// The first column of all rows.
    pub async fn rows(&self, query: &str) -> Vec<String> {
        let messages = self.sql.simple_query(query).await.expect(query);
        let row = |message: &SimpleQueryMessage| match message {
            SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or_default().to_owned()),
            _ => None,
        };
        messages.iter().filter_map(row).collect()
    }

    pub async fn number(&self, query: &str) -> i64 {
        self.rows(query).await[0].parse().unwrap()
    }

    pub async fn slot_is_active(&self) -> bool {
        let query = format!("SELECT active FROM pg_replication_slots WHERE slot_name = '{}'", self.slot);
        self.rows(&query).await == ["t"]
    }

    pub async fn confirmed(&self) -> Lsn {
        let query =
            format!("SELECT confirmed_flush_lsn FROM pg_replication_slots WHERE slot_name = '{}'", self.slot);
        self.rows(&query).await[0].parse().unwrap()
    }

    /// The end of the log that is flushed.
    pub async fn end(&self) -> Lsn {
        self.rows("SELECT pg_current_wal_flush_lsn()").await[0].parse().unwrap()
    }

    /// What the slot holds, as the server's own function shows it.
    pub async fn peek(&self) -> Vec<(Lsn, Vec<u8>)> {
        let query = format!(
            "SELECT lsn::text, data FROM pg_logical_slot_peek_binary_changes('{}', NULL, NULL, 'proto_version', '1', \
             'publication_names', 'all_tables')",
            self.slot
        );
        let rows = self.sql.query(&query, &[]).await.unwrap();
        rows.iter().map(|row| (row.get::<_, &str>(0).parse().unwrap(), row.get(1))).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let (admin, database, slot) = (self.admin.clone(), self.database.clone(), self.slot.clone());
        let clean = async move {
            let all = connect(&admin).await;
            let statements = [
                format!(
                    "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = '{slot}'"
                ),
                format!("DROP DATABASE IF EXISTS {database} WITH (FORCE)"),
            ];
            all.batch_execute(&statements[0]).await?;
            let end = Instant::now() + DEADLINE;
            let drop_slot = format!(
                "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = '{slot}'"
            );
            while all.batch_execute(&drop_slot).await.is_err() && Instant::now() < end {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            all.batch_execute(&statements[1]).await
        };
        // On a thread with a runtime of its own: this one cannot be waited for from within it.
        let run = || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let _ = runtime.block_on(clean);
        };
        std::thread::scope(|scope| drop(scope.spawn(run).join()));
    }
}

/// The next so many messages of the plug-in.
pub async fn drain(reader: &mut Reader, count: usize) -> Vec<(Lsn, Vec<u8>)> {
    let mut all = Vec::new();
    let read = async {
        while all.len() < count {
            if let Message::Data { start, data, .. } =
                reader.next().await.unwrap().expect("the stream goes on")
            {
                all.push((start, data.to_vec()));
            }
        }
    };
    let in_time = tokio::time::timeout(DEADLINE, read).await.is_ok();
    assert!(in_time, "{} of {count} messages came", all.len());
    all
}

pub async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !holds().await {
        assert!(Instant::now() < end, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A client that trusts the test server's authority, or nobody.
pub fn tls(trusts: bool) -> Arc<rustls::ClientConfig> {
    let mut roots = RootCertStore::empty();
    if trusts {
        for certificate in CertificateDer::pem_file_iter(variable("OUTFLOW_TEST_POSTGRES_CA")).unwrap() {
            roots.add(certificate.unwrap()).unwrap();
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
}
