//! Retention: the oldest sealed segments go, with all that belongs to them, so that there is room
//! for what comes.
//!
//! The catalog is told first, in one transaction: a segment is *expiring*, and found no more. Then
//! its keys are destroyed and its files removed, and then the catalog forgets it, but for the
//! statement that packets of that time have expired. With the last segment of a day its key goes. A
//! crash in between is finished when the store is opened next.

mod policy;
mod removal;
mod spared;

use serde::{Deserialize, Serialize};
use tapstone_packet::time::Timestamp;
use tapstone_runtime::file::FileError;
use tapstone_runtime::{blocking, clock};

use crate::builder::checkpoints;
use crate::catalog::{CatalogError, SegmentRow, attos};
use crate::holds::{HeldSegments, Judge};
use crate::id::SegmentId;
use crate::keys::KeyError;
use crate::shard::first_record;
use crate::store::Store;
pub(crate) use policy::Due;
use policy::{Candidate, due};
pub use policy::{ExpiredBy, Free, HeldBack, Retention};
pub(crate) use removal::{Removed, remove_files};
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
    /// The key of a day that nothing is left of cannot be destroyed.
    #[error(
        "retention: {0}; it is tried again when a segment goes next, or at once: tapstone cleanup"
    )]
    Key(#[from] KeyError),
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
    /// Bytes of files that were removed: of what went, and of what could not be removed before.
    pub given_back: u64,
    /// Segments that had gone before, and whose files are gone now.
    pub finished: u64,
    /// Days whose keys were destroyed, since nothing of them is left.
    pub keys_destroyed: u64,
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
        self.let_go(retention, &|| true)
    }

    /// Lets segments go, as long as `go_on` says so, and what could not be removed before.
    pub(crate) fn let_go(
        &self,
        retention: &Retention,
        go_on: &dyn Fn() -> bool,
    ) -> Result<ExpireReport, ExpireError> {
        let mut report = ExpireReport::default();
        let mut held = self.inner.expiring.lock().expect("no holder of the lock panics");
        for id in self.inner.catalog.expiring()? {
            let removed = self.remove(id)?;
            report.finished += 1;
            report.given_back += removed.bytes;
        }
        let due = self.due(retention, &mut held)?;
        report.held_back = due.held_back;
        let segments = self.inner.catalog.segments()?;
        for (id, by) in due.segments {
            if !go_on() {
                break;
            }
            let row = &segments.rows[&id];
            let expired = Expired::of(row, by);
            report.given_back += self.expire_segment(id, row, expired)?.bytes;
            report.gone.push(expired);
        }
        if !report.gone.is_empty() || report.finished > 0 {
            report.keys_destroyed = self.destroy_unneeded_keys()?;
        }
        Ok(report)
    }

    /// What has to go now. `held` stays locked until it has gone, so that no hold comes in between.
    pub(crate) fn due(
        &self,
        retention: &Retention,
        held: &mut HeldSegments,
    ) -> Result<Due, ExpireError> {
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
        let mut judge = Judge::new(self, ledger.holds.into_values().collect(), held);
        let is_held = |id| judge.is_held(id, &rows[&id]);
        let due = due(&candidates, space, clock::unix_nanos(), retention, is_held);
        *self.inner.held_back.lock().expect("no holder of the lock panics") = due.held_back;
        Ok(due)
    }

    fn expire_segment(
        &self,
        id: SegmentId,
        row: &SegmentRow,
        expired: Expired,
    ) -> Result<Removed, ExpireError> {
        // A capture that was in it could be taken in again.
        let segment = self.segment(id);
        let checkpoints: Vec<_> = segment.iter().flat_map(|it| checkpoints(it)).collect();
        self.inner.catalog.begin_expiring(id, expired, &checkpoints)?;
        self.forget_segment(id);
        // A crash may have left its log: it would tell of packets that are missing.
        let log = tapstone_wal::file_name(row.shard, first_record(id.sequence()));
        self.inner.unindexed.tell(crate::erase::log(&self.inner.layout.wal().join(log))?.damage());
        self.remove(id)
    }

    /// Removes a segment whose key was destroyed before, whatever the catalog knows of it.
    pub(crate) fn finish_expiring(&self, id: SegmentId) -> Result<(), ExpireError> {
        let _held = self.inner.expiring.lock().expect("no holder of the lock panics");
        self.inner.catalog.go_on_expiring(&[id])?;
        self.forget_segment(id);
        self.remove(id)?;
        self.destroy_unneeded_keys().map(drop)
    }

    /// Removes the files of a segment that is expiring.
    fn remove(&self, id: SegmentId) -> Result<Removed, ExpireError> {
        let removed = remove_files(&self.inner.layout, self.inner.id, id)?;
        self.inner.unindexed.tell(removed.keys_left.clone());
        self.inner.catalog.end_expiring(&[id])?;
        Ok(removed)
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
