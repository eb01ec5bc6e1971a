//! Kills a pipeline with SIGKILL again and again, and knows in which phase it was.
//!
//! # What the pipeline has to do
//!
//! When [`PHASES_VARIABLE`] is set, the pipeline keeps one record at the beginning of the file that it names: 64
//! bytes, `<phase> <count>`, filled up with spaces, the last byte a line feed; [`Marker::record`] makes it. The
//! pipeline creates the file if it is missing, never truncates it, and overwrites the record in place with a single
//! positioned write at every change, so that whoever reads it after a kill reads a whole one. No sync is needed.
//!
//! - `<phase>` is what the pipeline is in the middle of; where several things go on, the last of this list that does.
//!   `idle`: nothing. `read`: events were taken from the source and none of them was offered to the sink. `in-flight`:
//!   the sink has taken events that it has not acknowledged, or these wait to be part of a checkpoint. `checkpoint`: a
//!   checkpoint is being stored. `release`: it is stored, and the source is being told.
//! - `<count>` is the number of events that the source has emitted and not yet been told to forget. It is raised
//!   before a batch is passed on, and lowered after the source was told. So it is never less than what can be
//!   repeated after a kill.
//!
//! When [`HOLD_VARIABLE`] is set to `<phase> <milliseconds>`, the pipeline stays in that phase for so long each time
//! it enters it with a count above 0, after it has written the record: a phase that lasts microseconds could not be
//! hit otherwise.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use outflow_core::{Error, Result};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// Names the file with the record of the phase.
pub const PHASES_VARIABLE: &str = "OUTFLOW_CRASH_PHASES";
/// Says in which phase the pipeline has to stay for how long.
pub const HOLD_VARIABLE: &str = "OUTFLOW_CRASH_HOLD";
/// The phases that a pipeline goes through with each batch.
pub const PHASES: [&str; 4] = ["read", "in-flight", "checkpoint", "release"];

const RECORD: usize = 64;
const POLL: Duration = Duration::from_micros(200);

/// What a pipeline was in the middle of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Marker {
    /// The phase; empty if none was written.
    pub phase: String,
    /// Events that were emitted and not yet released.
    pub unacknowledged: u64,
}

impl Marker {
    /// A marker.
    pub fn new(phase: impl Into<String>, unacknowledged: u64) -> Self {
        Self { phase: phase.into(), unacknowledged }
    }

    /// The record to write at the beginning of the file.
    pub fn record(&self) -> [u8; RECORD] {
        let mut record = [b' '; RECORD];
        let text = format!("{} {}", self.phase, self.unacknowledged);
        for (to, from) in record.iter_mut().zip(text.bytes()) {
            *to = from;
        }
        if let Some(last) = record.last_mut() {
            *last = b'\n';
        }
        record
    }

    /// Reads the record of a file. A file that does not exist, or holds no whole record, gives an empty marker.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn read(path: &Path) -> io::Result<Self> {
        let record = match fs::read_to_string(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            record => record?,
        };
        let mut words = record.split_ascii_whitespace();
        let marker = words.next().zip(words.next().and_then(|count| count.parse().ok()));
        Ok(match marker {
            Some((phase, count)) if record.len() == RECORD => Self::new(phase, count),
            _ => Self::default(),
        })
    }
}

/// The pipeline under test, and what the test wants to know about each kill.
pub trait Subject {
    /// The command of a run; the first has number 0. The driver adds the two variables.
    fn command(&mut self, run: u32) -> Command;

    /// Whether the run has come so far that it may be killed, for instance because its output has grown. Asked again
    /// and again, so it should be cheap.
    ///
    /// # Errors
    /// Whatever ends the test.
    fn ready(&mut self, run: u32) -> Result<bool> {
        _ = run;
        Ok(true)
    }

    /// The run was killed and is gone: the moment to note how long its output is and what its state says.
    ///
    /// # Errors
    /// Whatever ends the test.
    fn killed(&mut self, kill: &Kill) -> Result<()> {
        _ = kill;
        Ok(())
    }
}

