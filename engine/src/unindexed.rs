//! Segments that the catalog does not know yet: sealed ones until their split is made, and what a
//! crash left until it is finished. Queries read them meanwhile.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_channel::Sender;
use tapstone_runtime::{block_on, block_on_within};

use crate::flows::table::FlowTable;
use crate::id::SegmentId;
use crate::segment::reader::Segment;

/// One of them.
#[derive(Clone, Debug)]
pub(crate) struct UnindexedSegment {
    pub(crate) segment: Arc<Segment>,
    /// Its flows, where they are known: those of a segment that a crash left are not.
    pub(crate) flows: Option<Arc<FlowTable>>,
    /// Whether it will be indexed. One that could not be is served as it is.
    pub(crate) in_work: bool,
}

/// All of them, and what was found wrong on the way.
#[derive(Debug, Default)]
pub(crate) struct Unindexed {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    segments: BTreeMap<SegmentId, UnindexedSegment>,
    damage: Vec<String>,
    /// Whether nobody indexes any more.
    is_over: bool,
    /// Dropped when nothing is in work any more.
    waiting: Vec<Sender<()>>,
}

impl Unindexed {
    /// Adds a segment that will be indexed.
    pub(crate) fn add(&self, segment: Arc<Segment>, flows: Option<Arc<FlowTable>>) {
        let unindexed = UnindexedSegment { segment, flows, in_work: true };
        self.state().segments.insert(unindexed.segment.id(), unindexed);
    }

    /// Takes out a segment that the catalog knows now.
    pub(crate) fn remove(&self, id: SegmentId) {
        self.state().change(|segments| drop(segments.remove(&id)));
    }

    /// Keeps a segment as it is: it will not be indexed before the store is opened again.
    pub(crate) fn give_up(&self, id: SegmentId) {
        self.state().change(|segments| {
            if let Some(it) = segments.get_mut(&id) {
                it.in_work = false;
            }
        });
    }

    /// Keeps all of them as they are: whoever indexed them is gone.
    pub(crate) fn give_up_all(&self) {
        let mut state = self.state();
        state.is_over = true;
        state.change(|segments| segments.values_mut().for_each(|it| it.in_work = false));
    }

    /// Whether whoever indexed them is gone.
    pub(crate) fn is_over(&self) -> bool {
        self.state().is_over
    }

    /// How many wait to be indexed: those that were sealed, whose flows are kept in memory until
    /// then, and those that a crash left.
    pub(crate) fn in_work(&self) -> (usize, usize) {
        let state = self.state();
        let in_work = || state.segments.values().filter(|it| it.in_work);
        let sealed = in_work().filter(|it| it.flows.is_some()).count();
        (sealed, in_work().count() - sealed)
    }

    /// What there is now. Ask the catalog afterwards: what leaves here is there before.
    pub(crate) fn list(&self) -> Vec<UnindexedSegment> {
        self.state().segments.values().cloned().collect()
    }

    /// Waits until nothing is in work.
    pub(crate) fn wait(&self) {
        block_on(self.done());
    }

    /// The same, but not for longer than this.
    pub(crate) fn wait_within(&self, patience: Duration) {
        block_on_within(patience, self.done());
    }

    async fn done(&self) {
        let (waiting, done) = async_channel::bounded::<()>(1);
        {
            let mut state = self.state();
            state.waiting.push(waiting);
            state.change(|_| {});
        }
        // Nothing is ever sent: this returns when the other end is dropped.
        done.recv().await.ok();
    }

    /// Notes what is wrong with the store; what is known is not said again.
    pub(crate) fn tell(&self, damage: impl IntoIterator<Item = String>) {
        for text in damage {
            tracing::error!("{text}");
            let mut state = self.state();
            if !state.damage.contains(&text) {
                state.damage.push(text);
            }
        }
    }

    /// What was found wrong so far.
    pub(crate) fn damage(&self) -> Vec<String> {
        self.state().damage.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of the lock panics")
    }
}

impl State {
    fn change(&mut self, change: impl FnOnce(&mut BTreeMap<SegmentId, UnindexedSegment>)) {
        change(&mut self.segments);
        if !self.segments.values().any(|it| it.in_work) {
            self.waiting.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::StoreId;
    use crate::segment::footer::SegmentMap;
    use crate::segment::reader::tests::opened;

    fn segment(sequence: u32) -> Arc<Segment> {
        let id = SegmentId::new(StoreId([1; 16]), sequence, 0);
        let map = SegmentMap::default();
        Arc::new(Segment::unsealed("s.open".into(), Arc::new(opened(id)), map))
    }

    #[test]
    fn whoever_waits_waits_for_what_is_in_work_and_for_nothing_else() {
        let unindexed = Arc::new(Unindexed::default());
        unindexed.wait();
        let (a, b) = (segment(1), segment(2));
        unindexed.add(Arc::clone(&a), None);
        unindexed.add(Arc::clone(&b), None);
        let waiting = {
            let unindexed = Arc::clone(&unindexed);
            std::thread::spawn(move || unindexed.wait())
        };
        assert_eq!(unindexed.in_work(), (0, 2));
        unindexed.remove(a.id());
        std::thread::sleep(std::time::Duration::from_millis(20));
        assert!(!waiting.is_finished());
        unindexed.give_up(b.id());
        waiting.join().unwrap();
        assert_eq!(unindexed.in_work(), (0, 0));
        let left: Vec<_> = unindexed.list().iter().map(|it| it.segment.id()).collect();
        assert_eq!(left, [b.id()]);
    }
}
