//! The pipeline of Outflow: intake, ack ledger, checkpoints, supervision and dead letters
