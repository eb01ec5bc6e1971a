//! The position in a table that is followed by its ids.

use std::cmp::Ordering;
use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use outflow_sdk::{Error, EventId, Position, PositionCodec, Relation, Result};

/// Every row up to `last` has been read, but for the ids in `skipped`: nobody had a row for them when they were
/// passed, and they are still looked for.
///
/// Prints as `1234`, `1234 except 1200,1210..1219`, or `start` when there was no row yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    last: Option<i64>,
    /// Ascending, apart from each other, all below `last`.
    skipped: Vec<RangeInclusive<i64>>,
}

impl Place {
    /// The format of the text.
    const VERSION: u16 = 1;
    /// So many ranges of skipped ids are looked for; older ones are given up.
    pub(crate) const MOST_SKIPPED: usize = 64;

    /// After this id.
    pub(crate) fn after(last: i64) -> Self {
        Self { last: Some(last), skipped: Vec::new() }
    }

    /// Reads a stored position.
    pub(crate) fn read(position: &Position) -> Result<Self> {
        if position.version() != Self::VERSION {
            return Err(Error::configuration("polling.position")
                .message(format!("the position has format {}, this is version 1", position.version()))
                .hint("use the version of Outflow that wrote it, or a newer one"));
        }
        position.as_str().parse()
    }

    /// As it is stored.
    pub(crate) fn position(&self) -> Position {
        Position::new(Self::VERSION, self.to_string())
    }

    /// The last id that has been read.
    pub(crate) fn last(&self) -> Option<i64> {
        self.last
    }

    /// True when no id lies between the last one and this.
    #[cfg(any(feature = "postgres", test))]
    pub(crate) fn is_next(&self, id: i64) -> bool {
        self.last.is_some_and(|last| last.checked_add(1) == Some(id))
    }

    /// The ids between the last one and `id`; before any row, from `first` on.
    #[cfg(any(feature = "postgres", test))]
    pub(crate) fn gap_before(&self, id: i64, first: i64) -> Option<RangeInclusive<i64>> {
        let from = self.last.map_or(Some(first), |last| last.checked_add(1))?;
        (from < id).then(|| from..=id - 1)
    }

    /// Moves on to `id`.
    pub(crate) fn advance(&mut self, id: i64) {
        self.last = Some(id);
    }

    /// The skipped ids, ascending.
    #[cfg(any(feature = "postgres", test))]
    pub(crate) fn skipped(&self) -> &[RangeInclusive<i64>] {
        &self.skipped
    }

    /// Looks for these ids from now on; they lie above all others that are skipped.
    pub(crate) fn skip(&mut self, ids: RangeInclusive<i64>) {
        self.skipped.push(ids);
        let surplus = self.skipped.len().saturating_sub(Self::MOST_SKIPPED);
        self.skipped.drain(..surplus);
    }

    /// A row with this id, if it was skipped, has been found.
    #[cfg(any(feature = "postgres", test))]
    pub(crate) fn found(&mut self, id: i64) {
        let Some(at) = self.skipped.iter().position(|range| range.contains(&id)) else { return };
        let range = self.skipped.remove(at);
        let parts = [(id < *range.end()).then(|| id + 1..=*range.end()), {
            (*range.start() < id).then(|| *range.start()..=id - 1)
        }];
        for part in parts.into_iter().flatten() {
            self.skipped.insert(at, part);
        }
    }

    /// Gives up the skipped ids that `keep` refuses.
    #[cfg(any(feature = "postgres", test))]
    pub(crate) fn retain_skipped(&mut self, keep: impl FnMut(&RangeInclusive<i64>) -> bool) {
        self.skipped.retain(keep);
    }

    fn covers(&self, id: i64) -> bool {
        self.last.is_some_and(|last| id <= last) && !self.skips(id)
    }

    fn skips(&self, id: i64) -> bool {
        self.skipped.iter().any(|range| range.contains(&id))
    }

    /// True when all that `other` skips is skipped here too.
    fn skips_all_of(&self, other: &Self) -> bool {
        let within = |r: &RangeInclusive<i64>| {
            self.skipped.iter().any(|s| s.start() <= r.start() && r.end() <= s.end())
        };
        other.skipped.iter().all(within)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(last) = self.last else { return f.write_str("start") };
        write!(f, "{last}")?;
        for (i, range) in self.skipped.iter().enumerate() {
            f.write_str(if i == 0 { " except " } else { "," })?;
            if range.start() == range.end() {
                write!(f, "{}", range.start())?;
            } else {
                write!(f, "{}..{}", range.start(), range.end())?;
            }
        }
        Ok(())
    }
}

impl FromStr for Place {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parse = || {
            let text = text.trim();
            if text == "start" {
                return Some(Self::default());
            }
            let (last, ranges) = text.split_once(" except ").unwrap_or((text, ""));
            let mut place = Self::after(last.trim().parse().ok()?);
            for range in ranges.split(',').map(str::trim).filter(|r| !r.is_empty()) {
                let (from, to) = range.split_once("..").unwrap_or((range, range));
                let (from, to) = (from.parse::<i64>().ok()?, to.parse::<i64>().ok()?);
                let after_others = place.skipped.last().is_none_or(|r| *r.end() < from);
                if from > to || !after_others || Some(to) >= place.last {
                    return None;
                }
                place.skip(from..=to);
            }
            Some(place)
        };
        parse().ok_or_else(|| {
            Error::configuration("polling.position")
                .message(format!("not a position in a table: {text:?}"))
                .hint("write the last id that is done, such as 1234, or `start` for none")
        })
    }
}

