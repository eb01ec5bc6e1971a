//! The real binary in a folder of its own.

use std::io::{Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value as Json;

/// The wait of every test for something that must come: long enough for any machine.
const DEADLINE: Duration = Duration::from_secs(60);

/// A folder that goes away with the test.
pub(crate) struct Folder(tempfile::TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    /// The binary, started in this folder, without what the environment of the test says to Outflow.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_outflow"));
        command.args(arguments).current_dir(self.0.path()).stdin(Stdio::null());
        for (name, _) in std::env::vars_os().filter(|(n, _)| n.to_string_lossy().starts_with("OUTFLOW_")) {
            command.env_remove(name);
        }
        command
    }

    /// Runs the binary to its end.
    pub(crate) fn outflow(&self, arguments: &[&str]) -> Ended {
        self.start(arguments).wait()
    }

    /// Waits until the stored checkpoint of `shop.yaml` has this position.
    #[track_caller]
    pub(crate) fn has_stored(&self, partition: &str, position: &str) {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let shown = self.outflow(&["position", "show", "shop.yaml", "--json"]).json();
            if shown[0]["positions"][partition] == position {
                return;
            }
            assert!(Instant::now() < deadline, "not stored: {shown}");
        }
    }

    /// Starts the binary and reads what it prints.
    pub(crate) fn start(&self, arguments: &[&str]) -> Running {
        Running::of(self.command(arguments))
    }
}

/// What came of a run.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ended {
    /// Requires an exit code, and an output that no panic and no colour is in.
    #[track_caller]
    pub(crate) fn code(self, code: i32) -> Self {
        assert_eq!(self.status.code(), Some(code), "{self:?}");
        for text in [&self.out, &self.err] {
            assert!(!text.contains("panicked"), "{text}");
            assert!(!text.contains('\u{1b}'), "{text}");
        }
        self
    }

    /// Requires a text on stderr.
    #[track_caller]
    pub(crate) fn says(self, text: &str) -> Self {
        assert!(self.err.contains(text), "no {text:?} in\n{}", self.err);
        self
    }

    /// Standard output as one JSON document.
    #[track_caller]
    pub(crate) fn json(&self) -> Json {
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("{e} in {}", self.out))
    }

    /// The lines of standard output as JSON documents.
    #[track_caller]
    pub(crate) fn lines(&self) -> Vec<Json> {
        json_lines(&self.out)
    }
}

#[track_caller]
pub(crate) fn json_lines(text: &str) -> Vec<Json> {
    text.lines().map(|l| serde_json::from_str(l).unwrap_or_else(|e| panic!("{e} in {l}"))).collect()
}

/// The ids of records, in order.
pub(crate) fn ids(records: &[Json]) -> Vec<String> {
    records.iter().map(|r| r["id"].as_str().unwrap().to_owned()).collect()
}

