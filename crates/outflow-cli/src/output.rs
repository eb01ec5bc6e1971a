//! Status lines: the same words as in `/readyz`, metrics and `--json`.

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use outflow_runtime::{Counts, Observer, State, Status};
use outflow_sdk::serde_json;

use crate::logging::Process;
use crate::say::{say, tell};

/// Elsewhere than on a terminal, a line comes so often although nothing changed.
const REPEAT: Duration = Duration::from_secs(10);
/// On a terminal the last line is drawn anew so often.
pub(crate) const TICK: Duration = Duration::from_millis(200);

/// Prints the status of pipelines to stderr.
pub(crate) struct Reporter {
    json: bool,
    live: bool,
    width: usize,
    lines: Vec<Line>,
    /// So many live lines stand below the last printed one.
    drawn: usize,
}

/// What was last said of one pipeline.
struct Line {
    observer: Observer,
    told: Option<(State, Option<String>)>,
    at: Instant,
    /// Counts and time of the last rate.
    rate_from: (Counts, Instant),
    rate: f64,
    troubled_at: Option<u64>,
}

impl Reporter {
    pub(crate) fn new(observers: Vec<Observer>, process: &Process) -> Self {
        let width = observers.iter().map(|o| o.name().len()).max().unwrap_or(0);
        let now = Instant::now();
        let line = |observer: Observer| Line {
            rate_from: (observer.counts(), now),
            observer,
            told: None,
            at: now,
            rate: 0.0,
            troubled_at: None,
        };
        let lines = observers.into_iter().map(line).collect();
        let live = std::io::stderr().is_terminal() && !process.json;
        Self { json: process.json, live, width, lines, drawn: 0 }
    }

    /// Says something about one pipeline, apart from its status.
    pub(crate) fn note(&mut self, name: &str, word: &str, text: &str) {
        self.erase();
        if self.json {
            say!("{}", serde_json::json!({ "pipeline": name, "event": word, "message": text }));
        } else {
            tell!("{} {name:<width$} {word:<9} {text}", clock(), width = self.width);
        }
    }

    /// Prints what is new.
    pub(crate) fn tick(&mut self) {
        let mut permanent = Vec::new();
        let mut drawn = Vec::new();
        let (width, json, live) = (self.width, self.json, self.live);
        for line in &mut self.lines {
            let status = line.observer.status();
            line.measure(&status);
            // The caller prints the end of a pipeline, which it alone knows.
            if status.state.is_final() {
                continue;
            }
            let key = (status.state, status.trouble.as_ref().map(|t| t.code.clone()));
            let is_new = line.told.as_ref() != Some(&key);
            let text = line.text(&status, is_new);
            let head = format!("{} {:<width$} {:<9} ", clock(), line.observer.name(), status.state.as_str());
            if is_new || (!live && line.at.elapsed() >= REPEAT) {
                if json {
                    permanent.push(document(&line.observer, &status));
                } else {
                    permanent.push(format!("{head}{text}"));
                }
                line.told = Some(key);
                line.at = Instant::now();
            } else if live {
                drawn.push(format!("{head}{text}"));
            }
        }
        if permanent.is_empty() && drawn.is_empty() {
            return;
        }
        self.erase();
        for text in permanent {
            if json { say!("{text}") } else { tell!("{text}") }
        }
        if live {
            let mut out = std::io::stderr().lock();
            for text in &drawn {
                let cut: String = text.chars().take(columns()).collect();
                let _ = writeln!(out, "{cut}");
            }
            self.drawn = drawn.len();
        }
    }

    /// Takes the live lines away.
    pub(crate) fn erase(&mut self) {
        if self.drawn > 0 {
            eprint!("\u{1b}[{}A\u{1b}[J", self.drawn);
            self.drawn = 0;
        }
    }
}

/// One status as a JSON document.
pub(crate) fn document(observer: &Observer, status: &Status) -> String {
    serde_json::json!({ "pipeline": observer.name(), "status": status }).to_string()
}

