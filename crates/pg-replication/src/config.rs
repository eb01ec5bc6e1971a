//! Where the server is and who connects.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls_pki_types::ServerName;

/// Where the server is, who connects, and how.
#[derive(Clone)]
pub struct Config {
    pub(crate) host: Host,
    pub(crate) user: String,
    pub(crate) password: Option<String>,
    pub(crate) database: String,
    pub(crate) application_name: String,
    pub(crate) options: Option<String>,
    pub(crate) encryption: Encryption,
    pub(crate) allow_md5: bool,
    pub(crate) connect_timeout: Duration,
    pub(crate) status_interval: Duration,
    pub(crate) max_message: usize,
}

#[derive(Clone, Debug)]
pub(crate) enum Host {
    Tcp(String, u16),
    /// The socket itself, not its folder.
    Unix(PathBuf),
}

/// Whether the connection is encrypted. Which certificates are trusted is the `ClientConfig`'s business.
#[derive(Clone, Default)]
pub enum Encryption {
    /// It is not.
    #[default]
    Off,
    /// It is if the server can.
    Offered(Arc<ClientConfig>),
    /// It is, or there is no connection.
    Required(Arc<ClientConfig>),
}

impl Config {
    /// A server on the network.
    pub fn tcp(host: impl Into<String>, port: u16) -> Self {
        Self::new(Host::Tcp(host.into(), port))
    }

    /// A server on this machine, by the folder of its socket.
    pub fn unix(folder: impl Into<PathBuf>, port: u16) -> Self {
        Self::new(Host::Unix(folder.into().join(format!(".s.PGSQL.{port}"))))
    }

    fn new(host: Host) -> Self {
        Self {
            host,
            user: "postgres".into(),
            password: None,
            database: "postgres".into(),
            application_name: "pg-replication".into(),
            options: None,
            encryption: Encryption::Off,
            allow_md5: false,
            connect_timeout: Duration::from_secs(10),
            status_interval: Duration::from_secs(5),
            max_message: 1 << 30,
        }
    }

    /// Who connects; the role needs `REPLICATION`. `postgres` by default.
    #[must_use]
    pub fn user(mut self, user: impl Into<String>) -> Self {
        self.user = user.into();
        self
    }

    /// The password. It is never printed.
    #[must_use]
    pub fn password(mut self, password: impl Into<String>) -> Self {
        self.password = Some(password.into());
        self
    }

    /// The database of the slot. `postgres` by default.
    #[must_use]
    pub fn database(mut self, database: impl Into<String>) -> Self {
        self.database = database.into();
        self
    }

    /// The name that `pg_stat_replication` shows.
    #[must_use]
    pub fn application_name(mut self, name: impl Into<String>) -> Self {
        self.application_name = name.into();
        self
    }

    /// Settings of the session, as libpq's `options`: `-c datestyle=ISO -c timezone=UTC`. They decide how the output
    /// plug-in prints values.
    #[must_use]
    pub fn options(mut self, options: impl Into<String>) -> Self {
        self.options = Some(options.into());
        self
    }

    /// Whether the connection is encrypted. Not by default.
    #[must_use]
    pub fn encryption(mut self, encryption: Encryption) -> Self {
        self.encryption = encryption;
        self
    }

    /// Allows a server to ask for an MD5 hash, which whoever listens can use in our place. Not by default.
    #[must_use]
    pub fn allow_md5(mut self, yes: bool) -> Self {
        self.allow_md5 = yes;
        self
    }

    /// How long it may take until the server is ready: 10 s by default.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How often the server is told how far we are, at least: 5 s by default. Must be well below its
    /// `wal_sender_timeout`.
    #[must_use]
    pub fn status_interval(mut self, interval: Duration) -> Self {
        self.status_interval = interval;
        self
    }

    /// The largest message that is taken, in bytes; 1 GiB by default, which is more than the server can send.
    #[must_use]
    pub fn max_message(mut self, bytes: usize) -> Self {
        self.max_message = bytes;
        self
    }

    pub(crate) fn server_name(&self) -> Option<ServerName<'static>> {
        match &self.host {
            Host::Tcp(host, _) => ServerName::try_from(host.clone()).ok(),
            Host::Unix(_) => None,
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(host, port) => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("host", &self.host)
            .field("user", &self.user)
            .field("database", &self.database)
            .field("encryption", &self.encryption)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Encryption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Off => "Off",
            Self::Offered(_) => "Offered",
            Self::Required(_) => "Required",
        })
    }
}
