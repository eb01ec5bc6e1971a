//! Positions in a file: lines and bytes that are done, as `17:4711`.

use outflow_sdk::{Error, EventId, Position, PositionCodec, Relation, Result};

/// So many lines and bytes from the start of the file are done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) lines: u64,
    pub(super) bytes: u64,
}

impl Place {
    pub(super) fn read(position: &Position) -> Result<Self> {
        let parse = || {
            let (lines, bytes) = position.as_str().split_once(':')?;
            Some(Self { lines: lines.parse().ok()?, bytes: bytes.parse().ok()? })
        };
        parse().filter(|_| position.version() == 1).ok_or_else(|| {
            Error::configuration("file.position")
                .message(format!("not a position in a file: {:?}", position.as_str()))
                .hint("write LINES:BYTES that are done, such as 17:4711")
        })
    }

    pub(super) fn position(self) -> Position {
        Position::token(format!("{}:{}", self.lines, self.bytes))
    }
}

/// Reads and compares positions without the file.
pub(super) struct Codec;

impl PositionCodec for Codec {
    fn parse(&self, text: &str) -> Result<Position> {
        Place::read(&Position::token(text)).map(Place::position)
    }

    fn relate(&self, a: &Position, b: &Position) -> Result<Relation> {
        Ok(match Place::read(a)?.bytes.cmp(&Place::read(b)?.bytes) {
            std::cmp::Ordering::Less => Relation::Before,
            std::cmp::Ordering::Equal => Relation::Equal,
            std::cmp::Ordering::Greater => Relation::After,
        })
    }

    fn covers(&self, _: &Position, event: &EventId<'_>) -> Result<bool> {
        Err(Error::configuration("file.covers")
            .message(format!("the id {event} is that of the event's own source and says nothing of its line"))
            .hint("search the file for the id"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_read_print_and_compare() {
        let at = |text: &str| Codec.parse(text).unwrap();
        assert_eq!(at("017:4711").as_str(), "17:4711");
        assert_eq!(Codec.relate(&at("1:10"), &at("2:30")).unwrap(), Relation::Before);
        assert_eq!(Codec.relate(&at("2:30"), &at("2:30")).unwrap(), Relation::Equal);
        for text in ["", "17", "a:b", "-1:2", "1:2:3"] {
            assert_eq!(Codec.parse(text).unwrap_err().code(), "file.position", "{text}");
        }
    }
}
