//! What is there after a crash. Nothing is changed here.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use tapstone_runtime::ALIGNMENT;
use tapstone_runtime::blocking::{self, ReadFile};
use tapstone_wal::{ScanEnd, read_folder};

use super::RecoverError;
use crate::builder::Builder;
use crate::erase::GOING;
use crate::id::SegmentId;
use crate::journal::{Record, StoredUnit};
use crate::limits::PAGE_SIZE;
use crate::segment::format::HeaderCopy;
use crate::segment::reader::{self, Opened};
use crate::segment::scan::{Scanned, scan_units};

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    pub(crate) segments: BTreeMap<SegmentId, SegmentFile>,
    /// Segments that the catalog knows.
    pub(crate) catalogued: BTreeSet<SegmentId>,
    /// Segments that have a split file.
    pub(crate) split: BTreeSet<SegmentId>,
    pub(crate) logs: Vec<Log>,
    /// Segments that were being removed.
    pub(crate) expiring: Vec<SegmentId>,
    /// The largest sequence number of a segment that is no more.
    pub(crate) last_expired: Option<u32>,
    /// Files left by writes that were cut off.
    pub(crate) leftovers: Vec<PathBuf>,
}

/// A segment file.
#[derive(Debug)]
pub(crate) enum SegmentFile {
    Sealed,
    /// Left open, and what verifies of it.
    Open {
        path: PathBuf,
        opened: Box<Opened>,
        scanned: Scanned,
    },
    /// Left open, and neither its header nor the log's copy of it leads to its keys.
    Unreadable {
        path: PathBuf,
        why: String,
        /// Whether there is anything behind the header.
        has_content: bool,
    },
}

/// The log of one segment.
#[derive(Debug, Default)]
pub(crate) struct Log {
    pub(crate) path: PathBuf,
    pub(crate) segment: Option<SegmentId>,
    /// The header of that segment.
    pub(crate) header: Option<Box<HeaderCopy>>,
    /// Units that were acknowledged.
    pub(crate) stored: Vec<StoredUnit>,
    /// Where it was damaged after it had been written.
    pub(crate) damaged_at: Option<u64>,
}

pub(crate) fn gather(builder: &Builder) -> Result<Facts, RecoverError> {
    let layout = &builder.layout;
    let (logs, expiring) = (gather_logs(&layout.wal())?, builder.catalog.expiring()?);
    let last_expired = builder.catalog.last_expired()?;
    let mut facts = Facts { logs, expiring, last_expired, ..Facts::default() };
    facts.catalogued.extend(builder.catalog.segments()?.rows.keys().copied());
    for name in blocking::list_dir(&layout.segments())? {
        let path = layout.segments().join(&name);
        let Some((id, extension)) = name.to_str().and_then(|name| name.split_once('.')) else {
            continue;
        };
        let Ok(id) = id.parse::<SegmentId>() else { continue };
        if facts.expiring.contains(&id) {
            continue;
        }
        let file = match extension {
            // A catalog that was made anew does not know that it was being removed.
            "seg" if !facts.catalogued.contains(&id) && reader::is_destroyed(&path) => {
                facts.expiring.push(id);
                facts.last_expired = facts.last_expired.max(Some(id.sequence()));
                continue;
            }
            "seg" => SegmentFile::Sealed,
            "open" => {
                let log = facts.logs.iter().find(|log| log.segment == Some(id));
                gather_open(builder, path, log)?
            }
            _ => continue,
        };
        facts.segments.insert(id, file);
    }
    for name in blocking::list_dir(&layout.splits())? {
        match name.to_str().and_then(|name| name.split_once('.')) {
            Some((id, "split")) => facts.split.extend(id.parse::<SegmentId>()),
            _ => facts.leftovers.push(layout.splits().join(&name)),
        }
    }
    for folder in [layout.wal(), layout.keys()] {
        let names = blocking::list_dir(&folder)?.into_iter().map(|name| folder.join(name));
        facts.leftovers.extend(names.filter(|path| is_leftover(path)));
    }
    Ok(facts)
}

/// Whether a file was being written, or removed, when a crash came.
fn is_leftover(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "new" || extension == GOING)
}

fn gather_logs(folder: &Path) -> Result<Vec<Log>, RecoverError> {
    let mut logs = Vec::new();
    for file in read_folder(folder)? {
        let mut log = Log { path: file.path, ..Log::default() };
        match file.scan {
            Ok(scan) => {
                if let ScanEnd::Damaged { offset } = scan.end {
                    log.damaged_at = Some(offset);
                }
                for (_, record) in scan.records {
                    match Record::decode(&record) {
                        Some(Record::Begun(segment, header)) => {
                            log.segment = Some(segment);
                            log.header = Some(header);
                        }
                        Some(Record::Sealed(segment)) => log.segment = Some(segment),
                        Some(Record::Stored(unit)) => log.stored.push(unit),
                        None => {}
                    }
                }
            }
            // A crash can leave a log without a whole header, but nothing behind it.
            Err(_) if blocking::file_len(&log.path)?.unwrap_or(0) > ALIGNMENT as u64 => {
                log.damaged_at = Some(0);
            }
            Err(_) => {}
        }
        logs.push(log);
    }
    Ok(logs)
}

fn gather_open(
    builder: &Builder,
    path: PathBuf,
    log: Option<&Log>,
) -> Result<SegmentFile, RecoverError> {
    let file = ReadFile::open(&path)?;
    let (keys, store) = (&builder.keys, builder.store);
    let copy = log.and_then(|log| log.header.as_deref());
    let opened = reader::open_header(&file, keys, store).or_else(|error| match copy {
        Some(copy) => reader::open_by_copy(&file, copy, keys, store),
        None => Err(error),
    });
    match opened {
        Ok(opened) => {
            let scanned = scan_units(&file, &opened, log.map_or(&[], |log| &log.stored))?;
            Ok(SegmentFile::Open { path, opened: Box::new(opened), scanned })
        }
        Err(error) => {
            let has_content = file.length()? > PAGE_SIZE as u64;
            Ok(SegmentFile::Unreadable { path, why: error.to_string(), has_content })
        }
    }
}
