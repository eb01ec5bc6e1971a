//! A second process: the test's own binary, which runs the same test again, finds itself told to serve, and does what
//! its standard input says, line by line. So both sides know of each step that it has happened.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use outflow_sdk::{CheckpointStore as _, Error, Lease, Result};
use outflow_state::FileStore;
use rustix::process::{Pid, Resource, Rlimit, Signal, WaitOptions, kill_process, setrlimit, waitpid};

use super::{owner, position, schema, scope};

const FOLDER: &str = "OUTFLOW_TEST_FOLDER";
const LEASE: &str = "OUTFLOW_TEST_LEASE_MS";
/// Sets the child's lines apart from what the test harness prints.
const MARK: &str = "child: ";

/// What the child's change number n stores: a position, and one of ten schemas that says which change it is of.
pub fn text(n: u64) -> String {
    format!("{n}:{}", "x".repeat(1500))
}

/// A process that serves.
pub struct Child {
    process: std::process::Child,
    answers: Receiver<String>,
}

/// How a child is started.
pub struct Start<'a> {
    pub test: &'a str,
    pub folder: &'a Path,
    pub lease: Duration,
    /// Another binary than this one, and who runs it.
    pub run_as: Option<(PathBuf, u32)>,
}

impl Start<'_> {
    pub fn start(self) -> Child {
        let own = std::env::current_exe().unwrap();
        let (exe, user) = self.run_as.map_or((own, None), |(exe, user)| (exe, Some(user)));
        // A file that may not grow shall be an error, not a signal; what is ignored stays so over exec.
        let mut command = Command::new("sh");
        command.args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""]).arg(exe);
        command.args([self.test, "--exact", "--nocapture", "--test-threads=1"]);
        command.env(FOLDER, self.folder).env(LEASE, self.lease.as_millis().to_string());
        command.current_dir("/").stdin(Stdio::piped()).stdout(Stdio::piped());
        if let Some(user) = user {
            command.uid(user).gid(user);
        }
        let mut process = command.spawn().unwrap();
        let (send, answers) = channel();
        let stdout = BufReader::new(process.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(std::result::Result::ok) {
                if let Some((_, answer)) = line.split_once(MARK) {
                    let _ = send.send(answer.to_owned());
                }
            }
        });
        Child { process, answers }
    }
}

impl Child {
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.process)
    }

    pub fn tell(&mut self, order: &str) {
        writeln!(self.process.stdin.as_mut().unwrap(), "{order}").unwrap();
    }

    /// The next answer.
    pub fn answer(&self) -> String {
        self.answers.recv_timeout(Duration::from_secs(60)).unwrap()
    }

    pub fn ask(&mut self, order: &str) -> String {
        self.tell(order);
        self.answer()
    }

    /// Asks and expects it to be done.
    pub fn done(&mut self, order: &str) {
        let answer = self.ask(order);
        assert!(answer.starts_with("ok"), "{order}: {answer}");
    }

    /// Asks and expects to be refused like this.
    pub fn refused(&mut self, order: &str, code: &str) -> String {
        let answer = self.ask(order);
        assert!(answer.starts_with(&format!("error {code} ")), "{order}: {answer}");
        answer
    }

    /// Stops the process (SIGSTOP) and returns when it stands still.
    pub fn stop(&self) {
        kill_process(self.pid(), Signal::STOP).unwrap();
        let (_, status) = waitpid(Some(self.pid()), WaitOptions::UNTRACED).unwrap().unwrap();
        assert!(status.stopped(), "{status:?}");
    }

    pub fn go_on(&self) {
        kill_process(self.pid(), Signal::CONT).unwrap();
    }

    /// Kills the process (SIGKILL), waits for its end, and returns the answers that nobody has seen yet.
    pub fn kill(&mut self) -> Vec<String> {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        self.answers.iter().collect()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// In a child: serves until its input ends. False in the test itself.
pub fn serve() -> bool {
    let Some(folder) = std::env::var_os(FOLDER) else { return false };
    let lease = std::env::var(LEASE).unwrap().parse().unwrap();
    // The test may be asynchronous already; the server has a runtime of its own.
    let server = std::thread::spawn(move || {
        let mut server = Server {
            store: FileStore::at(folder).lease(Duration::from_millis(lease)),
            lease: None,
            runtime: tokio::runtime::Builder::new_current_thread().build().unwrap(),
        };
        for order in std::io::stdin().lines() {
            let order = order.unwrap();
            let mut words = order.split(' ');
            let (verb, number) = (words.next().unwrap(), words.next().and_then(|n| n.parse().ok()));
            answer(server.act(verb, number));
        }
    });
    server.join().unwrap();
    true
}

fn answer(result: Result<String>) {
    match result {
        Ok(text) => println!("\n{MARK}ok {text}"),
        Err(e) => {
            println!("\n{MARK}error {} transient={} {e} {:?}", e.code(), e.is_transient(), e.hint_text())
        }
    }
}

struct Server {
    store: FileStore,
    lease: Option<Lease>,
    runtime: tokio::runtime::Runtime,
}

impl Server {
    fn act(&mut self, verb: &str, number: Option<u64>) -> Result<String> {
        match (verb, number) {
            // The deadline, in milliseconds of the machine's uptime.
            ("acquire", _) => {
                let owner = owner(&std::process::id().to_string());
                let lease = self.runtime.block_on(self.store.acquire(&scope(), &owner))?;
                let deadline = lease.deadline().since_boot().as_millis().to_string();
                self.lease = Some(lease);
                Ok(deadline)
            }
            ("load", _) => {
                let stored = self.runtime.block_on(self.store.load(self.lease()))?;
                Ok(position(&stored).unwrap_or("nothing").to_owned())
            }
            ("renew", _) => {
                let lease = self.runtime.block_on(self.store.renew(self.lease()))?;
                self.lease = Some(lease);
                Ok(String::new())
            }
            ("release", _) => {
                let lease = self.lease.take().unwrap();
                self.runtime.block_on(self.store.release(lease)).map(|()| String::new())
            }
            // One attempt, under the lease as it is.
            ("commit", Some(n)) => {
                self.runtime.block_on(self.store.commit(self.lease(), &schema(n % 10, n, &text(n))))?;
                Ok(n.to_string())
            }
            // As a pipeline does it: renews when it must.
            ("store", Some(n)) => loop {
                match self.act("commit", Some(n)) {
                    Err(error) if error.code() == "state.lease_expired" => {
                        self.act("renew", None).map(drop)?
                    }
                    result => return result,
                }
            },
            // Stores until it may not, and tells each.
            ("run", Some(from)) => {
                for n in from.. {
                    answer(Ok(self.act("store", Some(n))?));
                }
                Err(Error::internal("no end"))
            }
            // How long a file may be; without a number, as long as it likes.
            ("limit", bytes) => {
                setrlimit(Resource::Fsize, Rlimit { current: bytes, maximum: None }).unwrap();
                Ok(String::new())
            }
            _ => Err(Error::internal("unknown order")),
        }
    }

    fn lease(&self) -> &Lease {
        self.lease.as_ref().unwrap()
    }
}
