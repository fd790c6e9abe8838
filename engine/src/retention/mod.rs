//! Retention: the oldest sealed segments go, with all that belongs to them, so that there is room
//! for what comes.
//!
//! The catalog is told first, in one transaction: a segment is *expiring*, and found no more. Then
//! its files are removed, and then the catalog forgets it, but for the statement that packets of
//! that time have expired. A crash in between is finished when the store is opened next.

mod policy;
mod spared;

use serde::{Deserialize, Serialize};
use tapstone_packet::time::Timestamp;
use tapstone_runtime::file::FileError;
use tapstone_runtime::{blocking, clock};

use crate::builder::checkpoints;
use crate::catalog::{CatalogError, SegmentRow, attos};
use crate::holds::Judge;
use crate::id::SegmentId;
use crate::shard::first_record;
use crate::store::Store;
use policy::{Candidate, due};
pub use policy::{ExpiredBy, Free, HeldBack, Retention};
pub(crate) use spared::{Spared, Sparing};

/// Why segments could not expire.
#[derive(Debug, thiserror::Error)]
pub enum ExpireError {
    /// The catalog refused.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// A file cannot be removed.
    #[error("retention: {0}")]
    File(#[from] FileError),
    /// The ledger was damaged, so that a hold may be missing.
    #[error(
        "retention: the ledger was damaged and holds may be missing, so nothing is let go: look at \
         them (tapstone hold list), add what is missing, and then run: tapstone hold accept"
    )]
    HoldsInDoubt,
}

/// What came of letting segments go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExpireReport {
    /// What went.
    pub gone: Vec<Expired>,
    /// What would have gone, and holds keep.
    pub held_back: HeldBack,
}

/// Packets that expired.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expired {
    /// Why.
    pub by: ExpiredBy,
    /// How many.
    pub packets: u64,
    /// Their captured bytes.
    pub packet_bytes: u64,
    /// Segments that they were in.
    pub segments: u64,
    /// The earliest one's time.
    #[serde(with = "attos")]
    pub first: Timestamp,
    /// The latest one's time.
    #[serde(with = "attos")]
    pub last: Timestamp,
}

impl Expired {
    pub(crate) fn of(row: &SegmentRow, by: ExpiredBy) -> Expired {
        Expired {
            by,
            packets: row.packets,
            packet_bytes: row.packet_bytes,
            segments: 1,
            first: row.first,
            last: row.last,
        }
    }

    /// Both.
    #[must_use]
    pub(crate) fn and(self, other: Expired) -> Expired {
        Expired {
            by: self.by,
            packets: self.packets + other.packets,
            packet_bytes: self.packet_bytes + other.packet_bytes,
            segments: self.segments + other.segments,
            first: self.first.min(other.first),
            last: self.last.max(other.last),
        }
    }
}

impl Store {
    /// Lets the oldest sealed segments go, as many as retention asks for, but for those that are
    /// held; gives what went. Call it from time to time: nothing goes by itself.
    ///
    /// Queries that are under way may miss packets of a segment that goes, and say so.
    ///
    /// # Errors
    ///
    /// When the catalog or a file cannot be changed. What could not be removed is removed when the
    /// store is opened next. Nothing goes while holds may be missing.
    pub fn expire(&self, retention: &Retention) -> Result<ExpireReport, ExpireError> {
        if retention.keeps_everything() {
            return Ok(ExpireReport::default());
        }
        let mut held = self.inner.expiring.lock().expect("no holder of the lock panics");
        for id in self.inner.catalog.expiring()? {
            // It could not be removed before.
            remove_files(&self.inner.layout, id)?;
            self.inner.catalog.end_expiring(&[id])?;
        }
        let ledger = self.inner.ledger.state();
        if ledger.in_doubt {
            return Err(ExpireError::HoldsInDoubt);
        }
        let rows = &self.inner.catalog.segments()?.rows;
        // Those are about to be put into the catalog again.
        let unindexed = self.inner.unindexed.list();
        let is_unindexed = |id| unindexed.iter().any(|it| it.segment.id() == id);
        let is_spared = self.inner.spared.look();
        let stays = |id| is_unindexed(id) || is_spared(id);
        let candidate = |(id, row): (&SegmentId, &SegmentRow)| Candidate {
            id: *id,
            begun: row.created_nanos,
            bytes: row.stored_bytes + row.index_bytes,
        };
        let candidates: Vec<Candidate> =
            rows.iter().filter(|(id, _)| !stays(**id)).map(candidate).collect();
        let space = blocking::space(self.inner.layout.root());
        let mut judge = Judge::new(self, ledger.holds.into_values().collect(), &mut held);
        let is_held = |id| judge.is_held(id, &rows[&id]);
        let due = due(&candidates, space, clock::unix_nanos(), retention, is_held);
        let held_back = due.held_back;
        *self.inner.held_back.lock().expect("no holder of the lock panics") = held_back;
        let mut gone = Vec::new();
        for (id, by) in due.segments {
            let expired = Expired::of(&rows[&id], by);
            self.expire_segment(id, &rows[&id], expired)?;
            gone.push(expired);
        }
        Ok(ExpireReport { gone, held_back })
    }

    fn expire_segment(
        &self,
        id: SegmentId,
        row: &SegmentRow,
        expired: Expired,
    ) -> Result<(), ExpireError> {
        // A capture that was in it could be taken in again.
        let segment = self.segment(id);
        let checkpoints: Vec<_> = segment.iter().flat_map(|it| checkpoints(it)).collect();
        self.inner.catalog.begin_expiring(id, expired, &checkpoints)?;
        self.forget_segment(id);
        remove_files(&self.inner.layout, id)?;
        // A crash may have left it: it would tell of packets that are missing.
        let log = tapstone_wal::file_name(row.shard, first_record(id.sequence()));
        blocking::remove(&self.inner.layout.wal().join(log))?;
        Ok(self.inner.catalog.end_expiring(&[id])?)
    }

    /// What expired so far, by cause.
    ///
    /// # Errors
    ///
    /// When the catalog cannot be read.
    pub fn expired(&self) -> Result<Vec<Expired>, CatalogError> {
        self.inner.catalog.expired()
    }
}

/// Removes what there is of a segment.
pub(crate) fn remove_files(layout: &crate::layout::Layout, id: SegmentId) -> Result<(), FileError> {
    blocking::remove(&layout.segment(id))?;
    blocking::remove(&layout.split(id))
}
