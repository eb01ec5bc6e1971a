//! What a configuration may ask of its surroundings.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

/// Gives environment variables and small files to interpolations. A closure from name to value is one that reads
/// files from disk; tests give their own.
pub trait Environment {
    /// The value of a variable; `None` when it is unset.
    ///
    /// # Errors
    /// Its value is no Unicode text.
    fn variable(&self, name: &str) -> Result<Option<String>, OsString>;

    /// The content of a file, at most [`MAX_SECRET_FILE`] bytes.
    ///
    /// # Errors
    /// It cannot be read, or is larger.
    fn file(&self, path: &Path) -> io::Result<Vec<u8>> {
        read_limited(path, MAX_SECRET_FILE)
    }
}

/// The most bytes that `${file:…}` reads.
pub const MAX_SECRET_FILE: u64 = 64 * 1024;

/// The surroundings of this process.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProcessEnvironment;

impl Environment for ProcessEnvironment {
    fn variable(&self, name: &str) -> Result<Option<String>, OsString> {
        std::env::var_os(name).map(OsString::into_string).transpose()
    }
}

impl<F: Fn(&str) -> Option<String>> Environment for F {
    fn variable(&self, name: &str) -> Result<Option<String>, OsString> {
        Ok(self(name))
    }
}

/// Reads a file, but not more than `most` bytes of it: it may be a device without an end.
pub(crate) fn read_limited(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it is larger than {most} bytes")));
    }
    Ok(bytes)
}
