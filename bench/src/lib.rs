//! Throughput, latency and memory of Outflow against the floors
