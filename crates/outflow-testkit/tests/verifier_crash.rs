//! The crash driver and the whole verifier, on a small pipeline whose mistakes are known: a child process that polls
//! SQLite, and which is this very test program.

#![cfg(feature = "verifier-sqlite")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends where it fails")]

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use outflow_core::Result;
use outflow_testkit::verifier::crash::{
    CrashPlan, HOLD_VARIABLE, Kill, Kills, Marker, PHASES, PHASES_VARIABLE, Subject,
};
use outflow_testkit::verifier::{
    Checker, GeneratorProcess, History, Order, Problem, RepeatBound, Report, Workload, whole_lines,
};
use tempfile::TempDir;

const FOLDER: &str = "TEST_PIPELINE_FOLDER";
const MISTAKE: &str = "TEST_PIPELINE_MISTAKE";
const DRAIN: &str = "TEST_PIPELINE_DRAIN";

/// The pipeline, when this program was started as one; a test that does nothing otherwise.
#[test]
fn child_process() {
    if let Ok(folder) = std::env::var(FOLDER) {
        pipeline(Path::new(&folder), &std::env::var(MISTAKE).unwrap_or_default());
    }
}

fn workload(folder: &Path) -> Workload {
    let url = format!("sqlite:{}", folder.join("shop.db").display());
    Workload::new(url, folder.join("journals")).rate(3000.0).padding([(0, 1), (3000, 1)])
}

fn pipeline(folder: &Path, mistake: &str) {
    let phases = Phases::new();
    let (output, state) = (folder.join("out.jsonl"), folder.join("state"));
    let mut database = workload(folder).open().unwrap();
    let mut sink = OpenOptions::new().append(true).create(true).open(&output).unwrap();
    if mistake != "torn" {
        sink.set_len(whole_lines(&output).unwrap()).unwrap();
    }
    let stored = fs::read_to_string(&state).unwrap_or_default();
    let mut seq: u64 = if mistake == "forgetful" { 0 } else { stored.parse().unwrap_or(0) };
    let checkpoint = |seq: u64| {
        let new = folder.join("state.new");
        fs::write(&new, seq.to_string()).unwrap();
        fs::rename(&new, &state).unwrap();
    };
    loop {
        let query = format!("SELECT seq, payload FROM outbox WHERE seq > {seq} ORDER BY seq LIMIT 50");
        let rows = database.pairs(&query).unwrap();
        let Some((last, _)) = rows.last() else {
            if std::env::var(DRAIN).is_ok() {
                return;
            }
            phases.enter("idle", 0);
            std::thread::sleep(Duration::from_millis(1));
            continue;
        };
        seq = last.parse().unwrap();
        phases.enter("read", rows.len());
        if mistake == "early" {
            phases.enter("checkpoint", rows.len());
            checkpoint(seq);
        }
        phases.enter("in-flight", rows.len());
        for (_, payload) in &rows {
            // In two parts, so that lines do get torn.
            let (one, other) = payload.split_at(payload.len() / 2);
            sink.write_all(one.as_bytes()).unwrap();
            if mistake == "torn" {
                phases.enter("in-flight", rows.len());
            }
            sink.write_all(format!("{other}\n").as_bytes()).unwrap();
        }
        if mistake != "early" {
            phases.enter("checkpoint", rows.len());
            checkpoint(seq);
        }
        phases.enter("release", rows.len());
        if mistake == "forgetful" {
            continue;
        }
        database.execute(&format!("DELETE FROM outbox WHERE seq <= {seq}")).unwrap();
    }
}

/// A pipeline's side of the contract with the driver.
struct Phases {
    file: Option<File>,
    hold: Option<(String, Duration)>,
}

impl Phases {
    fn new() -> Self {
        let file = std::env::var(PHASES_VARIABLE)
            .ok()
            .map(|path| OpenOptions::new().write(true).create(true).truncate(false).open(path).unwrap());
        let hold = std::env::var(HOLD_VARIABLE).ok().map(|hold| {
            let (phase, time) = hold.split_once(' ').unwrap();
            (phase.to_owned(), Duration::from_millis(time.parse().unwrap()))
        });
        Self { file, hold }
    }

    fn enter(&self, phase: &str, unacknowledged: usize) {
        let marker = Marker::new(phase, unacknowledged as u64);
        if let Some(file) = &self.file {
            file.write_all_at(&marker.record(), 0).unwrap();
        }
        if let Some((held, time)) = &self.hold
            && held == phase
            && unacknowledged > 0
        {
            std::thread::sleep(*time);
        }
    }
}

/// The pipeline as the driver sees it.
struct Pipeline {
    folder: TempDir,
    mistake: &'static str,
    /// How long the output was, in whole lines, when the pipeline was killed.
    restarts: Vec<u64>,
    /// What may be repeated after each kill.
    repeats: Vec<u64>,
}

