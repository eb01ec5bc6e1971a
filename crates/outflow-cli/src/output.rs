//! Status lines: the same words as in `/readyz`, metrics and `--json`.

use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use outflow_runtime::{Counts, LATENCY_BUCKETS_MS, Latency, Observer, State, Status};
use outflow_sdk::Error;
use outflow_sdk::serde_json::json;

use crate::process::Process;
use crate::say::{error_document, message, tell, tell_raw};

/// Elsewhere than on a terminal, a line comes so often although nothing changed.
const REPEAT: Duration = Duration::from_secs(10);
/// On a terminal the last line is drawn anew so often.
pub(crate) const TICK: Duration = Duration::from_millis(200);
/// Rate and lag are those of so long a time, at least.
const WINDOW: Duration = Duration::from_secs(1);

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
    /// Where the window of rate and lag begins.
    since: (Counts, Latency, Instant),
    rate: f64,
    lag: Option<String>,
    /// What had been delivered when it stalled.
    stalled_at: Option<u64>,
}

impl Reporter {
    pub(crate) fn new(observers: Vec<Observer>, process: &Process) -> Self {
        let width = observers.iter().map(|o| o.name().len()).max().unwrap_or(0);
        let now = Instant::now();
        let line = |observer: Observer| Line {
            since: (observer.counts(), observer.latency(), now),
            observer,
            told: None,
            at: now,
            rate: 0.0,
            lag: None,
            stalled_at: None,
        };
        let lines = observers.into_iter().map(line).collect();
        let live = std::io::stderr().is_terminal() && !process.json;
        Self { json: process.json, live, width, lines, drawn: 0 }
    }

    /// Says what the pipeline with this index is, in place of its first status.
    pub(crate) fn greet(&mut self, index: usize, text: &str) {
        let Some(line) = self.lines.get_mut(index) else { return };
        line.told = Some((State::Starting, None));
        let observer = line.observer.clone();
        self.print(&observer, State::Starting, text, None);
    }

    /// Says where health and metrics are served.
    pub(crate) fn listening(&mut self, address: SocketAddr) {
        self.erase();
        if self.json {
            tell!("{}", json!({ "listening": address.to_string() }));
        } else {
            tell!("{} listening on http://{address}   /healthz /readyz /metrics", clock());
        }
    }

    /// Says what becomes of the pipelines after a first signal.
    pub(crate) fn stopping(&mut self) {
        self.erase();
        if self.json {
            tell!("{}", json!({ "stopping": "drain" }));
        } else {
            tell!("{} stopping: what is in flight is delivered first; a second signal ends at once", clock());
        }
    }

    /// Says that a pipeline has ended in order.
    pub(crate) fn stopped(&mut self, observer: &Observer) {
        let status = observer.status();
        let checkpoint =
            status.checkpoint.first().map(|c| format!("checkpoint {c} durable; ")).unwrap_or_default();
        self.print(
            observer,
            State::Stopped,
            &format!("drained, {checkpoint}{}", totals(&status.counts)),
            None,
        );
    }

    /// Says that a pipeline has failed, and what to do.
    pub(crate) fn failed(&mut self, observer: &Observer, error: &Error) {
        let hint = error.hint_text().map(|h| format!("\n  {}", h.replace('\n', "\n  ")));
        let text = format!(
            "error[{}]: {}; {}{}",
            error.code(),
            message(error),
            totals(&observer.counts()),
            hint.unwrap_or_default()
        );
        self.print(observer, State::Failed, &text, Some(error));
    }

    fn print(&mut self, observer: &Observer, state: State, text: &str, error: Option<&Error>) {
        self.erase();
        if self.json {
            let mut document = json!({
                "pipeline": observer.name(), "state": state, "message": text, "status": observer.status(),
            });
            if let Some(error) = error {
                document["error"] = error_document(error);
                document["message"] = message(error).into();
            }
            tell!("{document}");
        } else {
            tell!("{} {:<width$} {:<8} {text}", clock(), observer.name(), state.as_str(), width = self.width);
        }
    }

