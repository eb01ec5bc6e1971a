//! Positions of a generator: the number of rows that are done.

use outflow_sdk::{Error, EventId, Position, PositionCodec, Relation, Result};

use super::rows::ROWS_PER_COMMIT;

pub(super) fn of(rows: u64) -> Position {
    Position::token(rows.to_string())
}

pub(super) fn read(position: &Position) -> Result<u64> {
    let rows = position.as_str().parse().ok().filter(|_| position.version() == 1);
    rows.ok_or_else(|| {
        Error::configuration("generator.position")
            .message(format!("not a position of a generator: {:?}", position.as_str()))
            .hint("write the number of rows that are done, such as 1000")
    })
}

/// Reads and compares positions.
pub(super) struct Codec;

impl PositionCodec for Codec {
    fn parse(&self, text: &str) -> Result<Position> {
        read(&Position::token(text)).map(of)
    }

    fn relate(&self, a: &Position, b: &Position) -> Result<Relation> {
        Ok(match read(a)?.cmp(&read(b)?) {
            std::cmp::Ordering::Less => Relation::Before,
            std::cmp::Ordering::Equal => Relation::Equal,
            std::cmp::Ordering::Greater => Relation::After,
        })
    }

    fn covers(&self, position: &Position, event: &EventId<'_>) -> Result<bool> {
        let commit = read(&Position::token(event.commit))?;
        Ok(commit.saturating_mul(ROWS_PER_COMMIT).saturating_add(event.ordinal) < read(position)?)
    }
}
