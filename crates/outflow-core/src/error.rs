//! The one error type: what happened, whether trying again can help, and what to do about it.

use std::borrow::Cow;
use std::fmt;

/// Result with [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What area an error belongs to. Decides the exit code of the `outflow` binary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The pipeline's configuration is wrong (exit code 2).
    Configuration,
    /// A server, grant, file or other surrounding is missing or not set up (exit code 3 at the start).
    Environment,
    /// A value, row or event cannot be decoded, encoded or accepted.
    Data,
    /// A server could not be reached, did not answer in time or refused for now.
    Unavailable,
    /// The source no longer has what the checkpoint asks for.
    Position,
    /// The checkpoint store failed, or its content is damaged.
    State,
    /// The lease is held, lost or fenced.
    Lease,
    /// A defect of ours or of a connector: a broken contract or a panic.
    Internal,
}

/// Whether the operation can succeed when it is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Retry {
    /// Trying again later can help: the runtime retries with back-off.
    Transient,
    /// Trying again cannot help until a person changes something.
    Permanent,
    /// Somebody else has taken over: stop for good (invariant 12).
    Fenced,
}

/// How much an error concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Scope {
    /// Single events; the others of the batch are fine.
    Events,
    /// One batch.
    Batch,
    /// The connector as a whole.
    Connector,
}

/// An error with a stable code, a class the runtime acts on and a hint the person reads.
///
/// Never put a credential into a message, a context value or a source error (invariant 10).
///
/// ```
/// use outflow_core::Error;
/// let e = Error::transient("webhook.status").message("the server answered 503").with("status", 503);
/// assert_eq!(e.to_string(), "webhook.status: the server answered 503 (status=503)");
/// assert!(e.is_transient());
/// ```
pub struct Error {
    inner: Box<Inner>,
}

struct Inner {
    code: Cow<'static, str>,
    kind: ErrorKind,
    retry: Retry,
    scope: Scope,
    operation: Option<Cow<'static, str>>,
    message: String,
    context: Vec<(Cow<'static, str>, String)>,
    hint: Option<String>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// A new error. `code` is stable and dotted, such as `postgres.slot_lost`.
    pub fn new(kind: ErrorKind, retry: Retry, code: impl Into<Cow<'static, str>>) -> Self {
        let inner = Inner {
            code: code.into(),
            kind,
            retry,
            scope: Scope::Connector,
            operation: None,
            message: String::new(),
            context: Vec::new(),
            hint: None,
            source: None,
        };
        Self { inner: Box::new(inner) }
    }

    /// Something that may pass by itself: a server away, a time-out. The runtime tries again.
    pub fn transient(code: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Unavailable, Retry::Transient, code)
    }

