//! IndexCleanup: what belongs to nothing goes.

use std::collections::BTreeSet;
use std::path::Path;

use tapstone_packet::names::Answer;
use tapstone_runtime::blocking;
use tapstone_runtime::file::FileError;

use super::unneeded::{Known, is_leftover};
use super::{CleanupError, CleanupReport};
use crate::erase::{self, Erased};
use crate::id::SegmentId;
use crate::store::Store;

pub(super) fn clean(
    store: &Store,
    report: &mut CleanupReport,
    go_on: &dyn Fn() -> bool,
) -> Result<(), CleanupError> {
    {
        // Nothing goes meanwhile, and comes halfway under these hands.
        let _held = store.inner.expiring.lock().expect("no holder of the lock panics");
        clean_folders(store, report)?;
        report.rows += store.inner.catalog.forget_gone()?;
        report.keys_destroyed += store.destroy_unneeded_keys()?;
    }
    report.names += forget_names(store, go_on)?;
    Ok(())
}

fn clean_folders(store: &Store, report: &mut CleanupReport) -> Result<(), CleanupError> {
    let layout = &store.inner.layout;
    // Asked before what they may belong to: whatever is made later has its segment by then.
    let (splits, logs) = (names(&layout.splits())?, names(&layout.wal())?);
    let known = known(store)?;
    for name in splits.iter().filter(|name| known.is_split_unneeded(name)) {
        report.take(store, erase::split(&layout.splits().join(name))?);
        report.splits += 1;
    }
    for name in logs.iter().filter(|name| known.is_log_unneeded(name)) {
        report.take(store, erase::log(&layout.wal().join(name))?);
        report.logs += 1;
    }
    let root = layout.root().to_owned();
    for folder in [root, layout.segments(), layout.splits(), layout.wal(), layout.keys()] {
        for name in names(&folder)?.iter().filter(|name| is_leftover(name)) {
            report.take(store, erase::leftover(&folder.join(name))?);
            report.leftovers += 1;
        }
    }
    Ok(())
}

fn names(folder: &Path) -> Result<Vec<String>, FileError> {
    let names = blocking::list_dir(folder)?.into_iter();
    Ok(names.filter_map(|name| name.into_string().ok()).collect())
}

fn known(store: &Store) -> Result<Known, CleanupError> {
    let inner = &store.inner;
    let with_file = names(&inner.layout.segments())?.into_iter();
    let with_file = with_file.filter_map(|name| name.split_once('.')?.0.parse::<SegmentId>().ok());
    let without_row = store.segments_without_row();
    let others = with_file.chain(without_row.iter().map(|it| it.id()));
    let others: BTreeSet<u32> = others.map(SegmentId::sequence).collect();
    let rows = inner.catalog.segments()?;
    let catalogued: BTreeSet<u32> = rows.rows.keys().map(|id| id.sequence()).collect();
    Ok(Known {
        others: others.difference(&catalogued).copied().collect(),
        catalogued,
        lost: store.lost().iter().filter_map(|it| Some(it.segment?.sequence())).collect(),
        last_expired: inner.catalog.last_expired()?,
    })
}

/// Forgets the names that no segment has any more. The numbers of segments only go up, so one that
/// is newer than all that there were is there.
fn forget_names(store: &Store, go_on: &dyn Fn() -> bool) -> Result<u64, CleanupError> {
    let without_row = store.segments_without_row();
    let rows = store.inner.catalog.segments()?;
    let ids = rows.rows.keys().copied().chain(without_row.iter().map(|it| it.id()));
    let there: BTreeSet<u32> = ids.map(SegmentId::sequence).collect();
    let newest = there.last().copied();
    store.inner.names.forget_gone(
        |segment| there.contains(&segment) || newest.is_none_or(|newest| segment > newest),
        |last| {
            let earlier = rows.rows.keys().filter(|id| id.sequence() <= last);
            let answers = |id: &SegmentId| -> Result<(u32, Vec<Answer>), CleanupError> {
                if !go_on() {
                    return Err(CleanupError::GivenUp);
                }
                // What is kept without need goes with a later round.
                Ok((id.sequence(), store.answers_of(*id).unwrap_or_default()))
            };
            earlier.map(answers).collect()
        },
    )
}

impl CleanupReport {
    fn take(&mut self, store: &Store, erased: Erased) {
        self.given_back += erased.bytes;
        store.inner.unindexed.tell(erased.damage());
    }
}
