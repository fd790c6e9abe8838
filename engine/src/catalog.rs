//! The catalog: which segments are sealed, and what is known of each without opening it. The only
//! module that names redb. Everything in it can be rebuilt from segments and splits
//! (docs/format/catalog.md).

mod by_hour;
mod copy;
mod expiring;
mod last_rows;

use std::collections::BTreeMap;
use std::io;
use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use redb::{
    Database, ReadableDatabase, ReadableTable, StorageBackend, TableDefinition, WriteTransaction,
};
use serde::{Deserialize, Serialize};
use tapstone_index::Summary;
use tapstone_packet::interface::Interface;
use tapstone_packet::time::Timestamp;
use tapstone_runtime::blocking::{self, RandomAccessFile};
use tapstone_runtime::file::FileError;

use crate::capture::loss::Loss;
use crate::id::SegmentId;
use crate::segment::description::Checkpoint;
use last_rows::LastRows;

const VERSION: u64 = 1;
const META: TableDefinition<&str, u64> = TableDefinition::new("meta");
const SEGMENTS: TableDefinition<&[u8; 16], &[u8]> = TableDefinition::new("segments");
const SUMMARIES: TableDefinition<&[u8; 16], &[u8]> = TableDefinition::new("summaries");
const CHECKPOINTS: TableDefinition<(u64, u128), &[u8]> = TableDefinition::new("checkpoints");

/// Why the catalog cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// The database refused.
    #[error("catalog {}: {source}; open the store again, which checks it and makes it anew if need be", path.display())]
    Database {
        /// The catalog file.
        path: PathBuf,
        /// What redb says.
        source: Box<redb::Error>,
    },
    /// The file cannot be opened.
    #[error("catalog: {0}")]
    File(#[from] FileError),
    /// Its bytes changed on the disk.
    #[error("catalog {} is damaged", path.display())]
    Damaged {
        /// The catalog file.
        path: PathBuf,
    },
    /// It was written by a newer program.
    #[error("catalog {} has version {version}, this program knows version {VERSION}; use a newer Tapstone", path.display())]
    Version {
        /// The catalog file.
        path: PathBuf,
        /// Its version.
        version: u64,
    },
    /// A row cannot be read.
    #[error("catalog {}: the row of {row} is damaged ({source}); run: tapstone rebuild", path.display())]
    Row {
        /// The catalog file.
        path: PathBuf,
        /// Which row.
        row: String,
        /// Why.
        source: serde_json::Error,
    },
}

/// What the catalog knows of a sealed segment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct SegmentRow {
    pub(crate) shard: u16,
    pub(crate) created_nanos: u64,
    pub(crate) packets: u64,
    pub(crate) packet_bytes: u64,
    pub(crate) flows: u32,
    pub(crate) blocks: u32,
    #[serde(with = "attos")]
    pub(crate) first: Timestamp,
    #[serde(with = "attos")]
    pub(crate) last: Timestamp,
    /// Bytes of the segment file.
    pub(crate) stored_bytes: u64,
    /// Bytes of the split file.
    pub(crate) index_bytes: u64,
    /// Encoded interfaces, as [`tapstone_packet::interface::Interface::encode`] writes them.
    pub(crate) interfaces: Vec<Vec<u8>>,
    /// Packets that came while it was written and could not be stored.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) losses: Vec<Loss>,
}

/// Where a stream's bytes were stored before.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct CheckpointRow {
    pub(crate) packets: u64,
    pub(crate) source: String,
    /// Wall clock of the segment that holds it, nanoseconds since the epoch.
    pub(crate) created_nanos: u64,
}

/// Everything to record about a newly sealed segment, in one transaction.
#[derive(Debug)]
pub(crate) struct Sealed {
    pub(crate) id: SegmentId,
    pub(crate) row: SegmentRow,
    pub(crate) summary: Vec<u8>,
    pub(crate) checkpoints: Vec<(Checkpoint, CheckpointRow)>,
}

/// The open catalog.
#[derive(Debug)]
pub(crate) struct Catalog {
    path: PathBuf,
    /// There until the drop.
    database: Option<Database>,
    /// Whether redb panicked over pages that changed on the disk. It is not asked any more then,
    /// and not closed, which would trip over them again.
    damaged: AtomicBool,
    last_rows: LastRows,
}

