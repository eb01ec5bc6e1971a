//! The far end of a webhook: keeps what is posted to it.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header::AUTHORIZATION};
use axum::routing::post;
use serde_json::Value;
use tokio::sync::watch;

/// A running server. It takes posts of at most 100 lines with the bearer token `canary`, none with the word `poison`.
#[derive(Clone)]
pub struct Hook {
    pub url: String,
    far: Arc<Far>,
}

struct Far {
    lines: Mutex<Vec<String>>,
    /// The `Idempotency-Key`s that were seen: the same post again counts once.
    keys: Mutex<Vec<String>>,
    /// Posts that still fail before one is looked at.
    failing: Mutex<u32>,
    count: watch::Sender<usize>,
}

impl Hook {
    pub async fn start() -> Self {
        let far = Arc::new(Far {
            lines: Mutex::default(),
            keys: Mutex::default(),
            failing: Mutex::default(),
            count: watch::channel(0).0,
        });
        let router = Router::new().route("/orders", post(take)).with_state(Arc::clone(&far));
        Self { url: format!("{}/orders", super::serve(router).await), far }
    }

    /// The next `posts` are answered with 503.
    pub fn fail(&self, posts: u32) {
        *self.far.failing.lock().unwrap() = posts;
    }

    /// Waits for so many lines; gives all.
    pub async fn lines(&self, count: usize) -> Vec<Value> {
        let mut counted = self.far.count.subscribe();
        let enough = counted.wait_for(|n| *n >= count);
        let waited = tokio::time::timeout(std::time::Duration::from_secs(60), enough).await;
        let taken = self.taken();
        assert!(waited.is_ok(), "waited for {count} lines, got {taken:#?}");
        taken
    }

    /// All lines so far.
    pub fn taken(&self) -> Vec<Value> {
        let lines = self.far.lines.lock().unwrap();
        lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

async fn take(State(far): State<Arc<Far>>, headers: HeaderMap, body: String) -> (StatusCode, &'static str) {
    if headers.get(AUTHORIZATION).is_none_or(|value| value != "Bearer canary") {
        return (StatusCode::UNAUTHORIZED, "who is it?");
    }
    {
        let mut failing = far.failing.lock().unwrap();
        if *failing > 0 {
            *failing -= 1;
            return (StatusCode::SERVICE_UNAVAILABLE, "not now");
        }
    }
    if body.lines().count() > 100 {
        return (StatusCode::PAYLOAD_TOO_LARGE, "at most 100 lines");
    }
    if body.contains("poison") {
        return (StatusCode::UNPROCESSABLE_ENTITY, "no poison");
    }
    let key = headers["Idempotency-Key"].to_str().unwrap().to_owned();
    let mut keys = far.keys.lock().unwrap();
    if !keys.contains(&key) {
        keys.push(key);
        let mut lines = far.lines.lock().unwrap();
        lines.extend(body.lines().map(str::to_owned));
        far.count.send_replace(lines.len());
    }
    (StatusCode::OK, "")
}
