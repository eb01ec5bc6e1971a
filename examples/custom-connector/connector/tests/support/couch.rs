//! What the source needs of CouchDB: a database with `_changes`, also as a long poll.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header::AUTHORIZATION};
use axum::routing::get;
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::watch;

/// A running server. Its one database, `shop`, belongs to the user `reader` with the password `canary`.
#[derive(Clone)]
pub struct Couch {
    pub url: String,
    database: Arc<Database>,
}

struct Database {
    /// The last change of each document, in order of `seq`.
    changes: Mutex<Vec<Change>>,
    newest: watch::Sender<u64>,
}

#[derive(Clone)]
struct Change {
    seq: u64,
    id: String,
    /// `None` once it is deleted.
    document: Option<Value>,
}

#[derive(Deserialize)]
struct Asked {
    since: String,
    limit: usize,
    feed: String,
}

impl Couch {
    pub async fn start() -> Self {
        let database = Arc::new(Database { changes: Mutex::default(), newest: watch::channel(0).0 });
        let router = Router::new()
            .route("/shop", get(info))
            .route("/shop/_changes", get(changes))
            .with_state(Arc::clone(&database));
        let address = super::serve(router).await;
        Self { url: format!("{}/shop", address.replace("http://", "http://reader@")), database }
    }

    /// Writes a document.
    pub fn put(&self, id: &str, mut document: Value) {
        document["_id"] = id.into();
        self.write(id, Some(document));
    }

    /// Deletes a document.
    pub fn delete(&self, id: &str) {
        self.write(id, None);
    }

    fn write(&self, id: &str, document: Option<Value>) {
        let mut changes = self.database.changes.lock().unwrap();
        // A document is in the feed once, with its last change.
        changes.retain(|c| c.id != id);
        let seq = *self.database.newest.borrow() + 1;
        changes.push(Change { seq, id: id.to_owned(), document });
        self.database.newest.send_replace(seq);
    }
}

/// As CouchDB's: a number that counts, and a tail that says nothing to a client.
fn token(seq: u64) -> String {
    if seq == 0 { "0".into() } else { format!("{seq}-g1AAAACbeJzLYWBg") }
}

fn may_read(headers: &HeaderMap) -> bool {
    // reader:canary
    headers.get(AUTHORIZATION).is_some_and(|value| value == "Basic cmVhZGVyOmNhbmFyeQ==")
}

async fn info(headers: HeaderMap) -> Result<Json<Value>, StatusCode> {
    if may_read(&headers) { Ok(Json(json!({"db_name": "shop"}))) } else { Err(StatusCode::UNAUTHORIZED) }
}

async fn changes(
    State(database): State<Arc<Database>>,
    headers: HeaderMap,
    Query(asked): Query<Asked>,
) -> Result<Json<Value>, StatusCode> {
    if !may_read(&headers) {
        return Err(StatusCode::UNAUTHORIZED);
    }
    let number = asked.since.split('-').next().and_then(|n| n.parse::<u64>().ok());
    let since = number.filter(|n| token(*n) == asked.since).ok_or(StatusCode::BAD_REQUEST)?;
    if asked.feed == "longpoll" {
        // Nothing new in this time is an empty page.
        let mut newest = database.newest.subscribe();
        let _ = tokio::time::timeout(Duration::from_secs(5), newest.wait_for(|n| *n > since)).await;
    }
    let all = database.changes.lock().unwrap();
    let new: Vec<&Change> = all.iter().filter(|c| c.seq > since).collect();
    let page = &new[..new.len().min(asked.limit)];
    let results: Vec<Value> = page.iter().map(|c| c.line()).collect();
    let last = page.last().map_or(since, |c| c.seq);
    Ok(Json(json!({"results": results, "last_seq": token(last), "pending": new.len() - page.len()})))
}

impl Change {
    fn line(&self) -> Value {
        match &self.document {
            Some(document) => json!({"seq": token(self.seq), "id": self.id, "doc": document}),
            None => {
                let stub = json!({"_id": self.id, "_deleted": true});
                json!({"seq": token(self.seq), "id": self.id, "deleted": true, "doc": stub})
            }
        }
    }
}
