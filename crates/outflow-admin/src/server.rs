//! The HTTP server.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use outflow_core::{Error, Result};
use outflow_runtime::Observer;
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::sync::Notify;

use crate::health::Readiness;
use crate::metrics::{CONTENT_TYPE, Metrics};

/// How long requests that are being answered may take when the server ends.
const GRACE: Duration = Duration::from_secs(1);

/// A server that is bound and not serving yet: an address that cannot be had is known before any pipeline starts.
#[derive(Debug)]
pub struct Admin {
    listener: TcpListener,
    address: SocketAddr,
}

impl Admin {
    /// Binds an address. Port 0 takes a free one; see [`address`](Self::address).
    ///
    /// An address that is not loopback is taken, and a warning logged: there is no authentication.
    ///
    /// # Errors
    /// `admin.bind` when the address cannot be had.
    pub async fn bind(address: SocketAddr) -> Result<Self> {
        let refused = |e: std::io::Error| {
            Error::permanent("admin.bind")
                .message(format!("cannot listen on {address}: {e}"))
                .hint("name another address with --listen, such as 127.0.0.1:0 for any free port")
        };
        let listener = TcpListener::bind(address).await.map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        if !address.ip().is_loopback() {
            tracing::warn!(
                code = "admin.exposed",
                "health and metrics are shown to everyone who reaches {address}; there is no authentication"
            );
        }
        Ok(Self { listener, address })
    }

    /// The address that was bound.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `shutdown`, then finishes the requests that it has, for at most a second. Dropped, it ends at
    /// once.
    ///
    /// # Errors
    /// `admin.serve` when the listener fails.
    pub async fn serve(
        self,
        pipelines: Vec<Observer>,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> Result<()> {
        let ending = Arc::new(Notify::new());
        let told = Arc::clone(&ending);
        let shutdown = async move {
            shutdown.await;
            told.notify_one();
        };
        let server = axum::serve(self.listener, router(pipelines)).with_graceful_shutdown(shutdown);
        tokio::select! {
            served = server => served.map_err(|e| Error::transient("admin.serve").caused_by(e)),
            () = async { ending.notified().await; tokio::time::sleep(GRACE).await } => Ok(()),
        }
    }
}

struct Shared {
    pipelines: Vec<Observer>,
    metrics: Metrics,
}

fn router(pipelines: Vec<Observer>) -> Router {
    let metrics = Metrics::new(pipelines.clone());
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics_text))
        .fallback(|| async { (StatusCode::NOT_FOUND, "there is /healthz, /readyz and /metrics\n") })
        .with_state(Arc::new(Shared { pipelines, metrics }))
}

async fn ready(State(shared): State<Arc<Shared>>, RawQuery(query): RawQuery) -> Response {
    // Names of pipelines hold nothing that a query escapes.
    let wanted = query.as_deref().and_then(|q| q.split('&').find_map(|pair| pair.strip_prefix("pipeline=")));
    let asked = |p: &&Observer| wanted.is_none_or(|name| name == p.name());
    let mut pipelines = shared.pipelines.iter().filter(asked).peekable();
    if let (None, Some(name)) = (pipelines.peek(), wanted) {
        let unknown = Unknown { error: format!("no pipeline is called {name:?}") };
        return (StatusCode::NOT_FOUND, axum::Json(unknown)).into_response();
    }
    let readiness = Readiness::of(pipelines);
    let code = if readiness.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, axum::Json(readiness)).into_response()
}

#[derive(Serialize)]
struct Unknown {
    error: String,
}

async fn metrics_text(State(shared): State<Arc<Shared>>) -> Response {
    match shared.metrics.text() {
        Ok(text) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