/// A port of this machine on which nobody listens.
pub(crate) fn closed_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Status and body of an answer to a request.
pub(crate) fn http_get(address: &str, path: &str) -> (u16, String) {
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (status, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
}

/// Text that grows as a process prints it.
#[derive(Clone, Default)]
struct Text(Arc<(Mutex<String>, Condvar)>);

impl Text {
    fn follow(&self, mut from: impl Read + Send + 'static) -> JoinHandle<()> {
        let text = self.clone();
        std::thread::spawn(move || {
            let mut buffer = [0; 8192];
            while let Ok(n @ 1..) = from.read(&mut buffer) {
                let part = String::from_utf8_lossy(&buffer[..n]).into_owned();
                text.0.0.lock().unwrap_or_else(PoisonError::into_inner).push_str(&part);
                text.0.1.notify_all();
            }
            text.0.1.notify_all();
        })
    }

    fn get(&self) -> String {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    #[track_caller]
    fn until(&self, what: &str, condition: impl Fn(&str) -> bool) -> String {
        let text = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        let wait = self.0.1.wait_timeout_while(text, DEADLINE, |text| !condition(text));
        let (text, _) = wait.unwrap_or_else(PoisonError::into_inner);
        assert!(condition(&text), "{what} did not come; there is\n{text}");
        text.clone()
    }
}

/// A process that runs; killed when it is dropped.
pub(crate) struct Running {
    child: Child,
    out: Text,
    err: Text,
    readers: Vec<JoinHandle<()>>,
}

impl Running {
    /// Starts a command and reads what it prints, unless its output has been given away before.
    pub(crate) fn of(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (out, err) = (Text::default(), Text::default());
        let readers =
            vec![out.follow(child.stdout.take().unwrap()), err.follow(child.stderr.take().unwrap())];
        Self { child, out, err, readers }
    }

    /// The same for a reader of standard output that reads nothing before the process has ended.
    pub(crate) fn unread(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let err = Text::default();
        let readers = vec![err.follow(child.stderr.take().unwrap())];
        Self { child, out: Text::default(), err, readers }
    }

    /// Closes the end of standard output that nobody reads.
    pub(crate) fn close_stdout(&mut self) {
        drop(self.child.stdout.take());
    }

    /// Waits for a text on stderr; gives all that is there.
    #[track_caller]
    pub(crate) fn says(&self, text: &str) -> String {
        self.err.until(text, |all| all.contains(text))
    }

    /// Waits until it serves health and metrics; gives the address.
    #[track_caller]
    pub(crate) fn listens(&self) -> String {
        let said = self.says("/healthz /readyz /metrics\n");
        said.split("http://").nth(1).unwrap().split_whitespace().next().unwrap().to_owned()
    }

    /// Waits until stderr meets a condition.
    #[track_caller]
    pub(crate) fn says_that(&self, what: &str, condition: impl Fn(&str) -> bool) -> String {
        self.err.until(what, condition)
    }

    /// Waits for so many whole lines on stdout; gives all that is there.
    #[track_caller]
    pub(crate) fn prints(&self, lines: usize) -> String {
        self.out.until("lines", |all| all.matches('\n').count() >= lines)
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    pub(crate) fn terminate(&self) {
        self.signal(rustix::process::Signal::TERM);
    }

    /// Waits for the end.
    #[track_caller]
    pub(crate) fn wait(mut self) -> Ended {
        let began = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(began.elapsed() < DEADLINE, "it does not end; it said\n{}", self.err.get());
            std::thread::sleep(Duration::from_millis(2));
        };
        self.readers.drain(..).for_each(|r| r.join().unwrap());
        let mut out = self.out.get();
        if let Some(mut unread) = self.child.stdout.take() {
            unread.read_to_string(&mut out).unwrap();
        }
        Ended { status, out, err: self.err.get() }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A database with an outbox of so many rows, each of an order of its own.
pub(crate) fn outbox(path: &Path, rows: usize) {
    let connection = rusqlite::Connection::open(path).unwrap();
    connection
        .execute_batch(
            "PRAGMA journal_mode = WAL;
             CREATE TABLE IF NOT EXISTS outbox (
                 seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL, aggregatetype TEXT NOT NULL,
                 aggregateid TEXT NOT NULL, type TEXT NOT NULL, payload TEXT NOT NULL);",
        )
        .unwrap();
    let first: i64 = connection.query_row("SELECT count(*) FROM outbox", [], |row| row.get(0)).unwrap();
    for n in first..first + rows as i64 {
        let values = (format!("id-{n}"), format!("order-{n}"), format!("{{\"n\":{n}}}"));
        connection
            .execute(
                "INSERT INTO outbox (id, aggregatetype, aggregateid, type, payload)
                 VALUES (?1, 'orders', ?2, 'OrderPlaced', ?3)",
                values,
            )
            .unwrap();
    }
}

/// A pipeline from that outbox to standard output.
pub(crate) const SHOP: &str = "\
name: shop
source:
  type: polling
  url: sqlite:shop.db
  tables: [outbox]
transforms:
  - type: outbox
sink:
  type: stdout
";

/// Rows without end into nothing.
pub(crate) const ENDLESS: &str = "\
name: endless
source:
  type: generator
  rate: 1000
sink:
  type: blackhole
";
