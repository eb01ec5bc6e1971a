//! A sink around a sink that notes the ids of what goes through it, and when.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use outflow_sdk::{
    Ack, BuildContext, Checkpoint, ConfiguredSink, Findings, RecordBatch, Result, Sink, SinkCapabilities,
    SinkContext, SinkKind, async_trait,
};

/// Notes what another sink is given.
#[derive(Clone)]
pub(crate) struct Tee {
    inner: Arc<dyn ConfiguredSink>,
    printed: Arc<Mutex<Vec<Printed>>>,
}

/// An event that went through.
#[derive(Clone)]
pub(crate) struct Printed {
    pub(crate) id: String,
    pub(crate) at: Instant,
}

impl Tee {
    pub(crate) fn over(inner: Arc<dyn ConfiguredSink>) -> Self {
        Self { inner, printed: Arc::default() }
    }

    pub(crate) fn sink(&self) -> Arc<dyn ConfiguredSink> {
        Arc::new(self.clone())
    }

    /// What went through after the first so many, in order.
    pub(crate) fn printed(&self, after: usize) -> Vec<Printed> {
        let printed = self.printed.lock().unwrap_or_else(PoisonError::into_inner);
        printed.get(after..).unwrap_or_default().to_vec()
    }
}

#[async_trait]
impl ConfiguredSink for Tee {
    fn type_name(&self) -> &'static str {
        self.inner.type_name()
    }

    fn capabilities(&self) -> SinkCapabilities {
        self.inner.capabilities()
    }

    fn default_format(&self) -> Option<&'static str> {
        self.inner.default_format()
    }

    fn address(&self) -> String {
        self.inner.address()
    }

    async fn check(&self, findings: &mut Findings) {
        self.inner.check(findings).await;
    }

    async fn build(&self, cx: &BuildContext) -> Result<SinkKind> {
        Ok(match self.inner.build(cx).await? {
            SinkKind::Records(inner) => {
                SinkKind::Records(Box::new(Running { inner, printed: Arc::clone(&self.printed) }))
            }
            other => other,
        })
    }
}

struct Running {
    inner: Box<dyn Sink<RecordBatch>>,
    printed: Arc<Mutex<Vec<Printed>>>,
}

#[async_trait]
impl Sink<RecordBatch> for Running {
    async fn open(&mut self, cx: SinkContext) -> Result<Option<Checkpoint>> {
        self.inner.open(cx).await
    }

    async fn write(&mut self, batch: &Arc<RecordBatch>, ack: Ack) -> Result<()> {
        self.inner.write(batch, ack).await?;
        let at = Instant::now();
        let ids = batch.iter().filter_map(|r| super::id_of(r.value()?));
        let mut printed = self.printed.lock().unwrap_or_else(PoisonError::into_inner);
        printed.extend(ids.map(|id| Printed { id, at }));
        Ok(())
    }

    async fn flush(&mut self) -> Result<()> {
        self.inner.flush().await
    }

    async fn close(self: Box<Self>) -> Result<()> {
        self.inner.close().await
    }
}
