//! The source `couchdb`.

use outflow_sdk::prelude::*;
use outflow_sdk::serde_json::{self, value::RawValue};
use serde::de::{DeserializeOwned, IgnoredAny};

use crate::http::{self, Http};

/// Follows one CouchDB database through its `_changes` feed; resumes from its sequence token.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CouchDb {
    /// Address with the database, and with the user where there is one: `http://reader@couch:5984/shop`.
    url: Url,
    /// That user's password.
    password: Option<Secret>,
    #[serde(skip)]
    http: Http,
}

/// An answer of `_changes`.
#[derive(Deserialize)]
struct Page {
    results: Vec<Change>,
    last_seq: String,
    /// How many changes come after this page.
    #[serde(default)]
    pending: u64,
}

#[derive(Deserialize)]
struct Change {
    seq: String,
    id: String,
    #[serde(default)]
    deleted: bool,
    /// As the server sent it: no number goes through a float.
    doc: Option<Box<RawValue>>,
}

#[async_trait]
impl SourceConnector for CouchDb {
    const TYPE: &'static str = "couchdb";
    const CAPABILITIES: SourceCapabilities = SourceCapabilities::new().resume().deletes().stop_at_current();

    fn fingerprint(&self) -> Option<String> {
        Some(self.url.path().to_owned())
    }

    fn address(&self) -> String {
        http::address(&self.url)
    }

    async fn check(&self, findings: &mut Findings) {
        let answer = self.get::<IgnoredAny>("", &[]).await;
        findings.probe("couchdb.reachable", answer, "start CouchDB, or correct `url`");
    }

    async fn run(self, cx: &mut SourceContext) -> Result<()> {
        self.get::<IgnoredAny>("", &[]).await?;
        cx.connected();
        let table = TableSchema::document(self.database(), "_id");
        let mut since = cx.resume().map_or("0", |p| p.as_str()).to_owned();
        let feed = if cx.stop_at_current() { "normal" } else { "longpoll" };
        let mut left = None;
        loop {
            let query = [("feed", feed), ("include_docs", "true"), ("limit", "1000"), ("since", &*since)];
            let page: Page = self.get("/_changes", &query).await?;
            let count = page.results.len() as u64;
            for change in page.results {
                let at = Position::token(change.seq);
                match change.doc {
                    _ if change.deleted => cx.delete(&table, change.id, at),
                    Some(doc) => cx.upsert(&table, change.id, Value::json(doc.get()), at),
                    None => {
                        let message = format!("the change of {} came without its document", change.id);
                        return Err(Error::permanent("couchdb.document").message(message));
                    }
                }
            }
            since = page.last_seq;
            // Waits for room. An empty page still carries its position. Dropped at an await, nothing is lost:
            // shutdown is that drop, so there is no flag to look at.
            cx.emit_through(Position::token(&*since)).await?;
            if cx.stop_at_current() {
                // As many changes as there were at the first page. What changes meanwhile moves to the end of
                // the feed, so that none of them is left behind that count.
                let rest = left.unwrap_or(count + page.pending).saturating_sub(count);
                if rest == 0 {
                    return Ok(());
                }
                left = Some(rest);
            }
        }
    }
}

impl CouchDb {
    /// The database's name: the last part of the path.
    fn database(&self) -> &str {
        self.url.path().trim_end_matches('/').rsplit('/').next().unwrap_or_default()
    }

    async fn get<T: DeserializeOwned>(&self, path: &str, query: &[(&str, &str)]) -> Result<T> {
        let mut url = self.url.clone();
        url.set_path(&format!("{}{path}", self.url.path().trim_end_matches('/')));
        if let Some(password) = &self.password {
            // The client makes a header of both and takes them out of the URL.
            url.set_password(Some(password.expose())).map_err(|()| {
                Error::configuration("couchdb.url").message("`url` must begin with http:// or https://")
            })?;
        }
        // Errors of the client print the URL, which may hold credentials.
        let answer = self
            .http
            .client()?
            .get(url)
            .query(query)
            .send()
            .await
            .map_err(|e| e.without_url())
            .transient("couchdb.unreachable")?;
        let status = answer.status();
        let body = answer.bytes().await.map_err(|e| e.without_url()).transient("couchdb.unreachable")?;
        let refused = |code, hint| Err(Error::permanent(code).with("status", status.as_u16()).hint(hint));
        match status.as_u16() {
            200..=299 => serde_json::from_slice(&body).permanent("couchdb.answer"),
            400 => refused("couchdb.position_lost", "the server does not know the stored place in its feed"),
            401 | 403 => refused("couchdb.denied", "set `password`, and the user in `url`"),
            404 => refused("couchdb.no_database", "correct the database in `url`"),
            code => Err(Error::transient("couchdb.status").with("status", code)),
        }
    }
}
