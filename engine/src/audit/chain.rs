//! What a record must be like behind the one before it: pure.

use super::record::{AuditHash, AuditRecord, decode};
use super::verify::{AuditBreakKind, AuditHead};
use crate::id::StoreId;

/// How far a chain was followed.
#[derive(Clone, Debug)]
pub(super) struct Chain {
    store: StoreId,
    /// What the next record must be; unknown when the reading began in the middle.
    next: Option<Next>,
    /// The last record stood out of order: those that go on so are not told again.
    in_disorder: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Next {
    sequence: u64,
    previous: AuditHash,
}

/// What a record is found to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Link {
    /// None when it cannot be trusted.
    pub(super) record: Option<AuditRecord>,
    /// What is wrong, and from which number on.
    pub(super) breaks: Vec<(u64, AuditBreakKind)>,
}

impl Chain {
    /// From the first record on.
    pub(super) fn from_the_first(store: StoreId) -> Chain {
        let next = Next { sequence: 1, previous: AuditHash::NONE };
        Chain { store, next: Some(next), in_disorder: false }
    }

    /// From the record behind this one on.
    pub(super) fn behind(store: StoreId, last: AuditHead) -> Chain {
        let next = Next { sequence: last.sequence + 1, previous: last.hash };
        Chain { store, next: Some(next), in_disorder: false }
    }

    /// From any record on.
    pub(super) fn from_the_middle(store: StoreId) -> Chain {
        Chain { store, next: None, in_disorder: false }
    }

    /// The last record's number and hash; none when there was none since the beginning of the
    /// reading.
    pub(super) fn last(&self) -> Option<(u64, AuditHash)> {
        let next = self.next.filter(|next| next.sequence > 1)?;
        Some((next.sequence - 1, next.previous))
    }

    /// The number that the next record must have.
    pub(super) fn expected(&self) -> u64 {
        self.next.map_or(1, |next| next.sequence)
    }

    /// Takes the next record.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Link {
        let expected = self.expected();
        let (record, is_sound) = match decode(self.store, bytes) {
            Ok(decoded) => decoded,
            Err(why) => {
                let breaks = vec![(expected, AuditBreakKind::Unreadable(why.to_owned()))];
                return Link { record: None, breaks };
            }
        };
        let mut breaks = Vec::new();
        let sequence = record.sequence;
        match self.next {
            Some(next) if sequence < next.sequence => {
                if !self.in_disorder {
                    breaks.push((sequence, AuditBreakKind::Order { expected }));
                }
                self.in_disorder = true;
            }
            next => {
                if let Some(next) = next {
                    if sequence > next.sequence {
                        breaks.push((expected, AuditBreakKind::Missing { through: sequence - 1 }));
                    } else if record.previous != next.previous {
                        breaks.push((sequence, AuditBreakKind::Previous));
                    }
                }
                self.in_disorder = false;
                self.next = Some(Next { sequence: sequence + 1, previous: record.hash });
            }
        }
        if !is_sound {
            breaks.push((sequence, AuditBreakKind::Hash));
        }
        Link { record: is_sound.then_some(record), breaks }
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::encode;
    use super::*;
    use AuditBreakKind::{Hash, Missing, Order, Previous};

    const STORE: StoreId = StoreId([1; 16]);

    fn records(count: u64) -> Vec<Vec<u8>> {
        let mut previous = AuditHash::NONE;
        let mut make = |sequence| {
            let (bytes, hash) = encode(STORE, sequence, sequence, previous, &[sequence as u8]);
            previous = hash;
            bytes
        };
        (1..=count).map(&mut make).collect()
    }

    fn breaks(records: &[Vec<u8>]) -> Vec<(u64, AuditBreakKind)> {
        let mut chain = Chain::from_the_first(STORE);
        records.iter().flat_map(|bytes| chain.take(bytes).breaks).collect()
    }

    #[test]
    fn a_whole_chain_has_no_break() {
        assert_eq!(breaks(&records(5)), []);
        let mut chain = Chain::from_the_middle(STORE);
        let links: Vec<_> = records(5)[2..].iter().map(|it| chain.take(it)).collect();
        assert!(links.iter().all(|link| link.breaks.is_empty() && link.record.is_some()));
        assert_eq!(chain.last().unwrap().0, 5);
    }

    #[test]
    fn a_chain_goes_on_behind_a_record_that_is_not_there_and_behind_no_other() {
        let all = records(5);
        let (third, _) = decode(STORE, &all[2]).unwrap();
        let behind = |sequence, hash| {
            let mut chain = Chain::behind(STORE, AuditHead { sequence, hash });
            all[3..].iter().flat_map(|bytes| chain.take(bytes).breaks).collect::<Vec<_>>()
        };
        assert_eq!(behind(3, third.hash), []);
        assert_eq!(behind(3, third.previous), [(4, Previous)]);
        assert_eq!(behind(2, third.hash), [(3, Missing { through: 3 })]);
        assert_eq!(behind(4, third.hash), [(4, Order { expected: 5 }), (5, Previous)]);
    }

    #[test]
    fn every_break_is_named_once() {
        let whole = records(6);
        let mut removed = whole.clone();
        removed.drain(1..3);
        assert_eq!(breaks(&removed), [(2, Missing { through: 3 })]);
        let mut swapped = whole.clone();
        swapped.swap(1, 2);
        assert_eq!(breaks(&swapped), [(2, Missing { through: 2 }), (2, Order { expected: 4 })],);
        let mut changed = whole.clone();
        *changed[2].last_mut().unwrap() ^= 1;
        assert_eq!(breaks(&changed), [(3, Hash)]);
        // One who can compute hashes changes the next record's as well, or is found by it.
        let mut forged = whole.clone();
        let (record, _) = decode(STORE, &whole[2]).unwrap();
        forged[2] = encode(STORE, 3, 3, record.previous, b"forged").0;
        assert_eq!(breaks(&forged), [(4, Previous)]);
        let twice = [&whole[..], &whole[2..]].concat();
        assert_eq!(breaks(&twice), [(3, Order { expected: 7 })]);
    }
}