/// One kill.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Kill {
    /// The number of the run.
    pub run: u32,
    /// The phase that was aimed at, if the moment was not left to chance.
    pub aimed: Option<String>,
    /// What the pipeline was in the middle of.
    pub marker: Marker,
}

impl Kill {
    /// Whether the kill could do harm: something was in flight.
    pub fn counts(&self) -> bool {
        self.marker.unacknowledged > 0
    }
}

/// All kills of a test. `Display` counts them by phase.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kills {
    phases: Vec<String>,
    kills: Vec<Kill>,
}

impl Kills {
    /// Every kill, in order, also those that do not count.
    pub fn all(&self) -> &[Kill] {
        &self.kills
    }

    /// How many count.
    pub fn counted(&self) -> usize {
        self.kills.iter().filter(|k| k.counts()).count()
    }

    /// How many count and hit this phase.
    pub fn in_phase(&self, phase: &str) -> usize {
        self.kills.iter().filter(|k| k.counts() && k.marker.phase == phase).count()
    }

    /// The phase that was hit least.
    fn rarest(&self) -> Option<(&str, usize)> {
        self.phases.iter().map(|p| (p.as_str(), self.in_phase(p))).min_by_key(|(_, kills)| *kills)
    }
}

impl fmt::Display for Kills {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} kills with work in flight:", self.counted())?;
        for (number, phase) in self.phases.iter().enumerate() {
            write!(f, "{} {phase} {}", if number > 0 { "," } else { "" }, self.in_phase(phase))?;
        }
        write!(f, "; {} without", self.kills.len() - self.counted())
    }
}

/// Says how often and when to kill.
#[derive(Clone, Debug)]
pub struct CrashPlan {
    marker: PathBuf,
    phases: Vec<String>,
    kills: usize,
    seed: u64,
    delay: Duration,
    hold: Duration,
    patience: Duration,
}

impl CrashPlan {
    /// 30 kills over the four [`PHASES`], up to 300 ms after a run is ready, with its record in the file `marker`.
    pub fn new(marker: impl Into<PathBuf>) -> Self {
        Self {
            marker: marker.into(),
            phases: PHASES.map(str::to_owned).to_vec(),
            kills: 30,
            seed: 0,
            delay: Duration::from_millis(300),
            hold: Duration::from_millis(20),
            patience: Duration::from_secs(30),
        }
    }

    /// The phases that must each be hit at least once.
    #[must_use]
    pub fn phases<P: Into<String>>(mut self, phases: impl IntoIterator<Item = P>) -> Self {
        self.phases = phases.into_iter().map(Into::into).collect();
        self
    }

    /// How many kills with work in flight there must be.
    #[must_use]
    pub fn kills(mut self, kills: usize) -> Self {
        self.kills = kills;
        self
    }

    /// Where the random moments come from.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// How long after it is ready a run is killed at the latest, where the moment is left to chance.
    #[must_use]
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// How long a run that is aimed at has to stay in its phase.
    #[must_use]
    pub fn hold(mut self, hold: Duration) -> Self {
        self.hold = hold;
        self
    }

    /// How long a run may take to be ready, or to reach the phase that is aimed at.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Runs and kills until there are as many kills as planned and every phase was hit. Every other run is killed at
    /// a random moment, the others in the phase that was hit least so far. Blocks; something else must give the
    /// pipeline work meanwhile. Nothing runs when it returns.
    ///
    /// # Errors
    /// `verifier.crash` when a run cannot be started, ends by itself, or is not ready in time; when a phase is never
    /// reached. The first error of the subject.
    pub fn run(&self, subject: &mut impl Subject) -> Result<Kills> {
        let mut random = StdRng::seed_from_u64(self.seed);
        let mut done = Kills { phases: self.phases.clone(), kills: Vec::new() };
        let most = 20 * self.kills + 100;
        for run in 0.. {
            let rarest = done.rarest().map(|(phase, kills)| (phase.to_owned(), kills));
            let missing = rarest.as_ref().is_some_and(|(_, kills)| *kills == 0);
            if done.counted() >= self.kills && !missing {
                break;
            }
            if done.kills.len() >= most {
                return Err(failed(run, &format!("too many runs were killed in vain: {done}")));
            }
            let by_chance = done.counted() < self.kills && run % 2 == 0;
            let aim = rarest.map(|(phase, _)| phase).filter(|_| !by_chance);
            let kill = self.kill(subject, run, aim, &mut random)?;
            subject.killed(&kill)?;
            done.kills.push(kill);
        }
        Ok(done)
    }