impl Pipeline {
    fn command(&self) -> Command {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["--exact", "child_process", "--nocapture", "--quiet"])
            .stdout(std::process::Stdio::null());
        command.env(FOLDER, self.folder.path()).env(MISTAKE, self.mistake);
        command
    }

    fn output(&self) -> PathBuf {
        self.folder.path().join("out.jsonl")
    }
}

impl Subject for Pipeline {
    fn command(&mut self, _: u32) -> Command {
        Self::command(self)
    }

    fn ready(&mut self, _: u32) -> Result<bool> {
        let length = fs::metadata(self.output()).map_or(0, |m| m.len());
        Ok(length > self.restarts.last().copied().unwrap_or(0))
    }

    fn killed(&mut self, kill: &Kill) -> Result<()> {
        self.restarts.push(whole_lines(&self.output()).unwrap());
        self.repeats.push(kill.marker.unacknowledged);
        Ok(())
    }
}

/// Kills a pipeline while writers write, lets it finish, and checks what it delivered.
fn crash(mistake: &'static str, kills: usize, phases: &[&str]) -> (Kills, Report, Vec<u64>) {
    let folder = tempfile::tempdir().unwrap();
    let workload = workload(folder.path());
    workload.create_tables().unwrap();
    let mut pipeline = Pipeline { folder, mistake, restarts: vec![], repeats: vec![] };
    let marker = pipeline.folder.path().join("phase");
    let generator =
        GeneratorProcess::spawn(Path::new(env!("CARGO_BIN_EXE_outflow-generator")), &workload).unwrap();
    let plan = CrashPlan::new(marker).kills(kills).phases(phases.iter().copied());
    let plan = plan.seed(1).delay(Duration::from_millis(30));
    let kills = plan.run(&mut pipeline).unwrap();
    generator.stop().unwrap();
    assert!(pipeline.command().env(DRAIN, "1").status().unwrap().success());

    let mut history = History::read(&pipeline.folder.path().join("journals")).unwrap();
    let mut database = workload.open().unwrap();
    history.resolve(|tx| database.committed(tx)).unwrap();
    let mut checker = Checker::new(history, Order::Sequence);
    checker.deliver_file(&pipeline.output(), &pipeline.restarts).unwrap();
    (kills, checker.finish(), pipeline.repeats)
}

#[test]
fn a_pipeline_that_makes_no_mistake_is_clean_however_it_is_killed() {
    let (kills, report, repeats) = crash("", 40, &PHASES);
    println!("{kills}\n{report}");
    report.assert_clean(RepeatBound::Restarts(repeats));
    assert!(kills.counted() >= 40, "{kills}");
    assert!(PHASES.iter().all(|phase| kills.in_phase(phase) > 0), "{kills}");
    assert_eq!(report.repeats.len(), kills.all().len() + 1);
    assert!(report.repeated() > 0, "kills in flight have repeats: {report}");
}

#[test]
fn a_checkpoint_ahead_of_the_sink_loses_rows() {
    let (_, report, _) = crash("early", 20, &PHASES);
    assert!(report.count(Problem::Lost) > 0, "{report}");
}

#[test]
fn torn_lines_that_nobody_cuts_off_are_noticed() {
    let (_, report, _) = crash("torn", 4, &["in-flight"]);
    assert!(report.count(Problem::Unreadable) > 0, "{report}");
}

#[test]
fn a_pipeline_that_forgets_its_checkpoint_repeats_too_much() {
    let (_, report, repeats) = crash("forgetful", 10, &PHASES);
    assert_eq!(report.count(Problem::Lost), 0, "{report}");
    let faults = report.faults(RepeatBound::Restarts(repeats));
    assert!(faults.iter().any(|f| f.contains("repeats after restart 1,")), "{faults:?}");
}

/// A program that is no pipeline.
struct Other(&'static str);

impl Subject for Other {
    fn command(&mut self, _: u32) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", self.0]);
        command
    }
}

#[test]
fn the_driver_says_when_it_cannot_do_its_work() {
    let folder = tempfile::tempdir().unwrap();
    let plan = CrashPlan::new(folder.path().join("phase")).kills(1).patience(Duration::from_millis(2));
    let plan = plan.delay(Duration::ZERO).hold(Duration::ZERO);
    let error = plan.clone().patience(Duration::from_secs(20)).run(&mut Other("exit 3")).unwrap_err();
    assert_eq!(error.code(), "verifier.crash");
    assert!(error.to_string().contains("it ended by itself: exit status: 3"), "{error}");
    let error = plan.run(&mut Other("exec sleep 1000")).unwrap_err();
    assert!(error.to_string().contains("0 kills with work in flight: read 0"), "{error}");
    let error = CrashPlan::new(folder.path()).run(&mut Other("exec sleep 1000")).unwrap_err();
    assert!(error.to_string().contains("the file of the phases cannot be used"), "{error}");
}
