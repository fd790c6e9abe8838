//! What the catalog says of segments that are let go.

use std::collections::BTreeSet;

use redb::{ReadableTable, TableDefinition, WriteTransaction};

use super::by_hour::{self, hour_of};
use super::{
    CHECKPOINTS, Catalog, CatalogError, CheckpointRow, META, SEGMENTS, SUMMARIES, to_json,
};
use tapstone_runtime::clock;

use crate::id::SegmentId;
use crate::retention::Expired;
use crate::segment::description::Checkpoint;

/// In `meta`: the largest sequence number of a segment that expired. No other gets it again.
const LAST_EXPIRED: &str = "last_expired";
/// Segments whose files are being removed.
const EXPIRING: TableDefinition<&[u8; 16], ()> = TableDefinition::new("expiring");
/// Days of which segments were let go, until their keys are destroyed.
pub(super) const DAYS_LET_GO: TableDefinition<u32, ()> = TableDefinition::new("days_let_go");
/// What expired, by cause.
pub(super) const EXPIRED: TableDefinition<&str, &[u8]> = TableDefinition::new("expired");

impl Catalog {
    /// Takes a segment out, durably: it is found no more, and its files may go.
    pub(crate) fn begin_expiring(
        &self,
        id: SegmentId,
        expired: Expired,
        checkpoints: &[(Checkpoint, CheckpointRow)],
    ) -> Result<(), CatalogError> {
        let before = self.expired()?.into_iter().find(|it| it.by == expired.by);
        let all = before.map_or(expired, |before| before.and(expired));
        self.write(|transaction| {
            let mut table = transaction.open_table(CHECKPOINTS)?;
            for (checkpoint, row) in checkpoints {
                let key = (checkpoint.offset, checkpoint.hash);
                // A capture that was taken in twice is there still.
                let own = table.get(key)?.is_some_and(|it| it.value() == to_json(row));
                if own {
                    table.remove(key)?;
                }
            }
            note_expiring(transaction, id)?;
            transaction.open_table(EXPIRED)?.insert(expired.by.name(), &to_json(&all)[..])?;
            by_hour::account(transaction, hour_of(clock::unix_nanos()), expired)
        })
    }

    /// The files of these segments are being removed; the catalog did not know that.
    pub(crate) fn go_on_expiring(&self, ids: &[SegmentId]) -> Result<(), CatalogError> {
        self.write(|transaction| ids.iter().try_for_each(|id| note_expiring(transaction, *id)))
    }

    /// Forgets what there is about segments that are not there any more; gives how many rows.
    pub(crate) fn forget_gone(&self) -> Result<u64, CatalogError> {
        // A checkpoint comes with the row of its segment, so that is there when rows are read later.
        let checkpoints = self.checkpoints()?;
        let rows = self.segments()?;
        let begun: BTreeSet<u64> = rows.rows.values().map(|row| row.created_nanos).collect();
        let gone = checkpoints.into_iter().filter(|(_, row)| !begun.contains(&row.created_nanos));
        let gone: Vec<((u64, u128), Vec<u8>)> =
            gone.map(|(key, row)| (key, to_json(&row))).collect();
        let mut forgotten = 0;
        self.write(|transaction| {
            let mut table = transaction.open_table(CHECKPOINTS)?;
            for (key, row) in &gone {
                let is_same = table.get(key)?.is_some_and(|it| it.value() == row);
                if is_same {
                    table.remove(key)?;
                    forgotten += 1;
                }
            }
            let segments = transaction.open_table(SEGMENTS)?;
            let mut summaries = transaction.open_table(SUMMARIES)?;
            summaries.retain(|id, _| {
                // One that cannot be looked up may be there.
                let is_gone = segments.get(id).is_ok_and(|it| it.is_none());
                forgotten += u64::from(is_gone);
                !is_gone
            })?;
            Ok(())
        })?;
        Ok(forgotten)
    }

    /// The files of these segments are gone.
    pub(crate) fn end_expiring(&self, ids: &[SegmentId]) -> Result<(), CatalogError> {
        self.write(|transaction| {
            let mut table = transaction.open_table(EXPIRING)?;
            for id in ids {
                table.remove(&id.0)?;
            }
            Ok(())
        })
    }

    /// Segments whose files are being removed, or were when a crash came.
    pub(crate) fn expiring(&self) -> Result<Vec<SegmentId>, CatalogError> {
        self.read(|transaction| {
            let table = match transaction.open_table(EXPIRING) {
                Err(redb::TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
                table => table?,
            };
            let rows = table.iter()?.map(|row| Ok(SegmentId(*row?.0.value())));
            rows.collect()
        })
    }

    /// Days of which segments were let go, and whose keys are there still.
    pub(crate) fn days_let_go(&self) -> Result<BTreeSet<u32>, CatalogError> {
        self.read(|transaction| {
            let table = match transaction.open_table(DAYS_LET_GO) {
                Err(redb::TableError::TableDoesNotExist(_)) => return Ok(BTreeSet::new()),
                table => table?,
            };
            table.iter()?.map(|row| Ok(row?.0.value())).collect()
        })
    }

    /// The keys of these days are destroyed.
    pub(crate) fn forget_days(&self, days: &BTreeSet<u32>) -> Result<(), CatalogError> {
        self.write(|transaction| {
            let mut table = transaction.open_table(DAYS_LET_GO)?;
            days.iter().try_for_each(|day| Ok(table.remove(day).map(drop)?))
        })
    }

    /// The largest sequence number of a segment that expired.
    pub(crate) fn last_expired(&self) -> Result<Option<u32>, CatalogError> {
        let last = self.read(|transaction| {
            Ok(transaction.open_table(META)?.get(LAST_EXPIRED)?.map(|last| last.value()))
        })?;
        Ok(last.and_then(|last| u32::try_from(last).ok()))
    }

    /// What expired so far, by cause.
    pub(crate) fn expired(&self) -> Result<Vec<Expired>, CatalogError> {
        let rows = self.read(|transaction| {
            let table = match transaction.open_table(EXPIRED) {
                Err(redb::TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
                table => table?,
            };
            let rows = table.iter()?.map(|row| Ok(row?.1.value().to_vec()));
            rows.collect::<Result<Vec<_>, redb::Error>>()
        })?;
        rows.iter().map(|value| self.parse(value, || "what expired".to_owned())).collect()
    }
}

/// Takes a segment out: its files are about to go.
fn note_expiring(transaction: &WriteTransaction, id: SegmentId) -> Result<(), redb::Error> {
    transaction.open_table(SEGMENTS)?.remove(&id.0)?;
    transaction.open_table(SUMMARIES)?.remove(&id.0)?;
    transaction.open_table(EXPIRING)?.insert(&id.0, ())?;
    transaction.open_table(DAYS_LET_GO)?.insert(id.day(), ())?;
    let mut meta = transaction.open_table(META)?;
    let last = meta.get(LAST_EXPIRED)?.map_or(0, |last| last.value());
    meta.insert(LAST_EXPIRED, last.max(u64::from(id.sequence())))?;
    Ok(())
}
