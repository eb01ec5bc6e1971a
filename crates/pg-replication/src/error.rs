//! What can go wrong.

use std::fmt;

/// The result of whatever can fail here.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What kind of trouble it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The server cannot be reached, or the connection broke.
    Connection,
    /// TLS was refused, by either side.
    Tls,
    /// Who we are was refused, or the server asked for a way to prove it that is not allowed.
    Authentication,
    /// The server refused a command; [`Error::server`] has its words.
    Server,
    /// What came is not what the protocol says.
    Protocol,
    /// A message is larger than [`max_message`](crate::Config::max_message); nothing of it was kept.
    TooLarge,
    /// It took longer than it may.
    Timeout,
}

/// Something went wrong. Never holds a password.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    server: Option<Box<ServerError>>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// A server's error, field by field
/// (<https://www.postgresql.org/docs/current/protocol-error-fields.html>).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerError {
    /// `ERROR`, `FATAL`, `PANIC`, never translated.
    pub severity: String,
    /// The SQLSTATE, such as `55006`.
    pub code: String,
    /// What happened.
    pub message: String,
    /// More about it.
    pub detail: Option<String>,
    /// What to do.
    pub hint: Option<String>,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), server: None, source: None }
    }

    pub(crate) fn protocol(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Protocol, message)
    }

    pub(crate) fn caused_by(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    pub(crate) fn broken(error: std::io::Error) -> Self {
        Self::new(ErrorKind::Connection, "the connection broke").caused_by(error)
    }

    pub(crate) fn closed() -> Self {
        Self::new(ErrorKind::Connection, "the server closed the connection")
    }

    /// What kind of trouble it is.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The server's own words, where it spoke.
    pub fn server(&self) -> Option<&ServerError> {
        self.server.as_deref()
    }

    /// The SQLSTATE, where the server spoke.
    pub fn code(&self) -> Option<&str> {
        self.server().map(|server| server.code.as_str())
    }
}

impl From<ServerError> for Error {
    fn from(server: ServerError) -> Self {
        // Class 28: who we are was refused.
        let kind = if server.code.starts_with("28") { ErrorKind::Authentication } else { ErrorKind::Server };
        Self { kind, message: server.to_string(), server: Some(Box::new(server)), source: None }
    }
}

impl ServerError {
    /// Reads the body of an ErrorResponse or NoticeResponse. What is malformed is left out: an error about an error
    /// helps nobody.
    pub(crate) fn parse(body: &[u8]) -> Self {
        let mut error = Self::default();
        for field in body.split(|byte| *byte == 0) {
            let Some((kind, text)) = field.split_first() else { break };
            let text = String::from_utf8_lossy(text).into_owned();
            match kind {
                b'V' => error.severity = text,
                // Before 9.6 there was only the translated one.
                b'S' if error.severity.is_empty() => error.severity = text,
                b'C' => error.code = text,
                b'M' => error.message = text,
                b'D' => error.detail = Some(text),
                b'H' => error.hint = Some(text),
                _ => {}
            }
        }
        error
    }
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.severity, self.code, self.message)?;
        if let Some(detail) = &self.detail {
            write!(f, " ({detail})")?;
        }
        Ok(())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.source {
            Some(source) => write!(f, ": {source}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|source| &**source as &(dyn std::error::Error + 'static))
    }
}
