//! Built-in transforms: [`outbox`](Outbox), [`filter`](Filter) and [`mask`](Mask).

mod expression;
mod filter;
mod mask;
mod outbox;

pub use filter::{Filter, FilterConfig};
pub use mask::{Mask, MaskConfig};
pub use outbox::{Outbox, OutboxColumns, OutboxConfig, Preset};

use outflow_sdk::Registry;

/// Adds all transforms of this crate.
pub fn register(registry: &mut Registry) {
    registry.add_transform(Outbox).add_transform(Filter).add_transform(Mask);
}