    fn kill(
        &self,
        subject: &mut impl Subject,
        run: u32,
        aimed: Option<String>,
        random: &mut StdRng,
    ) -> Result<Kill> {
        let unusable = |e| failed(run, "the file of the phases cannot be used").caused_by(e);
        match fs::remove_file(&self.marker) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(unusable(e)),
            _ => {}
        }
        let mut command = subject.command(run);
        command.env(PHASES_VARIABLE, &self.marker);
        if let Some(phase) = &aimed {
            command.env(HOLD_VARIABLE, format!("{phase} {}", self.hold.as_millis()));
        }
        let child = command.spawn().map_err(|e| failed(run, "it cannot be started").caused_by(e))?;
        let mut child = Running { child, run };

        let deadline = Instant::now() + self.patience;
        while !subject.ready(run)? {
            child.wait(POLL)?;
            if Instant::now() > deadline {
                return Err(failed(run, "it was not ready in time"));
            }
        }
        match &aimed {
            None => child.wait(self.delay.mul_f64(random.random_range(0.0..=1.0)))?,
            Some(phase) => {
                // Where the phase does not come, a kill elsewhere is better than none.
                while Instant::now() < deadline {
                    let marker = Marker::read(&self.marker).map_err(unusable)?;
                    if marker.phase == *phase && marker.unacknowledged > 0 {
                        break;
                    }
                    child.wait(POLL)?;
                }
                child.wait(self.hold.mul_f64(random.random_range(0.0..=0.8)))?;
            }
        }
        child.kill()?;
        // It is gone, so the record is whole.
        let marker = Marker::read(&self.marker).map_err(unusable)?;
        Ok(Kill { run, aimed, marker })
    }
}

/// A run, which is killed when this is dropped.
struct Running {
    child: Child,
    run: u32,
}

impl Running {
    /// Waits for so long. The run must not end meanwhile.
    fn wait(&mut self, time: Duration) -> Result<()> {
        std::thread::sleep(time);
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(failed(self.run, &format!("it ended by itself: {status}"))),
            Err(e) => Err(failed(self.run, "it cannot be watched").caused_by(e)),
        }
    }

    fn kill(mut self) -> Result<()> {
        let killed = self.child.kill().and_then(|()| self.child.wait());
        killed.map(drop).map_err(|e| failed(self.run, "it cannot be killed").caused_by(e))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It fails only where the run has ended already.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

fn failed(run: u32, what: &str) -> Error {
    Error::permanent("verifier.crash").message(what.to_owned()).with("run", run)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("phase");
        assert_eq!(Marker::read(&path).unwrap(), Marker::default());
        for marker in [Marker::new("in-flight", 0), Marker::new("checkpoint", u64::MAX)] {
            fs::write(&path, marker.record()).unwrap();
            assert_eq!(Marker::read(&path).unwrap(), marker);
        }
        for damaged in
            ["", "read", "read 12", "read x                                                         \n"]
        {
            fs::write(&path, damaged).unwrap();
            assert_eq!(Marker::read(&path).unwrap(), Marker::default());
        }
    }

    #[test]
    fn kills_are_counted_by_phase() {
        let kill = |phase: &str, count| Kill { run: 0, aimed: None, marker: Marker::new(phase, count) };
        let kills = Kills {
            phases: PHASES.map(str::to_owned).to_vec(),
            kills: vec![kill("read", 1), kill("in-flight", 0), kill("release", 3), kill("read", 5)],
        };
        assert_eq!(
            kills.to_string(),
            "3 kills with work in flight: read 2, in-flight 0, checkpoint 0, release 1; 1 without"
        );
        assert_eq!(kills.rarest(), Some(("in-flight", 0)));
    }
}
