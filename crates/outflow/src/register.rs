//! All types of this build.

use outflow_sdk::Registry;

/// Adds every connector, format, transform and store of this build.
pub fn register_all(registry: &mut Registry) {
    outflow_connector_stdio::register(registry);
    #[cfg(feature = "polling")]
    outflow_connector_polling::register(registry);
    outflow_format::register(registry);
    outflow_transform::register(registry);
    outflow_state::register(registry);
}

/// A registry with everything of this build.
pub fn registry() -> Registry {
    let mut registry = Registry::new();
    register_all(&mut registry);
    registry
}
