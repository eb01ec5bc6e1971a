//! Where the server is, and how the connection to it is made.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use outflow_sdk::{Error, Result, Url};
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::tls;
use crate::config::{PollingConfig, Tls, TlsMode};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the server's host may leave what we sent unanswered.
const TCP_TIMEOUT: Duration = Duration::from_secs(30);

/// A server and a database on it, without credentials.
#[derive(Clone, Debug)]
pub(crate) struct Address {
    host: String,
    port: u16,
    /// The database.
    pub(crate) database: String,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}/{}", self.host, self.port, self.database)
    }
}

/// All that a connection needs.
#[derive(Clone)]
pub(crate) struct Endpoint {
    pub(super) config: Config,
    pub(super) tls: MakeRustlsConnect,
    pub(super) mode: TlsMode,
    pub(super) address: Arc<Address>,
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The configuration holds the password (invariant 10).
        f.debug_struct("Endpoint")
            .field("address", &self.address)
            .field("mode", &self.mode)
            .finish_non_exhaustive()
    }
}

impl Endpoint {
    /// Reads a URL. Paths start from `base`.
    pub(crate) fn new(url: &str, config: &PollingConfig, base: &Path) -> Result<Self> {
        let parsed = Parsed::new(url)?;
        let tls = parsed.tls(&config.tls, base);
        let address = Arc::new(parsed.address());
        let mut connection = parsed.config;
        if let Some(password) = &config.password {
            connection.password(password.expose());
        }
        connection
            .application_name("outflow")
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_user_timeout(TCP_TIMEOUT)
            .keepalives_idle(TCP_TIMEOUT);
        let mode = tls.mode.unwrap_or(TlsMode::VerifyFull);
        connection.ssl_mode(match mode {
            TlsMode::Disable => SslMode::Disable,
            TlsMode::Prefer => SslMode::Prefer,
            TlsMode::Require | TlsMode::VerifyCa | TlsMode::VerifyFull => SslMode::Require,
        });
        let tls = MakeRustlsConnect::new(tls::client(mode, &tls)?);
        Ok(Self { config: connection, tls, mode, address })
    }

    /// Names the pipeline to the server.
    pub(crate) fn pipeline(mut self, name: &str) -> Self {
        self.config.application_name(format!("outflow/{name}"));
        self
    }
}

/// The address in a URL.
pub(crate) fn address(url: &str) -> Result<Address> {
    Parsed::new(url).map(|parsed| parsed.address())
}

/// A URL, with its TLS parameters taken out: the client library knows fewer of them than we.
struct Parsed {
    config: Config,
    mode: Option<String>,
    ca: Option<PathBuf>,
    cert: Option<PathBuf>,
    key: Option<PathBuf>,
}

impl Parsed {
    fn new(url: &str) -> Result<Self> {
        // The cause of an error may quote the URL, which may hold a password: it is left out (invariant 10).
        let refuse = |what: String| {
            Error::configuration("polling.url")
                .message(format!("url: {what}"))
                .hint("write postgres://USER@HOST:PORT/DATABASE?sslmode=verify-full")
        };
        let (base, query) = url.split_once('?').unwrap_or((url, ""));
        let (mut mode, mut ca, mut cert, mut key) = (None, None, None, None);
        let mut rest = Vec::new();
        for parameter in query.split('&').filter(|p| !p.is_empty()) {
            let decoded = Url::parse(&format!("x:?{parameter}"))
                .ok()
                .and_then(|u| u.query_pairs().next().map(|(k, v)| (k.into_owned(), v.into_owned())));
            match decoded {
                Some((name, value)) => match name.as_str() {
                    "sslmode" => mode = Some(value),
                    "sslrootcert" => ca = Some(value.into()),
                    "sslcert" => cert = Some(value.into()),
                    "sslkey" => key = Some(value.into()),
                    _ => rest.push(parameter),
                },
                None => return Err(refuse("a parameter cannot be read".into())),
            }
        }
        let url = if rest.is_empty() { base.to_owned() } else { format!("{base}?{}", rest.join("&")) };
        let config: Config = url
            .parse()
            .map_err(|_| refuse("it is no PostgreSQL URL, or has a parameter that is unknown".into()))?;
        if config.get_hosts().is_empty() {
            return Err(refuse("it names no host".into()));
        }
        let known =
            [TlsMode::Disable, TlsMode::Prefer, TlsMode::Require, TlsMode::VerifyCa, TlsMode::VerifyFull];
        if let Some(word) =
            mode.as_deref().filter(|w| *w != "allow" && !known.iter().any(|m| m.as_str() == *w))
        {
            return Err(refuse(format!(
                "sslmode={word} is unknown; there is disable, prefer, require, verify-ca, verify-full"
            )));
        }
        Ok(Self { config, mode, ca, cert, key })
    }

