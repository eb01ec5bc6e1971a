//! `outflow quickstart`: a small shop in SQLite, whose changes flow.

mod shop;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use outflow_config::{InputFile, Loader, ProcessEnvironment};
use outflow_runtime::{Observer, Pipeline};
use outflow_sdk::{Error, Registry, Result, serde_json};

use crate::arguments::Quickstart;
use crate::assemble::assemble;
use crate::exit::Exit;
use crate::output::{grouped, span};
use crate::process::Process;
use crate::run::{Stops, runtime};
use crate::say::{obstacle, tell};
use shop::{Commits, Shop};
use tee::{Printed, Tee};

mod tee;

/// So many events are enough for `--once`.
const ONCE: u64 = 20;

/// Runs the shop and its pipeline.
pub(crate) fn quickstart(registry: &Registry, arguments: &Quickstart, process: &Process) -> Exit {
    let Ok(runtime) = runtime() else { return Exit::Environment };
    match runtime.block_on(play(registry, arguments, process)) {
        Ok(exit) => exit,
        Err(error) => process.refuse(&error),
    }
}

/// The folder of the shop; a temporary one is removed at the end.
struct Folder {
    path: PathBuf,
    keep: bool,
}

impl Folder {
    fn make(keep: Option<&Path>) -> Result<Self> {
        if let Some(path) = keep {
            std::fs::create_dir_all(path).map_err(|e| in_the_way("make", path, &e))?;
            return Ok(Self { path: path.to_owned(), keep: true });
        }
        // A folder that is there already is somebody's, and would be removed at the end.
        let first = std::process::id();
        for n in 0..=u32::from(u16::MAX) {
            let name = format!("outflow-{:04x}", first.wrapping_add(n) & 0xffff);
            let path = std::env::temp_dir().join(name);
            match std::fs::create_dir(&path) {
                Ok(()) => return Ok(Self { path, keep: false }),
                Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(e) => return Err(in_the_way("make", &path, &e)),
            }
        }
        Err(obstacle("quickstart.folder", "every name for a folder is taken", "name one:   --keep DIR"))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.keep {
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

fn in_the_way(what: &str, path: &Path, error: &std::io::Error) -> Error {
    let message = format!("cannot {what} {}: {error}", path.display());
    obstacle("quickstart.folder", message, "name a folder that can be written to:   --keep DIR")
}

const PIPELINE: &str = "\
# A small shop: rows that its writers append to the table outbox, as they commit.
name: shop
source:
  type: polling
  url: sqlite:shop.db
  tables: [outbox]
  mode: append
transforms:
  - type: outbox
sink:
  type: stdout
  format: json
";

async fn play(registry: &Registry, arguments: &Quickstart, process: &Process) -> Result<Exit> {
    let folder = Folder::make(arguments.keep.as_deref())?;
    let database = folder.path.join("shop.db");
    let file = folder.path.join("shop.yaml");
    // A kept file is its owner's to change.
    if !file.exists() {
        std::fs::write(&file, PIPELINE).map_err(|e| in_the_way("write", &file, &e))?;
    }
    shop::create(&database)?;
    let earlier = shop::outbox(&database)?;
    let quiet = arguments.once;
    if !quiet {
        tell!(
            "A small shop in SQLite: {} writers, an outbox, one pipeline. Everything is in {}",
            shop::WRITERS,
            folder.path.display()
        );
        tell!("  polling  shop.db, table outbox  →  stdout (json)          pipeline: {}", file.display());
    }
    // The same way as `outflow run` takes.
    let loaded = Loader::new(registry, &ProcessEnvironment).load(vec![
        InputFile::read(&file).map_err(|d| Error::internal("quickstart.file").message(d.message))?,
    ]);
    if loaded.has_errors() {
        process.report(&loaded.diagnostics, "");
        return Ok(Exit::Configuration);
    }
    let Some(pipeline) = loaded.pipelines.into_iter().next() else { return Ok(Exit::Configuration) };
    let mut one = match assemble(registry, pipeline, process).await {
        Ok(one) => one,
        Err(mistake) => {
            process.report(&[*mistake], "");
            return Ok(Exit::Configuration);
        }
    };
    let tee = Tee::over(one.spec.sink);
    one.spec.sink = tee.sink();
    one.prepare()?;
    let handle = Pipeline::start(one.spec).await?;
    let observer = handle.observer();
    let shop = Shop::open(&database);
    watch(&observer, &tee, &shop.commits(), arguments.once).await;
    let written = shop.close()?;
    // Everything that was committed before the end is delivered before it.
    let deadline = Instant::now() + Duration::from_secs(10);
    while !observer.status().state.is_final() && Instant::now() < deadline {
        let printed: HashSet<String> = tee.printed(0).into_iter().map(|p| p.id).collect();
        if written.committed.iter().all(|row| printed.contains(&row.id)) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    handle.stop();
    if let Err(error) = handle.wait().await {
        return Ok(process.refuse_as(&error, Exit::of(&error, true)));
    }
    let outcome = compare(&written, &tee.printed(0), &earlier);
    if !quiet {
        tell!(
            "stopped   written {}, delivered {}, lost {}, out of order {}, rolled back and never shown {}",
            outcome.written,
            outcome.delivered,
            outcome.lost,
            outcome.out_of_order,
            outcome.rolled_back
        );
        next_steps(arguments.keep.as_deref());
    }
    let fine = outcome.lost == 0 && outcome.out_of_order == 0 && outcome.phantoms == 0;
    Ok(if fine { Exit::Ok } else { Exit::Runtime })
}

fn next_steps(kept: Option<&Path>) {
    match kept {
        Some(folder) => tell!(
            "Next   outflow run {}     the same files, yours to change",
            folder.join("shop.yaml").display()
        ),
        None => tell!(
            "Next   outflow quickstart --keep shop && outflow run shop/shop.yaml     the same files, yours to change"
        ),
    }
    tell!("       outflow init polling stdout > orders.yaml                        your own database");
}

/// Until a signal, until enough has been seen, or until the pipeline ends; a line of figures every second.
async fn watch(observer: &Observer, tee: &Tee, commits: &Commits, once: bool) {
    let mut stops = Stops::new();
    let mut tick = tokio::time::interval(Duration::from_millis(if once { 5 } else { 1000 }));
    tick.tick().await;
    let mut seen = 0;
    loop {
        tokio::select! {
            () = stops.next() => return,
            _ = tick.tick() => {}
        }
        let delivered = observer.counts().delivered;
        if observer.status().state.is_final() || (once && delivered >= ONCE) {
            return;
        }
        if once {
            continue;
        }
        let new = tee.printed(seen);
        seen += new.len();
        tell!(
            "flowing   {} events   {}/s   commit→printed p99 {}   waiting {}                     ^C stops",
            grouped(seen as u64),
            new.len(),
            p99(&new, commits).map_or_else(|| "-".to_owned(), span),
            observer.counts().in_flight
        );
    }
}

/// The time within which 99 of 100 events were printed after their commit began.
fn p99(printed: &[Printed], commits: &Commits) -> Option<Duration> {
    let commits = commits.lock().unwrap_or_else(PoisonError::into_inner);
    let mut took: Vec<Duration> =
        printed.iter().filter_map(|p| Some(p.at.saturating_duration_since(*commits.get(&p.id)?))).collect();
    took.sort_unstable();
    took.get((took.len() * 99).div_ceil(100).checked_sub(1)?).copied()
}

struct Outcome {
    written: usize,
    delivered: usize,
    lost: usize,
    out_of_order: usize,
    phantoms: usize,
    rolled_back: usize,
}

/// Compares the writers' own notes with what was printed.
fn compare(written: &shop::Written, printed: &[Printed], earlier: &HashSet<String>) -> Outcome {
    let of: HashMap<&str, (&str, u64)> =
        written.committed.iter().map(|row| (row.id.as_str(), (row.key.as_str(), row.number))).collect();
    let mut last: HashMap<&str, u64> = HashMap::new();
    let mut out_of_order = 0;
    // What a kept shop had written before is printed, too, and is in no notes of this run.
    for (key, number) in printed.iter().filter_map(|p| of.get(p.id.as_str())) {
        let before = last.entry(key).or_default();
        out_of_order += usize::from(number <= before);
        *before = (*before).max(*number);
    }
    let seen: HashSet<&str> = printed.iter().map(|p| p.id.as_str()).collect();
    let delivered = written.committed.iter().filter(|row| seen.contains(row.id.as_str())).count();
    Outcome {
        written: written.committed.len(),
        delivered,
        lost: written.committed.len() - delivered,
        out_of_order,
        phantoms: seen.iter().filter(|id| !of.contains_key(**id) && !earlier.contains(**id)).count(),
        rolled_back: written.rolled_back,
    }
}

/// What a line of JSON says its id is.
pub(crate) fn id_of(line: &[u8]) -> Option<String> {
    serde_json::from_slice::<serde_json::Value>(line).ok()?.get("id")?.as_str().map(str::to_owned)
}
