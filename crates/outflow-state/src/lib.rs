//! Checkpoint stores for Outflow: memory and file, with leases