impl Line {
    fn measure(&mut self, status: &Status) {
        let (before, at) = self.rate_from;
        let elapsed = at.elapsed();
        if elapsed >= Duration::from_secs(1) {
            self.rate =
                status.counts.delivered.saturating_sub(before.delivered) as f64 / elapsed.as_secs_f64();
            self.rate_from = (status.counts, Instant::now());
        }
        if status.state == State::Stalled {
            self.troubled_at.get_or_insert(status.counts.delivered);
        }
    }

    fn text(&mut self, status: &Status, is_new: bool) -> String {
        let counts = &status.counts;
        let flow = |rate: f64| {
            let checkpoint =
                status.checkpoint.first().map(|c| format!("  checkpoint {c}")).unwrap_or_default();
            format!(
                "{}/s  in flight {} ({}){checkpoint}  rss {}",
                grouped(rate.round() as u64),
                grouped(counts.in_flight as u64),
                size(counts.in_flight_bytes as u64),
                size(outflow_admin::resident_bytes().unwrap_or(0))
            )
        };
        match status.state {
            State::Flowing => match (is_new, self.troubled_at.take()) {
                (true, Some(then)) if counts.delivered > then => {
                    format!("going again, {} events caught up", grouped(counts.delivered - then))
                }
                _ => flow(self.rate),
            },
            State::Idle => {
                self.troubled_at = None;
                let last = status.last_event_ms.map_or_else(
                    || "no event yet".to_owned(),
                    |ms| format!("last event {} ago", span(Duration::from_millis(ms))),
                );
                let checkpoint =
                    status.checkpoint.first().map(|c| format!(", checkpoint {c}")).unwrap_or_default();
                format!("{last}{checkpoint}")
            }
            _ => match (&status.trouble, &status.obstacle) {
                (Some(t), _) => {
                    let retry = t
                        .retry_in_ms
                        .map(|ms| format!(", retry {} in {}", t.attempt, span(Duration::from_millis(ms))));
                    let hint = t.hint.as_ref().map(|h| format!("\n  {h}")).unwrap_or_default();
                    format!("{} {}{}; nothing lost{hint}", t.code, t.message, retry.unwrap_or_default())
                }
                (None, Some(obstacle)) => obstacle.clone(),
                (None, None) => flow(self.rate),
            },
        }
    }
}

/// The time of day (UTC).
pub(crate) fn clock() -> String {
    let now = outflow_sdk::Timestamp::now();
    let second = now.seconds().rem_euclid(86_400);
    format!("{:02}:{:02}:{:02}", second / 3600, second / 60 % 60, second % 60)
}

/// `1,492,118`.
pub(crate) fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `0.6 MiB`.
pub(crate) fn size(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{:.0} KiB", bytes as f64 / 1024.0),
        1_048_576..1_073_741_824 => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
        _ => format!("{:.1} GiB", bytes as f64 / 1_073_741_824.0),
    }
}

/// `18 s`.
pub(crate) fn span(duration: Duration) -> String {
    match duration.as_millis() {
        ms @ 0..1000 => format!("{ms} ms"),
        ms @ 1000..120_000 => format!("{} s", ms / 1000),
        ms @ 120_000..7_200_000 => format!("{} min", ms / 60_000),
        ms => format!("{} h", ms / 3_600_000),
    }
}

fn columns() -> usize {
    let size = rustix::termios::tcgetwinsize(std::io::stderr());
    size.map_or(100, |s| usize::from(s.ws_col).max(40))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!([grouped(0), grouped(999), grouped(1_492_118)], ["0", "999", "1,492,118"]);
        assert_eq!([size(0), size(2048), size(629_146)], ["0 B", "2 KiB", "614 KiB"]);
        assert_eq!(span(Duration::from_secs(18)), "18 s");
    }
}
