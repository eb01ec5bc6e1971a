//! A PostgreSQL server that one test has for itself, to stop and start as it likes.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use outflow_testkit::verifier::database;
use outflow_testkit::verifier::{Shape, Table};
use rustix::process::{Pid, Signal, geteuid, kill_process};
use tempfile::TempDir;

use crate::{settings, wait_until};

/// How a server is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shutdown {
    /// Every session is ended, then a checkpoint is written.
    Fast,
    /// At once, as in a power cut; the next start recovers.
    Immediate,
}

/// A server with its data in a temporary folder, on a port of its own. It ends, and its data goes, with this.
#[derive(Debug)]
pub struct PostgresServer {
    programs: PathBuf,
    data: TempDir,
    port: u16,
    process: Option<Child>,
}

impl PostgresServer {
    /// Creates and starts it, of the same version as the test servers'.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start() -> Self {
        let programs = programs(&settings::server("OUTFLOW_TEST_POSTGRES_VERSION"));
        let data = tempfile::tempdir().unwrap();
        if geteuid().is_root() {
            // PostgreSQL refuses to be root.
            succeed(Command::new("chown").arg("postgres:").arg(data.path()));
        }
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut server = Self { programs, data, port, process: None };
        let mut initdb = server.program("initdb");
        initdb.args(["--username=outflow", "--auth=trust", "--encoding=UTF8", "--no-sync", "--pgdata"]);
        succeed(initdb.arg(server.data.path()));
        server.run();
        server
    }

    /// The URL of its one user.
    pub fn url(&self) -> String {
        format!("postgres://outflow@127.0.0.1:{}/postgres", self.port)
    }

    /// Stops it.
    ///
    /// # Panics
    /// When it does not.
    pub fn stop(&mut self, shutdown: Shutdown) {
        let mut process = self.process.take().unwrap();
        let signal = if shutdown == Shutdown::Fast { Signal::INT } else { Signal::QUIT };
        kill_process(Pid::from_child(&process), signal).unwrap();
        wait_until("PostgreSQL stops", || process.try_wait().unwrap().is_some());
    }

    /// Moves the counter of transaction ids to shortly before it wraps around, as years of transactions would. Nothing
    /// may be there that is older than the move and not frozen.
    ///
    /// # Panics
    /// When the server does not stop, take it, or start.
    pub fn skip_to_wraparound(&mut self) {
        self.stop(Shutdown::Fast);
        // The states of the transactions from there to the end of the range: all of them are yet to come.
        let states = self.data.path().join("pg_xact/0FFF");
        std::fs::write(&states, vec![0; 256 * 1024]).unwrap();
        if geteuid().is_root() {
            succeed(Command::new("chown").arg("postgres:").arg(&states));
        }
        let next = u32::MAX - 500;
        let mut reset = self.program("pg_resetwal");
        succeed(reset.arg("--next-transaction-id").arg(next.to_string()).arg(self.data.path()));
        self.run();
    }

    /// Starts it, and waits until it answers.
    ///
    /// # Panics
    /// When it does not.
    pub fn run(&mut self) {
        let mut command = self.program("postgres");
        command.arg("-D").arg(self.data.path()).arg("-p").arg(self.port.to_string());
        command.args(["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="]);
        // A test is over before there is anything to clean, and it would not expect a counter that was moved.
        command.args(["-c", "autovacuum=off"]);
        self.process = Some(command.spawn().unwrap());
        let (url, none) = (self.url(), Table::new("none", Shape::Outbox));
        wait_until("PostgreSQL answers", || database::open(&url, &none, "test").is_ok());
    }

    /// A program of the server's, as the user who may run it.
    fn program(&self, name: &str) -> Command {
        let path = self.programs.join(name);
        let mut command = if geteuid().is_root() {
            let mut command = Command::new("setpriv");
            command.args(["--reuid", "postgres", "--regid", "postgres", "--init-groups"]).arg(path);
            command
        } else {
            Command::new(path)
        };
        command.current_dir(self.data.path()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            // SIGQUIT, so that its children end as well.
            _ = kill_process(Pid::from_child(&process), Signal::QUIT);
            _ = process.wait();
        }
    }
}

/// The folder of the programs of a version, where Debian keeps them; else what `pg_config` says.
fn programs(version: &str) -> PathBuf {
    let major = version.split('.').next().unwrap_or(version);
    let folder = Path::new("/usr/lib/postgresql").join(major).join("bin");
    if folder.join("initdb").exists() {
        return folder;
    }
    let found = Command::new("pg_config").arg("--bindir").output();
    let found = found.expect("neither Debian's PostgreSQL nor pg_config is there");
    PathBuf::from(String::from_utf8(found.stdout).unwrap().trim())
}

fn succeed(command: &mut Command) {
    let status = command.status().unwrap();
    assert!(status.success(), "{:?}: {status}", command.get_program());
}
