//! The program itself: how soon it delivers, and what it takes while nothing happens.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use outflow_bench::{Result, Series};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use crate::database::{Kind, Outbox};

/// How long an idle process is watched.
const WATCHED: Duration = Duration::from_secs(20);

/// The time from the start of the process to its first line on standard output.
pub(crate) fn first_event(kind: Kind, rounds: usize) -> Result<()> {
    let outbox = Outbox::create(kind)?;
    outbox.fill(1)?;
    let mut series = Series::default();
    for _ in 0..rounds {
        let start = Instant::now();
        let mut running = Program::start(&outbox)?;
        let mut line = String::new();
        BufReader::new(running.0.stdout.take().ok_or("no output")?).read_line(&mut line)?;
        series.push(start.elapsed().as_secs_f64() * 1e3);
        if !line.contains("\"n\":0") && !line.contains("\\\"n\\\":0") {
            return Err(format!("the first event is {line}").into());
        }
        drop(running);
        std::fs::remove_dir_all(outbox.file("state"))?;
    }
    let all = series.summary();
    println!("  start of the process to its first event: {:.1} ms (min {:.1})", all.median, all.min);
    Ok(())
}

/// The processor time that a process takes while nothing is written.
pub(crate) fn idle(kind: Kind) -> Result<()> {
    let outbox = Outbox::create(kind)?;
    outbox.fill(100)?;
    let mut running = Program::start(&outbox)?;
    let mut lines = BufReader::new(running.0.stdout.take().ok_or("no output")?).lines();
    for _ in 0..100 {
        lines.next().ok_or("the output ends")??;
    }
    // Past the last checkpoint and the first pauses.
    std::thread::sleep(Duration::from_secs(3));
    let before = running.cpu()?;
    std::thread::sleep(WATCHED);
    let used = running.cpu()?.saturating_sub(before);
    println!(
        "  idle for {} s: {:.2} % of a core, {:.1} MiB resident",
        WATCHED.as_secs(),
        used.as_secs_f64() / WATCHED.as_secs_f64() * 1e2,
        running.resident()? as f64 / f64::from(1 << 20)
    );
    Ok(())
}

/// `outflow run` on an outbox.
struct Program(Child);

impl Program {
    fn start(outbox: &Outbox) -> Result<Self> {
        let file = outbox.file("shop.yaml");
        std::fs::write(
            &file,
            format!(
                "name: shop\nsource: {{type: polling, url: \"{}\", tables: [{}]}}\n\
                 transforms: [{{type: outbox}}]\nsink: {{type: stdout}}\n",
                outbox.url(),
                outbox.table()
            ),
        )?;
        let program = program()?;
        let child = Command::new(program)
            .arg("run")
            .arg(file)
            .arg("--state-dir")
            .arg(outbox.file("state"))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Self(child))
    }

    /// User and system time so far.
    fn cpu(&self) -> Result<Duration> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.0.id()))?;
        let fields: Vec<_> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
        let ticks =
            |field: usize| fields.get(field).ok_or("a field is missing")?.parse::<u64>().map_err(Into::into);
        let all: Result<u64> = ticks(11).and_then(|user: u64| Ok(user + ticks(12)?));
        Ok(Duration::from_secs_f64(all? as f64 / rustix::param::clock_ticks_per_second() as f64))
    }

    fn resident(&self) -> Result<u64> {
        let statm = std::fs::read_to_string(format!("/proc/{}/statm", self.0.id()))?;
        let pages: u64 = statm.split(' ').nth(1).ok_or("a field is missing")?.parse()?;
        Ok(pages * rustix::param::page_size() as u64)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let pid = Pid::from_child(&self.0);
        if test_kill_process(pid).is_ok() {
            let _ = kill_process(pid, Signal::TERM);
        }
        let _ = self.0.wait();
    }
}

/// The program that was built beside this benchmark.
fn program() -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let target = own.ancestors().nth(3).ok_or("the benchmark is in no target folder")?;
    let program = target.join("release/outflow");
    if program.exists() {
        Ok(program)
    } else {
        Err(format!("{} is missing: cargo build --release", program.display()).into())
    }
}
