//! Kills `outflow run` with SIGKILL while writers write, and checks what arrived.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use outflow_sdk::StateScope;
use outflow_state::FileStore;
use outflow_testkit::verifier::crash::{
    CrashPlan, HOLD_VARIABLE, Kill, Kills, PHASES, PHASES_VARIABLE, Subject,
};
use outflow_testkit::verifier::{
    Delivery, Discipline, GeneratorProcess, Order, RepeatBound, Report, RowId, Shape, Table, whole_lines,
};

use crate::database::Shop;
use crate::pipeline::PipelineFile;
use crate::process::{Outflow, Programs, last_words};
use crate::{check, settings};

/// The kills of a run over all modes of one database, unless `OUTFLOW_CRASH_KILLS` says otherwise.
const KILLS: usize = 32;
/// How long transactions are held open at the most, unless `OUTFLOW_CRASH_OPEN` (seconds) says otherwise.
const OPEN: u64 = 2;

/// The name of the pipeline.
const PIPELINE: &str = "crash";

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
        .padding([(0, 40), (2_000, 10), (200_000, 1)]);
    workload.create_tables().unwrap();
    let mut pipeline = Victim::new(programs, shop, case);
    let generator = GeneratorProcess::spawn(&programs.generator, &workload).unwrap();

    // Where progress is a mark in the table, there is no checkpoint to store.
    let phases = PHASES.iter().copied().filter(|p| case.delivered == "keep" || *p != "checkpoint");
    let plan = CrashPlan::new(shop.folder().join("phase")).kills(kills).phases(phases).seed(seed);
    // Late enough for checkpoints and releases to have happened before.
    let plan = plan.delay(Duration::from_millis(1_500)).patience(2 * open + Duration::from_secs(60));
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
    case: Case,
    shop: &'t Shop,
    files: Vec<PathBuf>,
    output: PathBuf,
    /// How long the output was, in whole lines, at each kill.
    restarts: Vec<u64>,
    /// What may come again after each kill.
    repeats: Vec<u64>,
    /// Every row that has arrived.
    delivered: HashSet<RowId>,
}

impl<'t> Victim<'t> {
    fn new(programs: &'t Programs, shop: &'t Shop, case: Case) -> Self {
        let folder = shop.folder();
        let mut file = PipelineFile::new(PIPELINE, shop.url(), folder).delivered(case.delivered);
        file = match case.shape {
            Shape::Eventuate => file.table("message").transform("type: outbox, preset: eventuate"),
            _ => file.transform("type: outbox"),
        };
        let output = file.path_of_output().to_owned();
        let files = vec![file.write(folder)];
        let (restarts, repeats) = (Vec::new(), Vec::new());
        Self { programs, case, shop, files, output, restarts, repeats, delivered: HashSet::new() }
    }

    /// Takes note of what has arrived between two places of the output.
    fn read(&mut self, from: u64, to: u64) -> io::Result<()> {
        let mut output = File::open(&self.output)?;
        output.seek(SeekFrom::Start(from))?;
        for line in BufReader::new(output.take(to - from)).split(b'\n') {
            // What cannot be read, the final check reports.
            self.delivered.extend(Delivery::from_json(&line?).map(|delivery| delivery.mark.id));
        }
        Ok(())
    }

    /// How many rows have arrived that the progress stored so far does not cover. Nothing else may come again. Who
    /// was killed before it came as far as its predecessor leaves more uncovered than it emitted itself, so the count
    /// of the last process is no bound; what is stored is.
    fn uncovered(&self) -> outflow::Result<u64> {
        let query = match self.case.delivered {
            "keep" => "SELECT CAST(id AS text), CAST(seq AS text) FROM outbox",
            "mark" => "SELECT id, '' FROM message WHERE published = 0",
            _ => "SELECT CAST(id AS text), '' FROM outbox",
        };
        let store = FileStore::at(self.shop.folder().join("state"));
        let checkpoint = store.peek(&StateScope::pipeline(PIPELINE))?;
        let stored = checkpoint.positions().next().map(|(_, position)| position.to_string());
        let covered = |seq: &str| {
            seq.parse().is_ok_and(|seq| stored.as_ref().is_some_and(|stored| covers(stored, seq)))
        };
        let mut rows = self.shop.session().pairs(query)?;
        rows.retain(|(id, seq)| id.parse().is_ok_and(|id| self.delivered.contains(&id)) && !covered(seq));
        Ok(rows.len() as u64)
    }
}

/// Whether a position of a polled table, such as `1234 except 1200,1210..1219`, covers a row.
fn covers(position: &str, seq: u64) -> bool {
    let (last, skipped) = position.split_once(" except ").unwrap_or((position, ""));
    let skips = |range: &str| {
        let (first, last) = range.split_once("..").unwrap_or((range, range));
        first.parse().is_ok_and(|first: u64| first <= seq) && last.parse().is_ok_and(|last: u64| seq <= last)
    };
    last.parse().is_ok_and(|last: u64| seq <= last) && !skipped.split(',').any(skips)
}

impl Subject for Victim<'_> {
    fn command(&mut self, _: u32) -> Command {
        let mut command = self.programs.run(&self.files, self.shop.folder());
        command.env_remove(PHASES_VARIABLE).env_remove(HOLD_VARIABLE);
        command
    }

    fn ready(&mut self, _: u32) -> outflow::Result<bool> {
        let length = fs::metadata(&self.output).map_or(0, |m| m.len());
        Ok(length > self.restarts.last().copied().unwrap_or(0))
    }

    fn killed(&mut self, _: &Kill) -> outflow::Result<()> {
        let length = whole_lines(&self.output).unwrap();
        self.read(self.restarts.last().copied().unwrap_or(0), length).unwrap();
        self.restarts.push(length);
        self.repeats.push(self.uncovered()?);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_cover_what_they_say() {
        let position = "1234 except 1200,1210..1219";
        for covered in [1, 1199, 1201, 1209, 1220, 1234] {
            assert!(covers(position, covered), "{covered}");
        }
        for other in [1200, 1210, 1215, 1219, 1235] {
            assert!(!covers(position, other), "{other}");
        }
        assert!(covers("7", 7) && !covers("7", 8) && !covers("start", 1));
    }
}