/// The sealed segments, as the catalog has them.
#[derive(Debug, Default)]
pub(crate) struct Segments {
    /// In the order they were begun.
    pub(crate) rows: BTreeMap<SegmentId, SegmentRow>,
    /// Their interfaces, each once.
    pub(crate) interfaces: Vec<Interface>,
}

impl Catalog {
    fn new(path: &Path, database: Database) -> Catalog {
        let (path, damaged) = (path.to_owned(), AtomicBool::new(false));
        Catalog { path, database: Some(database), damaged, last_rows: LastRows::default() }
    }

    /// Opens the catalog, making an empty one where there is none.
    pub(crate) fn open(path: &Path) -> Result<Catalog, CatalogError> {
        if blocking::file_len(path)?.is_none() {
            make(path)?;
        }
        let database = open_database(path, RandomAccessFile::open(path)?)?;
        let catalog = Catalog::new(path, database);
        match catalog.version()? {
            Some(VERSION) => Ok(catalog),
            Some(version) => Err(CatalogError::Version { path: path.to_owned(), version }),
            None => Err(CatalogError::Damaged { path: path.to_owned() }),
        }
    }

    /// As [`open`](Self::open), but a catalog that cannot be read is set aside and an empty one
    /// begun: recovery fills it from the segments. Gives what was wrong, too.
    pub(crate) fn open_or_begin_anew(
        path: &Path,
    ) -> Result<(Catalog, Option<String>), CatalogError> {
        let is_there = blocking::file_len(path)?.is_some();
        match Self::open(path) {
            Err(error @ (CatalogError::Damaged { .. } | CatalogError::Database { .. }))
                if is_there =>
            {
                let aside = path.with_extension("damaged");
                blocking::rename(path, &aside)?;
                let (from, to) = (path.display(), aside.display());
                let text =
                    format!("{from} is made anew from the segments, and kept as {to}: {error}");
                Ok((Self::open(path)?, Some(text)))
            }
            opened => Ok((opened?, None)),
        }
    }

    /// Records sealed segments, durably.
    pub(crate) fn add(&self, sealed: &[Sealed]) -> Result<(), CatalogError> {
        self.write(|transaction| {
            let mut segments = transaction.open_table(SEGMENTS)?;
            let mut summaries = transaction.open_table(SUMMARIES)?;
            let mut checkpoints = transaction.open_table(CHECKPOINTS)?;
            for segment in sealed {
                segments.insert(&segment.id.0, &to_json(&segment.row)[..])?;
                summaries.insert(&segment.id.0, &segment.summary[..])?;
                for (checkpoint, row) in &segment.checkpoints {
                    let key = (checkpoint.offset, checkpoint.hash);
                    checkpoints.insert(key, &to_json(row)[..])?;
                }
            }
            Ok(())
        })
    }

    /// The sealed segments. They are read when they have changed.
    pub(crate) fn segments(&self) -> Result<Arc<Segments>, CatalogError> {
        self.last_rows.get(|| self.read_segments())
    }

    fn read_segments(&self) -> Result<Segments, CatalogError> {
        let rows = self.read(|transaction| {
            let table = transaction.open_table(SEGMENTS)?;
            let mut rows = Vec::new();
            for row in table.iter()? {
                let (id, value) = row?;
                rows.push((SegmentId(*id.value()), value.value().to_vec()));
            }
            Ok(rows)
        })?;
        let parsed = rows
            .into_iter()
            .map(|(id, value)| Ok((id, self.parse(&value, || format!("segment {id}"))?)));
        Ok(Segments::of(parsed.collect::<Result<_, CatalogError>>()?))
    }

