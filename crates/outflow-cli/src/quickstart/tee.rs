//! A sink around a sink that notes the ids of what goes through it.

use std::sync::{Arc, Mutex, PoisonError};

use outflow_sdk::{
    Ack, BuildContext, Checkpoint, ConfiguredSink, Findings, RecordBatch, Result, Sink, SinkCapabilities,
    SinkContext, SinkKind, async_trait,
};

/// Notes what another sink is given.
#[derive(Clone)]
pub(crate) struct Tee {
    inner: Arc<dyn ConfiguredSink>,
    ids: Arc<Mutex<Vec<String>>>,
}

impl Tee {
    pub(crate) fn over(inner: Arc<dyn ConfiguredSink>) -> Self {
        Self { inner, ids: Arc::default() }
    }

    pub(crate) fn sink(&self) -> Arc<dyn ConfiguredSink> {
        Arc::new(self.clone())
    }

    pub(crate) fn count(&self) -> usize {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// What went through, in order.
    pub(crate) fn ids(&self) -> Vec<String> {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner).clone()
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
                SinkKind::Records(Box::new(Running { inner, ids: Arc::clone(&self.ids) }))
            }
            other => other,
        })
    }
}

struct Running {
    inner: Box<dyn Sink<RecordBatch>>,
    ids: Arc<Mutex<Vec<String>>>,
}

#[async_trait]
impl Sink<RecordBatch> for Running {
    async fn open(&mut self, cx: SinkContext) -> Result<Option<Checkpoint>> {
        self.inner.open(cx).await
    }

    async fn write(&mut self, batch: &Arc<RecordBatch>, ack: Ack) -> Result<()> {
        self.inner.write(batch, ack).await?;
        let ids = batch.iter().filter_map(|r| super::id_of(r.value()?));
        self.ids.lock().unwrap_or_else(PoisonError::into_inner).extend(ids);
        Ok(())
    }

    async fn flush(&mut self) -> Result<()> {
        self.inner.flush().await
    }

    async fn close(self: Box<Self>) -> Result<()> {
        self.inner.close().await
    }
}
