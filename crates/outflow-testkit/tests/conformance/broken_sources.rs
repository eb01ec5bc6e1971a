//! Sources that each break one rule, and the check that finds it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use outflow_sdk::{
    BuildContext, Checkpoint, ConfiguredSource, Error, EventId, EventRef, Findings, Position, PositionCodec,
    Relation, Result, Source, SourceCapabilities, SourceContext, SourceKind, async_trait,
};
use outflow_testkit::conformance::{self, Change, SourceCheck, SourceFixture, Verdict};
use outflow_testkit::memory::{Row, rows_schema};
use tokio::sync::Notify;

use crate::servers::{Rows, change_of_event, change_of_row};

/// What a source does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    None,
    /// Reads the last row before its position again.
    Repeats,
    /// Passes over the first row after its position.
    Skips,
    /// Delivers what nobody committed.
    MakesUp,
    /// Swaps the rows of each page.
    Unsorted,
    /// Emits nothing, and so no position, where all rows of a page are filtered.
    SilentProgress,
    /// Takes rows out of the server before it can emit them.
    TakesFirst,
    /// Moves a place that outlives the run before the batch is emitted.
    RemembersElsewhere,
    /// Waits for more although it was to end.
    NeverEnds,
    /// Ends before it has read everything.
    EndsEarly,
    /// Asks for control and goes on.
    IgnoresStop,
    /// Ids from a counter of the run.
    UnstableIds,
    /// Two ids for all.
    SameIds,
    /// Its codec cannot read what it prints.
    UnreadablePositions,
    /// Its codec sorts backwards.
    BackwardPositions,
    /// Its codec says that a position covers what comes after it.
    CoversTooMuch,
}

/// Rows whose key is this are filtered by the source.
const FILTERED: &str = "filtered";
const PAGE: usize = 4;

#[derive(Clone)]
struct Double {
    flaw: Flaw,
    server: Arc<Server>,
}

#[derive(Default)]
struct Server {
    rows: Mutex<Vec<Row>>,
    /// A place that outlives runs.
    elsewhere: Mutex<usize>,
    runs: Mutex<u64>,
    appended: Notify,
}

fn place(position: &Position) -> Result<usize> {
    position.as_str().parse().map_err(|_| Error::configuration("double.position").message("not a number"))
}

fn position(place: usize) -> Position {
    Position::token(place.to_string())
}

#[async_trait]
impl ConfiguredSource for Double {
    fn type_name(&self) -> &'static str {
        "double"
    }

    fn capabilities(&self) -> SourceCapabilities {
        SourceCapabilities::new().resume().stop_at_current()
    }

    fn fingerprint(&self) -> Option<String> {
        None
    }

    fn address(&self) -> String {
        String::new()
    }

    async fn check(&self, _: &mut Findings) {}

    async fn build(&self, _: &BuildContext) -> Result<SourceKind> {
        Ok(SourceKind::Custom(Box::new(self.clone())))
    }

    async fn retire(&self) -> Result<()> {
        Ok(())
    }
}

impl Double {
    fn start(&self, checkpoint: &Checkpoint) -> Result<usize> {
        let stored = checkpoint.position(&SourceContext::DEFAULT_PARTITION.into()).map(place).transpose()?;
        Ok(match (self.flaw, stored.unwrap_or(0)) {
            (Flaw::Repeats, at) => at.saturating_sub(1),
            (Flaw::Skips, at) if at > 0 => at + 1,
            (Flaw::TakesFirst | Flaw::RemembersElsewhere, _) => *self.server.elsewhere.lock().unwrap(),
            (_, at) => at,
        })
    }

    /// The rows of the page at `at`, with their places.
    fn page(&self, at: usize) -> Vec<(usize, Row)> {
        let rows = self.server.rows.lock().unwrap();
        let mut page: Vec<_> = rows.iter().cloned().enumerate().skip(at).take(PAGE).collect();
        if self.flaw == Flaw::Unsorted {
            page.reverse();
        }
        if self.flaw == Flaw::MakesUp && page.len() == PAGE {
            page.push((1_000_000 + at, Row::new("key-0", 1_000_000)));
        }
        page
    }

