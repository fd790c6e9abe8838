//! What others may see of a shard's open segment, while the shard writes on.

use std::cell::RefCell;
use std::sync::{Arc, Mutex, MutexGuard};

use async_channel::Sender;
use tapstone_index::{FlowRow, FlowSet};
use tapstone_packet::predicate::Predicate;

use super::inbox::Inbox;
use crate::capture::loss::Loss;
use crate::flows::rows::rows;
use crate::flows::tracker::Tracker;
use crate::id::SegmentId;
use crate::segment::at_disk::AtDisk;
use crate::segment::reader::Segment;

/// What a shard can be asked at any time; it answers between two blocks that it writes.
pub(crate) enum Look {
    /// What of the open segment can be read, and which of its flows satisfy the predicate.
    Open(Predicate, Sender<Option<OpenView>>),
    /// What is known of flows of the open segment, all of them or some; nothing when another
    /// segment is open.
    Rows(SegmentId, Option<FlowSet>, Sender<Option<Vec<FlowRow>>>),
    /// That it is alive.
    Anything(Sender<Option<()>>),
}

/// The durable part of an open segment.
#[derive(Debug)]
pub(crate) struct OpenView {
    pub(crate) segment: Arc<Segment>,
    /// The flows that satisfy the predicate asked for, and the blocks that they are in; `None` when
    /// all do.
    pub(crate) flows: Option<(FlowSet, Vec<u32>)>,
}

/// What anybody may look at without asking the shard, which may be busy.
#[derive(Debug, Default)]
pub(crate) struct Published {
    state: Mutex<State>,
    /// Whether its open segment waits for the disk.
    pub(crate) at_disk: Arc<AtDisk>,
}

#[derive(Debug, Default)]
struct State {
    durable: Option<Arc<Segment>>,
    losses: Vec<Loss>,
}

impl Published {
    /// The open segment, as far as it is durable.
    pub(crate) fn durable(&self) -> Option<Arc<Segment>> {
        self.state().durable.clone()
    }

    /// What was lost since a unit was written last.
    pub(crate) fn losses(&self) -> Vec<Loss> {
        self.state().losses.clone()
    }

    pub(super) fn set_durable(&self, durable: Option<Arc<Segment>>) {
        self.state().durable = durable;
    }

    pub(super) fn set_losses(&self, losses: Vec<Loss>) {
        self.state().losses = losses;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of the lock panics")
    }
}

/// What the shard shares with whoever answers for it, on its own core. Nobody holds a borrow over
/// an await.
#[derive(Debug)]
pub(super) struct View {
    /// The flows of the open segment, those of packets that are not durable yet among them.
    pub(super) tracker: RefCell<Tracker>,
    pub(super) published: Arc<Published>,
}

impl View {
    /// Answers until nobody can ask.
    pub(super) async fn answer(&self, looks: Inbox<Look>) {
        while let Ok(look) = looks.0.recv().await {
            // Whoever asked may have gone; that is theirs to decide.
            match look {
                Look::Open(predicate, done) => {
                    let view = self.open(&predicate);
                    done.send(view).await.ok();
                }
                Look::Anything(done) => drop(done.send(Some(())).await),
                Look::Rows(segment, flows, done) => {
                    let found = self.rows(segment, flows.as_ref());
                    done.send(found).await.ok();
                }
            }
        }
    }

    fn open(&self, predicate: &Predicate) -> Option<OpenView> {
        let segment = self.published.durable()?;
        let table = &self.tracker.borrow().table;
        let flows = table.matching(predicate);
        let blocks = table.blocks_of(&flows);
        Some(OpenView { segment, flows: Some((flows, blocks)) })
    }

    fn rows(&self, segment: SegmentId, flows: Option<&FlowSet>) -> Option<Vec<FlowRow>> {
        let is_open = self.published.durable().is_some_and(|open| open.id() == segment);
        is_open.then(|| rows(&self.tracker.borrow().table, flows))
    }
}
