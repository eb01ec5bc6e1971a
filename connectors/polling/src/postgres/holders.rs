//! Transactions that may hold an id of a table which nobody can see yet.
//!
//! Whoever takes a value from a sequence, or inserts a row, takes a `RowExclusiveLock` on the sequence or the table
//! first and keeps it to the end of the transaction; also a transaction that has written nothing yet and so has no
//! transaction id (`xid`) of its own, which no snapshot tells of. The server makes a commit visible before it lets
//! its locks go. So when nobody who held such a lock after an id was known to be taken holds it any more, the row
//! with that id is visible or will never come. Nothing here compares transaction ids, so their wraparound does not
//! matter. `docs/explanation/polling-order.md` has the argument in full.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use outflow_sdk::Result;

use super::describe::Described;
use super::failure::{number, optional, text};
use super::session::Session;

/// A transaction, as `pg_locks` names it while it lasts: backend and a counter of its own. A prepared one has no
/// process, and on some servers another name, `-1/xid`. No name comes again while we are connected.
type Transaction = String;

/// Transactions that hold ids now; the process of each, none for a prepared one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Holders(HashMap<Transaction, Option<i32>>);

/// The query for the transactions that hold ids of a table.
pub(super) fn query(described: &Described) -> String {
    let oid = described.oid;
    let sequence = described.sequence.as_ref().map_or(oid, |s| s.oid);
    format!(
        "WITH RECURSIVE relations(oid) AS (VALUES ({oid}::oid) UNION \
             SELECT i.inhrelid FROM pg_inherits i JOIN relations r ON i.inhparent = r.oid) \
         SELECT DISTINCT virtualtransaction, pid FROM pg_locks \
         WHERE locktype = 'relation' AND mode = 'RowExclusiveLock' AND granted \
         AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) \
         AND (relation = {sequence} OR relation IN (SELECT oid FROM relations))"
    )
}

impl Holders {
    /// Asks the server.
    pub(super) async fn now(session: &Session, described: &Described) -> Result<Self> {
        let rows = session.query(&query(described)).await?;
        rows.iter()
            .map(|row| {
                let pid = optional(row, 1).map(|_| number(row, 1)).transpose()?;
                Ok((text(row, 0)?.to_owned(), pid))
            })
            .collect::<Result<_>>()
            .map(Self)
    }

    /// True when there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Ids that are taken, and the transactions that must end before they are settled.
#[derive(Debug)]
pub(super) struct Barrier {
    /// Settled with the end of the last holder: every id up to here.
    pub(super) up_to: i64,
    waiting: Holders,
    since: Instant,
}

impl Barrier {
    /// `holders` were looked up after `up_to` was known to be taken.
    pub(super) fn new(up_to: i64, holders: Holders) -> Self {
        Self { up_to, waiting: holders, since: Instant::now() }
    }

    /// Takes in who holds ids now; true when nobody is waited for any more.
    pub(super) fn observe(&mut self, now: &Holders) -> bool {
        let mut gone = false;
        self.waiting.0.retain(|transaction, pid| match now.0.get(transaction) {
            Some(process) => {
                *pid = *process;
                true
            }
            None => {
                gone |= pid.is_some();
                false
            }
        });
        if gone {
            // On older servers `PREPARE TRANSACTION` gives a transaction another name, once: who has gone may be any of
            // the prepared.
            let prepared = now.0.iter().filter(|(_, pid)| pid.is_none());
            self.waiting.0.extend(prepared.map(|(transaction, pid)| (transaction.clone(), *pid)));
        }
        self.waiting.is_empty()
    }

    /// How long it has been waited for.
    pub(super) fn age(&self) -> Duration {
        self.since.elapsed()
    }

