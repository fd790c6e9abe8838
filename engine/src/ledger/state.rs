//! What the ledger says, all of it together: pure.

use std::collections::{BTreeMap, VecDeque};

use super::record::Record;
use crate::holds::Hold;
use crate::state::Transition;

/// Most bytes of a newer program's records that are carried along.
const OTHERS_SIZE: usize = 4 << 20;
/// The last transitions are kept, so many. A start has sixteen, so the story of a bad night is
/// among them; and with 1,200 bytes each at most, each file of the ledger can begin with all.
pub(crate) const TRANSITIONS: usize = 256;

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
    /// The last transitions of the storage state machine, in order. No hold depends on them.
    pub(crate) transitions: VecDeque<Transition>,
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
            Record::Transition(transition) => self.follow(transition),
            Record::Other(bytes) => {
                self.others.push(bytes);
                while self.others.iter().map(Vec::len).sum::<usize>() > OTHERS_SIZE {
                    self.others.remove(0);
                }
            }
        }
    }

    fn follow(&mut self, transition: Transition) {
        if self.transitions.back().is_some_and(|last| last.sequence >= transition.sequence) {
            return;
        }
        if self.transitions.len() == TRANSITIONS {
            self.transitions.pop_front();
        }
        self.transitions.push_back(transition);
    }

    /// The records that make it, from nothing or from anything.
    pub(super) fn snapshot(&self) -> Vec<Record> {
        let State { holds, last_hold, in_doubt, transitions, others } = self;
        let begun = Record::Begun { in_doubt: *in_doubt, last_hold: *last_hold };
        let holds = holds.values().cloned().map(Record::Held);
        let transitions = transitions.iter().cloned().map(Record::Transition);
        let others = others.iter().cloned().map(Record::Other);
        [begun].into_iter().chain(holds).chain(transitions).chain(others).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::tests::{hold, transition};
    use super::*;

    fn made(records: impl IntoIterator<Item = Record>) -> State {
        let mut state = State::default();
        records.into_iter().for_each(|record| state.apply(record));
        state
    }

    fn some() -> Vec<Record> {
        let other = |number| Record::Other(vec![200, number]);
        let held = |id| Record::Held(hold(id));
        let went = |sequence| Record::Transition(transition(sequence));
        let holds = [held(1), held(2), Record::Lifted(2), held(3), Record::Lifted(3)];
        holds.into_iter().chain([other(1), went(1), other(2), went(2)]).collect()
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
    fn the_last_transitions_are_kept_in_order() {
        let went = |sequence| Record::Transition(transition(sequence));
        let count = TRANSITIONS as u64;
        // A number is missing where one could not be recorded.
        let state = made((1..=count + 20).filter(|it| *it != count).map(went));
        let numbers: Vec<u64> = state.transitions.iter().map(|it| it.sequence).collect();
        let expected: Vec<u64> = (20..=count + 20).filter(|it| *it != count).collect();
        assert_eq!(numbers, expected);
        let mut again = state.clone();
        again.apply(went(count + 20));
        again.apply(went(5));
        assert_eq!(again, state, "what was taken in before changes nothing");
        assert!(!state.in_doubt);
    }

    #[test]
    fn what_is_carried_along_has_a_bound() {
        let one = Record::Other(vec![200; OTHERS_SIZE / 3]);
        let state = made((0..10).map(|_| one.clone()));
        assert_eq!(state.others.len(), 3);
    }
}
