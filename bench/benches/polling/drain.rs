//! Reads a whole outbox.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::TryStreamExt as _;
use outflow::connectors::Polling;
use outflow::prelude::*;
use outflow_bench::Result;

use crate::database::{Kind, Outbox, Seen, runtime};

/// About what a page of the pipeline has: as many rows as make a mebibyte.
const PAGE: i64 = 2_048;
const QUERY: &str = "SELECT seq, id, aggregatetype, aggregateid, type, payload FROM outbox WHERE seq > $1 \
     ORDER BY seq LIMIT $2";

/// With nothing but the client library.
pub(crate) fn bare(outbox: &Outbox) -> Result<(Seen, Duration)> {
    match outbox.kind {
        Kind::Sqlite => bare_sqlite(outbox),
        Kind::Postgres => runtime()?.block_on(bare_postgres(outbox)),
    }
}

fn bare_sqlite(outbox: &Outbox) -> Result<(Seen, Duration)> {
    let connection = outbox.sqlite()?;
    let start = Instant::now();
    let mut statement = connection.prepare(QUERY)?;
    let (mut seen, mut last) = (Seen::default(), 0);
    loop {
        let before = last;
        let mut rows = statement.query((last, PAGE))?;
        while let Some(row) = rows.next()? {
            last = row.get(0)?;
            let text = |column| row.get_ref(column)?.as_str().map_err(rusqlite::Error::from);
            std::hint::black_box(text(2)?);
            seen.add(text(1)?, text(3)?, text(4)?, text(5)?.as_bytes());
        }
        if last == before {
            return Ok((seen, start.elapsed()));
        }
    }
}

async fn bare_postgres(outbox: &Outbox) -> Result<(Seen, Duration)> {
    let client = outbox.postgres().await?;
    let start = Instant::now();
    let statement = client.prepare(QUERY).await?;
    let (mut seen, mut last) = (Seen::default(), 0_i64);
    loop {
        let before = last;
        let mut rows = std::pin::pin!(client.query_raw(&statement, [last, PAGE]).await?);
        while let Some(row) = rows.try_next().await? {
            last = row.get(0);
            std::hint::black_box(row.get::<_, &str>(2));
            seen.add(row.get(1), row.get(3), row.get(4), row.get::<_, &str>(5).as_bytes());
        }
        if last == before {
            return Ok((seen, start.elapsed()));
        }
    }
}

/// Through a pipeline with the `outbox` transform.
pub(crate) fn piped(outbox: &Outbox) -> Result<(Seen, Duration)> {
    let runtime = runtime()?;
    let start = Instant::now();
    let seen = Arc::new(Mutex::new(Seen::default()));
    let sink = Arc::clone(&seen);
    runtime.block_on(async {
        let pipeline = Pipeline::builder("drain")
            .source(Polling::from_url(outbox.url()).tables([outbox.table()]))
            .with("outbox", serde_json::json!({}))
            .sink_fn(move |batch| {
                let sink = Arc::clone(&sink);
                async move {
                    let mut seen = sink.lock().unwrap_or_else(PoisonError::into_inner);
                    batch.iter().for_each(|event| add(&mut seen, event));
                    Ok(())
                }
            })
            .stop_at_current()
            .start()
            .await?;
        pipeline.wait().await
    })?;
    let elapsed = start.elapsed();
    let seen = *seen.lock().unwrap_or_else(PoisonError::into_inner);
    Ok((seen, elapsed))
}

/// Adds a message; one that is not as expected is not counted.
pub(crate) fn add(seen: &mut Seen, event: EventRef<'_>) {
    let Some(message) = event.message() else { return };
    if let (ValueRef::Text(id), ValueRef::Text(key), Some(kind), Some(body)) =
        (message.id(), message.key(), message.kind(), message.body())
    {
        seen.add(id, key, kind, body);
    }
}
