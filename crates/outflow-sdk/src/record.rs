//! Records: what a format makes of events, in one arena a batch.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use outflow_core::{ChangeBatch, Image, Result, Timestamp};

/// The records of one batch. One arena; nothing is allocated a record.
#[derive(Debug, Default)]
pub struct RecordBatch {
    buffers: Buffers,
    source: Option<Arc<ChangeBatch>>,
    pool: Option<RecordPool>,
}

#[derive(Debug, Default)]
struct Buffers {
    arena: Vec<u8>,
    records: Vec<Entry>,
    headers: Vec<Header>,
}

impl Buffers {
    fn charge(&self) -> usize {
        self.arena.capacity()
            + self.records.capacity() * size_of::<Entry>()
            + self.headers.capacity() * size_of::<Header>()
    }

    fn clear(&mut self) {
        self.arena.clear();
        self.records.clear();
        self.headers.clear();
    }
}

/// Buffers that finished batches return, so that a steady flow allocates nothing a record.
#[derive(Clone, Debug, Default)]
pub struct RecordPool(Arc<Mutex<Vec<Buffers>>>);

impl RecordPool {
    /// A buffer above this size is let go: one huge record must not be kept for ever.
    const MAX_BYTES: usize = 2 << 20;
    /// One being written, one on its way.
    const MAX_SETS: usize = 2;

    /// A pool of its own.
    pub fn new() -> Self {
        Self::default()
    }

    /// A writer over buffers of the pool; the finished batch gives them back when it is dropped.
    pub fn writer(&self) -> RecordWriter {
        let buffers = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default();
        RecordWriter { batch: RecordBatch { buffers, source: None, pool: Some(self.clone()) } }
    }

    fn put(&self, mut buffers: Buffers) {
        if buffers.charge() > Self::MAX_BYTES {
            return;
        }
        buffers.clear();
        let mut sets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if sets.len() < Self::MAX_SETS {
            sets.push(buffers);
        }
    }
}

impl Drop for RecordBatch {
    fn drop(&mut self) {
        if let Some(pool) = self.pool.take() {
            pool.put(std::mem::take(&mut self.buffers));
        }
    }
}

type Span = Range<usize>;

#[derive(Clone, Debug)]
struct Entry {
    destination: Span,
    id: Span,
    key: Option<Span>,
    value: Option<Span>,
    headers: Range<u32>,
    time: Option<i64>,
    partition: Option<i32>,
    event: u32,
    image: Image,
}

#[derive(Clone, Debug)]
struct Header {
    name: Span,
    value: Option<Span>,
}

impl RecordBatch {
    /// The number of records.
    pub fn len(&self) -> usize {
        self.buffers.records.len()
    }

    /// True when there is none.
    pub fn is_empty(&self) -> bool {
        self.buffers.records.is_empty()
    }

    /// The record at `index`.
    pub fn get(&self, index: usize) -> Option<RecordRef<'_>> {
        self.buffers.records.get(index).map(|entry| RecordRef { batch: self, entry })
    }

    /// All records, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = RecordRef<'_>> + DoubleEndedIterator {
        self.buffers.records.iter().map(|entry| RecordRef { batch: self, entry })
    }

    /// The events that the records were made of.
    pub fn source(&self) -> Option<&Arc<ChangeBatch>> {
        self.source.as_ref()
    }

    /// Bytes of capacity retained here, without the events.
    pub fn charge(&self) -> usize {
        size_of::<Self>() + self.buffers.charge()
    }
}

/// One record, borrowed from its batch.
#[derive(Clone, Copy, Debug)]
pub struct RecordRef<'a> {
    batch: &'a RecordBatch,
    entry: &'a Entry,
}

