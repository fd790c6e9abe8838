//! Sealed segments and their splits, each opened once and kept while it is used.

use std::sync::Arc;

use tapstone_index::Split;

use crate::effects::Effects;
use crate::id::SegmentId;
use crate::query::plan::OpenSplitError;
use crate::recent::Recent;
use crate::segment::reader::{self, OpenSegmentError, Segment};
use crate::segment::split_file;
use crate::store::Store;

/// Those that were used last, so that what is kept does not grow with the store.
#[derive(Debug)]
pub(crate) struct RecentFiles {
    segments: Recent<SegmentId, Arc<Segment>>,
    splits: Recent<SegmentId, Arc<Split>>,
}

impl RecentFiles {
    pub(crate) fn new(effects: &Effects) -> RecentFiles {
        RecentFiles {
            segments: Recent::new(effects.segments_kept),
            splits: Recent::new(effects.splits_kept),
        }
    }

    /// Keeps as many as the effects say from now on.
    pub(crate) fn bound(&self, effects: &Effects) {
        self.segments.bound(effects.segments_kept);
        self.splits.bound(effects.splits_kept);
    }

    /// Keeps nothing of what is there.
    pub(crate) fn clear(&self) {
        self.segments.clear();
        self.splits.clear();
    }
}

impl Store {
    /// A sealed segment.
    pub(crate) fn segment(&self, id: SegmentId) -> Result<Arc<Segment>, OpenSegmentError> {
        let kept = &self.inner.recent_files.segments;
        if let Some(segment) = kept.get(id) {
            return Ok(segment);
        }
        let path = self.inner.layout.segment(id);
        let segment = Arc::new(reader::open_sealed(&path, &self.inner.keys, self.inner.id)?);
        kept.keep(id, Arc::clone(&segment));
        Ok(segment)
    }

    /// The split of a sealed segment.
    pub(crate) fn split(&self, id: SegmentId) -> Result<Arc<Split>, Arc<OpenSplitError>> {
        let kept = &self.inner.recent_files.splits;
        if let Some(split) = kept.get(id) {
            return Ok(split);
        }
        let split = self.open_split(id).map_err(Arc::new)?;
        kept.keep(id, Arc::clone(&split));
        Ok(split)
    }

    /// The split of a sealed segment, when it is open.
    pub(crate) fn kept_split(&self, id: SegmentId) -> Option<Arc<Split>> {
        self.inner.recent_files.splits.get(id)
    }

    /// Keeps nothing of a segment that is no more.
    pub(crate) fn forget_segment(&self, id: SegmentId) {
        self.inner.recent_files.segments.forget(id);
        self.inner.recent_files.splits.forget(id);
    }

    /// Whether a segment that was there is no more, since it was let go.
    pub(crate) fn is_gone(&self, id: SegmentId) -> bool {
        // In the order in which a segment wanders.
        !self.segments_without_row().iter().any(|it| it.id() == id)
            && self.inner.catalog.segments().is_ok_and(|it| !it.rows.contains_key(&id))
    }

    fn open_split(&self, id: SegmentId) -> Result<Arc<Split>, OpenSplitError> {
        let path = self.inner.layout.split(id);
        let source = split_file::open(&path, &self.inner.keys, self.inner.id, id)?;
        Ok(Arc::new(Split::open(source)?))
    }
}

#[cfg(test)]
mod tests {
    use crate::effects::Effects;
    use crate::import::ImportOptions;
    use crate::store::{OpenOptions, Store};
    use crate::{Selection, doc_capture};

    #[test]
    fn what_is_kept_open_does_not_grow_with_the_store() {
        let dir = tempfile::tempdir().unwrap();
        let options = OpenOptions { create: true, shards: 1, ..OpenOptions::default() };
        let store = Store::open(dir.path(), options).unwrap();
        for _ in 0..6 {
            let again = ImportOptions { name: "a", again: true, ..ImportOptions::default() };
            store.import(&doc_capture()[..], again).unwrap();
            store.seal().unwrap();
        }
        let kept = &store.inner.recent_files;
        let found = || {
            let selection = Selection { filter: "udp".into(), ..Selection::default() };
            let found = store.query(&selection).unwrap().count();
            (found, kept.segments.keys().len(), kept.splits.keys().len())
        };
        assert_eq!(found(), (12, 6, 6));
        let fewer = Effects { segments_kept: 4, splits_kept: 2, ..Effects::default() };
        store.apply_effects(&fewer);
        assert_eq!((kept.segments.keys().len(), kept.splits.keys().len()), (4, 2), "at once");
        assert_eq!(found(), (12, 4, 2), "and from then on");
        kept.clear();
        assert_eq!((kept.segments.keys().len(), kept.splits.keys().len()), (0, 0));
        store.apply_effects(&Effects::default());
        assert_eq!(found(), (12, 6, 6));
    }
}