    /// Asks about the summaries of these segments' splits, without taking a copy of any.
    pub(crate) fn ask_summaries(
        &self,
        ids: &[SegmentId],
        ask: impl Fn(Summary<'_>) -> bool,
    ) -> Result<Vec<Option<bool>>, CatalogError> {
        self.read(|transaction| {
            let table = transaction.open_table(SUMMARIES)?;
            let answer = |id: &SegmentId| {
                let summary = table.get(&id.0)?;
                Ok(summary.map(|summary| ask(Summary::new(summary.value()))))
            };
            ids.iter().map(answer).collect()
        })
    }

    /// Every checkpoint of every source stored so far.
    pub(crate) fn checkpoints(&self) -> Result<BTreeMap<(u64, u128), CheckpointRow>, CatalogError> {
        let rows = self.read(|transaction| {
            let table = transaction.open_table(CHECKPOINTS)?;
            let mut rows = Vec::new();
            for row in table.iter()? {
                let (key, value) = row?;
                rows.push((key.value(), value.value().to_vec()));
            }
            Ok(rows)
        })?;
        rows.into_iter()
            .map(|(key, value)| {
                Ok((key, self.parse(&value, || format!("checkpoint at {}", key.0))?))
            })
            .collect()
    }

    /// Bytes of the catalog file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn version(&self) -> Result<Option<u64>, CatalogError> {
        self.read(|transaction| match transaction.open_table(META) {
            Ok(table) => Ok(table.get("version")?.map(|version| version.value())),
            Err(redb::TableError::TableDoesNotExist(_)) => Ok(None),
            Err(error) => Err(error.into()),
        })
    }

