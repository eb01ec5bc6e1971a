//! Reads the stream.

use std::time::Duration;

use tokio::io::ReadHalf;

use crate::auth::unexpected;
use crate::error::{Error, ErrorKind, Result, ServerError};
use crate::feedback::Feedback;
use crate::frame::{Frame, Frames};
use crate::lsn::Lsn;
use crate::socket::Socket;

/// One message of the stream. Borrows from the reader's buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// What the output plug-in wrote.
    Data {
        /// Where in the log it comes from; zero where it has no place.
        start: Lsn,
        /// How far the server had sent when it sent this.
        end: Lsn,
        /// The server's clock, in microseconds since 2000-01-01 UTC.
        time: i64,
        /// The plug-in's bytes.
        data: &'a [u8],
    },
    /// The server is there, and has sent everything up to `end`.
    KeepAlive {
        /// All transactions that were committed before this place have been sent.
        end: Lsn,
        /// The server's clock, in microseconds since 2000-01-01 UTC.
        time: i64,
    },
}

/// Reads the stream of a slot.
pub struct Reader {
    read: ReadHalf<Socket>,
    frames: Frames,
    feedback: Feedback,
    ended: bool,
}

impl Reader {
    pub(crate) fn new(read: ReadHalf<Socket>, frames: Frames, feedback: Feedback) -> Self {
        Self { read, frames, feedback, ended: false }
    }

    /// The next message; `None` when the server has ended the stream in order. Cancel-safe.
    ///
    /// # Errors
    /// Of kind `Connection`, `Server`, `Protocol` or `TooLarge`; the stream is over then.
    pub async fn next(&mut self) -> Result<Option<Message<'_>>> {
        let frame = loop {
            if self.ended {
                return Ok(None);
            }
            if let Some(frame) = self.take()? {
                break frame;
            }
            if self.ended {
                return Ok(None);
            }
            if !self.frames.fill(&mut self.read).await? {
                return Err(self.feedback.trouble().map_or_else(Error::closed, Error::broken));
            }
        };
        message(self.frames.body(&frame)).map(Some)
    }

    /// The next message if it has been received already; reads nothing. So a batch takes all that is there and then
    /// goes on its way.
    ///
    /// # Errors
    /// As [`next`](Self::next).
    pub fn try_next(&mut self) -> Result<Option<Message<'_>>> {
        match self.take()? {
            Some(frame) => message(self.frames.body(&frame)).map(Some),
            None => Ok(None),
        }
    }

    /// The furthest place that a message named.
    pub fn received(&self) -> Lsn {
        self.feedback.received()
    }

    /// The next frame with a message in it.
    fn take(&mut self) -> Result<Option<Frame>> {
        while let Some(frame) = self.frames.take()? {
            let body = self.frames.body(&frame);
            match frame.tag {
                b'd' => {
                    match message(body)? {
                        Message::Data { start, .. } => self.feedback.receive(start),
                        Message::KeepAlive { end, .. } => {
                            self.feedback.receive(end);
                            if body.last() == Some(&1) {
                                self.feedback.answer();
                            }
                        }
                    }
                    return Ok(Some(frame));
                }
                b'E' => return Err(ServerError::parse(body).into()),
                // Notices and settings may come at any time.
                b'N' | b'S' => {}
                // CopyDone, CommandComplete, ReadyForQuery: the end.
                b'c' | b'C' | b'Z' => {
                    self.ended = true;
                    return Ok(None);
                }
                tag => return Err(unexpected(tag, "the stream")),
            }
        }
        Ok(None)
    }

    /// Ends the stream in order: tells the server the last place that is [`flushed`](Feedback::flushed), and waits until
    /// it has let go of the slot. What still comes is dropped; it comes again.
    ///
    /// # Errors
    /// Of kind `Timeout` where that takes longer, or what reading gives.
    pub async fn stop(mut self, timeout: Duration) -> Result<()> {
        self.feedback.close();
        let drain = async {
            loop {
                // After CopyDone comes CommandComplete, once the slot is free.
                while let Some(frame) = self.frames.take()? {
                    match frame.tag {
                        b'E' => return Err(ServerError::parse(self.frames.body(&frame)).into()),
                        b'C' | b'Z' => return Ok(()),
                        _ => {}
                    }
                }
                if !self.frames.fill(&mut self.read).await? {
                    return Ok(());
                }
            }
        };
        match tokio::time::timeout(timeout, drain).await {
            Ok(result) => result,
            Err(_) => {
                Err(Error::new(ErrorKind::Timeout, format!("the stream did not end within {timeout:?}")))
            }
        }
    }
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").field("received", &self.received()).finish_non_exhaustive()
    }
}

/// A message in the body of a CopyData.
fn message(body: &[u8]) -> Result<Message<'_>> {
    let short = || Error::protocol("a message of the stream is cut short");
    let (kind, rest) = body.split_first().ok_or_else(short)?;
    let (first, rest) = rest.split_first_chunk().ok_or_else(short)?;
    let (second, rest) = rest.split_first_chunk().ok_or_else(short)?;
    let first = Lsn(u64::from_be_bytes(*first));
    match kind {
        b'w' => {
            let (time, data) = rest.split_first_chunk().ok_or_else(short)?;
            let end = Lsn(u64::from_be_bytes(*second));
            Ok(Message::Data { start: first, end, time: i64::from_be_bytes(*time), data })
        }
        b'k' if rest.len() == 1 => Ok(Message::KeepAlive { end: first, time: i64::from_be_bytes(*second) }),
        b'k' => Err(short()),
        other => Err(Error::protocol(format!("a message '{}' in the stream", other.escape_ascii()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_read_whole_or_refused() {
        let numbers = |n: &[u64]| n.iter().flat_map(|n| n.to_be_bytes()).collect::<Vec<_>>();
        let data = [&b"w"[..], &numbers(&[1, 2, 3]), b"xyz"].concat();
        let alive = [&b"k"[..], &numbers(&[7, 8]), &[1]].concat();
        assert_eq!(
            message(&data).unwrap(),
            Message::Data { start: Lsn(1), end: Lsn(2), time: 3, data: b"xyz" }
        );
        assert_eq!(message(&alive).unwrap(), Message::KeepAlive { end: Lsn(7), time: 8 });
        (0..25).for_each(|end| drop(message(&data[..end]).unwrap_err()));
        (0..alive.len()).for_each(|end| drop(message(&alive[..end]).unwrap_err()));
        for kind in (0..=255).filter(|kind| !b"wk".contains(kind)) {
            assert!(message(&[&[kind][..], &alive[1..]].concat()).is_err());
        }
    }
}