impl<'a> RecordRef<'a> {
    fn bytes(&self, span: &Span) -> &'a [u8] {
        self.batch.buffers.arena.get(span.clone()).unwrap_or_default()
    }

    fn text(&self, span: &Span) -> &'a str {
        // Written from a `&str` by `RecordWriter`.
        std::str::from_utf8(self.bytes(span)).unwrap_or_default()
    }

    /// Where it goes: a topic, a routing key, an aggregate type.
    pub fn destination(&self) -> &'a str {
        self.text(&self.entry.destination)
    }

    /// The event's stable id (invariant 8).
    pub fn id(&self) -> &'a str {
        self.text(&self.entry.id)
    }

    /// What orders it among others; `None` for records without a key.
    pub fn key(&self) -> Option<&'a [u8]> {
        self.entry.key.as_ref().map(|span| self.bytes(span))
    }

    /// The content; `None` is a tombstone.
    pub fn value(&self) -> Option<&'a [u8]> {
        self.entry.value.as_ref().map(|span| self.bytes(span))
    }

    /// The headers, in order; a value may be null.
    pub fn headers(&self) -> impl ExactSizeIterator<Item = (&'a str, Option<&'a [u8]>)> + use<'a> {
        let record = *self;
        let Range { start, end } = self.entry.headers;
        let headers = self.batch.buffers.headers.get(start as usize..end as usize).unwrap_or_default();
        headers.iter().map(move |h| (record.text(&h.name), h.value.as_ref().map(|v| record.bytes(v))))
    }

    /// Milliseconds since 1970 when the change was committed.
    pub fn time(&self) -> Option<i64> {
        self.entry.time
    }

    /// The destination's partition, when a transform chose it.
    pub fn partition(&self) -> Option<i32> {
        self.entry.partition
    }

    /// The index of its event, by which a sink names it in `rejected`.
    pub fn event(&self) -> u32 {
        self.entry.event
    }
}

/// Writes the records of one batch. A format begins a record for each that an event gives.
#[derive(Debug, Default)]
pub struct RecordWriter {
    batch: RecordBatch,
}

impl RecordWriter {
    /// A writer over new buffers.
    pub fn new() -> Self {
        Self::default()
    }

    /// The number of records so far.
    pub fn len(&self) -> usize {
        self.batch.buffers.records.len()
    }

    /// True when there is none.
    pub fn is_empty(&self) -> bool {
        self.batch.buffers.records.is_empty()
    }

    /// Bytes written so far.
    pub fn bytes(&self) -> usize {
        self.batch.buffers.arena.len()
    }

    /// Begins a record of the event with this index.
    pub fn begin(&mut self, event: usize) -> RecordBuilder<'_> {
        let headers = self.batch.buffers.headers.len() as u32;
        let entry = Entry {
            destination: 0..0,
            id: 0..0,
            key: None,
            value: None,
            headers: headers..headers,
            time: None,
            partition: None,
            event: event as u32,
            image: Image::After,
        };
        RecordBuilder { start: self.batch.buffers.arena.len(), batch: &mut self.batch, entry, ended: false }
    }

    /// The record at `index`, open for changes: how a decorator puts another key or more headers on what a format
    /// wrote.
    pub fn amend(&mut self, index: usize) -> Option<RecordAmend<'_>> {
        (index < self.len()).then_some(RecordAmend { buffers: &mut self.batch.buffers, index })
    }

    /// Takes back the records from `len` on, when a format or decorator fails between two records of one event.
    pub fn truncate(&mut self, len: usize) {
        self.batch.buffers.records.truncate(len);
    }

    /// Hands out a batch whose records were not made of events of a batch: dead letters.
    pub fn finish_detached(self) -> RecordBatch {
        self.batch
    }

    /// Hands out the batch.
    pub fn finish(self, source: Arc<ChangeBatch>) -> RecordBatch {
        let mut batch = self.batch;
        batch.source = Some(source);
        batch
    }
}

/// One record being written. Dropped without [`end`](Self::end), it leaves no trace.
#[derive(Debug)]
pub struct RecordBuilder<'w> {
    batch: &'w mut RecordBatch,
    entry: Entry,
    start: usize,
    ended: bool,
}

