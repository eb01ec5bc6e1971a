//! Does a commit cost more when the checkpoint knows more?
//!
//! Commits of one position to a checkpoint that knows 0, 100 and 10,000 tables, in turns with the floor: as many bytes
//! appended to a plain file and synced. Then larger commits until the log has been written anew several times: what that
//! adds. What is stored is read back by another store and compared.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use outflow_bench::{Options, Result, Series};
use outflow_sdk::{
    Checkpoint, CheckpointDelta, CheckpointStore as _, Lease, Owner, Position, StateDelta, StateScope,
};
use outflow_state::FileStore;
use rustix::time::{ClockId, clock_gettime};

const TABLES: [u64; 3] = [0, 100, 10_000];
/// Bytes of schema in one of the larger commits.
const LARGE: usize = 64 << 10;

fn main() -> Result<()> {
    let options = Options::from_args(Options { rows: 100, rounds: 15 }, Options { rows: 5, rounds: 1 })?;
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    runtime.block_on(run(options))
}

async fn run(options: Options) -> Result<()> {
    // Beside the build: the folder for temporary files may be in memory.
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let mut contenders = Vec::new();
    for tables in TABLES {
        contenders.push(Contender::new(folder.path(), tables).await?);
    }
    for _ in 0..options.rounds {
        for contender in &mut contenders {
            contender.round(options.rows).await?;
        }
    }
    println!(
        "{} rounds of {} commits of one position; µs a commit, median (minimum)\n",
        options.rounds, options.rows
    );
    println!("tables   log at start  commit             floor              ratio  CPU: commit  floor");
    for c in &contenders {
        let (own, floor) = (c.wall.summary(), c.floor_wall.summary());
        println!(
            "{:>6}  {:>9} KiB  {:>7.0} ({:>7.0})  {:>7.0} ({:>7.0})  {:>5.2}  {:>11.1}  {:>5.1}",
            c.tables,
            c.base >> 10,
            own.median,
            own.min,
            floor.median,
            floor.min,
            c.wall.ratio_to(&c.floor_wall),
            c.cpu.summary().median,
            c.floor_cpu.summary().median,
        );
    }
    let rewrites = options.rounds.min(3);
    println!("\ncommits of {} KiB until the log was written anew {rewrites} times\n", LARGE >> 10);
    println!("tables  commits  median ms  longest ms  largest log  written a byte committed");
    for contender in &mut contenders {
        contender.rewrites(rewrites).await?;
    }
    for contender in contenders {
        contender.verify().await?;
    }
    Ok(())
}

struct Contender {
    tables: u64,
    store: FileStore,
    lease: Lease,
    log: PathBuf,
    floor: File,
    /// Length of the log before the first commit that counts.
    base: u64,
    expected: Checkpoint,
    commits: u64,
    wall: Series,
    cpu: Series,
    floor_wall: Series,
    floor_cpu: Series,
}

impl Contender {
    async fn new(folder: &Path, tables: u64) -> Result<Self> {
        let scope = StateScope::pipeline(format!("tables-{tables}"));
        // Measured is the commit: the lease lasts as long as it takes.
        let store = FileStore::at(folder).lease(Duration::from_secs(3600));
        let lease = store.acquire(&scope, &owner()).await?;
        let log = store.folder(&scope).join("checkpoint");
        let floor = File::create(store.folder(&scope).join("floor"))?;
        let mut new = Self {
            tables,
            store,
            lease,
            log,
            floor,
            base: 0,
            expected: Checkpoint::new(),
            commits: 0,
            wall: Series::default(),
            cpu: Series::default(),
            floor_wall: Series::default(),
            floor_cpu: Series::default(),
        };
        let mut delta = new.next();
        let mut schemas = StateDelta::default();
        for table in 0..tables {
            schemas.put(format!("schema/shop.table_{table}"), schema(table));
        }
        delta.append_state(schemas);
        new.commit(&delta).await?;
        // After so large a change this one writes the log anew.
        let next = new.next();
        new.commit(&next).await?;
        new.base = fs::metadata(&new.log)?.len();
        Ok(new)
    }