    fn address(&self) -> Address {
        let host = match self.config.get_hosts().first() {
            Some(Host::Tcp(host)) => host.clone(),
            #[cfg(unix)]
            Some(Host::Unix(path)) => path.display().to_string(),
            None => String::new(),
        };
        let port = self.config.get_ports().first().copied().unwrap_or(5432);
        // As with every PostgreSQL client, the database is by default called like the user.
        let database = self.config.get_dbname().or(self.config.get_user()).unwrap_or_default().to_owned();
        Address { host, port, database }
    }

    /// What the file says of TLS, then what the URL says, then what is safe.
    fn tls(&self, configured: &Tls, base: &Path) -> Tls {
        let path = |ours: &Option<PathBuf>, url: &Option<PathBuf>| {
            ours.as_ref().or(url.as_ref()).map(|path| base.join(path))
        };
        let ca = path(&configured.ca, &self.ca);
        let from_url = self.mode.as_deref().map(|word| match word {
            "disable" => TlsMode::Disable,
            "allow" | "prefer" => TlsMode::Prefer,
            "require" => TlsMode::Require,
            "verify-ca" => TlsMode::VerifyCa,
            _ => TlsMode::VerifyFull,
        });
        let safe = if self.is_local() && ca.is_none() { TlsMode::Prefer } else { TlsMode::VerifyFull };
        let mode = match configured.mode.or(from_url).unwrap_or(safe) {
            // As in libpq: who names an authority wants it asked.
            TlsMode::Require if ca.is_some() => TlsMode::VerifyCa,
            mode => mode,
        };
        Tls {
            mode: Some(mode),
            ca,
            cert: path(&configured.cert, &self.cert),
            key: path(&configured.key, &self.key),
        }
    }

    /// True when no connection leaves this machine.
    fn is_local(&self) -> bool {
        self.config.get_hosts().iter().all(|host| match host {
            Host::Tcp(name) => {
                name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
            }
            #[cfg(unix)]
            Host::Unix(_) => true,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(url: &str, tls: &Tls) -> TlsMode {
        Parsed::new(url).unwrap().tls(tls, Path::new("/base")).mode.unwrap()
    }

    #[test]
    fn the_address_is_without_credentials() {
        for (url, shown) in [
            ("postgres://u:canary@db.internal/shop", "db.internal:5432/shop"),
            ("postgresql://u:canary@db:6000/shop?sslmode=disable&connect_timeout=3", "db:6000/shop"),
            ("postgres://u@db", "db:5432/u"),
            ("postgres://u@%2Fvar%2Frun/shop", "/var/run:5432/shop"),
            ("postgres://u@a:1,b:2/shop", "a:1/shop"),
        ] {
            assert_eq!(address(url).unwrap().to_string(), shown);
        }
        for url in [
            "postgres://u:canary@h/db?sslmode=canary2",
            "postgres://u:canary@h/db?sslmod=x",
            "postgres://u:canary@h:port/db",
            "postgres://",
        ] {
            let error = address(url).map(|a| a.to_string()).unwrap_err();
            assert_eq!(error.code(), "polling.url");
            assert!(!format!("{error:?}").contains("canary@"), "{error:?}");
        }
    }

    #[test]
    fn verify_full_by_default_away_from_this_machine() {
        let none = Tls::default();
        let ca = Tls { ca: Some("ca.pem".into()), ..Tls::default() };
        let require = Tls { mode: Some(TlsMode::Require), ..Tls::default() };
        for (url, tls, expected) in [
            ("postgres://u@db.internal/x", &none, TlsMode::VerifyFull),
            ("postgres://u@10.0.0.1/x", &none, TlsMode::VerifyFull),
            ("postgres://u@localhost,db.internal/x", &none, TlsMode::VerifyFull),
            ("postgres://u@localhost/x", &none, TlsMode::Prefer),
            ("postgres://u@127.0.0.1/x", &none, TlsMode::Prefer),
            ("postgres://u@[::1]/x", &none, TlsMode::Prefer),
            ("postgres://u@%2Ftmp/x", &none, TlsMode::Prefer),
            ("postgres://u@localhost/x", &ca, TlsMode::VerifyFull),
            ("postgres://u@db/x?sslmode=disable", &none, TlsMode::Disable),
            ("postgres://u@db/x?sslmode=disable", &require, TlsMode::Require),
            ("postgres://u@db/x?sslmode=require", &ca, TlsMode::VerifyCa),
            ("postgres://u@db/x?sslmode=require&sslrootcert=/ca%20.pem", &none, TlsMode::VerifyCa),
            ("postgres://u@db/x?sslmode=allow", &none, TlsMode::Prefer),
            ("postgres://u@localhost/x?sslmode=verify-full", &none, TlsMode::VerifyFull),
        ] {
            assert_eq!(mode(url, tls), expected, "{url}");
        }
        let parsed = Parsed::new("postgres://u@db/x?sslrootcert=/ca%20.pem&sslcert=c.pem").unwrap();
        let tls = parsed.tls(&none, Path::new("/base"));
        assert_eq!((tls.ca, tls.cert), (Some("/ca .pem".into()), Some("/base/c.pem".into())));
    }
}
