//! Follows a table from inside a service and hands typed rows to a function of its own.
//!
//! `cargo run -p outflow-examples --bin big-orders`; Ctrl-C stops it. Started again, it goes on where it was.

use outflow::{connectors::Polling, prelude::*};
use outflow_examples::Shop;
use serde::Deserialize;

#[derive(Deserialize)]
struct Order {
    id: i64,
    customer: String,
    total: i64,
    card: String,
}

#[tokio::main]
async fn main() -> outflow::Result<()> {
    let mut shop = Shop::open()?;
    shop.place_order("Ada", 1200, "4929 1111")?;
    shop.place_order("Grace", 80, "4929 2222")?;

    let pipeline = Pipeline::builder("big-orders")
        .source(Polling::sqlite("shop.db").tables(["orders"]))
        .filter(|e| {
            e.after().and_then(|row| row.by_name("total")?.as_i64()).is_some_and(|total| total >= 100)
        })
        .transform(|e| e.after_mut().redact("card"))
        .sink_fn(|batch| async move {
            // Ok = durable; Err = retried by its class.
            for order in batch.rows::<Order>() {
                alert(&order?).await?;
            }
            Ok(())
        })
        .state(FileState::at("./state"))
        .start()
        .await?; // checked and connected, or a coded error
    pipeline.run_until(tokio::signal::ctrl_c()).await // drain, checkpoint, release, close
}

/// What the service does about a big order.
async fn alert(order: &Order) -> outflow::Result<()> {
    let Order { id, customer, total, card } = order;
    println!("order {id} of {customer}: {total}, card {card}");
    Ok(())
}