    async fn read(&self, cx: &mut SourceContext) -> Result<()> {
        let run = {
            let mut runs = self.server.runs.lock().unwrap();
            *runs += 1;
            *runs
        };
        let mut at = self.start(cx.checkpoint())?;
        let current = self.server.rows.lock().unwrap().len();
        loop {
            let appended = self.server.appended.notified();
            let page = self.page(at);
            if page.is_empty() {
                let ends = cx.stop_at_current() && at >= current && self.flaw != Flaw::NeverEnds;
                if ends {
                    return Ok(());
                }
                appended.await;
                continue;
            }
            if self.flaw == Flaw::EndsEarly && cx.stop_at_current() && at > 0 {
                return Ok(());
            }
            at += page.iter().filter(|(place, _)| *place < 1_000_000).count();
            if matches!(self.flaw, Flaw::TakesFirst | Flaw::RemembersElsewhere) {
                *self.server.elsewhere.lock().unwrap() = at;
            }
            let mut emitted = false;
            for (place, row) in page.iter().filter(|(_, row)| row.key != FILTERED) {
                let id = match self.flaw {
                    Flaw::UnstableIds => format!("{run}/{place}"),
                    Flaw::SameIds => (place % 2).to_string(),
                    _ => (place + 1).to_string(),
                };
                let values = [row.key.as_str().into(), row.n.into(), "".into()];
                cx.change(outflow_sdk::Op::Upsert, rows_schema(), &values, &Position::token(id));
                emitted = true;
            }
            if emitted || self.flaw != Flaw::SilentProgress {
                cx.emit_through(position(at)).await?;
            }
        }
    }
}

#[async_trait]
impl Source for Double {
    async fn run(self: Box<Self>, mut cx: SourceContext) -> Result<()> {
        let control = cx.control();
        if self.flaw == Flaw::IgnoresStop {
            let ((), result) = tokio::join!(
                async {
                    control.await;
                },
                self.read(&mut cx)
            );
            return result;
        }
        tokio::select! {
            result = self.read(&mut cx) => result,
            _ = control => Ok(()),
        }
    }
}

struct Codec(Flaw);

impl PositionCodec for Codec {
    fn parse(&self, text: &str) -> Result<Position> {
        let parsed = Position::token(text);
        place(&parsed)?;
        Ok(parsed)
    }

    fn print(&self, position: &Position) -> String {
        match self.0 {
            Flaw::UnreadablePositions => format!("row {position}"),
            _ => position.as_str().to_owned(),
        }
    }

    fn relate(&self, a: &Position, b: &Position) -> Result<Relation> {
        let (a, b) = match self.0 {
            Flaw::BackwardPositions => (b, a),
            _ => (a, b),
        };
        Ok(match place(a)?.cmp(&place(b)?) {
            std::cmp::Ordering::Less => Relation::Before,
            std::cmp::Ordering::Equal => Relation::Equal,
            std::cmp::Ordering::Greater => Relation::After,
        })
    }

    fn covers(&self, position: &Position, event: &EventId<'_>) -> Result<bool> {
        let slack = if self.0 == Flaw::CoversTooMuch { 2 } else { 0 };
        Ok(place(&Position::token(event.commit))? <= place(position)? + slack)
    }
}

struct Fixture {
    double: Double,
    rows: Rows,
}

impl Fixture {
    fn new(flaw: Flaw) -> Self {
        Self { double: Double { flaw, server: Arc::default() }, rows: Rows::default() }
    }

    fn append(&self, rows: &[Row]) {
        self.double.server.rows.lock().unwrap().extend_from_slice(rows);
        self.double.server.appended.notify_waiters();
    }
}