impl RecordBuilder<'_> {
    fn put(&mut self, write: impl FnOnce(&mut Vec<u8>) -> Result<()>) -> Result<Span> {
        let start = self.batch.buffers.arena.len();
        write(&mut self.batch.buffers.arena)?;
        Ok(start..self.batch.buffers.arena.len())
    }

    fn copy(&mut self, bytes: &[u8]) -> Span {
        let start = self.batch.buffers.arena.len();
        self.batch.buffers.arena.extend_from_slice(bytes);
        start..self.batch.buffers.arena.len()
    }

    /// Where it goes.
    pub fn destination(&mut self, destination: &str) {
        self.entry.destination = self.copy(destination.as_bytes());
    }

    /// The event's id, as anything that prints.
    pub fn id(&mut self, id: impl std::fmt::Display) {
        use std::io::Write as _;
        let start = self.batch.buffers.arena.len();
        // Writing to a `Vec` cannot fail.
        let _ = write!(self.batch.buffers.arena, "{id}");
        self.entry.id = start..self.batch.buffers.arena.len();
    }

    /// Writes the key. `write` only appends.
    ///
    /// # Errors
    /// That of `write`.
    pub fn key(&mut self, write: impl FnOnce(&mut Vec<u8>) -> Result<()>) -> Result<()> {
        self.entry.key = Some(self.put(write)?);
        Ok(())
    }

    /// Writes the content. `write` only appends.
    ///
    /// # Errors
    /// That of `write`.
    pub fn value(&mut self, write: impl FnOnce(&mut Vec<u8>) -> Result<()>) -> Result<()> {
        self.entry.value = Some(self.put(write)?);
        Ok(())
    }

    /// Adds a header.
    pub fn header(&mut self, name: &str, value: Option<&[u8]>) {
        let name = self.copy(name.as_bytes());
        let value = value.map(|v| self.copy(v));
        self.batch.buffers.headers.push(Header { name, value });
    }

    /// When the change was committed.
    pub fn time(&mut self, time: Timestamp) {
        self.entry.time = Some(time.millis());
    }

    /// States which image of the row this record is about: its key is the key of that image. `After` unless said;
    /// where a change of key gives a delete and a create, the delete is about `Before`.
    pub fn image(&mut self, image: Image) {
        self.entry.image = image;
    }

    /// The destination's partition.
    pub fn partition(&mut self, partition: i32) {
        self.entry.partition = Some(partition);
    }

    /// Completes the record.
    pub fn end(mut self) {
        self.ended = true;
        self.entry.headers.end = self.batch.buffers.headers.len() as u32;
        self.batch.buffers.records.push(self.entry.clone());
    }
}

impl Drop for RecordBuilder<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.batch.buffers.arena.truncate(self.start);
            self.batch.buffers.headers.truncate(self.entry.headers.start as usize);
        }
    }
}

/// A finished record, open for changes.
#[derive(Debug)]
pub struct RecordAmend<'w> {
    buffers: &'w mut Buffers,
    index: usize,
}

impl RecordAmend<'_> {
    /// Which image of the row the record is about.
    pub fn image(&self) -> Image {
        self.buffers.records.get(self.index).map_or(Image::After, |entry| entry.image)
    }

    fn copy(&mut self, bytes: &[u8]) -> Span {
        let start = self.buffers.arena.len();
        self.buffers.arena.extend_from_slice(bytes);
        start..self.buffers.arena.len()
    }

    /// Puts another key in place of the one it has.
    pub fn key(&mut self, key: Option<&[u8]>) {
        let key = key.map(|key| self.copy(key));
        if let Some(entry) = self.buffers.records.get_mut(self.index) {
            entry.key = key;
        }
    }

    /// Adds a header behind those it has.
    pub fn header(&mut self, name: &str, value: Option<&[u8]>) {
        let header = Header { name: self.copy(name.as_bytes()), value: value.map(|v| self.copy(v)) };
        let Buffers { records, headers, .. } = &mut *self.buffers;
        let Some(entry) = records.get_mut(self.index) else { return };
        if entry.headers.end as usize != headers.len() {
            // Those of a later record follow: the list moves to the end, its texts stay where they are.
            let moved = headers.len() as u32;
            headers.extend_from_within(entry.headers.start as usize..entry.headers.end as usize);
            entry.headers = moved..headers.len() as u32;
        }
        headers.push(header);
        entry.headers.end = headers.len() as u32;
    }
}

#[cfg(test)]
mod amend_tests {
    use super::*;

    #[test]
    fn an_amended_record_keeps_what_it_had_and_leaves_the_others_alone() {
        let mut out = RecordWriter::new();
        for name in ["a", "b"] {
            let mut record = out.begin(0);
            record.header(name, Some(b"1"));
            record.end();
        }
        for index in 0..2 {
            let mut amend = out.amend(index).unwrap();
            amend.key(Some(b"k"));
            amend.header("x", None);
            amend.header("y", Some(b"2"));
        }
        assert!(out.amend(2).is_none());
        let batch = out.finish_detached();
        for (record, name) in batch.iter().zip(["a", "b"]) {
            assert_eq!(record.key(), Some(&b"k"[..]));
            let headers: Vec<_> = record.headers().collect();
            assert_eq!(headers, [(name, Some(&b"1"[..])), ("x", None), ("y", Some(&b"2"[..]))]);
        }
    }

    #[test]
    fn records_can_be_taken_back() {
        let mut out = RecordWriter::new();
        out.begin(0).end();
        out.begin(1).end();
        out.truncate(1);
        assert_eq!(out.len(), 1);
    }
}
