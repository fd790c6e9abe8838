//! Which segments are held.

use std::collections::{BTreeMap, BTreeSet};

use super::Hold;
use crate::catalog::SegmentRow;
use crate::id::SegmentId;
use crate::query::plan::Question;
use crate::query::{QueryError, may_have};
use crate::store::Store;

/// Segments that were found to be held, and by which hold. That stays so: neither a sealed segment
/// nor a hold ever changes. Of those that are not held nothing is kept, since they go.
#[derive(Debug, Default)]
pub(crate) struct HeldSegments(BTreeSet<(u64, SegmentId)>);

impl HeldSegments {
    /// Keeps nothing of a hold that is no more.
    pub(super) fn forget(&mut self, hold: u64) {
        self.0.retain(|(of, _)| *of != hold);
    }
}

/// Judges segments by the holds in force.
#[derive(Debug)]
pub(crate) struct Judge<'a> {
    store: &'a Store,
    holds: Vec<Hold>,
    known: &'a mut HeldSegments,
    /// What the holds ask for; none where it cannot be asked any more.
    questions: BTreeMap<u64, Option<Question>>,
}

impl<'a> Judge<'a> {
    pub(crate) fn new(
        store: &'a Store,
        holds: Vec<Hold>,
        known: &'a mut HeldSegments,
    ) -> Judge<'a> {
        Judge { store, holds, known, questions: BTreeMap::new() }
    }

    /// Whether a hold keeps a segment: it has a packet that the hold is about, or cannot be read
    /// whole, so that it may have.
    pub(crate) fn is_held(&mut self, id: SegmentId, row: &SegmentRow) -> bool {
        let times = (row.first, row.last);
        let about: Vec<&Hold> = self.holds.iter().filter(|hold| hold.overlaps(times)).collect();
        // What is known at once comes before what must be read.
        let is_known =
            |hold: &&Hold| hold.is_of_all_packets() || self.known.0.contains(&(hold.id, id));
        if about.iter().any(is_known) {
            return true;
        }
        let (store, questions) = (self.store, &mut self.questions);
        let keeps = |hold: &&Hold| {
            let question = questions.entry(hold.id).or_insert_with(|| asked(store, hold));
            question.as_ref().is_none_or(|question| may_have(store, question, id, row))
        };
        let found = about.into_iter().find(keeps).map(|hold| hold.id);
        self.known.0.extend(found.map(|hold| (hold, id)));
        found.is_some()
    }
}

fn asked(store: &Store, hold: &Hold) -> Option<Question> {
    let told = |error: &QueryError| {
        tracing::warn!(hold = hold.id, %error, "a hold cannot be asked about; all of its time is kept");
    };
    Question::new(store, &hold.selection()).inspect_err(told).ok()
}
