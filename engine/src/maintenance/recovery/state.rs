//! StateRestore: what the store knows of itself.

use std::sync::Arc;

use tapstone_runtime::block_on;

use super::index::make_anew;
use super::{RecoveryError, RecoveryReport};
use crate::catalog::SegmentRow;
use crate::check::{Damage, is_row_of};
use crate::id::SegmentId;
use crate::pace::Pace;
use crate::segment::reader::{self, OpenSegmentError};
use crate::store::Store;

/// The catalog against the segments, and the ledger against what is in force.
pub(super) fn restore(
    store: &Store,
    pace: &mut Pace<'_>,
    report: &mut RecoveryReport,
) -> Result<(), RecoveryError> {
    // In the order in which a segment wanders.
    let files = store.sealed_files()?;
    let unindexed = store.inner.unindexed.list();
    let in_work = |id| unindexed.iter().any(|it| it.in_work && it.segment.id() == id);
    let rows = store.inner.catalog.segments()?;
    let expiring = store.inner.catalog.expiring()?;
    let is_known =
        |id: &SegmentId| rows.rows.contains_key(id) || in_work(*id) || expiring.contains(id);
    for id in files.into_iter().filter(|id| !is_known(id)) {
        restore_row(store, id, None, pace, report)?;
    }
    for (id, row) in &rows.rows {
        restore_row(store, *id, Some(row), pace, report)?;
        pace.rest()?;
    }
    restore_ledger(store, report)
}

/// Makes a segment's row anew where it is missing or wrong. What cannot be opened is told by the
/// scrub, which comes later.
fn restore_row(
    store: &Store,
    id: SegmentId,
    row: Option<&SegmentRow>,
    pace: &mut Pace<'_>,
    report: &mut RecoveryReport,
) -> Result<(), RecoveryError> {
    let path = store.inner.layout.segment(id);
    let wrong = match reader::open_sealed(&path, &store.inner.keys, store.inner.id) {
        Err(OpenSegmentError::Destroyed(_)) => {
            store.finish_expiring(id)?;
            "it had been let go, and was not removed".to_owned()
        }
        Err(_) => return Ok(()),
        Ok(segment) => {
            let wrong = match row {
                None => "it was not in the catalog",
                Some(row) if !is_row_of(row, &segment) => {
                    "the catalog and the segment counted differently"
                }
                Some(_) => return Ok(()),
            };
            // It may have been let go meanwhile.
            match make_anew(store, Arc::new(segment), |_| true, pace, report)? {
                true => wrong.to_owned(),
                false => return Ok(()),
            }
        }
    };
    report.mended([Damage { path, offset: None, what: wrong }]);
    Ok(())
}

/// What is in force is in memory; what the disk has of it is made anew. Where a hold may be missing,
/// somebody has to look at what is there first.
fn restore_ledger(store: &Store, report: &mut RecoveryReport) -> Result<(), RecoveryError> {
    let ledger = &store.inner.ledger;
    let damage = block_on(ledger.verify());
    if !damage.is_empty() && !ledger.state().in_doubt {
        block_on(ledger.renew())?;
        report.mended(damage);
    }
    Ok(())
}
