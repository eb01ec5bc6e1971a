//! From an application's commit to the sink.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use outflow::connectors::Polling;
use outflow::prelude::*;
use outflow_bench::Result;
use tokio::sync::watch;

use crate::database::{Kind, Message, Outbox, insert, runtime};

/// Rows a second, each in a transaction of its own.
const RATE: u32 = 1_000;
/// Rows that come before the count, while everything warms up.
const WARM: usize = 100;

/// Commits `rows` rows and prints how long each took. A row's time counts from before its INSERT is sent.
pub(crate) fn run(kind: Kind, rows: u64) -> Result<()> {
    let outbox = Arc::new(Outbox::create(kind)?);
    let runtime = runtime()?;
    let mut delays = runtime.block_on(delays(&outbox, rows as usize + WARM))?.split_off(WARM);
    delays.sort_unstable();
    let at = |part: f64| {
        let index = ((delays.len() as f64 * part) as usize).min(delays.len().saturating_sub(1));
        delays.get(index).copied().unwrap_or_default().as_secs_f64() * 1e3
    };
    println!("  commit to sink, {RATE} transactions/s, {rows} rows");
    println!(
        "    p50 {:.2} ms   p90 {:.2} ms   p99 {:.2} ms   max {:.2} ms",
        at(0.5),
        at(0.9),
        at(0.99),
        at(1.0)
    );
    Ok(())
}

async fn delays(outbox: &Arc<Outbox>, rows: usize) -> Result<Vec<Duration>> {
    if outbox.kind == Kind::Postgres {
        let client = outbox.postgres().await?;
        // What `outflow check` offers.
        let trigger = "CREATE TRIGGER outflow_notify AFTER INSERT ON public.outbox FOR EACH STATEMENT \
             EXECUTE FUNCTION outflow_notify('outflow:public.outbox')";
        client.batch_execute(trigger).await?;
    }
    let arrived = Arc::new(Mutex::new(Vec::with_capacity(rows)));
    let (count, mut counted) = watch::channel(0);
    let sink = Arc::clone(&arrived);
    let pipeline = Pipeline::builder("latency")
        .source(Polling::from_url(outbox.url()).tables([outbox.table()]))
        .with("outbox", serde_json::json!({}))
        .sink_fn(move |batch| {
            let (now, sink, count) = (Instant::now(), Arc::clone(&sink), count.clone());
            async move {
                let mut sink = sink.lock().unwrap_or_else(PoisonError::into_inner);
                sink.extend(batch.iter().filter_map(|e| Some((e.message()?.body()?.to_vec(), now))));
                count.send_replace(sink.len());
                Ok(())
            }
        })
        .start()
        .await?;
    let writer = Arc::clone(outbox);
    let sent = tokio::task::spawn_blocking(move || write(&writer, rows)).await??;
    tokio::time::timeout(Duration::from_secs(60), counted.wait_for(|n| *n >= rows)).await??;
    pipeline.stop().await?;
    let arrived = arrived.lock().unwrap_or_else(PoisonError::into_inner);
    let mut delays = Vec::with_capacity(rows);
    for (n, (at, (body, seen))) in sent.iter().zip(arrived.iter()).enumerate() {
        if *body != Message::new(n as u64).body.into_bytes() {
            return Err(format!("row {n} is not in its place").into());
        }
        delays.push(seen.saturating_duration_since(*at));
    }
    Ok(delays)
}

/// One writer at an even pace; the time of each statement.
fn write(outbox: &Outbox, rows: usize) -> Result<Vec<Instant>> {
    let mut sent = Vec::with_capacity(rows);
    let start = Instant::now();
    let mut pace = |n: usize| {
        let due = start + Duration::from_secs(1) / RATE * n as u32;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        sent.push(Instant::now());
    };
    match outbox.kind {
        Kind::Sqlite => {
            let connection = outbox.sqlite()?;
            let mut statement = connection.prepare(&insert("?1, ?2, ?3, ?4"))?;
            for n in 0..rows {
                let row = Message::new(n as u64);
                pace(n);
                statement.execute((&row.id, &row.key, row.kind, &row.body))?;
            }
        }
        Kind::Postgres => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let client = outbox.postgres().await?;
                // The disk's own delay is not what is measured.
                client.batch_execute("SET synchronous_commit = off").await?;
                let statement = client.prepare(&insert("$1, $2, $3, $4")).await?;
                for n in 0..rows {
                    let row = Message::new(n as u64);
                    pace(n);
                    client.execute(&statement, &[&row.id, &row.key, &row.kind, &row.body]).await?;
                }
                Result::Ok(())
            })?;
        }
    }
    Ok(sent)
}