    /// Something that stays until a person acts.
    pub fn permanent(code: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Environment, Retry::Permanent, code)
    }

    /// Another instance has taken over; this one must stop for good.
    pub fn fenced(code: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Lease, Retry::Fenced, code)
    }

    /// A mistake in the configuration.
    pub fn configuration(code: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Configuration, Retry::Permanent, code)
    }

    /// A value, row or event that cannot be taken as it is.
    pub fn data(code: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Data, Retry::Permanent, code).scope(Scope::Events)
    }

    /// A defect: a broken contract or a panic.
    pub fn internal(code: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Internal, Retry::Permanent, code)
    }

    /// Says what happened, and where.
    #[must_use]
    pub fn message(mut self, message: impl Into<String>) -> Self {
        self.inner.message = message.into();
        self
    }

    /// Says what the person can do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.inner.hint = Some(hint.into());
        self
    }

    /// Says during which operation it happened, such as `write`.
    #[must_use]
    pub fn operation(mut self, operation: impl Into<Cow<'static, str>>) -> Self {
        self.inner.operation = Some(operation.into());
        self
    }

    /// Adds a named fact.
    #[must_use]
    pub fn with(mut self, key: impl Into<Cow<'static, str>>, value: impl fmt::Display) -> Self {
        self.inner.context.push((key.into(), value.to_string()));
        self
    }

    /// Changes the area.
    #[must_use]
    pub fn kind_of(mut self, kind: ErrorKind) -> Self {
        self.inner.kind = kind;
        self
    }

    /// Changes how much is concerned.
    #[must_use]
    pub fn scope(mut self, scope: Scope) -> Self {
        self.inner.scope = scope;
        self
    }

    /// Changes whether trying again can help.
    #[must_use]
    pub fn retry(mut self, retry: Retry) -> Self {
        self.inner.retry = retry;
        self
    }

    /// Attaches the error that caused this one.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.inner.source = Some(source.into());
        self
    }

    /// The stable code.
    pub fn code(&self) -> &str {
        &self.inner.code
    }

    /// The area.
    pub fn kind(&self) -> ErrorKind {
        self.inner.kind
    }

    /// Whether trying again can help.
    pub fn retry_class(&self) -> Retry {
        self.inner.retry
    }

    /// How much is concerned.
    pub fn scope_of(&self) -> Scope {
        self.inner.scope
    }

    /// What happened, without code and context.
    pub fn text(&self) -> &str {
        &self.inner.message
    }

    /// What the person can do.
    pub fn hint_text(&self) -> Option<&str> {
        self.inner.hint.as_deref()
    }

    /// During which operation it happened.
    pub fn operation_name(&self) -> Option<&str> {
        self.inner.operation.as_deref()
    }

    /// The named facts, in the order they were added.
    pub fn context(&self) -> impl Iterator<Item = (&str, &str)> {
        self.inner.context.iter().map(|(k, v)| (k.as_ref(), v.as_str()))
    }

    /// True when the runtime may try again.
    pub fn is_transient(&self) -> bool {
        self.inner.retry == Retry::Transient
    }

    /// True when another instance has taken over.
    pub fn is_fenced(&self) -> bool {
        self.inner.retry == Retry::Fenced
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &self.inner;
        f.write_str(&inner.code)?;
        if !inner.message.is_empty() {
            write!(f, ": {}", inner.message)?;
        }
        let mut open = false;
        let operation = inner.operation.as_deref().map(|o| ("operation", o));
        for (key, value) in operation.into_iter().chain(self.context()) {
            write!(f, "{}{key}={value}", if open { ", " } else { " (" })?;
            open = true;
        }
        if open {
            f.write_str(")")?;
        }
        let mut cause = inner.source.as_deref().map(|e| e as &dyn std::error::Error);
        while let Some(e) = cause {
            write!(f, ": {e}")?;
            // Our own errors print their causes themselves.
            cause = if e.is::<Error>() { None } else { e.source() };
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &self.inner;
        write!(f, "{self} [{:?}, {:?}, {:?}]", inner.kind, inner.retry, inner.scope)?;
        if let Some(hint) = &inner.hint {
            write!(f, "\n  hint: {hint}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.inner.source.as_deref().map(|e| e as &(dyn std::error::Error + 'static))
    }
}

/// Gives any error a code and a class: `send().await.transient("webhook.unreachable")?`.
pub trait ResultExt<T> {
    /// An error becomes a transient one: the runtime tries again.
    fn transient(self, code: impl Into<Cow<'static, str>>) -> Result<T>;
    /// An error becomes a permanent one: a person must act.
    fn permanent(self, code: impl Into<Cow<'static, str>>) -> Result<T>;
    /// An error becomes one about the data of single events.
    fn data(self, code: impl Into<Cow<'static, str>>) -> Result<T>;
}

impl<T, E: Into<Box<dyn std::error::Error + Send + Sync>>> ResultExt<T> for std::result::Result<T, E> {
    fn transient(self, code: impl Into<Cow<'static, str>>) -> Result<T> {
        self.map_err(|e| Error::transient(code).caused_by(e))
    }

    fn permanent(self, code: impl Into<Cow<'static, str>>) -> Result<T> {
        self.map_err(|e| Error::permanent(code).caused_by(e))
    }

    fn data(self, code: impl Into<Cow<'static, str>>) -> Result<T> {
        self.map_err(|e| Error::data(code).caused_by(e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_code_message_context_and_causes_once() {
        let io = std::io::Error::other("connection refused");
        let inner = Err::<(), _>(io).transient("kafka.unreachable").unwrap_err().with("broker", "k:9092");
        let outer =
            Error::permanent("pipeline.failed").message("gave up").operation("write").caused_by(inner);
        assert_eq!(
            outer.to_string(),
            "pipeline.failed: gave up (operation=write): kafka.unreachable (broker=k:9092): connection refused"
        );
    }

    #[test]
    fn classes() {
        assert!(Error::fenced("state.fenced").is_fenced());
        assert_eq!(Error::data("x.y").scope_of(), Scope::Events);
        assert_eq!(Error::configuration("config.x").kind(), ErrorKind::Configuration);
        assert!(!Error::permanent("x").is_transient());
    }
}
