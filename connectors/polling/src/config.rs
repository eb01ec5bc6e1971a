//! The keys under `source:`.

use outflow_sdk::{TablePatterns, Timespan};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::url::DatabaseUrl;

/// The configuration of a `polling` source.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PollingConfig {
    /// The database: `sqlite:PATH` (relative to the pipeline file) or `postgres://USER@HOST/DATABASE`.
    pub url: DatabaseUrl,
    /// The password, if it is not part of `url`. PostgreSQL only.
    #[cfg(feature = "postgres")]
    #[serde(default)]
    pub password: Option<outflow_sdk::Secret>,
    /// How the connection is encrypted. PostgreSQL only.
    #[cfg(feature = "postgres")]
    #[serde(default)]
    pub tls: Tls,
    /// The tables to follow, such as `outbox` or `"public.*_outbox"`.
    pub tables: TablePatterns,
    /// Tables to leave out of `tables`.
    #[serde(default)]
    pub exclude_tables: TablePatterns,
    /// How new rows are told from old ones. `append`: applications insert rows and leave them as they are.
    #[serde(default)]
    pub mode: Mode,
    /// What becomes of a row after its delivery, which also decides where progress is kept.
    #[serde(default)]
    pub delivered: Delivered,
    /// The column that orders and identifies the rows; the primary key by default. Naming one states that its
    /// values are unique and never used again.
    #[serde(default)]
    pub cursor: Option<String>,
    /// With `delivered: mark`, the column to set: a boolean or number (0 = not yet) or a time (NULL = not yet).
    /// By default `published`, else `delivered_at`.
    #[serde(default)]
    pub mark_column: Option<String>,
    /// With `delivered: mark`, how long rows stay after their delivery; for ever by default.
    #[serde(default)]
    pub retention: Option<Timespan>,
    /// The time that `retention` counts from; needed where the mark itself is no time. A time column, or a whole
    /// number of milliseconds since 1970.
    #[serde(default)]
    pub retention_column: Option<String>,
    /// What the first start delivers.
    #[serde(default)]
    pub snapshot: Snapshot,
    /// What to do when the table no longer fits the position: ids that start again, for example.
    #[serde(default)]
    pub on_lost_position: OnLostPosition,
}

/// A choice of words, some of which are known and not yet to be had.
macro_rules! words {
    (
        $(#[$doc:meta])* $name:ident($key:literal)
        { $($(#[$word_doc:meta])* $variant:ident = $word:literal),* $(,)? }
        not yet { $($later:literal),* $(,)? }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
        #[serde(try_from = "String", into = "&'static str")]
        #[schemars(extend("enum" = [$($word),*]), with = "String")]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$word_doc])* $variant),*
        }

        impl $name {
            /// The word in a pipeline file.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),* }
            }
        }

        impl From<$name> for &'static str {
            fn from(value: $name) -> Self {
                value.as_str()
            }
        }

        impl TryFrom<String> for $name {
            type Error = String;

            fn try_from(word: String) -> Result<Self, String> {
                const WORDS: &[&str] = &[$($word),*];
                const LATER: &[&str] = &[$($later),*];
                match word.as_str() {
                    $($word => Ok(Self::$variant),)*
                    later if LATER.contains(&later) => {
                        Err(format!("`{}: {later}` is not available yet; there is {}", $key, WORDS.join(", ")))
                    }
                    other => Err(format!("`{}: {other}` is unknown; there is {}", $key, WORDS.join(", "))),
                }
            }
        }
    };
}

words! {
    /// How new rows are told from old ones.
    Mode("mode") {
        /// Applications insert rows; a row once inserted is not changed by them.
        #[default]
        Append = "append",
    }
    not yet { "incrementing", "timestamp", "snapshot" }
}

words! {
    /// What becomes of a row after its delivery.
    Delivered("delivered") {
        /// It stays as it is; progress is a position in Outflow's state.
        #[default]
        Keep = "keep",
        /// A column of it is set; that is the progress.
        Mark = "mark",
        /// It is deleted; that is the progress.
        Delete = "delete",
    }
    not yet {}
}

words! {
    /// What the first start delivers.
    Snapshot("snapshot") {
        /// Every row that is there, then new ones.
        #[default]
        Initial = "initial",
        /// Only rows that are committed after the first start. With `delivered: keep` alone.
        Never = "never",
    }
    not yet { "initial-only", "when-needed", "always" }
}

words! {
    /// What to do when the table no longer fits the position.
    OnLostPosition("on_lost_position") {
        /// Stop with an error that says what to do.
        #[default]
        Stop = "stop",
        /// Start again at the first row.
        Resnapshot = "resnapshot",
    }
    not yet {}
}

/// How the connection is encrypted.
#[cfg(feature = "postgres")]
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// What is required of the connection. By default what the URL's `sslmode` says, else `verify-full`; to this
    /// machine, `prefer`.
    #[serde(default)]
    pub mode: Option<TlsMode>,
    /// A PEM file with the authorities to trust instead of the system's.
    #[serde(default)]
    pub ca: Option<std::path::PathBuf>,
    /// A PEM file with the certificate that we show.
    #[serde(default)]
    pub cert: Option<std::path::PathBuf>,
    /// A PEM file with the key of `cert`.
    #[serde(default)]
    pub key: Option<std::path::PathBuf>,
}

