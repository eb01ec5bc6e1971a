//! Printing that a closed pipe does not turn into a panic.

use std::io::Write as _;

use outflow_sdk::serde_json::{Value as Json, json};
use outflow_sdk::{Error, ErrorKind};

use crate::exit::Exit;
use crate::process::Process;

/// Prints a line on stdout.
macro_rules! say {
    ($($part:tt)*) => {{
        use std::io::Write as _;
        // Whoever closed the pipe does not want to read it.
        let _ = writeln!(std::io::stdout().lock(), $($part)*);
    }};
}

/// Prints a line on stderr.
macro_rules! tell {
    ($($part:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr().lock(), $($part)*);
    }};
}

pub(crate) use {say, tell};

/// Prints text on stderr as it is.
pub(crate) fn tell_raw(text: &str) {
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

impl Process {
    /// Prints a document where those of this verb go: standard output, unless that is for records.
    pub(crate) fn document(&self, document: &Json) {
        if self.records { tell!("{document}") } else { say!("{document}") }
    }

    /// Prints an error with its remedy, and gives the exit code of a verb that could not begin.
    pub(crate) fn refuse(&self, error: &Error) -> Exit {
        self.refuse_as(error, Exit::of(error, false))
    }

    /// The same, with this exit code.
    pub(crate) fn refuse_as(&self, error: &Error, exit: Exit) -> Exit {
        if self.json {
            self.document(&json!({ "error": error_document(error) }));
        } else {
            tell!("error[{}]: {}", error.code(), message(error));
            if let Some(hint) = error.hint_text() {
                tell!("  {}", hint.replace('\n', "\n  "));
            }
        }
        exit
    }
}

/// An error as programs read it.
pub(crate) fn error_document(error: &Error) -> Json {
    json!({ "code": error.code(), "message": message(error), "hint": error.hint_text() })
}

/// The error without its code, which stands before it.
pub(crate) fn message(error: &Error) -> String {
    let full = error.to_string();
    full.strip_prefix(error.code()).and_then(|m| m.strip_prefix(": ")).unwrap_or(&full).to_owned()
}

/// A mistake on the command line, with what to do about it.
pub(crate) fn mistake(code: &'static str, message: impl Into<String>, hint: impl Into<String>) -> Error {
    Error::configuration(code).message(message).hint(hint)
}

/// Something that is in the way, with what to do about it.
pub(crate) fn obstacle(code: &'static str, message: impl Into<String>, hint: impl Into<String>) -> Error {
    Error::permanent(code).kind_of(ErrorKind::Environment).message(message).hint(hint)
}
