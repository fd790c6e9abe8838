//! Holds: what retention must not touch, whatever it is asked to keep.
//!
//! A hold is a time range and a filter. A sealed segment with a packet of both is kept whole for as
//! long as the hold is in force. Holds are records of the ledger; nothing of a segment changes.

mod error;
mod judge;

use tapstone_packet::time::Timestamp;
use tapstone_runtime::{block_on, clock};

use crate::ledger::{LedgerError, Record};
use crate::query::Selection;
use crate::query::plan::Question;
use crate::segment::block::overlaps;
use crate::store::Store;
pub use error::HoldError;
pub(crate) use judge::{HeldSegments, Judge};

/// Most holds that can be in force.
pub const HOLDS_MAX: usize = 1000;
/// Most bytes of a hold's texts, together.
pub const HOLD_TEXT_MAX: usize = 8 << 10;

/// What is to be held.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewHold {
    /// Packets at this instant or later.
    pub since: Option<Timestamp>,
    /// Packets before this instant.
    pub until: Option<Timestamp>,
    /// A pcap filter, as in [`Selection`]. Empty means all.
    pub filter: String,
    /// A metadata query, as in [`Selection`]. Empty means all.
    pub metadata: String,
    /// Why; for those who wonder later.
    pub reason: String,
    /// Who wants it.
    pub by: String,
}

/// A hold that is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// Its number, which no other ever has.
    pub id: u64,
    /// Packets at this instant or later.
    pub since: Option<Timestamp>,
    /// Packets before this instant.
    pub until: Option<Timestamp>,
    /// A pcap filter. Empty means all.
    pub filter: String,
    /// A metadata query. Empty means all.
    pub metadata: String,
    /// Why.
    pub reason: String,
    /// Who wanted it.
    pub by: String,
    /// When it was added.
    pub added: Timestamp,
}

impl NewHold {
    fn selection(&self) -> Selection {
        selection((self.since, self.until), &self.filter, &self.metadata)
    }

    /// What is wrong with it, but for filter and metadata query.
    fn check(&self) -> Result<(), HoldError> {
        if self.since.is_some() && self.since == self.until {
            return Err(HoldError::EmptyRange);
        }
        if self.reason.trim().is_empty() {
            return Err(HoldError::NoReason);
        }
        let texts = [&self.filter, &self.metadata, &self.reason, &self.by];
        let length: usize = texts.iter().map(|text| text.len()).sum();
        if length > HOLD_TEXT_MAX { Err(HoldError::TooLong { length }) } else { Ok(()) }
    }

    fn added(&self, id: u64, added: Timestamp) -> Hold {
        let NewHold { since, until, filter, metadata, reason, by } = self.clone();
        Hold { id, since, until, filter, metadata, reason, by, added }
    }
}

impl Hold {
    fn selection(&self) -> Selection {
        selection((self.since, self.until), &self.filter, &self.metadata)
    }

    /// Whether it may be about packets of these times, the first and the last.
    fn overlaps(&self, times: (Timestamp, Timestamp)) -> bool {
        let (since, until) = (self.since, self.until);
        overlaps(times, since.unwrap_or(Timestamp::MIN), until.unwrap_or(Timestamp::MAX))
    }

    /// Whether its time alone decides.
    fn is_of_all_packets(&self) -> bool {
        self.filter.trim().is_empty() && self.metadata.trim().is_empty()
    }
}

fn selection(
    (since, until): (Option<Timestamp>, Option<Timestamp>),
    filter: &str,
    metadata: &str,
) -> Selection {
    let (filter, metadata) = (filter.to_owned(), metadata.to_owned());
    Selection { since, until, filter, metadata, ..Selection::default() }
}

