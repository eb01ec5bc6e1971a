//! Built-in transforms of Outflow: outbox, filter and mask
