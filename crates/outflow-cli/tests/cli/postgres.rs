//! The binary and a real PostgreSQL. Its address comes from the environment: `eval "$(dev/services env)"`.

use std::sync::atomic::{AtomicU32, Ordering};

use tokio_postgres::NoTls;

use crate::support::{Folder, Running, http_get, ids};

#[track_caller]
fn variable(name: &str) -> String {
    std::env::var(name)
        .unwrap_or_else(|_| panic!("{name} is not set: run dev/test, or eval \"$(dev/services env)\""))
}

fn execute(url: &str, statements: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
        let connection = tokio::spawn(connection);
        client.batch_execute(statements).await.unwrap();
        drop(client);
        connection.await.unwrap().unwrap();
    });
}

/// A database of its own with an outbox that the role of the tests may not read; dropped at the end.
struct Database {
    name: String,
    admin: String,
}

impl Database {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let admin = variable("OUTFLOW_TEST_POSTGRES_ADMIN_URL");
        let name = format!("cli_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        execute(&admin, &format!("CREATE DATABASE {name}"));
        let database = Self { name, admin };
        database.run(
            "CREATE TABLE outbox (seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, id text NOT NULL,
                 aggregatetype text NOT NULL, aggregateid text NOT NULL, type text NOT NULL, payload jsonb NOT NULL);
             INSERT INTO outbox (id, aggregatetype, aggregateid, type, payload)
                 SELECT 'id-' || n, 'orders', 'order-' || n, 'OrderPlaced', '{}' FROM generate_series(0, 4) n;",
        );
        database
    }

    fn with_grant() -> Self {
        let database = Self::new();
        let role = variable("OUTFLOW_TEST_POSTGRES_URL");
        let role = role.split("://").nth(1).unwrap().split(':').next().unwrap();
        database.run(&format!("GRANT SELECT ON outbox TO {role}"));
        database
    }

    fn run(&self, statements: &str) {
        execute(&self.at(&self.admin), statements);
    }

    /// This database at a server.
    fn at(&self, url: &str) -> String {
        format!("{}/{}", url.rsplit_once('/').unwrap().0, self.name)
    }

    /// The address without a password, and the password.
    fn url(&self) -> (String, String) {
        let url = self.at(&variable("OUTFLOW_TEST_POSTGRES_URL"));
        let (user, rest) = url.split_once('@').unwrap();
        let (user, password) = user.rsplit_once(':').unwrap();
        (format!("{user}@{rest}"), password.to_owned())
    }

    /// A folder with a pipeline from here, whose password is in a file.
    fn pipeline(&self) -> (Folder, String) {
        let folder = Folder::new();
        let (url, password) = self.url();
        folder.write("secret", &password);
        folder.write(
            "shop.yaml",
            &format!(
                "name: shop\nsource:\n  type: polling\n  url: {url}\n  password: ${{file:secret}}\n  tables: [outbox]\n\
                 transforms: [{{type: outbox}}]\nsink: {{type: stdout}}\n"
            ),
        );
        (folder, password)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        execute(&self.admin, &format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name));
    }
}

#[test]
fn a_missing_grant_is_said_with_the_statement_that_gives_it() {
    let database = Database::new();
    let (folder, _) = database.pipeline();
    let ended = folder
        .outflow(&["run", "shop.yaml"])
        .code(3)
        .says("shop failed")
        .says("error[polling.not_permitted]");
    assert!(ended.out.is_empty(), "{ended:?}");
    let checked = folder.outflow(&["check", "shop.yaml"]).code(3).out;
    assert!(checked.contains("error") && checked.contains("GRANT SELECT ON"), "{checked}");
    // Only the statements, which a superuser can run as they are; then it works.
    let statements = folder.outflow(&["check", "shop.yaml", "--sql"]).code(3).out;
    assert!(statements.starts_with("GRANT SELECT ON") && !statements.contains("error"), "{statements}");
    database.run(&statements);
    assert_eq!(folder.outflow(&["run", "shop.yaml", "--stop-at", "current"]).code(0).lines().len(), 5);
}

#[test]
fn what_is_missing_there_is_an_error_of_the_environment() {
    let database = Database::with_grant();
    let (folder, _) = database.pipeline();
    let text = folder.read("shop.yaml");
    for (from, to, code) in [
        ("tables: [outbox]", "tables: [outbocks]", "polling.table_missing"),
        ("tables: [outbox]", "tables: [outbox]\n  cursor: sequence", "polling."),
        (database.name.as_str(), "no_such_database", "polling.database_missing"),
        ("${file:secret}", "wrong", "polling.login"),
    ] {
        folder.write("shop.yaml", &text.replace(from, to));
        folder.outflow(&["run", "shop.yaml"]).code(3).says(&format!("error[{code}")).says("\n  ");
        let checked = folder.outflow(&["check", "shop.yaml"]).code(3).out;
        assert!(checked.contains(code), "{checked}");
    }
}

#[test]
fn the_password_is_in_nothing_that_is_printed_or_served() {
    let database = Database::with_grant();
    let (folder, password) = database.pipeline();
    let mut said = String::new();
    for verb in ["validate", "check"] {
        let ended = folder.outflow(&[verb, "shop.yaml", "--json"]).code(0);
        said += &(ended.out + &ended.err);
    }
    let mut command = folder.command(&["run", "shop.yaml", "--listen", "127.0.0.1:0"]);
    command.env("OUTFLOW_LOG", "trace");
    let running = Running::of(command);
    let address = running.listens();
    running.prints(5);
    for path in ["/metrics", "/readyz", "/healthz"] {
        said += &http_get(&address, path).1;
    }
    running.terminate();
    let ended = running.wait().code(0);
    assert_eq!(ids(&ended.lines()), ["id-0", "id-1", "id-2", "id-3", "id-4"]);
    said += &(ended.out + &ended.err);
    said += &folder.read(".outflow/shop/checkpoint");
    assert!(!said.contains(&password), "{said}");
}
