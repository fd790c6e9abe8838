//! What others may see of a shard's open segment, while the shard writes on.

use std::cell::RefCell;
use std::sync::Arc;

use async_channel::Sender;
use tapstone_index::{FlowRow, FlowSet};
use tapstone_packet::predicate::Predicate;

use super::inbox::Inbox;
use crate::capture::loss::Loss;
use crate::flows::rows::rows;
use crate::flows::tracker::Tracker;
use crate::id::SegmentId;
use crate::segment::reader::Segment;

/// What a shard can be asked at any time; it answers between two blocks that it writes.
pub(crate) enum Look {
    /// What of the open segment can be read, and which of its flows satisfy the predicates.
    Open(Vec<Predicate>, Sender<Option<OpenView>>),
    /// What is known of flows of the open segment, all of them or some; nothing when another
    /// segment is open.
    Rows(SegmentId, Option<FlowSet>, Sender<Option<Vec<FlowRow>>>),
    /// What was lost, and is not written yet.
    Losses(Sender<Option<Vec<Loss>>>),
}

/// The durable part of an open segment.
#[derive(Debug)]
pub(crate) struct OpenView {
    pub(crate) segment: Arc<Segment>,
    /// The flows that satisfy each predicate asked for.
    pub(crate) flows: Vec<FlowSet>,
}

/// What the shard shares with whoever answers for it, on its own core. Nobody holds a borrow over
/// an await.
#[derive(Debug, Default)]
pub(super) struct View {
    /// The flows of the open segment, those of packets that are not durable yet among them.
    pub(super) tracker: RefCell<Tracker>,
    /// The open segment, as far as it is durable.
    pub(super) durable: RefCell<Option<Arc<Segment>>>,
    /// What was lost since a unit was written last.
    pub(super) losses: RefCell<Vec<Loss>>,
}

impl View {
    /// Answers until nobody can ask.
    pub(super) async fn answer(&self, looks: Inbox<Look>) {
        while let Ok(look) = looks.0.recv().await {
            // Whoever asked may have gone; that is theirs to decide.
            match look {
                Look::Open(predicates, done) => {
                    let view = self.open(&predicates);
                    done.send(view).await.ok();
                }
                Look::Losses(done) => {
                    let losses = self.losses.borrow().clone();
                    done.send(Some(losses)).await.ok();
                }
                Look::Rows(segment, flows, done) => {
                    let found = self.rows(segment, flows.as_ref());
                    done.send(found).await.ok();
                }
            }
        }
    }

    fn open(&self, predicates: &[Predicate]) -> Option<OpenView> {
        let segment = Arc::clone(self.durable.borrow().as_ref()?);
        let table = &self.tracker.borrow().table;
        let flows = predicates.iter().map(|predicate| table.matching(predicate)).collect();
        Some(OpenView { segment, flows })
    }

    fn rows(&self, segment: SegmentId, flows: Option<&FlowSet>) -> Option<Vec<FlowRow>> {
        let is_open = self.durable.borrow().as_ref().is_some_and(|open| open.id() == segment);
        is_open.then(|| rows(&self.tracker.borrow().table, flows))
    }
}
