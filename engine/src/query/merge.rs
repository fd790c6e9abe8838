//! Putting the matches of many units into one order.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use super::found::{Found, Packet, Position};

/// Merges units' matches by time, ties in order of arrival. Units are pushed in the order of
/// their earliest possible position; what lies before the next one is ready.
#[derive(Debug, Default)]
pub(crate) struct Merge {
    runs: Vec<Option<Run>>,
    heap: BinaryHeap<Reverse<(Position, usize)>>,
    /// Units all of whose packets were given: their memory is used again once nobody holds them.
    spent: Vec<Arc<Found>>,
}

/// Spent units that are waited for; those that are held for longer keep their memory.
const SPENT_MAX: usize = 8;

#[derive(Debug)]
struct Run {
    found: Arc<Found>,
    next: usize,
}

impl Merge {
    pub(crate) fn push(&mut self, found: Found) {
        if found.hits.is_empty() {
            return;
        }
        let position = found.position(0);
        let run = Some(Run { found: Arc::new(found), next: 0 });
        let slot = self.runs.iter().position(Option::is_none).unwrap_or(self.runs.len());
        if slot == self.runs.len() {
            self.runs.push(run);
        } else {
            self.runs[slot] = run;
        }
        self.heap.push(Reverse((position, slot)));
    }

    /// Memory of a unit that was given whole, for the next one.
    pub(crate) fn spare_arena(&mut self) -> Vec<u8> {
        let free = self.spent.iter().position(|found| Arc::strong_count(found) == 1);
        let found = free.map(|index| self.spent.swap_remove(index));
        found.and_then(Arc::into_inner).map_or_else(Vec::new, |found| found.arena)
    }

    /// The next packet, provided that it lies before `horizon`, the earliest position a unit not
    /// pushed yet may hold (`None` when all are pushed).
    pub(crate) fn pop(&mut self, horizon: Option<Position>) -> Option<Packet> {
        let mut top = self.heap.peek_mut()?;
        let Reverse((position, slot)) = *top;
        if horizon.is_some_and(|horizon| position >= horizon) {
            return None;
        }
        let run = self.runs[slot].as_mut().expect("the heap names runs that have packets left");
        let index = run.next;
        run.next += 1;
        let found = if run.next < run.found.hits.len() {
            // Replacing the top in place sifts once, where pop and push would sift twice.
            *top = Reverse((run.found.position(run.next), slot));
            Arc::clone(&run.found)
        } else {
            std::collections::binary_heap::PeekMut::pop(top);
            let found = self.runs[slot].take().expect("it was there a moment ago").found;
            if self.spent.len() == SPENT_MAX {
                self.spent.remove(0);
            }
            self.spent.push(Arc::clone(&found));
            found
        };
        Some(Packet { found, index })
    }
}

#[cfg(test)]
mod tests {
    use super::super::found::Hit;
    use super::*;
    use crate::id::{SegmentId, StoreId};
    use proptest::prelude::*;
    use tapstone_packet::time::Timestamp;

    fn found(unit: u32, mut times: Vec<i64>) -> Found {
        times.sort_unstable();
        let hit = |(rank, nanos): (usize, i64)| Hit {
            time: Timestamp::from_nanos(nanos),
            rank: rank as u32,
            interface: 0,
            flow: 0,
            original: 0,
            offset: 0,
            captured: 0,
            options: 0..0,
        };
        Found {
            store: StoreId([0; 16]),
            segment: SegmentId::new(StoreId([0; 16]), 1, 1),
            unit,
            interfaces: Arc::new([]),
            arena: Vec::new(),
            hits: times.into_iter().enumerate().map(hit).collect(),
        }
    }

    proptest! {
        #[test]
        fn the_merge_is_the_sorted_whole_however_the_units_overlap(
            units in proptest::collection::vec(proptest::collection::vec(0i64..20, 0..8), 0..6),
        ) {
            let mut units: Vec<Found> =
                units.into_iter().enumerate().map(|(unit, times)| found(unit as u32, times)).collect();
            let mut expected: Vec<Position> = units
                .iter()
                .flat_map(|unit| (0..unit.hits.len()).map(|index| unit.position(index)))
                .collect();
            expected.sort_unstable();
            units.sort_by_key(|unit| (!unit.hits.is_empty()).then(|| unit.position(0)));

            let mut merge = Merge::default();
            let mut merged = Vec::new();
            let firsts: Vec<_> =
                units.iter().map(|unit| (!unit.hits.is_empty()).then(|| unit.position(0))).collect();
            for (number, unit) in units.into_iter().enumerate() {
                merge.push(unit);
                let horizon = firsts.get(number + 1).copied().flatten();
                while firsts.len() > number + 1 && horizon.is_some()
                    && let Some(packet) = merge.pop(horizon)
                {
                    merged.push(packet.found.position(packet.index));
                }
            }
            while let Some(packet) = merge.pop(None) {
                merged.push(packet.found.position(packet.index));
            }
            prop_assert_eq!(merged, expected);
        }
    }
}
