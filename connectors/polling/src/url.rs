//! Where the database is.

use std::borrow::Cow;
use std::fmt;

use outflow_sdk::{Error, Result};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize, Serializer};

/// The URL of a database. It may hold a password, so `Debug` and serialisation do not show it (invariant 10).
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct DatabaseUrl(String);

/// A URL by its backend.
#[derive(Debug)]
pub(crate) enum Backend<'a> {
    /// The path of the file.
    #[cfg(feature = "sqlite")]
    Sqlite(&'a str),
    /// The whole URL.
    #[cfg(feature = "postgres")]
    Postgres(&'a str),
}

impl DatabaseUrl {
    /// A URL: `sqlite:PATH` or `postgres://USER@HOST/DATABASE`.
    pub fn new(url: impl Into<String>) -> Self {
        Self(url.into())
    }

    /// The backend that serves it.
    pub(crate) fn backend(&self) -> Result<Backend<'_>> {
        let Some((scheme, rest)) = self.0.split_once(':') else {
            return Err(unknown(""));
        };
        match scheme {
            "sqlite" => sqlite(rest),
            "postgres" | "postgresql" => postgres(&self.0, rest),
            other => Err(unknown(other)),
        }
    }
}

fn sqlite(path: &str) -> Result<Backend<'_>> {
    let problem = match path {
        "" => Some("it has no path"),
        ":memory:" => Some("a database in memory is seen by nobody but its own connection"),
        _ if path.starts_with("//") && !path.starts_with("///") => {
            Some("a path with two slashes names a host")
        }
        _ => None,
    };
    if let Some(problem) = problem {
        return Err(Error::configuration("polling.url")
            .message(format!("url: {problem}"))
            .hint("write sqlite:shop.db (relative to the pipeline file) or sqlite:/var/lib/shop/shop.db"));
    }
    #[cfg(feature = "sqlite")]
    return Ok(Backend::Sqlite(path));
    #[cfg(not(feature = "sqlite"))]
    Err(missing("SQLite", "sqlite"))
}

fn postgres<'a>(url: &'a str, rest: &str) -> Result<Backend<'a>> {
    if !rest.starts_with("//") {
        return Err(Error::configuration("polling.url")
            .message("url: there is no // after the scheme")
            .hint("write postgres://USER@HOST/DATABASE"));
    }
    #[cfg(feature = "postgres")]
    return Ok(Backend::Postgres(url));
    #[cfg(not(feature = "postgres"))]
    {
        let _ = url;
        Err(missing("PostgreSQL", "postgres"))
    }
}

#[cfg(not(all(feature = "sqlite", feature = "postgres")))]
fn missing(name: &str, feature: &str) -> Error {
    Error::configuration("polling.backend_missing")
        .message(format!("this build has no {name} in it"))
        .hint(format!("build with the feature `{feature}` of outflow-connector-polling"))
}

fn unknown(scheme: &str) -> Error {
    // What stands before the first colon is a scheme or, in a URL without one, may be anything: show only a word.
    let word = !scheme.is_empty() && scheme.chars().all(|c| c.is_ascii_alphanumeric()) && scheme.len() <= 16;
    let message =
        if word { format!("url: no backend for `{scheme}`") } else { "url: it has no scheme".into() };
    Error::configuration("polling.url")
        .message(message)
        .hint("write sqlite:PATH or postgres://USER@HOST/DATABASE")
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("****")
    }
}

impl Serialize for DatabaseUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.serialize_str("****")
    }
}

impl JsonSchema for DatabaseUrl {
    fn schema_name() -> Cow<'static, str> {
        "DatabaseUrl".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "sqlite:PATH or postgres://USER@HOST/DATABASE",
            "examples": ["sqlite:shop.db", "postgres://outflow@db.internal/shop"]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(url: &str) -> String {
        DatabaseUrl::new(url).backend().unwrap_err().code().to_owned()
    }

    #[test]
    fn wrong_urls_are_refused_without_being_shown() {
        for url in [
            "",
            "sqlite:",
            "sqlite::memory:",
            "sqlite://shop.db",
            "mysql://root:canary@h/db",
            "postgres:canary",
            "canary",
        ] {
            let error = DatabaseUrl::new(url).backend().unwrap_err();
            assert_eq!(error.code(), "polling.url", "{url}");
            assert!(!format!("{error:?}").contains("canary"), "{error:?}");
        }
        assert_eq!(code("user:canary@host/db"), "polling.url");
    }

    #[cfg(feature = "sqlite")]
    #[test]
    fn paths_are_taken_as_they_are() {
        for (url, path) in
            [("sqlite:a b?.db", "a b?.db"), ("sqlite:/x/y.db", "/x/y.db"), ("sqlite:///x.db", "///x.db")]
        {
            let url = DatabaseUrl::new(url);
            let backend = url.backend();
            #[allow(irrefutable_let_patterns, reason = "there may be one backend")]
            let Ok(Backend::Sqlite(found)) = backend else { panic!("{backend:?}") };
            assert_eq!(found, path);
        }
    }
}
