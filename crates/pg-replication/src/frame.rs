//! Frames: a tag, a length, a body. Read into one buffer that is used again and again.

use std::ops::Range;

use tokio::io::{AsyncRead, AsyncReadExt as _};

use crate::error::{Error, ErrorKind, Result};

/// The tag and the length.
const HEADER: usize = 5;
/// What the buffer has from the beginning, and again after a larger message.
const CAPACITY: usize = 256 << 10;

/// A frame within the buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) tag: u8,
    pub(crate) body: Range<usize>,
}

/// The read buffer.
pub(crate) struct Frames {
    buffer: Vec<u8>,
    /// What was read and not taken.
    filled: Range<usize>,
    /// The largest body.
    max: usize,
}

impl Frames {
    pub(crate) fn new(max: usize) -> Self {
        Self { buffer: vec![0; CAPACITY], filled: 0..0, max }
    }

    /// The bytes of a frame that was taken, until the next [`fill`](Self::fill).
    pub(crate) fn body(&self, frame: &Frame) -> &[u8] {
        self.buffer.get(frame.body.clone()).unwrap_or_default()
    }

    /// Takes the next frame, if all of it is there.
    ///
    /// # Errors
    /// A length that cannot be, or one above the limit.
    pub(crate) fn take(&mut self) -> Result<Option<Frame>> {
        let Some((tag, length)) = self.header()? else { return Ok(None) };
        let body = self.filled.start + HEADER..self.filled.start + HEADER + length;
        if body.end > self.filled.end {
            return Ok(None);
        }
        self.filled.start = body.end;
        Ok(Some(Frame { tag, body }))
    }

    /// The tag and the length of the body of what is next.
    fn header(&self) -> Result<Option<(u8, usize)>> {
        let filled = self.buffer.get(self.filled.clone()).unwrap_or_default();
        let Some(([tag, length @ ..], _)) = filled.split_first_chunk::<HEADER>() else { return Ok(None) };
        // The length counts itself.
        let length = u32::from_be_bytes(*length);
        let body = length.checked_sub(4).and_then(|body| usize::try_from(body).ok());
        match body {
            Some(body) if body <= self.max => Ok(Some((*tag, body))),
            Some(body) => Err(Error::new(
                ErrorKind::TooLarge,
                format!("a message of {body} bytes, and the limit is {}", self.max),
            )),
            None => Err(Error::protocol(format!("a message of {length} bytes"))),
        }
    }

    /// Reads more; false at the end of the stream. Cancel-safe: what was read stays.
    pub(crate) async fn fill(&mut self, from: &mut (impl AsyncRead + Unpin)) -> Result<bool> {
        self.make_room()?;
        let room = self.buffer.get_mut(self.filled.end..).unwrap_or_default();
        let read = from.read(room).await.map_err(Error::broken)?;
        self.filled.end += read;
        Ok(read > 0)
    }

    /// Room for what is left of the next frame, or at least for half of the buffer.
    fn make_room(&mut self) -> Result<()> {
        let needed = self.header()?.map_or(HEADER, |(_, body)| HEADER + body);
        if self.filled.is_empty() {
            self.filled = 0..0;
            if self.buffer.len() > CAPACITY && needed <= CAPACITY {
                // After a large message the memory goes back.
                self.buffer.truncate(CAPACITY);
                self.buffer.shrink_to_fit();
            }
        }
        let has_room = self.filled.start + needed <= self.buffer.len() && self.filled.end < self.buffer.len();
        if has_room && (self.filled.start == 0 || self.filled.end < self.buffer.len() / 2) {
            return Ok(());
        }
        self.buffer.copy_within(self.filled.clone(), 0);
        self.filled = 0..self.filled.len();
        if needed > self.buffer.len() {
            self.buffer.resize(needed, 0);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use tokio::io::ReadBuf;

    use super::*;

    /// Gives as many bytes at a time as it is told.
    struct Dribble<'a>(&'a [u8], usize);

    impl AsyncRead for Dribble<'_> {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buf: &mut ReadBuf<'_>,
        ) -> Poll<std::io::Result<()>> {
            let count = self.1.min(self.0.len()).min(buf.remaining());
            let (now, later) = self.0.split_at(count);
            buf.put_slice(now);
            self.0 = later;
            Poll::Ready(Ok(()))
        }
    }

    fn frame(tag: u8, body: &[u8]) -> Vec<u8> {
        let mut frame = vec![tag];
        frame.extend((body.len() as u32 + 4).to_be_bytes());
        frame.extend(body);
        frame
    }

    async fn read(bytes: &[u8], step: usize, max: usize) -> Result<Vec<(u8, Vec<u8>)>> {
        let (mut frames, mut from) = (Frames::new(max), Dribble(bytes, step));
        let mut found = Vec::new();
        loop {
            match frames.take()? {
                Some(frame) => found.push((frame.tag, frames.body(&frame).to_vec())),
                None if !frames.fill(&mut from).await? => return Ok(found),
                None => {}
            }
        }
    }

    #[tokio::test]
    async fn frames_come_whole_however_they_are_cut() {
        let bodies: Vec<Vec<u8>> =
            [0, 1, 100, CAPACITY - 1, CAPACITY, 3 * CAPACITY, 7].map(|n| vec![n as u8; n]).into();
        let bytes: Vec<u8> = bodies.iter().flat_map(|body| frame(b'd', body)).collect();
        for step in [1, 2, 3, 4096, CAPACITY, usize::MAX] {
            let found = read(&bytes, step, 1 << 30).await.unwrap();
            assert!(found.iter().map(|(_, body)| body).eq(&bodies), "{step} at a time");
        }
    }

    #[tokio::test]
    async fn memory_of_a_large_message_goes_back() {
        let bytes = [frame(b'd', &vec![1; 8 * CAPACITY]), frame(b'd', &[2])].concat();
        let (mut frames, mut from) = (Frames::new(1 << 30), Dribble(&bytes, usize::MAX));
        let mut count = 0;
        while count < 2 {
            match frames.take().unwrap() {
                Some(_) => count += 1,
                None => assert!(frames.fill(&mut from).await.unwrap()),
            }
        }
        frames.make_room().unwrap();
        assert_eq!(frames.buffer.capacity(), CAPACITY);
    }

    #[tokio::test]
    async fn what_cannot_be_is_refused_before_memory_is_taken() {
        let length = |length: u32| [&b"d"[..], &length.to_be_bytes()].concat();
        for n in 0..4 {
            assert_eq!(read(&length(n), 1, 100).await.unwrap_err().kind(), ErrorKind::Protocol);
        }
        assert_eq!(read(&length(105), 1, 100).await.unwrap_err().kind(), ErrorKind::TooLarge);
        assert_eq!(read(&length(u32::MAX), 1, 100).await.unwrap_err().kind(), ErrorKind::TooLarge);
        assert!(read(&length(104), 1, 100).await.unwrap().is_empty(), "cut short, and so never whole");
    }
}