/// What is required of a connection; the words are PostgreSQL's.
#[cfg(feature = "postgres")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TlsMode {
    /// No encryption.
    Disable,
    /// Encryption if the server offers it; whose certificate it shows does not matter.
    Prefer,
    /// Encryption; whose certificate the server shows does not matter, unless `ca` is given.
    Require,
    /// Encryption, and a certificate of a trusted authority.
    VerifyCa,
    /// Encryption, and a certificate of a trusted authority for the host that was asked for.
    VerifyFull,
}

#[cfg(feature = "postgres")]
impl TlsMode {
    /// The word in a pipeline file and in a URL.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Disable => "disable",
            Self::Prefer => "prefer",
            Self::Require => "require",
            Self::VerifyCa => "verify-ca",
            Self::VerifyFull => "verify-full",
        }
    }
}

impl PollingConfig {
    /// A configuration for these tables, with the defaults.
    pub(crate) fn new(url: DatabaseUrl) -> Self {
        Self {
            url,
            #[cfg(feature = "postgres")]
            password: None,
            #[cfg(feature = "postgres")]
            tls: Tls::default(),
            tables: TablePatterns::default(),
            exclude_tables: TablePatterns::default(),
            mode: Mode::default(),
            delivered: Delivered::default(),
            cursor: None,
            mark_column: None,
            retention: None,
            retention_column: None,
            snapshot: Snapshot::default(),
            on_lost_position: OnLostPosition::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(json: serde_json::Value) -> Result<PollingConfig, String> {
        serde_json::from_value(json).map_err(|e| e.to_string())
    }

    #[test]
    fn words_that_are_not_to_be_had_say_so() {
        let base = json!({"url": "sqlite:x.db", "tables": ["t"]});
        let with = |key: &str, word: &str| {
            let mut config = base.clone();
            config[key] = word.into();
            read(config)
        };
        for (key, word) in [
            ("mode", "timestamp"),
            ("mode", "incrementing"),
            ("mode", "snapshot"),
            ("snapshot", "always"),
            ("snapshot", "initial-only"),
            ("snapshot", "when-needed"),
        ] {
            let error = with(key, word).unwrap_err();
            assert!(error.contains(&format!("`{key}: {word}` is not available yet")), "{error}");
        }
        assert!(with("mode", "apend").unwrap_err().contains("unknown"));
        assert_eq!(with("delivered", "mark").unwrap().delivered, Delivered::Mark);
        assert!(with("table", "x").unwrap_err().contains("unknown field"));
    }

    #[test]
    fn debug_shows_no_password() {
        let config = read(json!({
            "url": "postgres://u:canary-1@h/db?password=canary-2", "tables": ["t"], "password": "canary-3"
        }));
        #[cfg(feature = "postgres")]
        assert!(!format!("{:?}", config.unwrap()).contains("canary"));
        #[cfg(not(feature = "postgres"))]
        assert!(config.is_err());
    }
}
