//! The sink `webhook`.

use outflow_sdk::prelude::*;

use crate::http::{self, Http};

/// Posts batches of records to a URL, one a line.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    /// Where to post.
    url: Url,
    /// Sent as a bearer token.
    token: Option<Secret>,
    #[serde(skip)]
    http: Http,
}

#[async_trait]
impl SinkConnector for Webhook {
    const TYPE: &'static str = "webhook";
    type Item = Record; // destination, key, headers and `format:` already applied; `ChangeEvent` = typed rows
    const CAPABILITIES: SinkCapabilities = SinkCapabilities::new().ordered().dedup_by_id().rejects();

    fn address(&self) -> String {
        http::address(&self.url)
    }

    async fn write(&mut self, batch: &Batch<Record>) -> Result<Written> {
        let mut post = self.http.client()?.post(self.url.clone()).header("Idempotency-Key", batch.id());
        if let Some(token) = &self.token {
            post = post.bearer_auth(token.expose());
        }
        let body = batch.values().join(b"\n");
        // Errors of the client print the URL, which may hold credentials.
        let answer =
            post.body(body).send().await.map_err(|e| e.without_url()).transient("webhook.unreachable")?;
        match answer.status().as_u16() {
            200..=299 => Ok(Written::durable()),
            // Too much, or something in it is refused: offered again in halves, order kept, until the record is
            // alone that the other side never takes.
            400 | 413 | 422 if batch.len() > 1 => Ok(Written::split()),
            400 | 413 | 422 => Ok(Written::rejected_all("webhook.rejected", answer.text().await.ok())),
            // The same batch again, with back-off.
            status => Err(Error::transient("webhook.status").with("status", status)),
        }
    }
}
