//! IndexRebuild: splits that are missing or damaged are made anew.

use std::sync::Arc;

use tapstone_runtime::blocking;

use super::{RecoveryError, RecoveryReport};
use crate::builder::{Builder, Job, without_panics};
use crate::catalog::SegmentRow;
use crate::check::CheckReport;
use crate::id::SegmentId;
use crate::pace::Pace;
use crate::replay::{ReplayError, Replayed, replay};
use crate::segment::reader::{self, Segment};
use crate::store::Store;

pub(super) fn rebuild(
    store: &Store,
    pace: &mut Pace<'_>,
    report: &mut RecoveryReport,
) -> Result<(), RecoveryError> {
    let rows = store.inner.catalog.segments()?;
    for (id, row) in &rows.rows {
        // Of those that wait to be indexed the builder makes one.
        if !store.inner.unindexed.list().iter().any(|it| it.segment.id() == *id) {
            rebuild_one(store, *id, row, pace, report)?;
        }
        pace.rest()?;
    }
    Ok(())
}

fn rebuild_one(
    store: &Store,
    id: SegmentId,
    row: &SegmentRow,
    pace: &mut Pace<'_>,
    report: &mut RecoveryReport,
) -> Result<(), RecoveryError> {
    let path = store.inner.layout.segment(id);
    // Without its segment nothing can be made; the scrub tells.
    let Ok(segment) = reader::open_sealed(&path, &store.inner.keys, store.inner.id) else {
        return Ok(());
    };
    let mut found = CheckReport::default();
    let can_be_read = store.checker().check_split(id, row, &segment, &mut found);
    // One that has all that can be read of a damaged segment cannot be made better.
    let is_worth_it = |replayed: &Replayed| !can_be_read || replayed.damaged.is_empty();
    if !found.damage.is_empty() && make_anew(store, Arc::new(segment), is_worth_it, pace, report)? {
        report.mended(found.damage);
    }
    Ok(())
}

/// Makes a segment's split and row anew from its packets; gives whether it did. Questions read the
/// segment whole meanwhile.
pub(super) fn make_anew(
    store: &Store,
    segment: Arc<Segment>,
    is_worth_it: impl FnOnce(&Replayed) -> bool,
    pace: &mut Pace<'_>,
    report: &mut RecoveryReport,
) -> Result<bool, RecoveryError> {
    let id = segment.id();
    let was_known = store.inner.catalog.segments()?.rows.contains_key(&id);
    let replayed = match without_panics(|| Ok::<_, crate::SealError>(replay(&segment, pace))) {
        Ok(Ok(replayed)) => replayed,
        Ok(Err(ReplayError::GivenUp(given_up))) => return Err(given_up.into()),
        // Its blocks cannot be read either, which the scrub tells.
        Ok(Err(ReplayError::File(_))) => return Ok(false),
        Err(error) => {
            report.check.add(segment.path.clone(), None, error);
            return Ok(false);
        }
    };
    if !is_worth_it(&replayed) {
        return Ok(false);
    }
    let builder = Builder::of(store);
    // It may have been let go meanwhile, and must not come back.
    let _held = store.inner.expiring.lock().expect("no holder of the lock panics");
    let catalog = &store.inner.catalog;
    let went = was_known && !catalog.segments()?.rows.contains_key(&id);
    let Some(stored_bytes) = blocking::file_len(&segment.path)? else { return Ok(false) };
    if went || catalog.expiring()?.contains(&id) {
        return Ok(false);
    }
    let path = store.inner.layout.split(id);
    let job = Job {
        segment,
        stored_bytes,
        table: Arc::new(replayed.table),
        answers: replayed.answers,
        wal: None,
        done: None,
    };
    let built = without_panics(|| builder.build(&job));
    store.forget_segment(id);
    match built {
        Ok(()) => Ok(true),
        Err(error) => {
            report.check.add(path, None, format!("it could not be made anew: {error}"));
            Ok(false)
        }
    }
}