impl Store {
    /// Holds packets: once this returns, retention lets none of them go. Those that come later are
    /// held too.
    ///
    /// # Errors
    ///
    /// When filter or metadata query cannot be asked, the time range is empty, nobody says why, or
    /// it cannot be recorded.
    pub fn add_hold(&self, new: &NewHold) -> Result<Hold, HoldError> {
        new.check()?;
        Question::new(self, &new.selection())?;
        // What is being let go is gone before the hold is there.
        let _alone = self.inner.expiring.lock().expect("no holder of the lock panics");
        let state = self.inner.ledger.state();
        if state.holds.len() >= HOLDS_MAX {
            return Err(HoldError::TooMany);
        }
        let nanos = i64::try_from(clock::unix_nanos()).unwrap_or(i64::MAX);
        let hold = new.added(state.last_hold + 1, Timestamp::from_nanos(nanos));
        self.record(Record::Held(hold.clone()))?;
        Ok(hold)
    }

    /// Holds no more what a hold is about; gives the hold.
    ///
    /// # Errors
    ///
    /// When there is no hold of that number, or it cannot be recorded.
    pub fn remove_hold(&self, id: u64) -> Result<Hold, HoldError> {
        let mut held = self.inner.expiring.lock().expect("no holder of the lock panics");
        let hold = self.inner.ledger.state().holds.remove(&id).ok_or(HoldError::Unknown(id))?;
        self.record(Record::Lifted(id))?;
        held.forget(id);
        Ok(hold)
    }

    /// Says that all holds are there that should be: where the ledger is damaged, retention lets
    /// nothing go before somebody who has looked says so.
    ///
    /// # Errors
    ///
    /// When it cannot be recorded.
    pub fn accept_holds(&self) -> Result<(), HoldError> {
        let _alone = self.inner.expiring.lock().expect("no holder of the lock panics");
        match self.inner.ledger.state().in_doubt {
            true => Ok(self.record(Record::Vouched)?),
            false => Ok(()),
        }
    }

    /// The holds in force, by their numbers.
    #[must_use]
    pub fn holds(&self) -> Vec<Hold> {
        self.inner.ledger.state().holds.into_values().collect()
    }

    /// Whether holds may be missing from [`holds`](Self::holds), so that nothing is let go.
    #[must_use]
    pub fn holds_in_doubt(&self) -> bool {
        self.inner.ledger.state().in_doubt
    }

    fn record(&self, record: Record) -> Result<(), LedgerError> {
        block_on(self.inner.ledger.record(record))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_secs_nanos(second, 0)
    }

    fn new() -> NewHold {
        NewHold { reason: "r".into(), ..NewHold::default() }
    }

    #[test]
    fn a_hold_that_makes_no_sense_is_refused() {
        assert!(new().check().is_ok());
        let reason = |reason: &str| NewHold { reason: reason.into(), ..new() }.check();
        assert!(matches!(reason(" \n"), Err(HoldError::NoReason)));
        let empty = NewHold { since: Some(at(1)), until: Some(at(1)), ..new() };
        assert!(matches!(empty.check(), Err(HoldError::EmptyRange)));
        assert!(reason(&"x".repeat(HOLD_TEXT_MAX)).is_ok());
        assert!(matches!(
            NewHold { filter: "x".repeat(HOLD_TEXT_MAX), ..new() }.check(),
            Err(HoldError::TooLong { length }) if length == HOLD_TEXT_MAX + 1
        ));
    }

    #[test]
    fn times_are_compared_as_a_query_compares_them() {
        let hold = |since, until| NewHold { since, until, ..new() }.added(1, at(0));
        let held = |since: Option<i64>, until: Option<i64>| {
            hold(since.map(at), until.map(at)).overlaps((at(10), at(20)))
        };
        assert!(held(None, None) && held(Some(20), None) && held(None, Some(11)));
        assert!(held(Some(12), Some(13)) && held(Some(0), Some(100)));
        assert!(!held(Some(21), None) && !held(None, Some(10)));
        // Nothing is in a segment that holds no packet.
        assert!(!hold(None, None).overlaps((Timestamp::MAX, Timestamp::MIN)));
    }
}
