//! What the ledger says, all of it together: pure.

use std::collections::BTreeMap;

use super::record::Record;
use crate::holds::Hold;

/// Most bytes of a newer program's records that are carried along.
const OTHERS_SIZE: usize = 4 << 20;

/// What is in force.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct State {
    /// The holds, by their numbers.
    pub(crate) holds: BTreeMap<u64, Hold>,
    /// The largest number that a hold ever had: none is given out twice.
    pub(crate) last_hold: u64,
    /// Whether something may be missing: the ledger was damaged, and nobody has said since that
    /// all is there.
    pub(crate) in_doubt: bool,
    /// Records of a newer program, which this one carries along.
    others: Vec<Vec<u8>>,
}

impl State {
    /// Takes a record in. One that was taken in before changes nothing.
    pub(super) fn apply(&mut self, record: Record) {
        match record {
            Record::Begun { in_doubt, last_hold } => {
                *self = State { last_hold, in_doubt, ..State::default() };
            }
            Record::Held(hold) => {
                self.last_hold = self.last_hold.max(hold.id);
                self.holds.insert(hold.id, hold);
            }
            Record::Lifted(id) => drop(self.holds.remove(&id)),
            Record::Vouched => self.in_doubt = false,
            Record::Other(bytes) => {
                self.others.push(bytes);
                while self.others.iter().map(Vec::len).sum::<usize>() > OTHERS_SIZE {
                    self.others.remove(0);
                }
            }
        }
    }

    /// The records that make it, from nothing or from anything.
    pub(super) fn snapshot(&self) -> Vec<Record> {
        let State { holds, last_hold, in_doubt, others } = self;
        let begun = Record::Begun { in_doubt: *in_doubt, last_hold: *last_hold };
        let holds = holds.values().cloned().map(Record::Held);
        let others = others.iter().cloned().map(Record::Other);
        [begun].into_iter().chain(holds).chain(others).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::tests::hold;
    use super::*;

    fn made(records: impl IntoIterator<Item = Record>) -> State {
        let mut state = State::default();
        records.into_iter().for_each(|record| state.apply(record));
        state
    }

    fn some() -> Vec<Record> {
        let other = |number| Record::Other(vec![200, number]);
        let held = |id| Record::Held(hold(id));
        vec![held(1), held(2), other(1), Record::Lifted(2), held(3), Record::Lifted(3), other(2)]
    }

    #[test]
    fn a_snapshot_says_all_of_it_whatever_was_there_before() {
        let state = made(some());
        assert_eq!(state.holds.keys().copied().collect::<Vec<_>>(), [1]);
        assert_eq!(state.last_hold, 3, "the number of one that was lifted is not given out again");
        assert_eq!(made(state.snapshot()), state);
        assert_eq!(made(some().into_iter().chain(state.snapshot())), state);
        assert_eq!(made(state.snapshot().into_iter().chain(state.snapshot())), state);
    }

    #[test]
    fn doubt_stays_until_somebody_vouches() {
        let doubt = State { in_doubt: true, ..made(some()) };
        let mut later = made(doubt.snapshot());
        later.apply(Record::Held(hold(4)));
        later.apply(Record::Lifted(1));
        assert!(later.in_doubt);
        later.apply(Record::Vouched);
        assert!(!made(later.snapshot()).in_doubt);
    }

    #[test]
    fn what_is_carried_along_has_a_bound() {
        let one = Record::Other(vec![200; OTHERS_SIZE / 3]);
        let state = made((0..10).map(|_| one.clone()));
        assert_eq!(state.others.len(), 3);
    }
}
