//! What a connector for Outflow depends on: traits, contexts, registry and plain types