    fn read<T>(
        &self,
        reading: impl FnOnce(&redb::ReadTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, CatalogError> {
        self.guarded(|database| reading(&database.begin_read()?))
    }

    fn write(
        &self,
        writing: impl FnOnce(&WriteTransaction) -> Result<(), redb::Error>,
    ) -> Result<(), CatalogError> {
        self.guarded(|database| {
            let mut transaction = database.begin_write()?;
            // Without it, opening after a crash would walk the whole file.
            transaction.set_quick_repair(true);
            writing(&transaction)?;
            transaction.commit()?;
            self.last_rows.forget();
            Ok(())
        })
    }

    fn guarded<T>(
        &self,
        work: impl FnOnce(&Database) -> Result<T, redb::Error>,
    ) -> Result<T, CatalogError> {
        let damaged = || CatalogError::Damaged { path: self.path.clone() };
        if self.damaged.load(Ordering::Relaxed) {
            return Err(damaged());
        }
        let database = self.database.as_ref().expect("it is there until the drop");
        match catch_unwind(AssertUnwindSafe(|| work(database))) {
            Ok(done) => done.map_err(|source| failed(&self.path, source)),
            Err(_) => {
                self.damaged.store(true, Ordering::Relaxed);
                Err(damaged())
            }
        }
    }

    fn parse<'a, T: Deserialize<'a>>(
        &self,
        value: &'a [u8],
        row: impl FnOnce() -> String,
    ) -> Result<T, CatalogError> {
        serde_json::from_slice(value).map_err(|source| CatalogError::Row {
            path: self.path.clone(),
            row: row(),
            source,
        })
    }
}

/// Makes an empty catalog. It gets its name when it is whole: one that a power cut left half made
/// would be taken for a damaged one.
fn make(path: &Path) -> Result<(), CatalogError> {
    let new = path.with_extension("new");
    blocking::remove(&new)?;
    let database = open_database(&new, RandomAccessFile::create_new(&new)?)?;
    let catalog = Catalog::new(&new, database);
    catalog.write(|transaction| {
        transaction.open_table(META)?.insert("version", VERSION)?;
        transaction.open_table(SEGMENTS)?;
        transaction.open_table(SUMMARIES)?;
        transaction.open_table(CHECKPOINTS)?;
        Ok(())
    })?;
    drop(catalog);
    Ok(blocking::rename(&new, path)?)
}

/// Opens the database and verifies every checksum in it (0.2 s at ten thousand segments): redb
/// trusts what it reads later on, and panics over pages that changed on the disk. It may even while
/// it opens or checks them; such a database is left alone, since closing it would trip over them
/// again.
fn open_database(path: &Path, file: RandomAccessFile) -> Result<Database, CatalogError> {
    let opened = catch_unwind(|| {
        let database = Database::builder().create_with_backend(CatalogFile(file))?;
        let mut database = ManuallyDrop::new(database);
        database.check_integrity().map(|_| ManuallyDrop::into_inner(database))
    });
    let opened = opened.map_err(|_| CatalogError::Damaged { path: path.to_owned() })?;
    opened.map_err(|error| failed(path, error.into()))
}

fn failed(path: &Path, source: redb::Error) -> CatalogError {
    let path = path.to_owned();
    match source {
        redb::Error::Corrupted(_) => CatalogError::Damaged { path },
        source => CatalogError::Database { path, source: Box::new(source) },
    }
}

impl Drop for Catalog {
    fn drop(&mut self) {
        let Some(database) = self.database.take() else { return };
        if *self.damaged.get_mut() {
            std::mem::forget(database);
        } else if catch_unwind(AssertUnwindSafe(|| drop(database))).is_err() {
            tracing::error!("catalog {} is damaged", self.path.display());
        }
    }
}

/// The catalog's file, as redb asks for it. Who may open it is decided by the store's own lock.
#[derive(Debug)]
struct CatalogFile(RandomAccessFile);

impl StorageBackend for CatalogFile {
    fn len(&self) -> Result<u64, io::Error> {
        self.0.length()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        self.0.read_exact_at(out, offset)
    }

    fn set_len(&self, len: u64) -> Result<(), io::Error> {
        self.0.set_length(len)
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        self.0.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        self.0.write_all_at(data, offset)
    }
}

fn to_json(row: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(row).expect("rows hold numbers, strings and lists")
}

/// Instants as decimal attoseconds: JSON numbers do not reach that far.
pub(crate) mod attos {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use tapstone_packet::time::Timestamp;

    pub(crate) fn serialize<S: Serializer>(time: &Timestamp, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&time.attos())
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Timestamp, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map(Timestamp::from_attos).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::StoreId;
    use crate::retention::{Expired, ExpiredBy};

    pub(super) fn sealed(sequence: u32) -> Sealed {
        let checkpoint = Checkpoint { offset: 10, hash: u128::MAX, packets: 5 };
        Sealed {
            id: SegmentId::new(StoreId([1; 16]), sequence, 7),
            row: SegmentRow {
                losses: Vec::new(),
                shard: 0,
                created_nanos: 1,
                packets: 2,
                packet_bytes: 3,
                flows: 4,
                blocks: 5,
                first: Timestamp::from_attos(-6),
                last: Timestamp::from_attos(i128::MAX),
                stored_bytes: 7,
                index_bytes: 8,
                interfaces: vec![vec![9]],
            },
            summary: vec![1, 2, 3],
            checkpoints: vec![(
                checkpoint,
                CheckpointRow { packets: 5, source: "a.pcap".into(), created_nanos: 1 },
            )],
        }
    }

    #[test]
    fn rows_are_there_after_reopening() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("catalog.redb");
        let (a, b) = (sealed(1), sealed(2));
        Catalog::open(&path).unwrap().add(&[b, a]).unwrap();
        let catalog = Catalog::open(&path).unwrap();
        let segments = catalog.segments().unwrap();
        let rows: Vec<_> = segments.rows.iter().collect();
        assert_eq!(rows.len(), 2);
        assert_eq!(rows[0], (&sealed(1).id, &sealed(1).row));
        let ids = [sealed(2).id, sealed(3).id];
        let answers = catalog.ask_summaries(&ids, |it| it == Summary::new(&[1, 2, 3]));
        assert_eq!(answers.unwrap(), [Some(true), None]);
        assert_eq!(catalog.checkpoints().unwrap()[&(10, u128::MAX)].source, "a.pcap");
    }

    #[test]
    fn what_changes_is_seen_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let catalog = Catalog::open(&dir.path().join("catalog.redb")).unwrap();
        let ids = || catalog.segments().unwrap().rows.keys().copied().collect::<Vec<_>>();
        assert_eq!(ids(), []);
        catalog.add(&[sealed(1), sealed(2)]).unwrap();
        assert_eq!(ids(), [sealed(1).id, sealed(2).id]);
        let expired = Expired::of(&sealed(1).row, ExpiredBy::Age);
        catalog.begin_expiring(sealed(1).id, expired, &[]).unwrap();
        assert_eq!(ids(), [sealed(2).id]);
        assert!(Arc::ptr_eq(&catalog.segments().unwrap(), &catalog.segments().unwrap()));
    }

    #[test]
    fn a_newer_catalog_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("catalog.redb");
        let catalog = Catalog::open(&path).unwrap();
        catalog
            .write(|transaction| {
                transaction.open_table(META)?.insert("version", VERSION + 1)?;
                Ok(())
            })
            .unwrap();
        drop(catalog);
        assert!(matches!(Catalog::open(&path), Err(CatalogError::Version { .. })));
    }
}
