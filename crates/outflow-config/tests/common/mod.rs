//! A catalog like that of a real binary, and an environment that depends on nothing around the test.
#![allow(
    dead_code,
    reason = "each test binary uses its part, and configurations are only read by their schemas"
)]

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::Path;

use outflow_config::{Catalog, Environment, InputFile, Loaded, Loader, RenderOptions, Role, render_all};
use outflow_sdk::{ByteSize, JsonSchema, Secret, Template, Timespan, Url, schemars};
use serde::Deserialize;
use serde_json::Value as Json;

/// When existing rows are read.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Snapshot {
    /// Before the first change.
    Initial,
    /// And nothing else.
    InitialOnly,
    /// Not at all.
    Never,
}

/// Encryption of the connection.
#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct Tls {
    /// How much is verified.
    pub(crate) mode: Option<TlsMode>,
    /// A file of certificates.
    pub(crate) ca: Option<String>,
}

#[derive(Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum TlsMode {
    Disable,
    Require,
    VerifyFull,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct Postgres {
    /// Address of the database. A password may be apart from it.
    #[schemars(extend("examples" = ["postgres://outflow@db.internal/shop"]))]
    pub(crate) url: Url,
    /// The role's password.
    pub(crate) password: Option<Secret>,
    /// Tables to capture, as globs.
    #[serde(default)]
    pub(crate) tables: Vec<String>,
    #[serde(default)]
    pub(crate) exclude_tables: Vec<String>,
    pub(crate) snapshot: Option<Snapshot>,
    pub(crate) tls: Option<Tls>,
    pub(crate) port: Option<u16>,
    pub(crate) slot: Option<String>,
    #[serde(default)]
    pub(crate) publish: bool,
    pub(crate) poll_interval: Option<Timespan>,
    pub(crate) ratio: Option<f64>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct Kafka {
    pub(crate) bootstrap_servers: OneOrMany,
    pub(crate) topic: Template,
    #[serde(default)]
    pub(crate) properties: BTreeMap<String, Json>,
    pub(crate) buffer: Option<ByteSize>,
    #[schemars(range(min = 1, max = 100))]
    pub(crate) in_flight: Option<u32>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum Exchange {
    Name(String),
    Block(ExchangeBlock),
}

#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct ExchangeBlock {
    pub(crate) name: String,
    #[serde(rename = "type")]
    pub(crate) kind: Option<String>,
    #[serde(default)]
    pub(crate) declare: bool,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct Rabbit {
    pub(crate) url: Url,
    pub(crate) exchange: Exchange,
    pub(crate) routing_key: Template,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct Stdout {}

#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct FileSink {
    /// The file to write.
    pub(crate) path: String,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct Mask {
    pub(crate) tables: Vec<String>,
    /// Columns to mask.
    pub(crate) columns: Vec<String>,
}

/// Names columns by a preset or one by one.
#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct Outbox {
    #[serde(flatten)]
    pub(crate) names: Names,
    pub(crate) strict: Option<bool>,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct Names {
    pub(crate) preset: Option<String>,
    pub(crate) id_column: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct NoKeys {}

#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct DebeziumJson {
    #[serde(default)]
    pub(crate) tombstones: bool,
}

pub(crate) struct Fixture;

impl Catalog for Fixture {
    fn types(&self, role: Role) -> Vec<String> {
        let names: &[&str] = match role {
            Role::Source => &["file", "polling", "postgres"],
            Role::Sink => &["file", "kafka", "rabbitmq", "stdout"],
            Role::Transform => &["mask", "outbox"],
            Role::Format => &["debezium-json", "json", "raw"],
            Role::Store => &["file", "memory"],
        };
        names.iter().map(|n| (*n).to_owned()).collect()
    }

    fn schema(&self, role: Role, name: &str) -> Option<Json> {
        let schema = match (role, name) {
            (Role::Source, "postgres" | "polling") => schemars::schema_for!(Postgres),
            (Role::Source | Role::Sink | Role::Store, "file") => schemars::schema_for!(FileSink),
            (Role::Sink, "kafka") => schemars::schema_for!(Kafka),
            (Role::Sink, "rabbitmq") => schemars::schema_for!(Rabbit),
            (Role::Sink, "stdout") => schemars::schema_for!(Stdout),
            (Role::Transform, "mask") => schemars::schema_for!(Mask),
            (Role::Transform, "outbox") => schemars::schema_for!(Outbox),
            (Role::Format, "debezium-json") => schemars::schema_for!(DebeziumJson),
            (Role::Format | Role::Store, _) => schemars::schema_for!(NoKeys),
            _ => return None,
        };
        Some(schema.to_value())
    }
}

/// Variables and files of the tests. What starts with `canary` must never be shown.
pub(crate) struct World;

impl Environment for World {
    fn variable(&self, name: &str) -> Result<Option<String>, OsString> {
        Ok(match name {
            "PORT" => Some("5433".into()),
            "HOST" => Some("db.internal".into()),
            "EMPTY" => Some(String::new()),
            "YES" => Some("true".into()),
            "WORD" => Some("canary-word".into()),
            "PASSWORD" => Some("canary-variable".into()),
            "YAML" => Some("canary: [1]".into()),
            _ => None,
        })
    }

    fn file(&self, path: &Path) -> io::Result<Vec<u8>> {
        match path.to_str() {
            Some("conf/secret") => Ok(b"canary-file\n".to_vec()),
            _ => Err(io::Error::new(io::ErrorKind::NotFound, "no such file")),
        }
    }
}

pub(crate) fn load(text: &str, flags: &[&str]) -> Loaded {
    load_files(&[("conf/orders.yaml", text)], flags)
}

pub(crate) fn load_files(files: &[(&str, &str)], flags: &[&str]) -> Loaded {
    let files = files.iter().map(|(name, text)| InputFile::new(*name, *text)).collect();
    Loader::new(&Fixture, &World).set(flags.iter().copied()).load(files)
}

/// All diagnostics as they are printed.
pub(crate) fn shown(loaded: &Loaded) -> String {
    render_all(&loaded.diagnostics, "Nothing was started.", RenderOptions::default())
}

/// A file without a mistake.
pub(crate) const GOOD: &str = r#"
name: orders
source:
  type: postgres
  url: postgres://outflow@db.internal/shop
  password: ${file:secret}
  tables: [public.orders, public.order_lines]
  snapshot: initial
transforms:
  - type: mask
    tables: [public.orders]
    columns: [card]
sink:
  type: kafka
  bootstrap_servers: [kafka-1:9092, kafka-2:9092]
  topic: "shop.{schema}.{table}"
  format: debezium-json
"#;