    /// Says who is waited for.
    pub(super) async fn describe(&self, session: &Session, described: &Described) -> Result<String> {
        let pids: Vec<String> = self.waiting.0.values().flatten().map(i32::to_string).collect();
        let table = &described.table.id;
        let (waited, prepared) =
            (rounded(self.age()), self.waiting.0.values().filter(|p| p.is_none()).count());
        let oldest = if pids.is_empty() {
            None
        } else {
            // What we may not see of other users' sessions is NULL.
            let rows = session
                .query(&format!(
                    "SELECT pid, usename, application_name, extract(epoch FROM now() - xact_start)::bigint \
                     FROM pg_stat_activity WHERE pid IN ({}) ORDER BY xact_start NULLS LAST LIMIT 1",
                    pids.join(", ")
                ))
                .await?;
            rows.into_iter().next()
        };
        Ok(match oldest {
            Some(row) => {
                let pid: i32 = number(&row, 0)?;
                let user = optional(&row, 1).unwrap_or("?");
                let application = optional(&row, 2).filter(|a| !a.is_empty()).unwrap_or("unnamed");
                let age = optional(&row, 3).and_then(|s| s.parse().ok()).map(Duration::from_secs);
                let age = age.map_or_else(|| format!("at least {waited}"), rounded);
                let more = match self.waiting.0.len() - 1 {
                    0 => String::new(),
                    n => format!(" and {n} more"),
                };
                format!(
                    "{table} waits for an open transaction that holds an id: pid {pid} ({application}, user {user}), \
                     open for {age}{more}"
                )
            }
            None if prepared > 0 => format!(
                "{table} waits for {prepared} prepared transactions that hold ids, for {waited}; see pg_prepared_xacts"
            ),
            None => format!("{table} waits for a transaction that holds an id, for {waited}"),
        })
    }
}

/// A duration that does not change with every look.
fn rounded(age: Duration) -> String {
    let seconds = age.as_secs();
    match seconds {
        0..10 => format!("{seconds} s"),
        10..60 => format!("{} s", seconds / 10 * 10),
        60..3600 => format!("{} min", seconds / 60),
        _ => format!("{} h", seconds / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holders(list: &[(&str, Option<i32>)]) -> Holders {
        Holders(list.iter().map(|(t, p)| ((*t).to_owned(), *p)).collect())
    }

    #[test]
    fn it_opens_when_all_have_ended_whoever_came_since() {
        let mut barrier = Barrier::new(9, holders(&[("3/7", Some(30)), ("4/1", Some(40))]));
        assert!(!barrier.observe(&holders(&[("3/7", Some(30)), ("4/1", Some(40)), ("5/1", Some(50))])));
        // Another transaction of the same backend is another transaction.
        assert!(!barrier.observe(&holders(&[("3/8", Some(30)), ("4/1", Some(40))])));
        assert!(barrier.observe(&holders(&[("3/8", Some(30)), ("4/2", Some(40))])));
    }

    #[test]
    fn a_transaction_that_is_prepared_is_followed() {
        let mut barrier = Barrier::new(9, holders(&[("3/7", Some(30))]));
        assert!(!barrier.observe(&holders(&[("3/7", Some(30)), ("-1/800", None)])));
        assert!(!barrier.observe(&holders(&[("-1/800", None), ("-1/801", None)])));
        // Those that are prepared later are none of ours: there is an end to it.
        assert!(!barrier.observe(&holders(&[("-1/801", None), ("-1/802", None)])));
        assert!(barrier.observe(&holders(&[])));
        // On newer servers it keeps its name.
        let mut barrier = Barrier::new(9, holders(&[("3/7", Some(30))]));
        assert!(!barrier.observe(&holders(&[("3/7", None)])));
        assert_eq!(barrier.waiting, holders(&[("3/7", None)]));
        assert!(barrier.observe(&holders(&[("-1/801", None)])));
    }

    #[test]
    fn ages_are_rounded() {
        for (seconds, text) in [(1, "1 s"), (59, "50 s"), (93, "1 min"), (7200, "2 h")] {
            assert_eq!(rounded(Duration::from_secs(seconds)), text);
        }
    }
}
