//! The checks of sources.

use std::collections::HashMap;

use outflow_sdk::{EventId, PartitionId, Position, PositionCodec, Relation};

use super::run::{Bench, End, Goal};
use crate::conformance::change::{self, Change};
use crate::conformance::verdict::{Mismatch, Verdict};

type Outcome = Result<Verdict, Mismatch>;

/// Enough for several batches.
const CHANGES: usize = 24;

/// So many polls are tried, each in a run of its own.
const CUTS: usize = 24;

pub(super) async fn clean_restart(mut bench: Bench<'_>) -> Outcome {
    if !bench.fixture.source().capabilities().resume {
        return Ok(Verdict::NotApplicable("the source does not resume"));
    }
    let mut expected = bench.fixture.produce(CHANGES).await;
    bench.run(Goal::Arrived(&expected)).await?;
    expected.extend(bench.fixture.produce(CHANGES).await);
    bench.run(Goal::Arrived(&expected)).await?;
    // A third run has nothing to deliver.
    bench.run(Goal::Quiet).await?;
    let came = bench.came();
    change::nothing_lost(&expected, &came)?;
    change::nothing_made_up(&expected, &came)?;
    change::nothing_repeated(&came)?;
    Ok(Verdict::Passed)
}

pub(super) async fn order_per_key(mut bench: Bench<'_>) -> Outcome {
    let expected = bench.fixture.produce(2 * CHANGES).await;
    bench.run(Goal::Arrived(&expected)).await?;
    change::in_order(&expected, &bench.came())?;
    Ok(Verdict::Passed)
}

pub(super) async fn progress(mut bench: Bench<'_>) -> Outcome {
    if bench.fixture.source().capabilities().marks {
        return Ok(Verdict::NotApplicable("the source keeps progress by marks"));
    }
    let expected = bench.fixture.produce(CHANGES).await;
    bench.run(Goal::Arrived(&expected)).await?;
    for batch in &bench.batches {
        if bench.checkpoint.position(batch.partition()).is_none() {
            return Err(Mismatch::new(
                format!("a position of partition {} with or after its events", batch.partition()),
                "none of its batches carried one",
            ));
        }
    }
    if bench.fixture.unrelated().await {
        let before = bench.checkpoint.clone();
        bench.run(Goal::Moved(&before)).await?;
        change::nothing_made_up(&expected, &bench.came())?;
    }
    Ok(Verdict::Passed)
}

pub(super) async fn cancel_anywhere(mut bench: Bench<'_>) -> Outcome {
    if !bench.fixture.source().capabilities().resume {
        return Ok(Verdict::NotApplicable("the source does not resume"));
    }
    let mut expected = Vec::new();
    for polls in 1..=CUTS {
        expected.extend(bench.fixture.produce(3).await);
        bench.run(Goal::Cut(polls, &expected)).await?;
    }
    // What the cuts left, and something new, so that there is an end to wait for.
    expected.extend(bench.fixture.produce(3).await);
    bench.run(Goal::Arrived(&expected)).await?;
    let came = bench.came();
    change::nothing_made_up(&expected, &came)?;
    change::in_order(&expected, &came)?;
    Ok(Verdict::Passed)
}

pub(super) async fn stop_at_current(mut bench: Bench<'_>) -> Outcome {
    if !bench.fixture.source().capabilities().stop_at_current {
        return Ok(Verdict::NotApplicable("the source does not end by itself"));
    }
    let expected = bench.fixture.produce(CHANGES).await;
    bench.run(Goal::End).await?;
    change::nothing_lost(&expected, &bench.came())?;
    // Nothing new: it ends at once, without repeats.
    bench.run(Goal::End).await?;
    Ok(Verdict::Passed)
}

