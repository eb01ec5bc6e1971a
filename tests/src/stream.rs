//! A sink's output that can be left unread: a named pipe.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use rustix::fs::{CWD, FileType, Mode, mknodat};

/// A named pipe and the thread that reads it, as far as it is let: one line at first, the rest on command.
#[derive(Debug)]
pub struct Pipe<T> {
    path: PathBuf,
    first: Receiver<()>,
    read_on: Sender<()>,
    reader: Option<JoinHandle<T>>,
}

impl<T: Send + 'static> Pipe<T> {
    /// Makes the pipe. `read` is given its lines after the first, in the thread that reads them.
    ///
    /// # Panics
    /// When it cannot be made.
    pub fn new(
        path: PathBuf,
        read: impl FnOnce(&mut dyn Iterator<Item = Vec<u8>>) -> T + Send + 'static,
    ) -> Self {
        mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        let (first_read, first) = channel();
        let (read_on, go) = channel();
        let pipe = path.clone();
        let reader = std::thread::spawn(move || {
            // Waits until the sink opens its end.
            let mut lines = BufReader::new(File::open(pipe).unwrap()).split(b'\n').map(Result::unwrap);
            lines.next().unwrap();
            // Whoever made the pipe may have given up; the thread then ends as well.
            _ = first_read.send(());
            _ = go.recv();
            read(&mut lines)
        });
        Self { path, first, read_on, reader: Some(reader) }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the first line has arrived since this was asked last.
    pub fn has_first(&self) -> bool {
        self.first.try_recv().is_ok()
    }

    /// Reads on, to the end.
    ///
    /// # Panics
    /// When the reader has failed.
    pub fn release(&self) {
        self.read_on.send(()).unwrap();
    }

    /// Whether the reader has read all that it wants.
    pub fn is_done(&self) -> bool {
        self.reader.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// What the reader made of the lines.
    ///
    /// # Panics
    /// When the reader has failed.
    pub fn finish(mut self) -> T {
        self.reader.take().unwrap().join().unwrap()
    }
}
