//! What was read of the catalog last, until it changes: every question begins with all rows.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use tapstone_packet::interface::Interface;

use super::{CatalogError, SegmentRow, Segments};
use crate::id::SegmentId;

/// The rows, and how often the catalog had changed when they were read.
#[derive(Debug, Default)]
pub(super) struct LastRows {
    changes: AtomicU64,
    last: Mutex<(Option<u64>, Arc<Segments>)>,
}

impl LastRows {
    /// The rows as they are, read where they have changed.
    pub(super) fn get(
        &self,
        read: impl FnOnce() -> Result<Segments, CatalogError>,
    ) -> Result<Arc<Segments>, CatalogError> {
        // A change that comes while they are read makes what was read old at once.
        let changes = Some(self.changes.load(Ordering::Acquire));
        let last = || self.last.lock().expect("no holder of the lock panics");
        {
            let last = last();
            if last.0 == changes {
                return Ok(Arc::clone(&last.1));
            }
        }
        let segments = Arc::new(read()?);
        let mut last = last();
        // Whoever read later may be here first.
        if last.0 < changes {
            *last = (changes, Arc::clone(&segments));
        }
        Ok(segments)
    }

    /// The catalog has changed.
    pub(super) fn forget(&self) {
        self.changes.fetch_add(1, Ordering::Release);
    }
}

impl Segments {
    pub(super) fn of(rows: BTreeMap<SegmentId, SegmentRow>) -> Segments {
        let mut encoded: Vec<&Vec<u8>> = Vec::new();
        for interface in rows.values().flat_map(|row| &row.interfaces) {
            if !encoded.contains(&interface) {
                encoded.push(interface);
            }
        }
        // One that makes no sense shows when its segment is opened.
        let interfaces = encoded.into_iter().filter_map(|it| Interface::decode(it).ok()).collect();
        Segments { rows, interfaces }
    }
}
