//! Pipeline files of Outflow: YAML to typed configuration, with errors that name file, line and key.
//!
//! A file goes through these steps, and every mistake of all of them is reported in one run:
//!
//! 1. YAML is read into a tree that knows the place of each key and value; anchors and merge keys are resolved.
//! 2. `${…}` in scalars is replaced. What comes from outside is text and is never read as YAML.
//! 3. Layers are merged by figment: defaults < file < `--set`.
//! 4. The tree is checked against the JSON Schemas of the connectors that it names, which also give each scalar its
//!    type. [`pipeline_schema`] is what is enforced, and what editors can use.
//! 5. The runtime's own keys are taken out of the sink; each connector gets only its own.
//!
//! No credential is in any message, excerpt or `Debug` (invariant 10).

mod catalog;
mod diagnostic;
mod environment;
mod files;
mod findings;
mod interpolate;
mod layers;
mod load;
mod pipeline;
mod pipeline_schema;
mod process;
mod redact;
mod render;
mod scalar;
mod schema;
mod settings;
mod suggest;
mod text;
mod tree;
mod yaml;

pub use catalog::{Catalog, Role};
pub use diagnostic::{Diagnostic, Excerpt, Place, Severity};
pub use environment::{Environment, MAX_SECRET_FILE, ProcessEnvironment};
pub use files::{InputFile, expand};
pub use load::{Loaded, Loader};
pub use pipeline::{Block, Part, PipelineFile};
pub use pipeline_schema::pipeline_schema;
pub use process::{LogFormat, ProcessSettings};
pub use render::{RenderOptions, render, render_all};
pub use settings::{OnError, Settings};
pub use suggest::nearest;
