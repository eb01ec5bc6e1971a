//! Kills `outflow run` with SIGKILL while writers write, and checks what arrived.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use outflow_testkit::verifier::crash::{CrashPlan, HOLD_VARIABLE, Kill, Kills, PHASES, PHASES_VARIABLE, Subject};
use outflow_testkit::verifier::{
    Discipline, GeneratorProcess, Order, RepeatBound, Report, Shape, Table, whole_lines,
};

use crate::database::Shop;
use crate::pipeline::PipelineFile;
use crate::process::{Outflow, Programs, last_words};
use crate::{check, settings};

/// The kills of a run over all modes of one database, unless `OUTFLOW_CRASH_KILLS` says otherwise.
const KILLS: usize = 32;
/// How long transactions are held open at the most, unless `OUTFLOW_CRASH_OPEN` (seconds) says otherwise.
const OPEN: u64 = 2;

/// One way to read the table, and how its writers behave.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// Names it in reports.
    pub name: &'static str,
    /// `keep`, `mark` or `delete`.
    pub delivered: &'static str,
    /// Whether writers of a key wait for each other.
    pub discipline: Discipline,
    /// The columns of the table.
    pub shape: Shape,
    /// Of how many cases it is one: they share the kills.
    pub of: usize,
}

/// Runs a case: kills, drains, checks.
///
/// # Panics
/// When anything is lost, out of order, made up, or repeated more often than was in flight.
pub fn crash(programs: &Programs, shop: &Shop, case: Case) {
    let kills = settings::number("OUTFLOW_CRASH_KILLS", KILLS).div_ceil(case.of);
    let seed = settings::seed();
    let open = Duration::from_secs(settings::number("OUTFLOW_CRASH_OPEN", OPEN));
    let started = Instant::now();

    let table = match case.shape {
        Shape::Eventuate => Table::new("message", Shape::Eventuate),
        shape => Table::new("outbox", shape),
    };
    let workload = shop
        .workload()
        .table(table)
        .discipline(case.discipline)
        .seed(seed)
        .writers(4)
        .holders(1, open)
        .rate(400.0)
        .padding([(0, 8), (2_000, 4), (200_000, 1)]);
    workload.create_tables().unwrap();
    let mut pipeline = Victim::new(programs, shop, case);
    let generator = GeneratorProcess::spawn(&programs.generator, &workload).unwrap();

    // Where progress is a mark in the table, there is no checkpoint to store.
    let phases = PHASES.iter().copied().filter(|p| case.delivered == "keep" || *p != "checkpoint");
    let plan = CrashPlan::new(shop.folder().join("phase")).kills(kills).phases(phases).seed(seed);
    let plan = plan.patience(2 * open + Duration::from_secs(60));
    let killed = plan.run(&mut pipeline).unwrap_or_else(|e| panic!("{e:?}\n{}", last_words(shop.folder())));
    let written = generator.stop().unwrap();
    Outflow::run_to_current(programs, &pipeline.files, shop.folder());

    let order = match case.discipline {
        Discipline::Serialised => Order::Sequence,
        Discipline::Free => Order::Visible,
    };
    let report = check(&workload, &shop.journals(), &pipeline.output, order, &pipeline.restarts);
    print(&case, seed, started.elapsed(), &killed, &report);
    assert!(written.rolled_back > 0, "no transaction was rolled back: {written:?}");
    report.assert_clean(RepeatBound::Restarts(pipeline.repeats));
}

fn print(case: &Case, seed: u64, time: Duration, kills: &Kills, report: &Report) {
    println!("{}, seed {seed}, {} s: {kills}\n    {report}", case.name, time.as_secs());
}

/// The pipeline under test, as the driver of the crashes sees it.
struct Victim<'t> {
    programs: &'t Programs,
    folder: PathBuf,
    files: Vec<PathBuf>,
    output: PathBuf,
    /// How long the output was, in whole lines, at each kill.
    restarts: Vec<u64>,
    /// What may come again after each kill.
    repeats: Vec<u64>,
}

impl<'t> Victim<'t> {
    fn new(programs: &'t Programs, shop: &Shop, case: Case) -> Self {
        let folder = shop.folder().to_owned();
        let mut file = PipelineFile::new("crash", shop.url(), &folder).delivered(case.delivered);
        file = match case.shape {
            Shape::Eventuate => file.table("message").transform("type: outbox, preset: eventuate"),
            _ => file.transform("type: outbox"),
        };
        let output = file.path_of_output().to_owned();
        let files = vec![file.write(&folder)];
        Self { programs, folder, files, output, restarts: Vec::new(), repeats: Vec::new() }
    }
}

impl Subject for Victim<'_> {
    fn command(&mut self, _: u32) -> Command {
        let mut command = self.programs.run(&self.files, &self.folder);
        command.env_remove(PHASES_VARIABLE).env_remove(HOLD_VARIABLE);
        command
    }

    fn ready(&mut self, _: u32) -> outflow::Result<bool> {
        let length = fs::metadata(&self.output).map_or(0, |m| m.len());
        Ok(length > self.restarts.last().copied().unwrap_or(0))
    }

    fn killed(&mut self, kill: &Kill) -> outflow::Result<()> {
        self.restarts.push(whole_lines(&self.output).unwrap());
        self.repeats.push(kill.marker.unacknowledged);
        Ok(())
    }
}