    /// Prints what is new.
    pub(crate) fn tick(&mut self) {
        let mut news = Vec::new();
        let mut drawn = Vec::new();
        let live = self.live;
        for line in &mut self.lines {
            let status = line.observer.status();
            // The caller prints the end of a pipeline, which it alone knows.
            if status.state.is_final() {
                continue;
            }
            let key = (status.state, status.trouble.as_ref().map(|t| t.code.clone()));
            let is_new = line.told.as_ref() != Some(&key);
            line.measure(&status, is_new);
            let text = line.text(&status, is_new);
            if is_new || (!live && line.at.elapsed() >= REPEAT) {
                news.push((line.observer.clone(), status.state, text));
                line.told = Some(key);
                line.at = Instant::now();
            } else if live {
                let (name, state) = (line.observer.name(), status.state.as_str());
                drawn.push(format!("{} {name:<width$} {state:<8} {text}", clock(), width = self.width));
            }
        }
        for (observer, state, text) in news {
            self.print(&observer, state, &text, None);
        }
        if drawn.is_empty() {
            return;
        }
        self.erase();
        for text in &drawn {
            // A line that wraps could not be taken away again.
            let cut: String = text.lines().next().unwrap_or_default().chars().take(columns()).collect();
            tell!("{cut}");
        }
        self.drawn = drawn.len();
    }

    /// Takes the live lines away.
    fn erase(&mut self) {
        if self.drawn > 0 {
            tell_raw(&format!("\u{1b}[{}A\u{1b}[J", self.drawn));
            self.drawn = 0;
        }
    }
}

fn totals(counts: &Counts) -> String {
    format!("{} delivered, {} dead-lettered", grouped(counts.delivered), grouped(counts.dead_lettered))
}

impl Line {
    /// Takes rate and lag since the last time; early when there is something new to say.
    fn measure(&mut self, status: &Status, is_new: bool) {
        let elapsed = self.since.2.elapsed();
        if elapsed >= WINDOW || (is_new && elapsed >= TICK / 2) {
            let latency = self.observer.latency();
            let delivered = status.counts.delivered.saturating_sub(self.since.0.delivered);
            self.rate = delivered as f64 / elapsed.as_secs_f64();
            self.lag = lag(&latency.since(&self.since.1));
            self.since = (status.counts, latency, Instant::now());
        }
        if status.state == State::Stalled {
            self.stalled_at.get_or_insert(status.counts.delivered);
        }
    }

    fn text(&mut self, status: &Status, is_new: bool) -> String {
        let counts = &status.counts;
        let checkpoint = |before: &str| {
            status.checkpoint.first().map(|c| format!("{before}checkpoint {c}")).unwrap_or_default()
        };
        let flow = format!(
            "{}/s  lag {}  in flight {} ({}){}  rss {}",
            grouped(self.rate.round() as u64),
            self.lag.as_deref().unwrap_or("-"),
            grouped(counts.in_flight as u64),
            size(counts.in_flight_bytes as u64),
            checkpoint("  "),
            size(outflow_admin::resident_bytes().unwrap_or(0))
        );
        match status.state {
            State::Flowing => match self.stalled_at.take() {
                Some(then) if is_new && counts.delivered > then => {
                    format!("going again, {} events caught up", grouped(counts.delivered - then))
                }
                _ => flow,
            },
            State::Idle => {
                self.stalled_at = None;
                let last = status.last_event_ms.map_or_else(
                    || "no event yet".to_owned(),
                    |ms| format!("last event {} ago", span(Duration::from_millis(ms))),
                );
                format!("{last}{}", checkpoint(", "))
            }
            _ => match (&status.trouble, &status.obstacle) {
                (Some(t), _) => {
                    let retry = t
                        .retry_in_ms
                        .map(|ms| format!(", retry {} in {}", t.attempt, span(Duration::from_millis(ms))));
                    let hint = t.hint.as_ref().map(|h| format!("\n  {}", h.replace('\n', "\n  ")));
                    let (retry, hint) = (retry.unwrap_or_default(), hint.unwrap_or_default());
                    let message = t.message.strip_suffix("; nothing is lost").unwrap_or(&t.message);
                    format!("{} {message}{retry}; nothing lost{hint}", t.code)
                }
                (None, Some(obstacle)) => obstacle.clone(),
                (None, None) => flow,
            },
        }
    }
}

/// The time within which 99 of 100 events went from the source's socket to the sink's confirmation.
pub(crate) fn lag(latency: &Latency) -> Option<String> {
    let last = LATENCY_BUCKETS_MS[LATENCY_BUCKETS_MS.len() - 1];
    latency.quantile_ms(0.99).map(|ms| match ms {
        ms if ms > last => format!("over {}", span(Duration::from_millis(last))),
        ms => span(Duration::from_millis(ms)),
    })
}

/// A connector and the place where it reads or writes.
pub(crate) fn place(type_name: &str, address: String) -> String {
    if address.is_empty() { type_name.to_owned() } else { format!("{type_name} {address}") }
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
