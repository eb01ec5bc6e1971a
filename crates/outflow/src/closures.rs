//! Closures as transforms and sinks.

use std::sync::Arc;

use async_trait::async_trait;
use outflow_sdk::{
    Ack, Batch, BatchEdit, BuildContext, ChangeBatch, ChangeEvent, ConfiguredSink, ConfiguredTransform,
    EventMut, EventRef, Findings, Result, Sink, SinkCapabilities, SinkKind, Transform, TransformContext,
};

/// A closure that says which events stay.
pub(crate) struct FilterFn<F>(pub(crate) Arc<F>);

impl<F: Fn(EventRef<'_>) -> bool + Send + Sync + 'static> ConfiguredTransform for FilterFn<F> {
    fn type_name(&self) -> &'static str {
        "closure"
    }

    fn build(&self, _: &BuildContext) -> Result<Box<dyn Transform>> {
        Ok(Box::new(Self(Arc::clone(&self.0))))
    }
}

impl<F: Fn(EventRef<'_>) -> bool + Send + Sync> Transform for FilterFn<F> {
    fn apply(&mut self, edit: &mut BatchEdit<'_>, _: &mut TransformContext) -> Result<()> {
        edit.retain(|event| (self.0)(event));
        Ok(())
    }
}

/// A closure that changes events one by one.
pub(crate) struct ChangeFn<F>(pub(crate) Arc<F>);

impl<F: Fn(&mut EventMut<'_>) + Send + Sync + 'static> ConfiguredTransform for ChangeFn<F> {
    fn type_name(&self) -> &'static str {
        "closure"
    }

    fn build(&self, _: &BuildContext) -> Result<Box<dyn Transform>> {
        Ok(Box::new(Self(Arc::clone(&self.0))))
    }
}

impl<F: Fn(&mut EventMut<'_>) + Send + Sync> Transform for ChangeFn<F> {
    fn apply(&mut self, edit: &mut BatchEdit<'_>, _: &mut TransformContext) -> Result<()> {
        for index in 0..edit.len() {
            if let Some(mut event) = edit.get_mut(index) {
                (self.0)(&mut event);
            }
        }
        Ok(())
    }
}

/// A closure that takes batches: returning `Ok` is the ack.
pub(crate) struct SinkFn<F>(pub(crate) Arc<F>);

#[async_trait]
impl<F, Fut> ConfiguredSink for SinkFn<F>
where
    F: Fn(Batch<ChangeEvent>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<()>> + Send + 'static,
{
    fn type_name(&self) -> &'static str {
        "closure"
    }

    fn capabilities(&self) -> SinkCapabilities {
        SinkCapabilities::new().ordered()
    }

    fn default_format(&self) -> Option<&'static str> {
        None
    }

    fn address(&self) -> String {
        "closure".into()
    }

    async fn check(&self, _: &mut Findings) {}

    async fn build(&self, _: &BuildContext) -> Result<SinkKind> {
        Ok(SinkKind::Changes(Box::new(Self(Arc::clone(&self.0)))))
    }
}

#[async_trait]
impl<F, Fut> Sink<ChangeBatch> for SinkFn<F>
where
    F: Fn(Batch<ChangeEvent>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<()>> + Send + 'static,
{
    async fn write(&mut self, batch: &Arc<ChangeBatch>, ack: Ack) -> Result<()> {
        (self.0)(Batch::whole(Arc::clone(batch))).await?;
        ack.durable();
        Ok(())
    }
}
