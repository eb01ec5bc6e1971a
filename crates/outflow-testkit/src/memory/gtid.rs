//! A log whose positions are sets: two servers commit, and the order between them is not that of any number.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use outflow_sdk::{
    BatchBuilder, Error, EventId, Position, PositionCodec, Relation, Result, Source, SourceCapabilities,
    SourceContext, SourceKind, async_trait,
};
use tokio::sync::Notify;

use super::own_source;
use super::row::Row;

/// Which transactions of which server are done: `a:1-5:7,b:1-3`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GtidSet(BTreeMap<String, BTreeSet<u64>>);

impl GtidSet {
    /// Adds a transaction.
    pub fn insert(&mut self, server: &str, transaction: u64) {
        self.0.entry(server.to_owned()).or_default().insert(transaction);
    }

    /// Whether the transaction is done.
    pub fn contains(&self, server: &str, transaction: u64) -> bool {
        self.0.get(server).is_some_and(|done| done.contains(&transaction))
    }

    fn is_subset(&self, other: &Self) -> bool {
        self.0.iter().all(|(server, done)| other.0.get(server).is_some_and(|theirs| done.is_subset(theirs)))
    }
}

impl fmt::Display for GtidSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (server, done)) in self.0.iter().enumerate() {
            write!(f, "{}{server}", if i > 0 { "," } else { "" })?;
            let mut done = done.iter().copied().peekable();
            while let Some(first) = done.next() {
                let mut last = first;
                while let Some(next) = done.next_if(|next| *next == last + 1) {
                    last = next;
                }
                if first == last { write!(f, ":{first}")? } else { write!(f, ":{first}-{last}")? }
            }
        }
        Ok(())
    }
}

impl FromStr for GtidSet {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let bad = || Error::configuration("memory.gtid").message(format!("not a GTID set: {text:?}"));
        let mut set = Self::default();
        for server in text.split(',').filter(|s| !s.is_empty()) {
            let (name, ranges) = server.split_once(':').ok_or_else(bad)?;
            for range in ranges.split(':') {
                let (first, last) = range.split_once('-').unwrap_or((range, range));
                let (first, last) = (first.parse().map_err(|_| bad())?, last.parse().map_err(|_| bad())?);
                (first..=last).for_each(|n| set.insert(name, n));
            }
        }
        Ok(set)
    }
}

/// The set's positions, without a server: most pairs have no order.
#[derive(Clone, Copy, Debug)]
pub struct GtidCodec;

impl PositionCodec for GtidCodec {
    fn parse(&self, text: &str) -> Result<Position> {
        Ok(Position::new(1, text.parse::<GtidSet>()?.to_string()))
    }

    fn relate(&self, a: &Position, b: &Position) -> Result<Relation> {
        let (a, b) = (a.as_str().parse::<GtidSet>()?, b.as_str().parse::<GtidSet>()?);
        Ok(match (a.is_subset(&b), b.is_subset(&a)) {
            (true, true) => Relation::Equal,
            (true, false) => Relation::Before,
            (false, true) => Relation::After,
            (false, false) => Relation::Unrelated,
        })
    }

    fn covers(&self, position: &Position, event: &EventId<'_>) -> Result<bool> {
        let set = position.as_str().parse::<GtidSet>()?;
        let transaction = event.commit.split_once(':').and_then(|(s, n)| Some((s, n.parse().ok()?)));
        Ok(transaction.is_some_and(|(server, n)| set.contains(server, n)))
    }
}

/// A log of two servers' transactions. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct GtidLog {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    entries: Mutex<Vec<(String, u64, Row)>>,
    appended: Notify,
}

impl GtidLog {
    /// An empty log.
    pub fn new() -> Self {
        Self::default()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(String, u64, Row)>> {
        self.shared.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Commits one row as transaction `n` of `server`. Numbers need not come in order.
    pub fn commit(&self, server: &str, n: u64, row: Row) {
        self.lock().push((server.to_owned(), n, row));
        self.shared.appended.notify_waiters();
    }
}

own_source!(GtidLog, "memory-gtid", SourceCapabilities::new().resume().updates(), |self| {
    SourceKind::Custom(Box::new(self.clone()))
});

#[async_trait]
impl Source for GtidLog {
    async fn run(self: Box<Self>, cx: SourceContext) -> Result<()> {
        let mut done = cx.resume().map(|p| p.as_str().parse::<GtidSet>()).transpose()?.unwrap_or_default();
        cx.connected();
        let mut emitter = cx.emitter(SourceContext::DEFAULT_PARTITION);
        let mut builder = BatchBuilder::new();
        let mut read = 0;
        loop {
            let appended = self.shared.appended.notified();
            let mut appended = std::pin::pin!(appended);
            appended.as_mut().enable();
            let next = self.lock().get(read).cloned();
            let Some((server, n, row)) = next else {
                appended.await;
                continue;
            };
            read += 1;
            if done.contains(&server, n) {
                continue;
            }
            done.insert(&server, n);
            builder.origin(&server);
            let commit = builder.transaction(&format!("{server}:{n}"), None);
            row.write(&mut builder, Some(commit), 0)?;
            let permit = emitter.ready().await?;
            let end = Position::new(1, done.to_string());
            permit.send(builder.finish(SourceContext::DEFAULT_PARTITION.into(), Some(end)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_print_parse_and_have_no_total_order() {
        let codec = GtidCodec;
        let position = |text: &str| codec.parse(text).unwrap();
        assert_eq!(position("b:3,a:1-2:5:3").as_str(), "a:1-3:5,b:3");
        let (a, b) = (position("a:1-3"), position("a:1-2,b:1"));
        assert_eq!(codec.relate(&a, &b).unwrap(), Relation::Unrelated);
        assert_eq!(codec.relate(&position("a:1"), &a).unwrap(), Relation::Before);
        assert!("a".parse::<GtidSet>().is_err() && "a:x".parse::<GtidSet>().is_err());
    }
}
