//! Both connectors keep the contract of Outflow.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::sync::Arc;

use acme_outflow_http::{CouchDb, Webhook};
use outflow_sdk::{ConfiguredSink, ConfiguredSource, EventRef, ValueRef, async_trait};
use outflow_testkit::conformance::{Change, SinkFixture, SourceFixture, configured_sink, configured_source};
use serde_json::{Value, json};
use support::{couch::Couch, hook::Hook};

/// A shop whose customers place orders. The order of an order is that of its customer: a document that changes again
/// leaves its former place in the feed, so no document could show it.
struct Orders {
    couch: Couch,
    placed: usize,
}

impl Orders {
    async fn start() -> Self {
        Self { couch: Couch::start().await, placed: 0 }
    }
}

#[async_trait]
impl SourceFixture for Orders {
    fn source(&self) -> Arc<dyn ConfiguredSource> {
        configured_source::<CouchDb>(json!({ "url": self.couch.url, "password": "canary" }))
    }

    async fn produce(&mut self, changes: usize) -> Vec<Change> {
        let numbers = self.placed..self.placed + changes;
        self.placed = numbers.end;
        let place = |n: usize| {
            let order = Change::new(format!("customer-{}", n % 3), format!("order-{n}"));
            self.couch.put(&order.content, json!({ "customer": order.key }));
            order
        };
        numbers.map(place).collect()
    }

    fn change(&self, event: &EventRef<'_>) -> Option<Change> {
        let ValueRef::Json(document) = event.after()?.by_name("document")? else { return None };
        let document: Value = serde_json::from_str(document).unwrap();
        Some(Change::new(document["customer"].as_str()?, document["_id"].as_str()?))
    }
}

mod couchdb {
    outflow_testkit::source_conformance!(super::Orders::start().await);
}

#[async_trait]
impl SinkFixture for Hook {
    fn sink(&self) -> Arc<dyn ConfiguredSink> {
        configured_sink::<Webhook>(json!({ "url": self.url, "token": "canary" }))
    }

    async fn delivered(&mut self) -> Vec<Change> {
        let text = |line: &Value, column: &str| line["after"][column].as_str().unwrap().to_owned();
        self.taken().iter().map(|line| Change::new(text(line, "key"), text(line, "content"))).collect()
    }

    fn poison(&self) -> Option<Change> {
        Some(Change::new("key-0", "poison"))
    }
}

mod webhook {
    outflow_testkit::sink_conformance!(super::Hook::start().await);
}
