//! Transforms: changes to events on their way.

use std::sync::Arc;

use outflow_core::{BatchEdit, Result};

/// Filters, changes, routes or splits the events of a batch. Synchronous; called once a batch, in order.
///
/// An event that cannot be taken is refused with [`BatchEdit::reject`]; the pipeline's `on_error` decides what
/// becomes of it. An error from `apply` fails the batch as a whole.
pub trait Transform: Send {
    /// Applies the transform to a batch.
    fn apply(&mut self, edit: &mut BatchEdit<'_>, cx: &mut TransformContext) -> Result<()>;
}

/// What a transform sees of its pipeline.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TransformContext {
    /// The pipeline's name.
    pub pipeline: Arc<str>,
}

impl TransformContext {
    /// A context. For the runtime and for test harnesses.
    pub fn new(pipeline: impl Into<Arc<str>>) -> Self {
        Self { pipeline: pipeline.into() }
    }
}

/// A closure as a transform.
#[derive(Debug)]
pub struct TransformFn<F>(pub F);

impl<F: FnMut(&mut BatchEdit<'_>) -> Result<()> + Send> Transform for TransformFn<F> {
    fn apply(&mut self, edit: &mut BatchEdit<'_>, _: &mut TransformContext) -> Result<()> {
        (self.0)(edit)
    }
}
