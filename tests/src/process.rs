//! Processes of `outflow`.

use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::wait_until;

/// The programs that the tests start; see [`programs!`](crate::programs).
#[derive(Clone, Debug)]
pub struct Programs {
    /// `outflow`.
    pub outflow: PathBuf,
    /// A generator process of the delivery verifier.
    pub generator: PathBuf,
}

impl Programs {
    /// `outflow run` on pipeline files, with its state in `folder/state` and its words appended to
    /// `folder/outflow.log`.
    ///
    /// # Panics
    /// When the log cannot be opened.
    pub fn run(&self, files: &[PathBuf], folder: &Path) -> Command {
        let mut command = Command::new(&self.outflow);
        command.arg("run").args(files).arg("--state-dir").arg(folder.join("state"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(open_log(folder));
        command.current_dir(folder);
        command
    }
}

fn log(folder: &Path) -> PathBuf {
    folder.join("outflow.log")
}

fn open_log(folder: &Path) -> File {
    OpenOptions::new().create(true).append(true).open(log(folder)).unwrap()
}

/// The last words of the processes that ran in a folder.
pub fn last_words(folder: &Path) -> String {
    let text = fs::read_to_string(log(folder)).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}

/// A process of `outflow run`. Dropping it kills it; so it never outlives its test.
#[derive(Debug)]
pub struct Outflow {
    child: Child,
    folder: PathBuf,
}

impl Outflow {
    /// Starts it.
    ///
    /// # Panics
    /// When the program cannot be started.
    pub fn start(programs: &Programs, files: &[PathBuf], folder: &Path) -> Self {
        let child = programs.run(files, folder).spawn().unwrap();
        Self { child, folder: folder.to_owned() }
    }

    /// Runs it with `--stop-at current`, which must end well.
    ///
    /// # Panics
    /// When it does not exit with 0.
    pub fn run_to_current(programs: &Programs, files: &[PathBuf], folder: &Path) {
        let status = programs.run(files, folder).args(["--stop-at", "current"]).status().unwrap();
        assert!(status.success(), "{status}\n{}", last_words(folder));
    }

    /// Waits until something is true while the process goes on.
    ///
    /// # Panics
    /// When the process ends, or it does not come true in time.
    #[track_caller]
    pub fn wait_until(&mut self, what: &str, mut condition: impl FnMut() -> bool) {
        wait_until(what, || {
            self.assert_running();
            condition()
        });
    }

    /// # Panics
    /// When the process has ended.
    #[track_caller]
    pub fn assert_running(&mut self) {
        let ended = self.child.try_wait().unwrap();
        assert!(ended.is_none(), "it ended by itself: {ended:?}\n{}", last_words(&self.folder));
    }

    /// Asks it to stop in order, by SIGTERM, and waits for the end.
    ///
    /// # Panics
    /// When it does not exit with 0.
    #[track_caller]
    pub fn stop(mut self) {
        kill_process(self.pid(), Signal::TERM).unwrap();
        let mut status: Option<ExitStatus> = None;
        wait_until("the process ends after SIGTERM", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        assert!(status.is_some_and(|s| s.success()), "{status:?}\n{}", last_words(&self.folder));
    }

    /// Holds the process while `work` is done: what is counted there cannot change by it.
    ///
    /// # Panics
    /// When the process is gone.
    pub fn paused<T>(&self, work: impl FnOnce() -> T) -> T {
        kill_process(self.pid(), Signal::STOP).unwrap();
        let done = work();
        kill_process(self.pid(), Signal::CONT).unwrap();
        done
    }

    /// Resident memory now, in bytes.
    ///
    /// # Panics
    /// When the process is gone.
    pub fn resident(&self) -> u64 {
        self.memory("VmRSS:")
    }

    /// The most memory that was ever resident, in bytes.
    ///
    /// # Panics
    /// When the process is gone.
    pub fn peak(&self) -> u64 {
        self.memory("VmHWM:")
    }

    fn memory(&self, key: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap();
        let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse().unwrap();
        kilobytes << 10
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }
}

impl Drop for Outflow {
    fn drop(&mut self) {
        // It fails only where the process has ended already.
        _ = self.child.kill();
        _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("{}", last_words(&self.folder));
        }
    }
}
