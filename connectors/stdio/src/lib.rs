//! Outflow connectors that need no server: stdout, file, blackhole, generator
