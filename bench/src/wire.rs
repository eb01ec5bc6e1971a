//! The rows as a database would send them: frames of length-prefixed binary values, read 64 KiB at a time.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use outflow_core::ValueRef;

use crate::Result;
use crate::rows::Row;

/// The size of a read buffer.
pub const READ_BUFFER: usize = 64 * 1024;

/// Everything that the other side sends, ready before the clock starts. Cloning shares the bytes.
#[derive(Clone, Debug)]
pub struct Wire {
    bytes: Arc<Vec<u8>>,
    at: usize,
}

impl Wire {
    /// The first `rows` rows, one frame each.
    pub fn of_rows(rows: u64) -> Self {
        let mut bytes = Vec::new();
        for index in 0..rows {
            write_frame(&Row::at(index), &mut bytes);
        }
        Self { bytes: Arc::new(bytes), at: 0 }
    }

    /// Bytes in all.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// True when there are no rows at all.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// What a socket would have copied out: up to `limit` further bytes; none at the end.
    pub fn read(&mut self, limit: usize) -> &[u8] {
        let from = self.at;
        self.at = self.bytes.len().min(from + limit);
        &self.bytes[from..self.at]
    }
}

fn write_frame(row: &Row, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend([0; 4]);
    for value in row.values() {
        match value {
            ValueRef::I64(v) => write_value(&v.to_be_bytes(), out),
            ValueRef::Bool(v) => write_value(&[v.into()], out),
            ValueRef::Uuid(v) => write_value(v, out),
            ValueRef::Timestamp(v) => write_value(&v.micros().to_be_bytes(), out),
            text => match text.as_bytes() {
                Some(bytes) => write_value(bytes, out),
                None => out.extend((-1_i32).to_be_bytes()),
            },
        }
    }
    let len = (out.len() - start - 4) as u32;
    out[start..start + 4].copy_from_slice(&len.to_be_bytes());
}

fn write_value(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend((bytes.len() as u32).to_be_bytes());
    out.extend(bytes);
}

/// Where the body of the first frame in `bytes` lies; `None` while it is incomplete.
pub fn split_frame(bytes: &[u8]) -> Option<Range<usize>> {
    let len = u32::from_be_bytes(*bytes.first_chunk()?) as usize;
    (bytes.len() >= 4 + len).then_some(4..4 + len)
}

/// Walks the values of a frame: for each its place in the frame, `None` for NULL.
#[derive(Debug)]
pub struct Columns<'f> {
    frame: &'f [u8],
    at: usize,
}

impl<'f> Columns<'f> {
    /// The values of `frame`, a body found by [`split_frame`].
    pub fn new(frame: &'f [u8]) -> Self {
        Self { frame, at: 0 }
    }

    /// The place of the next value.
    ///
    /// # Errors
    /// When the frame ends before the value does.
    #[inline]
    pub fn next_value(&mut self) -> std::result::Result<Option<Range<usize>>, CutFrame> {
        let len = self.frame.get(self.at..).and_then(|rest| rest.first_chunk()).ok_or(CutFrame)?;
        let start = self.at + 4;
        let Ok(len) = usize::try_from(i32::from_be_bytes(*len)) else {
            self.at = start;
            return Ok(None);
        };
        self.at = start + len;
        if self.at > self.frame.len() { Err(CutFrame) } else { Ok(Some(start..self.at)) }
    }
}

/// A frame that ends before its last value does.
#[derive(Clone, Copy, Debug)]
pub struct CutFrame;

impl fmt::Display for CutFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a frame ends before its last value does")
    }
}

impl std::error::Error for CutFrame {}

/// Reads frames through one buffer that it uses again and again and that never leaves it.
#[derive(Debug)]
pub struct FrameReader {
    wire: Wire,
    buffer: Vec<u8>,
    at: usize,
}

impl FrameReader {
    /// A reader at the beginning of `wire`.
    pub fn new(wire: Wire) -> Self {
        Self { wire, buffer: Vec::with_capacity(READ_BUFFER), at: 0 }
    }

    /// The next frame; `None` at the end.
    ///
    /// # Errors
    /// When the wire ends within a frame.
    #[inline]
    pub fn next_frame(&mut self) -> Result<Option<&[u8]>> {
        if split_frame(&self.buffer[self.at..]).is_none() && !self.refill() {
            let rest = self.buffer.len() - self.at;
            return if rest == 0 { Ok(None) } else { Err("the wire ends within a frame".into()) };
        }
        let range = split_frame(&self.buffer[self.at..]).ok_or("a frame is larger than the read buffer")?;
        let from = self.at;
        self.at += range.end;
        Ok(Some(&self.buffer[from + range.start..from + range.end]))
    }

    fn refill(&mut self) -> bool {
        self.buffer.drain(..self.at);
        self.at = 0;
        let read = self.wire.read(READ_BUFFER - self.buffer.len());
        self.buffer.extend_from_slice(read);
        !read.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::COLUMNS;

    #[test]
    fn every_row_comes_back_whole() {
        let rows = 2_000; // several read buffers
        let mut reader = FrameReader::new(Wire::of_rows(rows));
        for index in 0..rows {
            let row = Row::at(index);
            let frame = reader.next_frame().unwrap().unwrap();
            let mut columns = Columns::new(frame);
            let values: Vec<_> = (0..COLUMNS).map(|_| columns.next_value().unwrap()).collect();
            assert_eq!(frame[values[0].clone().unwrap()], row.id.to_be_bytes());
            assert_eq!(frame[values[5].clone().unwrap()], *row.email.as_bytes());
            assert_eq!(values[11].clone().map(|at| &frame[at]), row.note.as_deref().map(str::as_bytes));
        }
        assert!(reader.next_frame().unwrap().is_none());
    }

    #[test]
    fn a_cut_frame_is_an_error() {
        let mut wire = Wire::of_rows(3);
        let cut = wire.len() - 1;
        wire.bytes = Arc::new(wire.bytes[..cut].to_vec());
        let mut reader = FrameReader::new(wire);
        assert!(reader.next_frame().unwrap().is_some());
        assert!(reader.next_frame().unwrap().is_some());
        assert!(reader.next_frame().is_err());
    }
}