    /// A commit as it mostly is: one position, further on.
    fn next(&mut self) -> CheckpointDelta {
        self.commits += 1;
        let mut delta = CheckpointDelta::new();
        delta
            .set_position("main".into(), Position::token(format!("0/{:X}", 0x16B_3748 + self.commits * 512)));
        delta
    }

    async fn commit(&mut self, delta: &CheckpointDelta) -> Result<()> {
        self.store.commit(&self.lease, delta).await?;
        self.expected.apply(delta);
        Ok(())
    }

    async fn round(&mut self, commits: u64) -> Result<()> {
        let per = |total: Duration| total.as_secs_f64() * 1e6 / commits as f64;
        let deltas: Vec<_> = (0..commits).map(|_| self.next()).collect();
        let before = fs::metadata(&self.log)?.len();
        let (start, cpu) = (Instant::now(), process_cpu());
        for delta in &deltas {
            self.store.commit(&self.lease, delta).await?;
        }
        self.wall.push(per(start.elapsed()));
        self.cpu.push(per(process_cpu().saturating_sub(cpu)));
        deltas.iter().for_each(|delta| self.expected.apply(delta));

        // As many bytes, unless the log was just written anew.
        let grown = fs::metadata(&self.log)?.len().saturating_sub(before) / commits;
        let bytes = vec![b'x'; if grown == 0 { 100 } else { usize::try_from(grown)? }];
        let (start, cpu) = (Instant::now(), process_cpu());
        for _ in 0..commits {
            self.floor.write_all(&bytes)?;
            self.floor.sync_data()?;
        }
        self.floor_wall.push(per(start.elapsed()));
        self.floor_cpu.push(per(process_cpu().saturating_sub(cpu)));
        Ok(())
    }

    /// Changes one schema at a time until the log has been written anew a few times.
    async fn rewrites(&mut self, wanted: usize) -> Result<()> {
        let (mut rewrites, mut largest, mut written, mut committed) = (0, 0, 0, 0);
        let mut times = Vec::new();
        let mut len = fs::metadata(&self.log)?.len();
        while rewrites < wanted {
            let mut delta = self.next();
            let mut changed = StateDelta::default();
            changed.put("schema/shop.changing", format!("{}{}", self.commits, "x".repeat(LARGE)));
            delta.append_state(changed);
            let start = Instant::now();
            self.commit(&delta).await?;
            times.push(start.elapsed().as_secs_f64() * 1e3);
            let now = fs::metadata(&self.log)?.len();
            if now < len {
                rewrites += 1;
                written += now;
            } else {
                written += now - len;
            }
            committed += LARGE as u64;
            largest = largest.max(now);
            len = now;
        }
        times.sort_by(f64::total_cmp);
        println!(
            "{:>6}  {:>7}  {:>9.2}  {:>10.2}  {:>7} KiB  {:>24.2}",
            self.tables,
            times.len(),
            times.get(times.len() / 2).copied().unwrap_or(f64::NAN),
            times.last().copied().unwrap_or(f64::NAN),
            largest >> 10,
            written as f64 / committed as f64,
        );
        Ok(())
    }

    /// Another store reads what was to be stored.
    async fn verify(self) -> Result<()> {
        let (scope, root) = (self.lease.scope().clone(), self.log.ancestors().nth(2).map(Path::to_owned));
        self.store.release(self.lease).await?;
        let store = FileStore::at(root.unwrap_or_default());
        let lease = store.acquire(&scope, &owner()).await?;
        if store.load(&lease).await? != self.expected {
            return Err(format!("{scope} stored something else").into());
        }
        Ok(())
    }
}

fn owner() -> Owner {
    Owner { host: "bench".into(), pid: std::process::id(), instance: "bench".into() }
}

/// About 1 KB, as a table of 12 columns has.
fn schema(table: u64) -> String {
    let columns = (0..12).map(|n| {
        format!(
            r#"{{"name":"column_{n}","source_type":"character varying(255)","type":"text","null":{}}}"#,
            n > 0
        )
    });
    let columns: Vec<_> = columns.collect();
    format!(r#"{{"namespace":"shop","name":"table_{table}","key":[0],"columns":[{}]}}"#, columns.join(","))
}

fn process_cpu() -> Duration {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or(0))
}
