//! Sinks that each break one rule, and the check that finds it.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use outflow_sdk::{
    Ack, BuildContext, ChangeBatch, Checkpoint, ConfiguredSink, Error, Findings, Result, Sink,
    SinkCapabilities, SinkContext, SinkKind, ValueRef, async_trait,
};
use outflow_testkit::conformance::{self, Change, SinkCheck, SinkFixture, Verdict};

/// What a sink does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    None,
    /// Acks what it only holds in memory.
    AcksEarly,
    /// The same, a little later and from another task.
    AcksInTheBackground,
    /// Names the event behind the one it refused.
    NamesAnother,
    /// Acks a batch as durable of which it refused a record.
    RejectsInSilence,
    /// Refuses the whole batch for one record.
    RejectsAll,
    /// Writes the last record first.
    Reversed,
    /// Notes a batch as seen before it is written, and drops it when it comes again.
    SeenTooEarly,
    /// Keeps what a dropped write left in its buffer.
    KeepsHalves,
    /// Forgets acks.
    FlushForgets,
    /// Empties the destination when it opens.
    Truncates,
    /// Delivers the last batch once more when it opens.
    RepeatsAtOpen,
    /// Waits for records before it acks.
    WaitsForRecords,
    /// Never returns from flush.
    Hangs,
}

#[derive(Clone)]
struct Double {
    flaw: Flaw,
    server: Arc<Server>,
    /// Taken and not yet in the destination.
    buffer: Vec<Change>,
    held: Vec<Held>,
}

/// Acks that wait for a flush, shared by clones because an ack cannot be cloned.
type Held = Arc<Mutex<Option<Ack>>>;

#[derive(Default)]
struct Server {
    stored: Mutex<Vec<Change>>,
    seen: Mutex<HashSet<String>>,
}

#[async_trait]
impl ConfiguredSink for Double {
    fn type_name(&self) -> &'static str {
        "double"
    }

    fn capabilities(&self) -> SinkCapabilities {
        SinkCapabilities::new().ordered().rejects()
    }

    fn default_format(&self) -> Option<&'static str> {
        None
    }

    fn address(&self) -> String {
        String::new()
    }

    async fn check(&self, _: &mut Findings) {}

    async fn build(&self, _: &BuildContext) -> Result<SinkKind> {
        Ok(SinkKind::Changes(Box::new(self.clone())))
    }
}

fn changes_of(batch: &ChangeBatch) -> Vec<Change> {
    let text = |value: Option<ValueRef<'_>>| match value {
        Some(ValueRef::Text(text)) => text.to_owned(),
        other => panic!("no text: {other:?}"),
    };
    let rows = batch.iter().map(|event| event.after().unwrap());
    rows.map(|row| Change::new(text(row.by_name("key")), text(row.by_name("content")))).collect()
}

#[async_trait]
impl Sink for Double {
    async fn open(&mut self, _: SinkContext) -> Result<Option<Checkpoint>> {
        let mut stored = self.server.stored.lock().unwrap();
        match self.flaw {
            Flaw::Truncates => stored.clear(),
            Flaw::RepeatsAtOpen => {
                let last = stored.last().cloned();
                stored.extend(last);
            }
            _ => {}
        }
        Ok(None)
    }

