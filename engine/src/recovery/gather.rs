//! What is there after a crash. Nothing is changed here.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use tapstone_runtime::blocking::{self, ReadFile};
use tapstone_wal::{ScanEnd, read_folder};

use super::RecoverError;
use crate::builder::Builder;
use crate::id::SegmentId;
use crate::journal::{Record, StoredUnit};
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
    /// Left open, without so much as a header: it was created and never written.
    Unreadable {
        path: PathBuf,
        why: String,
    },
}

/// The log of one segment.
#[derive(Debug)]
pub(crate) struct Log {
    pub(crate) path: PathBuf,
    pub(crate) segment: Option<SegmentId>,
    /// Units that were acknowledged.
    pub(crate) stored: Vec<StoredUnit>,
    /// Where it was damaged after it had been written.
    pub(crate) damaged_at: Option<u64>,
}

pub(crate) fn gather(builder: &Builder) -> Result<Facts, RecoverError> {
    let layout = &builder.layout;
    let mut facts = Facts::default();
    for name in blocking::list_dir(&layout.segments())? {
        let path = layout.segments().join(&name);
        let Some((id, extension)) = name.to_str().and_then(|name| name.split_once('.')) else {
            continue;
        };
        let Ok(id) = id.parse::<SegmentId>() else { continue };
        let file = match extension {
            "seg" => SegmentFile::Sealed,
            "open" => gather_open(builder, path)?,
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
    facts.catalogued.extend(builder.catalog.segments()?.into_keys());
    for file in read_folder(&layout.wal())? {
        let mut log = Log { path: file.path, segment: None, stored: Vec::new(), damaged_at: None };
        if let Ok(scan) = file.scan {
            if let ScanEnd::Damaged { offset } = scan.end {
                log.damaged_at = Some(offset);
            }
            for (_, record) in scan.records {
                match Record::decode(&record) {
                    Some(Record::Begun(segment) | Record::Sealed(segment)) => {
                        log.segment = Some(segment);
                    }
                    Some(Record::Stored(unit)) => log.stored.push(unit),
                    None => {}
                }
            }
        }
        facts.logs.push(log);
    }
    Ok(facts)
}

fn gather_open(builder: &Builder, path: PathBuf) -> Result<SegmentFile, RecoverError> {
    let file = ReadFile::open(&path)?;
    match reader::open_header(&file, &builder.keys, builder.store) {
        Ok(opened) => {
            let scanned = scan_units(&file, &opened)?;
            Ok(SegmentFile::Open { path, opened: Box::new(opened), scanned })
        }
        Err(error) => Ok(SegmentFile::Unreadable { path, why: error.to_string() }),
    }
}
