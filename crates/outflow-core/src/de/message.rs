//! Message bodies.

use serde::Deserialize;

use crate::error::{Error, Result};
use crate::event::MessageRef;

impl<'a> MessageRef<'a> {
    /// The body as `T`, read as JSON whatever its content type says. A tombstone is `null`, so it is `None` for
    /// an `Option`. Text without escapes is borrowed.
    ///
    /// # Errors
    /// `message.deserialize` when the body is no JSON or no `T`.
    pub fn json<T: Deserialize<'a>>(&self) -> Result<T> {
        let body = if self.body_value().is_null() { Some(&b"null"[..]) } else { self.body() };
        let failed = || {
            let error = Error::data("message.deserialize");
            match self.destination() {
                Some(destination) => error.with("destination", destination),
                None => error,
            }
        };
        let body = body.ok_or_else(|| failed().message("the message has no text or bytes as its body"))?;
        serde_json::from_slice(body).map_err(|e| {
            failed().message("the message's body cannot be read as JSON of this type").caused_by(e)
        })
    }
}