#[async_trait]
impl SourceFixture for Fixture {
    fn source(&self) -> Arc<dyn ConfiguredSource> {
        Arc::new(self.double.clone())
    }

    async fn produce(&mut self, changes: usize) -> Vec<Change> {
        let rows = self.rows.next(changes);
        self.append(&rows);
        rows.iter().map(change_of_row).collect()
    }

    fn change(&self, event: &EventRef<'_>) -> Option<Change> {
        change_of_event(event)
    }

    async fn unrelated(&mut self) -> bool {
        self.append(&(0..10).map(|n| Row::new(FILTERED, n)).collect::<Vec<_>>());
        true
    }

    fn codec(&self) -> Option<Box<dyn PositionCodec>> {
        Some(Box::new(Codec(self.double.flaw)))
    }

    fn patience(&self) -> Duration {
        // A flawed source makes its check wait in vain.
        if self.double.flaw == Flaw::None { Duration::from_secs(20) } else { Duration::from_secs(3) }
    }
}

/// The flaw, the check that must find it, and a part of what that says.
const CAUGHT: &[(Flaw, SourceCheck, &str)] = &[
    (Flaw::Repeats, SourceCheck::CleanRestart, "each change once"),
    (Flaw::Skips, SourceCheck::CleanRestart, "did not come: key-0=9"),
    (Flaw::MakesUp, SourceCheck::CleanRestart, "also key-0=1000000"),
    (Flaw::Unsorted, SourceCheck::OrderPerKey, "in the order 1, 2"),
    (Flaw::SilentProgress, SourceCheck::Progress, "no batch carried one"),
    (Flaw::TakesFirst, SourceCheck::CancelAnywhere, "did not come"),
    (Flaw::RemembersElsewhere, SourceCheck::CancelAnywhere, "did not come"),
    (Flaw::NeverEnds, SourceCheck::StopAtCurrent, "it still runs"),
    (Flaw::EndsEarly, SourceCheck::StopAtCurrent, "lost"),
    (Flaw::IgnoresStop, SourceCheck::ControlStop, "of the order to stop"),
    (Flaw::UnstableIds, SourceCheck::StableIds, "again"),
    (Flaw::SameIds, SourceCheck::StableIds, "an id of its own"),
    (Flaw::UnreadablePositions, SourceCheck::Positions, "its own print"),
    (Flaw::BackwardPositions, SourceCheck::Positions, "positions of partition main that grow"),
    (Flaw::CoversTooMuch, SourceCheck::Positions, "does not cover event"),
];

#[test]
fn each_flaw_is_found_by_its_check() {
    let found = conformance::block_on(async {
        // Side by side, for many of them wait in vain.
        let run = |(flaw, check, _): &(Flaw, SourceCheck, _)| {
            let (mut fixture, check) = (Fixture::new(*flaw), *check);
            tokio::spawn(async move { check.run(&mut fixture).await })
        };
        let mut found = Vec::new();
        for check in CAUGHT.iter().map(run).collect::<Vec<_>>() {
            found.push(check.await.unwrap());
        }
        found
    });
    for ((flaw, check, says), found) in CAUGHT.iter().zip(found) {
        let violation = found.expect_err(&format!("{flaw:?} passes"));
        let text = violation.to_string();
        assert!(text.contains(says), "{flaw:?} is found for another reason:\n{text}");
        assert!(text.contains(check.name()) && text.contains(check.rule()), "{text}");
    }
}

#[test]
fn every_check_has_a_double_that_fails_it() {
    for check in SourceCheck::ALL {
        assert!(CAUGHT.iter().any(|(_, by, _)| by == check), "{check:?} has never failed");
    }
}

#[test]
fn without_a_flaw_the_double_passes_everything() {
    let report = conformance::block_on(conformance::source(|| async { Fixture::new(Flaw::None) }));
    assert!(report.results().all(|(_, result)| matches!(result, Ok(Verdict::Passed))), "{report}");
    assert_eq!(report.results().count(), SourceCheck::ALL.len());
}
