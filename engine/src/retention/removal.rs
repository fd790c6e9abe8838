//! Removing what there is of a segment, keys first.

use std::collections::BTreeSet;

use tapstone_runtime::blocking;
use tapstone_runtime::file::FileError;

use super::ExpireError;
use crate::erase::{self, Erased};
use crate::id::{SegmentId, StoreId};
use crate::layout::Layout;
use crate::store::Store;

/// What came of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Removed {
    /// Bytes of the files.
    pub(crate) bytes: u64,
    /// What is told of keys that could not be overwritten.
    pub(crate) keys_left: Vec<String>,
}

/// Removes what there is of a segment: its key is destroyed in its file and in its split, and both
/// are removed. It can be repeated, wherever a crash came before.
pub(crate) fn remove_files(
    layout: &Layout,
    store: StoreId,
    id: SegmentId,
) -> Result<Removed, FileError> {
    let segment = erase::segment(&layout.segment(id), store, id)?;
    let split = erase::split(&layout.split(id))?;
    Ok(Removed {
        bytes: segment.bytes + split.bytes,
        keys_left: [segment, split].iter().filter_map(Erased::damage).collect(),
    })
}

/// The days that the segments of a folder were begun on, and those that `others` were; `None` where
/// a file is there of which nobody knows whose it is, so that any day may be needed.
fn days_of(
    layout: &Layout,
    others: impl IntoIterator<Item = SegmentId>,
) -> Result<Option<BTreeSet<u32>>, FileError> {
    let mut days: BTreeSet<u32> = others.into_iter().map(SegmentId::day).collect();
    for name in blocking::list_dir(&layout.segments())? {
        let id = name.to_str().and_then(|name| name.split_once('.')?.0.parse::<SegmentId>().ok());
        let Some(id) = id else { return Ok(None) };
        days.insert(id.day());
    }
    Ok(Some(days))
}

impl Store {
    /// Destroys the keys of the days that something was let go of and nothing is left of: no segment
    /// that is sealed, open, being removed, left by a crash, or missing from its place. Gives how
    /// many went.
    pub(crate) fn destroy_unneeded_keys(&self) -> Result<u64, ExpireError> {
        let inner = &self.inner;
        let days = inner.catalog.days_let_go()?;
        if days.is_empty() {
            return Ok(0);
        }
        // Asked before the catalog: what leaves there is there then.
        let unindexed = inner.unindexed.list().into_iter().map(|it| it.segment.id());
        let lost = self.lost().iter().filter_map(|it| it.segment);
        let others: Vec<SegmentId> = unindexed.chain(lost).collect();
        let gone = inner.keys.destroy_unneeded(&days, || {
            let rows = inner.catalog.segments()?;
            let expiring = inner.catalog.expiring()?;
            let known = others.into_iter().chain(rows.rows.keys().copied()).chain(expiring);
            Ok::<_, ExpireError>(days_of(&inner.layout, known)?)
        })?;
        if !gone.is_empty() {
            inner.catalog.forget_days(&gone)?;
        }
        Ok(gone.len() as u64)
    }
}
