//! `outflow quickstart`: a small shop in SQLite, whose changes flow.

mod shop;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use outflow_config::{InputFile, Loader, ProcessEnvironment};
use outflow_runtime::{Latency, Observer, Pipeline};
use outflow_sdk::{Error, Registry, Result, serde_json};

use crate::arguments::Quickstart;
use crate::assemble::{assemble, report};
use crate::exit::Exit;
use crate::logging::Process;
use crate::output::{grouped, span};
use crate::run::{Stops, runtime};
use crate::say::tell;
use shop::Shop;
use tee::Tee;

mod tee;

/// So many events are enough for `--once`.
const ONCE: u64 = 20;

/// Runs the shop and its pipeline.
pub(crate) fn quickstart(registry: &Registry, arguments: &Quickstart, process: &Process) -> Exit {
    let Ok(runtime) = runtime() else { return Exit::Environment };
    match runtime.block_on(play(registry, arguments, process)) {
        Ok(exit) => exit,
        Err(error) => {
            tell!("error[{}]: {}", error.code(), error);
            error.hint_text().into_iter().for_each(|hint| tell!("  {hint}"));
            Exit::of(&error, false)
        }
    }
}

/// The folder of the shop; a temporary one is removed at the end.
struct Folder {
    path: PathBuf,
    keep: bool,
}

impl Folder {
    fn make(keep: Option<&Path>) -> Result<Self> {
        let path = match keep {
            Some(path) => path.to_owned(),
            None => std::env::temp_dir().join(format!("outflow-{:04x}", std::process::id() & 0xffff)),
        };
        std::fs::create_dir_all(&path).map_err(|e| {
            Error::permanent("quickstart.folder").message(format!("cannot make {}: {e}", path.display()))
        })?;
        Ok(Self { path, keep: keep.is_some() })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.keep {
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
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
    std::fs::write(&file, PIPELINE).map_err(|e| {
        Error::permanent("quickstart.folder").message(format!("cannot write {}: {e}", file.display()))
    })?;
    shop::create(&database)?;
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
        report(&loaded.diagnostics, process, "");
        return Ok(Exit::Configuration);
    }
    let Some(pipeline) = loaded.pipelines.into_iter().next() else { return Ok(Exit::Configuration) };
    let mut one = match assemble(registry, pipeline, process).await {
        Ok(one) => one,
        Err(mistake) => {
            report(&[*mistake], process, "");
            return Ok(Exit::Configuration);
        }
    };
    let tee = Tee::over(one.spec.sink);
    one.spec.sink = tee.sink();
    let handle = Pipeline::start(one.spec).await?;
    let observer = handle.observer();
    let shop = Shop::open(&database);
    watch(&observer, arguments.once).await;
    let written = shop.close()?;
    // Everything that was committed before the end is delivered before it.
    let deadline = Instant::now() + Duration::from_secs(10);
    while tee.count() < written.committed.len() && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    handle.stop();
    handle.wait().await?;
    let outcome = compare(&written, &tee.ids());
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

/// Until a signal, or until enough has been seen; a line of figures every second.
async fn watch(observer: &Observer, once: bool) {
    let mut stops = Stops::new();
    let mut tick = tokio::time::interval(Duration::from_millis(if once { 5 } else { 1000 }));
    tick.tick().await;
    let mut before = (observer.counts().delivered, Latency::default());
    loop {
        tokio::select! {
            () = stops.next() => return,
            _ = tick.tick() => {}
        }
        let delivered = observer.counts().delivered;
        if once {
            if delivered >= ONCE {
                return;
            }
            continue;
        }
        let latency = observer.latency();
        let p99 = latency.since(&before.1).quantile_ms(0.99);
        tell!(
            "flowing   {} events   {}/s   read→printed p99 {}   waiting {}                     ^C stops",
            grouped(delivered),
            delivered - before.0,
            p99.map_or_else(|| "-".to_owned(), |ms| span(Duration::from_millis(ms))),
            observer.counts().in_flight
        );
        before = (delivered, latency);
    }
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
fn compare(written: &shop::Written, printed: &[String]) -> Outcome {
    let seen: std::collections::HashSet<&str> = printed.iter().map(String::as_str).collect();
    let of: HashMap<&str, (&str, u64)> =
        written.committed.iter().map(|row| (row.id.as_str(), (row.key.as_str(), row.number))).collect();
    let mut last: HashMap<&str, u64> = HashMap::new();
    let (mut out_of_order, mut phantoms) = (0, 0);
    for id in printed {
        match of.get(id.as_str()) {
            Some((key, number)) => {
                let before = last.entry(key).or_default();
                out_of_order += usize::from(number <= before);
                *before = (*before).max(*number);
            }
            None => phantoms += 1,
        }
    }
    Outcome {
        written: written.committed.len(),
        delivered: seen.len() - phantoms.min(seen.len()),
        lost: written.committed.iter().filter(|row| !seen.contains(row.id.as_str())).count(),
        out_of_order,
        phantoms,
        rolled_back: written.rolled_back,
    }
}

/// What a line of JSON says its id is.
pub(crate) fn id_of(line: &[u8]) -> Option<String> {
    serde_json::from_slice::<serde_json::Value>(line).ok()?.get("id")?.as_str().map(str::to_owned)
}
