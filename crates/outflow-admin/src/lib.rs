//! Health and metrics of pipelines over HTTP, in the words that the terminal uses.
//!
//! | path | what |
//! | --- | --- |
//! | `/healthz` | 200 while the process serves: restart it when this fails |
//! | `/readyz` | 200 while every pipeline is healthy, else 503; a body that says why. `?pipeline=orders` asks for one |
//! | `/metrics` | Prometheus (OpenMetrics text): `docs/reference/metrics.md` lists every name |
//!
//! There is no authentication, and nothing can be changed through it. Names, codes, positions and addresses of servers
//! are shown, credentials are not (invariant 10). Listen on loopback, or where only those who may know reach it.

mod health;
mod memory;
mod metrics;
mod server;

pub use memory::resident_bytes;
pub use server::Admin;
