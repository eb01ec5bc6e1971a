//! The sink and the source `file`.

mod append;
mod position;
mod sink;
mod source;

pub use sink::{FileSink, FileSinkFactory};
pub use source::{FileSource, FileSourceFactory};

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use outflow_sdk::{BuildContext, Error};

/// The path from the pipeline file's folder on.
fn resolve(cx: &BuildContext, path: &Path) -> PathBuf {
    cx.base.join(path)
}

/// Why a file cannot be opened, and what to do.
fn open_failed(path: &Path, error: std::io::Error) -> Error {
    let shown = path.display();
    let (code, message, hint) = match error.kind() {
        ErrorKind::NotFound => (
            "file.not_found",
            format!("{shown} or its folder does not exist"),
            "create it, or correct `path`; relative paths start from the pipeline file's folder",
        ),
        ErrorKind::PermissionDenied => {
            ("file.denied", format!("no permission for {shown}"), "grant it to the user that runs outflow")
        }
        ErrorKind::IsADirectory => {
            ("file.is_folder", format!("{shown} is a folder"), "name a file in `path`")
        }
        ErrorKind::ReadOnlyFilesystem => {
            ("file.read_only", format!("{shown} is on a read-only file system"), "choose another `path`")
        }
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => return disk_full(path).caused_by(error),
        _ => {
            let error =
                Error::transient("file.open_failed").message(format!("cannot open {shown}")).caused_by(error);
            return error.hint("see the cause; it is tried again");
        }
    };
    Error::permanent(code).message(message).hint(hint).caused_by(error)
}

fn disk_full(path: &Path) -> Error {
    Error::transient("file.disk_full")
        .message(format!("no room left for {}", path.display()))
        .hint("free some; it is tried again, and nothing is lost meanwhile")
}