pub(super) async fn control_stop(mut bench: Bench<'_>) -> Outcome {
    let expected = bench.fixture.produce(CHANGES).await;
    match bench.run(Goal::Arrived(&expected)).await? {
        End::Stopped => Ok(Verdict::Passed),
        End::Returned => Ok(Verdict::NotApplicable("the source ends by itself")),
        End::Dropped => Ok(Verdict::NotApplicable("the source does not ask for control")),
    }
}

pub(super) async fn stable_ids(mut bench: Bench<'_>) -> Outcome {
    // From a beginning that is stored: rows of a snapshot have the id of its point, and another point is no replay.
    bench.run(Goal::Quiet).await?;
    let expected = bench.fixture.produce(CHANGES).await;
    // Nothing is confirmed, so that the second run delivers the same again.
    bench.confirm = false;
    bench.run(Goal::Arrived(&expected)).await?;
    let first = ids(&bench);
    bench.batches.clear();
    bench.run(Goal::Arrived(&expected)).await?;
    let second = ids(&bench);
    let mut owners = HashMap::new();
    for (change, id) in &first {
        if let Some(other) = owners.insert(id, change)
            && other != change
        {
            return Err(Mismatch::new(
                "an id of its own for each event",
                format!("{id} for {other} and {change}"),
            ));
        }
        match second.get(change) {
            Some(again) if again != id => {
                return Err(Mismatch::new(format!("{change} with the id {id} again"), again.clone()));
            }
            _ => {}
        }
    }
    Ok(Verdict::Passed)
}

fn ids(bench: &Bench<'_>) -> HashMap<Change, String> {
    let events = bench.batches.iter().flat_map(|batch| batch.iter());
    events.filter_map(|e| Some((bench.fixture.change(&e)?, e.id().to_string()))).collect()
}

pub(super) async fn positions(mut bench: Bench<'_>) -> Outcome {
    let Some(codec) = bench.fixture.codec() else {
        return Ok(Verdict::NotApplicable("the fixture gives no position codec"));
    };
    let expected = bench.fixture.produce(2 * CHANGES).await;
    bench.run(Goal::Arrived(&expected)).await?;
    let mut last: HashMap<&PartitionId, &Position> = HashMap::new();
    let mut done: HashMap<&PartitionId, Vec<EventId<'_>>> = HashMap::new();
    for batch in &bench.batches {
        let partition = batch.partition();
        let events = done.entry(partition).or_default();
        if let Some(before) = last.get(partition) {
            for event in batch.iter() {
                expect_covers(&*codec, before, &event.id(), false)?;
            }
        }
        events.extend(batch.iter().map(|event| event.id()));
        let Some(end) = batch.end() else { continue };
        let text = codec.print(end);
        let parsed = codec.parse(&text).map_err(Mismatch::failed("its own print of a position is parsed"))?;
        if parsed != *end {
            return Err(Mismatch::new(format!("{end:?} again from its print {text}"), format!("{parsed:?}")));
        }
        if let Some(before) = last.insert(partition, end) {
            let relation = codec.relate(before, end).map_err(Mismatch::failed("positions are related"))?;
            if !matches!(relation, Relation::Before | Relation::Equal) {
                return Err(Mismatch::new(
                    format!("positions of partition {partition} that grow"),
                    format!("{before} is {relation:?} {end}, which came later"),
                ));
            }
        }
        for event in events.iter() {
            expect_covers(&*codec, end, event, true)?;
        }
    }
    Ok(Verdict::Passed)
}

fn expect_covers(
    codec: &dyn PositionCodec,
    position: &Position,
    event: &EventId<'_>,
    expected: bool,
) -> Result<(), Mismatch> {
    // Where events keep the ids of another system, the codec cannot tell, and says so.
    let Ok(covers) = codec.covers(position, event) else { return Ok(()) };
    if covers == expected {
        return Ok(());
    }
    let say = |covers: bool| if covers { "covers" } else { "does not cover" };
    Err(Mismatch::new(
        format!("position {position} {} event {event}", say(expected)),
        format!("the codec says it {}", say(covers)),
    ))
}
