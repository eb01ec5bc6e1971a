//! Publishes an outbox from inside a service: what was committed with the data leaves as a message, and its row is
//! deleted once the sink has it.
//!
//! `cargo run -p outflow-examples --bin outbox`

use outflow::connectors::{Delivered, Polling, StdoutSink};
use outflow::{prelude::*, sdk::serde_json::json};
use outflow_examples::Shop;

#[tokio::main]
async fn main() -> outflow::Result<()> {
    let mut shop = Shop::open()?;
    shop.place_order("Ada", 1200, "4929 1111")?;
    shop.place_order("Grace", 80, "4929 2222")?;

    let pipeline = Pipeline::builder("shop-outbox")
        .source(Polling::sqlite("shop.db").table("outbox").delivered(Delivered::Delete))
        .with("outbox", json!({}))
        .sink(StdoutSink::new())
        .format("json")
        .stop_at_current()
        .start()
        .await?;
    pipeline.wait().await
}
