//! Change events to bytes: JSON, Debezium JSON and raw, by compiled plans
