//! The checks of sinks.

use outflow_sdk::Outcome;

use super::run::Bench;
use crate::conformance::change::{self, Change};
use crate::conformance::verdict::{Mismatch, Verdict};

type Outcomes = Result<Verdict, Mismatch>;

/// So many batches.
const BATCHES: usize = 6;

/// So many polls are tried, each with batches of its own.
const CUTS: usize = 12;

/// A batch's changes: keys come again within the batch and in the next.
fn changes(batch: usize) -> Vec<Change> {
    (0..9).map(|i| Change::new(format!("key-{}", i % 3), format!("{batch}.{i}"))).collect()
}

pub(super) async fn ack_means_durable(mut bench: Bench<'_>) -> Outcomes {
    let transactional = bench.fixture.sink().capabilities().transactional;
    bench.open().await?;
    let mut expected = Vec::new();
    for batch in 0..BATCHES {
        let changes = changes(batch);
        let offer = bench.offer(&changes).await?;
        let ack = bench.write(&offer).await?;
        // An ack that comes by itself must be true by itself: no flush may help it.
        if !bench.acks.comes_by_itself(ack).await || transactional {
            bench.flush().await?;
        }
        bench.expect_durable(ack)?;
        expected.extend(changes);
        change::nothing_lost(&expected, &bench.fixture.delivered().await)?;
    }
    bench.drop_sink();
    change::nothing_lost(&expected, &bench.fixture.delivered().await)?;
    Ok(Verdict::Passed)
}

pub(super) async fn rejected_are_named(mut bench: Bench<'_>) -> Outcomes {
    if !bench.fixture.sink().capabilities().rejects {
        return Ok(Verdict::NotApplicable("the sink names no rejected records"));
    }
    let Some(poison) = bench.fixture.poison() else {
        return Ok(Verdict::NotApplicable("the fixture knows no record that is refused"));
    };
    bench.open().await?;
    let mut batch = changes(0);
    let good = batch.clone();
    let at = 4;
    batch.insert(at, poison.clone());
    let offer = bench.offer(&batch).await?;
    let ack = bench.write(&offer).await?;
    bench.flush().await?;
    let expected = format!("an ack that names event {at} as rejected, and no other");
    match bench.acks.take(ack) {
        Some(Outcome::Rejected(bad)) if bad.iter().map(|(i, _)| *i as usize).eq([at]) => {}
        Some(outcome) => return Err(Mismatch::new(expected, format!("{outcome:?}"))),
        None => return Err(Mismatch::new(expected, "the ack is not resolved after a flush")),
    }
    let came = bench.fixture.delivered().await;
    change::nothing_lost(&good, &came)?;
    change::nothing_made_up(&good, &came)?;
    Ok(Verdict::Passed)
}

pub(super) async fn order_per_key(mut bench: Bench<'_>) -> Outcomes {
    if !bench.fixture.sink().capabilities().ordered {
        return Ok(Verdict::NotApplicable("the sink does not keep order"));
    }
    bench.open().await?;
    let mut expected = Vec::new();
    for batch in 0..4 * BATCHES {
        let changes = changes(batch);
        let offer = bench.offer(&changes).await?;
        bench.write(&offer).await?;
        expected.extend(changes);
    }
    bench.flush().await?;
    let came = bench.fixture.delivered().await;
    change::nothing_lost(&expected, &came)?;
    change::in_order(&expected, &came)?;
    Ok(Verdict::Passed)
}

pub(super) async fn cancel_write(mut bench: Bench<'_>) -> Outcomes {
    bench.open().await?;
    let mut expected = Vec::new();
    for cut in 0..2 * CUTS {
        let (polls, same_sink) = (1 + cut / 2, cut % 2 == 0);
        let changes = changes(cut);
        let offer = bench.offer(&changes).await?;
        let ack = match bench.write_and_drop(&offer, polls).await? {
            Some(ack) => ack,
            // The same batch comes again: to this sink, or to the next.
            None => {
                if !same_sink {
                    bench.open().await?;
                }
                bench.write(&offer).await?
            }
        };
        bench.flush().await?;
        bench.expect_durable(ack)?;
        expected.extend(changes);
    }
    bench.close().await?;
    let came = bench.fixture.delivered().await;
    change::nothing_lost(&expected, &came)?;
    change::nothing_made_up(&expected, &came)?;
    if bench.fixture.sink().capabilities().ordered {
        change::in_order(&expected, &came)?;
    }
    Ok(Verdict::Passed)
}

pub(super) async fn flush_resolves(mut bench: Bench<'_>) -> Outcomes {
    bench.open().await?;
    let mut acks = Vec::new();
    for batch in 0..BATCHES {
        let offer = bench.offer(&changes(batch)).await?;
        acks.push(bench.write(&offer).await?);
    }
    bench.flush().await?;
    acks.into_iter().try_for_each(|ack| bench.expect_durable(ack))?;
    Ok(Verdict::Passed)
}

pub(super) async fn reopen(mut bench: Bench<'_>) -> Outcomes {
    let mut expected = Vec::new();
    for batch in 0..BATCHES {
        bench.open().await?;
        let changes = changes(batch);
        let offer = bench.offer(&changes).await?;
        let ack = bench.write(&offer).await?;
        bench.flush().await?;
        bench.expect_durable(ack)?;
        expected.extend(changes);
        // In turn: an end in order, and one without a word.
        if batch % 2 == 0 {
            bench.close().await?;
        } else {
            bench.drop_sink();
        }
    }
    let came = bench.fixture.delivered().await;
    change::nothing_lost(&expected, &came)?;
    change::nothing_made_up(&expected, &came)?;
    change::nothing_repeated(&came)?;
    Ok(Verdict::Passed)
}

pub(super) async fn empty_batch(mut bench: Bench<'_>) -> Outcomes {
    bench.open().await?;
    let offer = bench.offer(&[]).await?;
    let ack = bench.write(&offer).await?;
    bench.flush().await?;
    bench.expect_durable(ack)?;
    change::nothing_made_up(&[], &bench.fixture.delivered().await)?;
    Ok(Verdict::Passed)
}