/// Positions without a connection.
#[derive(Debug)]
pub(crate) struct PlaceCodec;

impl PositionCodec for PlaceCodec {
    fn parse(&self, text: &str) -> Result<Position> {
        text.parse::<Place>().map(|place| place.position())
    }

    fn relate(&self, a: &Position, b: &Position) -> Result<Relation> {
        let (a, b) = (Place::read(a)?, Place::read(b)?);
        Ok(match a.last.cmp(&b.last) {
            Ordering::Less => Relation::Before,
            Ordering::Greater => Relation::After,
            Ordering::Equal => match (a.skips_all_of(&b), b.skips_all_of(&a)) {
                (true, true) => Relation::Equal,
                (true, false) => Relation::Before,
                (false, true) => Relation::After,
                (false, false) => Relation::Unrelated,
            },
        })
    }

    fn covers(&self, position: &Position, event: &EventId<'_>) -> Result<bool> {
        let id = if event.commit.is_empty() {
            i64::try_from(event.ordinal).ok()
        } else {
            event.commit.parse().ok()
        };
        let id = id.ok_or_else(|| {
            Error::configuration("polling.position")
                .message(format!("{event} is no row with an id of a number"))
        })?;
        Ok(Place::read(position)?.covers(id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_and_reads() {
        for text in ["start", "0", "-5", "1234", "1234 except 7", "1234 except -3..0,7,1200..1233"] {
            assert_eq!(text.parse::<Place>().unwrap().to_string(), text);
        }
        for text in ["", "x", "1.5", "12 except 12", "12 except 5..4", "12 except 7,6", "12 except", "12,13"]
        {
            assert_eq!(
                text.parse::<Place>().map_err(|e| e.code().to_owned()).unwrap_err(),
                "polling.position"
            );
        }
        assert_eq!(Place::read(&Position::new(2, "7")).unwrap_err().code(), "polling.position");
    }

    #[test]
    fn gaps_are_watched_until_found() {
        let mut place = Place::after(10);
        assert!(place.is_next(11) && !place.is_next(12));
        assert_eq!(place.gap_before(11, 1), None);
        assert_eq!(Place::default().gap_before(3, 1), Some(1..=2));
        assert_eq!(Place::default().gap_before(1, 1), None);
        let gap = place.gap_before(16, 1).unwrap();
        place.skip(gap);
        place.advance(16);
        assert_eq!(place.to_string(), "16 except 11..15");
        for (id, text) in [
            (13, "16 except 11..12,14..15"),
            (11, "16 except 12,14..15"),
            (15, "16 except 12,14"),
            (99, "16 except 12,14"),
            (12, "16 except 14"),
            (14, "16"),
        ] {
            place.found(id);
            assert_eq!(place.to_string(), text, "{id}");
        }
        let last = Place::after(i64::MAX);
        assert!(!last.is_next(i64::MIN));
        assert_eq!(last.gap_before(5, 1), None);
    }

    #[test]
    fn the_oldest_gaps_are_given_up() {
        let mut place = Place::default();
        for id in (0..200).step_by(2) {
            place.skip(id..=id);
        }
        place.advance(200);
        assert_eq!(place.skipped().len(), Place::MOST_SKIPPED);
        assert_eq!(*place.skipped()[0].start(), 200 - 2 * Place::MOST_SKIPPED as i64);
        place.retain_skipped(|r| *r.start() > 195);
        assert_eq!(place.to_string(), "200 except 196,198");
    }

    #[test]
    fn the_codec_relates_and_covers() {
        let p = |text: &str| PlaceCodec.parse(text).unwrap();
        for (a, b, relation) in [
            ("start", "0", Relation::Before),
            ("7", "7", Relation::Equal),
            ("8", "7", Relation::After),
            ("9 except 3", "9", Relation::Before),
            ("9", "9 except 3..4", Relation::After),
            ("9 except 3..5", "9 except 4", Relation::Before),
            ("9 except 3", "9 except 4", Relation::Unrelated),
        ] {
            assert_eq!(PlaceCodec.relate(&p(a), &p(b)).unwrap(), relation, "{a} {b}");
        }
        let id = |commit, ordinal| EventId { origin: "db/t", commit, ordinal, sub: 0 };
        for (text, event, covered) in [
            ("9", id("", 9), true),
            ("9", id("", 10), false),
            ("9 except 4", id("", 4), false),
            ("9", id("-4", 0), true),
            ("start", id("", 0), false),
        ] {
            assert_eq!(PlaceCodec.covers(&p(text), &event).unwrap(), covered, "{text} {event}");
        }
        assert!(PlaceCodec.covers(&p("9"), &id("abc", 0)).is_err());
    }
}
