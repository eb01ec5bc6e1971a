//! A generator in a process of its own, which lives on when the pipeline is killed and can itself be killed.
//!
//! The process reads its workload from the first line of its input, writes its [`Progress`] to its output as JSON
//! lines, and stops when its input ends: so it never outlives whoever started it.

use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitCode, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use outflow_core::{Error, Result};

use super::generator::{Generator, Progress};
use super::workload::Workload;

/// How often the process reports.
const REPORT: Duration = Duration::from_millis(20);

/// A running generator process. Dropping it kills it.
pub struct GeneratorProcess {
    child: Child,
    input: Option<ChildStdin>,
    progress: Arc<Mutex<Progress>>,
    reader: Option<JoinHandle<()>>,
}

impl GeneratorProcess {
    /// Starts `program`, a program whose `main` is [`generator_main`]; the testkit's own is `outflow-generator`.
    ///
    /// # Errors
    /// `verifier.generator` when it cannot be started.
    pub fn spawn(program: &Path, workload: &Workload) -> Result<Self> {
        let failed = |e: io::Error| {
            Error::permanent("verifier.generator")
                .message(format!("{} cannot be started", program.display()))
                .caused_by(e)
        };
        // By its input and not its arguments, which everybody on the machine can read.
        let mut line = serde_json::to_vec(workload).map_err(|e| failed(e.into()))?;
        line.push(b'\n');
        let mut child =
            Command::new(program).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().map_err(failed)?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let mut process = Self { child, input, progress: Arc::default(), reader: None };
        if let Some(input) = &mut process.input {
            input.write_all(&line).map_err(failed)?;
        }
        let progress = Arc::clone(&process.progress);
        process.reader = output.map(|output| {
            std::thread::spawn(move || {
                for line in BufReader::new(output).lines().map_while(io::Result::ok) {
                    if let Ok(report) = serde_json::from_str(&line) {
                        *progress.lock().unwrap_or_else(PoisonError::into_inner) = report;
                    }
                }
            })
        });
        Ok(process)
    }

    /// How far it had come some hundredths of a second ago.
    pub fn progress(&self) -> Progress {
        *self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Kills it with SIGKILL, in whatever it is doing. Open transactions are rolled back by the database; those that
    /// were being committed are uncertain, see [`History::resolve`](super::History::resolve).
    ///
    /// # Errors
    /// `verifier.generator` when it cannot be killed.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill().and_then(|()| self.child.wait()).map(drop).map_err(lost)
    }

    /// Tells it to stop after the transactions that it is in, and waits for it.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub fn stop(mut self) -> Result<Progress> {
        self.input = None;
        self.wait()
    }

    /// Waits until the workload is done.
    ///
    /// # Errors
    /// `verifier.generator` when it failed; what failed, it wrote to standard error.
    pub fn wait(mut self) -> Result<Progress> {
        let status = self.child.wait().map_err(lost)?;
        self.finish(status)
    }

    fn finish(&mut self, status: ExitStatus) -> Result<Progress> {
        if let Some(reader) = self.reader.take() {
            // It ends with the output, and cannot panic.
            _ = reader.join();
        }
        if status.success() {
            Ok(self.progress())
        } else {
            Err(Error::permanent("verifier.generator").message(format!("the generator failed: {status}")))
        }
    }
}

impl Drop for GeneratorProcess {
    fn drop(&mut self) {
        // It fails only where the process has ended already.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

fn lost(e: io::Error) -> Error {
    Error::permanent("verifier.generator").message("the generator cannot be waited for").caused_by(e)
}

/// The `main` of a generator process, for a binary of any crate:
/// `fn main() -> ExitCode { outflow_testkit::verifier::generator_main() }`.
pub fn generator_main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Standard error is all that is left to tell it to.
            _ = writeln!(io::stderr(), "{error:?}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let failed = |e: io::Error| {
        Error::configuration("verifier.generator")
            .message("the first line of the input is no workload")
            .hint("this program is started by outflow_testkit::verifier::GeneratorProcess")
            .caused_by(e)
    };
    let mut line = String::new();
    io::stdin().read_line(&mut line).map_err(failed)?;
    let workload: Workload = serde_json::from_str(&line).map_err(|e| failed(e.into()))?;
    let generator = Generator::start(workload)?;

    let (told, stop) = mpsc::channel();
    std::thread::spawn(move || {
        // Whatever else comes is no message; only the end counts.
        _ = io::copy(&mut io::stdin(), &mut io::sink());
        _ = told.send(());
    });
    while !generator.is_done() {
        report(generator.progress());
        if stop.recv_timeout(REPORT) != Err(mpsc::RecvTimeoutError::Timeout) {
            break;
        }
    }
    let ended = if generator.is_done() { generator.wait() } else { generator.stop() };
    report(ended?);
    Ok(())
}

fn report(progress: Progress) {
    // Nobody may be reading any more: then the input has ended as well.
    _ = serde_json::to_writer(io::stdout(), &progress);
    _ = io::stdout().write_all(b"\n");
    _ = io::stdout().flush();
}
