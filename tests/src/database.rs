//! Databases for one test each.

use std::path::{Path, PathBuf};

use outflow_testkit::verifier::database::{self, Database};
use outflow_testkit::verifier::{Shape, Table, Workload};
use tempfile::TempDir;

use crate::settings;

/// A database that a test has for itself, and a folder for all of its files. Both go with it.
pub struct Shop {
    folder: TempDir,
    url: String,
    /// The administrator's URL and the name, where the database has to be dropped.
    server: Option<(String, String)>,
}

impl Shop {
    /// A SQLite database in the folder.
    ///
    /// # Panics
    /// When there is no room for a folder.
    pub fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("shop.db").display());
        Self { folder, url, server: None }
    }

    /// A database of the test server's. `test` is unique among the tests.
    ///
    /// # Panics
    /// When the environment names no server, or it refuses.
    pub fn postgres(test: &str) -> Self {
        let user = settings::server("OUTFLOW_TEST_POSTGRES_URL");
        Self::on_postgres(&user, &settings::server("OUTFLOW_TEST_POSTGRES_ADMIN_URL"), test)
    }

    /// A database of any PostgreSQL server's.
    ///
    /// # Panics
    /// When it refuses.
    pub fn on_postgres(user: &str, admin: &str, test: &str) -> Self {
        let name = format!("outflow_{test}_{}", std::process::id());
        let owner = user.split_once("://").and_then(|(_, rest)| rest.split([':', '@']).next()).unwrap();
        let mut server = session(admin);
        server.execute(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).unwrap();
        server.execute(&format!("CREATE DATABASE {name} OWNER {owner}")).unwrap();
        let folder = tempfile::tempdir().unwrap();
        Self { folder, url: with_database(user, &name), server: Some((admin.to_owned(), name)) }
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Where generators keep their journals.
    pub fn journals(&self) -> PathBuf {
        self.folder().join("journals")
    }

    /// The database's URL, with its password.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The URL of the same database through another address.
    ///
    /// # Panics
    /// When this is no URL of a server.
    pub fn url_through(&self, address: std::net::SocketAddr) -> String {
        let (head, rest) = self.url.split_once('@').unwrap();
        let (_, database) = rest.split_once('/').unwrap();
        format!("{head}@{address}/{database}")
    }

    /// A workload on the table `outbox`.
    pub fn workload(&self) -> Workload {
        Workload::new(&self.url, self.journals())
    }

    /// A session.
    ///
    /// # Panics
    /// When the database cannot be opened.
    pub fn session(&self) -> Box<dyn Database> {
        session(&self.url)
    }

    /// The address of the server: `host:port`.
    ///
    /// # Panics
    /// When this is no URL of a server.
    pub fn address(&self) -> &str {
        self.url.split_once('@').unwrap().1.split('/').next().unwrap()
    }

    /// The name of the database on its server.
    ///
    /// # Panics
    /// When it is not on a server.
    pub fn name(&self) -> &str {
        &self.server.as_ref().unwrap().1
    }

    /// A session of the server's administrator, in a database of the server's own.
    ///
    /// # Panics
    /// When it cannot be opened.
    pub fn admin(&self) -> Box<dyn Database> {
        session(&self.server.as_ref().unwrap().0)
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        if let Some((admin, name)) = &self.server
            && !std::thread::panicking()
        {
            session(admin).execute(&format!("DROP DATABASE {name} WITH (FORCE)")).unwrap();
        }
    }
}

/// A session by its URL.
///
/// # Panics
/// When it cannot be opened.
pub fn session(url: &str) -> Box<dyn Database> {
    database::open(url, &Table::new("outbox", Shape::Outbox), "test").unwrap()
}

fn with_database(url: &str, name: &str) -> String {
    let (server, _) = url.rsplit_once('/').unwrap();
    format!("{server}/{name}")
}
