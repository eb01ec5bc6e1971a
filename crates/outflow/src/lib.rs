//! Change data capture as a library: pipelines from databases to anywhere, embedded in a Rust service
