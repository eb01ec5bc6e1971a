//! A database of its own on the test server.

use std::future::Future;

use outflow_connector_polling::Polling;
use tokio_postgres::{Client, Config, NoTls, SimpleQueryMessage};

/// A variable that `dev/test` sets.
pub(crate) fn variable(name: &str) -> String {
    std::env::var(name)
        .unwrap_or_else(|_| panic!("{name} is not set: run dev/test, or eval \"$(dev/services env)\""))
}

pub(crate) fn admin_url() -> String {
    variable("OUTFLOW_TEST_POSTGRES_ADMIN_URL")
}

/// A fresh database; dropped at the end.
pub(crate) struct Database {
    pub name: String,
    pub url: String,
    admin: String,
}

impl Database {
    pub(crate) async fn new() -> Self {
        Self::on(&admin_url()).await
    }

    pub(crate) async fn on(admin: &str) -> Self {
        use std::sync::atomic::{AtomicU32, Ordering};
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let n = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("polling_{}_{n}", std::process::id());
        connect(admin).await.batch_execute(&format!("CREATE DATABASE {name}")).await.expect("a database");
        let (server, _) = admin.rsplit_once('/').expect("a database in the URL");
        Self { url: format!("{server}/{name}"), name, admin: admin.to_owned() }
    }

    /// With these statements carried out.
    pub(crate) async fn with(statements: &str) -> Self {
        let database = Self::new().await;
        database.run(statements).await;
        database
    }

    pub(crate) async fn client(&self) -> Client {
        connect(&self.url).await
    }

    pub(crate) async fn run(&self, statements: &str) {
        self.client().await.batch_execute(statements).await.expect(statements);
    }

    pub(crate) fn source(&self) -> Polling {
        Polling::postgres(&self.url).table("outbox")
    }
}

pub(crate) async fn value(client: &Client, query: &str) -> Option<String> {
    let messages = client.simple_query(query).await.expect(query);
    messages.iter().find_map(|m| match m {
        SimpleQueryMessage::Row(row) => Some(row.get(0).map(str::to_owned)),
        _ => None,
    })?
}

/// A session without TLS.
pub(crate) async fn connect(url: &str) -> Client {
    let config: Config = url.parse().expect("a URL");
    let (client, connection) = config.connect(NoTls).await.expect("a connection");
    tokio::spawn(connection);
    client
}

impl Drop for Database {
    fn drop(&mut self) {
        let drop = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
        let admin = self.admin.clone();
        // The test's own runtime may be going down.
        let ended = on_own_thread(async move {
            let config: Config = admin.parse().expect("a URL");
            if let Ok((client, connection)) = config.connect(NoTls).await {
                tokio::spawn(connection);
                let _ = client.batch_execute(&drop).await;
            }
        });
        let _ = ended.join();
    }
}

fn on_own_thread(work: impl Future<Output = ()> + Send + 'static) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(work);
    })
}
