//! The lease at work: renewed in the background, asked before every write (invariant 12).

use std::sync::Arc;
use std::time::Duration;

use outflow_sdk::{CheckpointStore, Error, Lease, Result};
use tokio::sync::watch;

/// The pipeline's lease as its tasks see it.
#[derive(Clone, Debug)]
pub(crate) struct Guard {
    state: watch::Receiver<Held>,
}

#[derive(Debug)]
enum Held {
    Lease(Lease),
    /// Why it is over for good: code and message of the store's error.
    Lost(String, String),
}

impl Guard {
    /// Takes a lease and keeps it alive. The returned future renews it and ends only when it is lost.
    pub(crate) fn keep(
        lease: Lease,
        store: Arc<dyn CheckpointStore>,
    ) -> (Self, impl Future<Output = Error> + Send) {
        let ttl = lease.remaining();
        let (send, state) = watch::channel(Held::Lease(lease.clone()));
        (Self { state }, renew(lease, store, ttl, send))
    }

    /// The lease while it is live. Past the deadline it waits for a renewal, so that a process that was stopped
    /// or a machine that slept writes nothing before it knows that it is still the only one.
    ///
    /// # Errors
    /// Fenced, when another instance has taken over.
    pub(crate) async fn live(&self) -> Result<Lease> {
        let mut state = self.state.clone();
        loop {
            match &*state.borrow_and_update() {
                Held::Lease(lease) if lease.is_live() => return Ok(lease.clone()),
                Held::Lease(_) => {}
                Held::Lost(code, message) => return Err(Error::fenced(code.clone()).message(message.clone())),
            }
            if state.changed().await.is_err() {
                return Err(Error::fenced("state.fenced").message("the lease is no longer kept"));
            }
        }
    }

    /// The newest lease, live or not.
    pub(crate) fn newest(&self) -> Option<Lease> {
        match &*self.state.borrow() {
            Held::Lease(lease) => Some(lease.clone()),
            Held::Lost(..) => None,
        }
    }
}

async fn renew(
    mut lease: Lease,
    store: Arc<dyn CheckpointStore>,
    ttl: Duration,
    state: watch::Sender<Held>,
) -> Error {
    let third = (ttl / 3).max(Duration::from_millis(10));
    let mut pause = third;
    loop {
        tokio::time::sleep(pause).await;
        match store.renew(&lease).await {
            Ok(renewed) => {
                lease = renewed;
                let _ = state.send(Held::Lease(lease.clone()));
                pause = third;
            }
            Err(error) if error.is_transient() => {
                tracing::warn!(code = error.code(), "the lease was not renewed: {error}");
                // Sooner than a third: there is a deadline to meet.
                pause = third / 4;
            }
            Err(error) => {
                let _ = state.send(Held::Lost(error.code().to_owned(), error.text().to_owned()));
                return error;
            }
        }
    }
}
