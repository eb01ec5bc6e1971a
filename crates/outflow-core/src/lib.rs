//! The change model of Outflow: batches, values, schemas, positions, checkpoints and errors
