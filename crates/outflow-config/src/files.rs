//! The files that a command line names.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::diagnostic::Diagnostic;
use crate::environment::read_limited;
use crate::text::SourceText;
use crate::yaml::MAX_FILE;

/// A pipeline file that has been read, but not understood yet.
pub struct InputFile {
    pub(crate) text: SourceText,
}

impl std::fmt::Debug for InputFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InputFile").field("name", &self.text.name()).finish_non_exhaustive()
    }
}

impl InputFile {
    /// A file of this text. `name` is the path that messages show; its folder is where relative paths start from.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        let text: String = text.into();
        // Some editors mark UTF-8 files; YAML allows it, and it is no part of the first key.
        let text = text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text);
        Self { text: SourceText::new(name, text) }
    }

    /// A file of these bytes.
    ///
    /// # Errors
    /// It is larger than 1 MiB or no UTF-8 text.
    pub fn from_bytes(name: impl Into<String>, bytes: Vec<u8>) -> Result<Self, Box<Diagnostic>> {
        let name = name.into();
        if bytes.len() as u64 > MAX_FILE {
            return Err(Box::new(too_large(name)));
        }
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Self::new(name, text)),
            Err(error) => {
                let readable = error.as_bytes().get(..error.utf8_error().valid_up_to()).unwrap_or_default();
                let line = readable.iter().filter(|b| **b == b'\n').count() + 1;
                let message = format!("the file is no UTF-8 text: line {line} holds other bytes");
                Err(Box::new(Diagnostic::file("config.encoding", name, message).label("save it as UTF-8")))
            }
        }
    }

    /// Reads a file.
    ///
    /// # Errors
    /// It cannot be read, is larger than 1 MiB or no UTF-8 text.
    pub fn read(path: &Path) -> Result<Self, Box<Diagnostic>> {
        let name = path.display().to_string();
        match read_limited(path, MAX_FILE) {
            Ok(bytes) => Self::from_bytes(name, bytes),
            Err(error) => Err(unreadable(path, &error)),
        }
    }

    /// The path that messages show.
    pub fn name(&self) -> &str {
        self.text.name()
    }

    /// The name of the pipeline when the file gives none.
    pub(crate) fn stem(&self) -> String {
        Path::new(self.name()).file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default()
    }
}

fn unreadable(path: &Path, error: &std::io::Error) -> Box<Diagnostic> {
    let name = path.display().to_string();
    Box::new(match error.kind() {
        std::io::ErrorKind::NotFound => Diagnostic::file("config.not_found", name, "there is no such file")
            .label("name a pipeline file, or a folder that holds some"),
        std::io::ErrorKind::FileTooLarge => too_large(name),
        _ => Diagnostic::file("config.unreadable_file", name, format!("the file cannot be read: {error}")),
    })
}

fn too_large(name: String) -> Diagnostic {
    Diagnostic::file("config.too_large", name, format!("the file is larger than {} MiB", MAX_FILE >> 20))
}

/// The pipeline files behind paths of files and folders, in the order given, and what is wrong with paths that lead to
/// nothing. A folder stands for its `*.yaml` and `*.yml` files, sorted, hidden ones and sub-folders left out. A file
/// that comes twice is taken once.
pub fn expand(paths: &[PathBuf]) -> (Vec<PathBuf>, Vec<Diagnostic>) {
    let mut files = Vec::new();
    let mut problems = Vec::new();
    let mut seen = HashSet::new();
    for path in paths {
        let found = if path.is_dir() {
            folder(path)
        } else {
            fs::metadata(path).map(|_| vec![path.clone()]).map_err(|e| unreadable(path, &e))
        };
        match found {
            Ok(found) => {
                let identity = |f: &PathBuf| fs::canonicalize(f).unwrap_or_else(|_| f.clone());
                files.extend(found.into_iter().filter(|f| seen.insert(identity(f))));
            }
            Err(problem) => problems.push(*problem),
        }
    }
    (files, problems)
}

fn folder(path: &Path) -> Result<Vec<PathBuf>, Box<Diagnostic>> {
    let entries = fs::read_dir(path).map_err(|e| unreadable(path, &e))?;
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|e| unreadable(path, &e))?.path();
        let hidden = entry.file_name().is_none_or(|n| n.to_string_lossy().starts_with('.'));
        let yaml = entry.extension().is_some_and(|e| e == "yaml" || e == "yml");
        if yaml && !hidden && entry.is_file() {
            files.push(entry);
        }
    }
    files.sort();
    if files.is_empty() {
        let name = path.display().to_string();
        let diagnostic = Diagnostic::file("config.not_found", name, "the folder holds no pipeline files");
        return Err(Box::new(diagnostic.label("they end in .yaml or .yml")));
    }
    Ok(files)
}
