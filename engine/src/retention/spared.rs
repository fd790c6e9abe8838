//! Segments that a backup is about to take: they do not expire before.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::id::SegmentId;

/// Those that are spared now.
#[derive(Debug, Default)]
pub(crate) struct Spared(Mutex<BTreeSet<SegmentId>>);

/// Spares segments, each until it is let go of, and none when it is dropped.
#[derive(Debug)]
pub(crate) struct Sparing {
    spared: Arc<Spared>,
    own: BTreeSet<SegmentId>,
}

impl Spared {
    /// Which segments are spared, as it is now.
    pub(crate) fn look(&self) -> impl Fn(SegmentId) -> bool + use<> {
        let spared = self.segments().clone();
        move |id| spared.contains(&id)
    }

    fn segments(&self) -> MutexGuard<'_, BTreeSet<SegmentId>> {
        self.0.lock().expect("no holder of the lock panics")
    }
}

impl Sparing {
    /// One backup is made at a time, so nobody else spares any of these.
    pub(crate) fn new(spared: &Arc<Spared>, own: BTreeSet<SegmentId>) -> Sparing {
        spared.segments().extend(&own);
        Sparing { spared: Arc::clone(spared), own }
    }

    /// It may expire from now on.
    pub(crate) fn let_go(&mut self, id: SegmentId) {
        if self.own.remove(&id) {
            self.spared.segments().remove(&id);
        }
    }
}

impl Drop for Sparing {
    fn drop(&mut self) {
        self.spared.segments().retain(|id| !self.own.contains(id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::StoreId;

    #[test]
    fn segments_are_spared_until_they_are_let_go_of_or_the_backup_ends() {
        let id = |sequence| SegmentId::new(StoreId([1; 16]), sequence, 0);
        let spared = Arc::default();
        let mut sparing = Sparing::new(&spared, BTreeSet::from([id(1), id(2)]));
        let are = || [1, 2, 3].map(|sequence| spared.look()(id(sequence)));
        assert_eq!(are(), [true, true, false]);
        sparing.let_go(id(1));
        sparing.let_go(id(3));
        assert_eq!(are(), [false, true, false]);
        drop(sparing);
        assert_eq!(are(), [false; 3]);
    }
}