    async fn write(&mut self, batch: &Arc<ChangeBatch>, ack: Ack) -> Result<()> {
        let mut changes = changes_of(batch);
        let id = batch.end().unwrap().as_str().to_owned();
        if self.flaw == Flaw::WaitsForRecords && changes.is_empty() {
            self.held.push(Arc::new(Mutex::new(Some(ack))));
            return Ok(());
        }
        if self.flaw == Flaw::SeenTooEarly && !self.server.seen.lock().unwrap().insert(id) {
            ack.durable();
            return Ok(());
        }
        if self.flaw == Flaw::KeepsHalves {
            self.buffer.extend(changes.iter().rev().take(3).cloned());
        }
        tokio::task::yield_now().await;
        if self.flaw == Flaw::KeepsHalves {
            self.buffer.truncate(self.buffer.len().saturating_sub(3));
        }
        if self.flaw == Flaw::Reversed {
            changes.reverse();
        }
        let poison = |change: &Change| change.content == "poison";
        let mut bad: Vec<u32> = (0..).zip(&changes).filter(|(_, c)| poison(c)).map(|(i, _)| i).collect();
        if !bad.is_empty() && self.flaw == Flaw::RejectsAll {
            bad = (0..).zip(&changes).map(|(i, _)| i).collect();
        } else {
            changes.retain(|change| !poison(change));
            self.buffer.append(&mut changes);
        }
        match self.flaw {
            Flaw::AcksEarly => ack.durable(),
            Flaw::AcksInTheBackground => {
                tokio::spawn(async move {
                    tokio::task::yield_now().await;
                    ack.durable();
                });
            }
            Flaw::FlushForgets => self.held.push(Arc::new(Mutex::new(Some(ack)))),
            Flaw::RejectsInSilence => {
                self.store();
                ack.durable();
            }
            _ => {
                self.store();
                let by = u32::from(self.flaw == Flaw::NamesAnother);
                let refused = |i: u32| (i + by, Error::data("double.refused"));
                ack.rejected(bad.into_iter().map(refused).collect());
            }
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<()> {
        self.store();
        if self.flaw == Flaw::Hangs {
            std::future::pending::<()>().await;
        }
        Ok(())
    }
}

impl Double {
    fn store(&mut self) {
        self.server.stored.lock().unwrap().append(&mut self.buffer);
    }
}

struct Fixture(Double);

impl Fixture {
    fn new(flaw: Flaw) -> Self {
        Self(Double { flaw, server: Arc::default(), buffer: Vec::new(), held: Vec::new() })
    }
}

#[async_trait]
impl SinkFixture for Fixture {
    fn sink(&self) -> Arc<dyn ConfiguredSink> {
        Arc::new(self.0.clone())
    }

    async fn delivered(&mut self) -> Vec<Change> {
        self.0.server.stored.lock().unwrap().clone()
    }

    fn poison(&self) -> Option<Change> {
        Some(Change::new("key-1", "poison"))
    }

    fn patience(&self) -> Duration {
        // A flawed sink makes its check wait in vain.
        if self.0.flaw == Flaw::None { Duration::from_secs(20) } else { Duration::from_secs(3) }
    }
}

/// The flaw, the check that must find it, and a part of what that says.
const CAUGHT: &[(Flaw, SinkCheck, &str)] = &[
    (Flaw::AcksEarly, SinkCheck::AckMeansDurable, "9 of them lost"),
    (Flaw::AcksInTheBackground, SinkCheck::AckMeansDurable, "9 of them lost"),
    (Flaw::NamesAnother, SinkCheck::RejectedAreNamed, "Rejected([(5,"),
    (Flaw::RejectsInSilence, SinkCheck::RejectedAreNamed, "Durable"),
    (Flaw::RejectsAll, SinkCheck::RejectedAreNamed, "Rejected([(0,"),
    (Flaw::Reversed, SinkCheck::OrderPerKey, "in the order 0.0, 0.3"),
    (Flaw::SeenTooEarly, SinkCheck::CancelWrite, "lost: key-0=0.0"),
    (Flaw::KeepsHalves, SinkCheck::CancelWrite, "in the order"),
    (Flaw::FlushForgets, SinkCheck::FlushResolves, "not resolved after a flush"),
    (Flaw::Hangs, SinkCheck::FlushResolves, "`flush` returns within"),
    (Flaw::Truncates, SinkCheck::Reopen, "lost: key-0=0.0"),
    (Flaw::RepeatsAtOpen, SinkCheck::Reopen, "each change once"),
    (Flaw::WaitsForRecords, SinkCheck::EmptyBatch, "not resolved after a flush"),
];

#[test]
fn each_flaw_is_found_by_its_check() {
    let found = conformance::block_on(async {
        // Side by side, for many of them wait in vain.
        let run = |(flaw, check, _): &(Flaw, SinkCheck, _)| {
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
    for check in SinkCheck::ALL {
        assert!(CAUGHT.iter().any(|(_, by, _)| by == check), "{check:?} has never failed");
    }
}

#[test]
fn without_a_flaw_the_double_passes_everything() {
    let report = conformance::block_on(conformance::sink(|| async { Fixture::new(Flaw::None) }));
    assert!(report.results().all(|(_, result)| matches!(result, Ok(Verdict::Passed))), "{report}");
    assert_eq!(report.results().count(), SinkCheck::ALL.len());
}
