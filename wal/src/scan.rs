//! Reading WAL files back. A scan never changes what it reads.

use std::path::{Path, PathBuf};

use tapstone_runtime::blocking;
use tapstone_runtime::file::FileError;

use crate::format::{FileHeader, Frame, FrameHeader, HeaderError};
use crate::{ALIGNMENT, Lsn};

/// What a WAL file holds, as far as it can be trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scan {
    /// The shard that wrote it.
    pub shard: u16,
    /// The store it belongs to.
    pub store: [u8; 16],
    /// The number of the first record.
    pub first: Lsn,
    /// The records, in order.
    pub records: Vec<(Lsn, Vec<u8>)>,
    /// The highest durable LSN that a frame of the file vouches for.
    pub durable: Lsn,
    /// How it ends.
    pub end: ScanEnd,
}

/// Why a scan stopped where it did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScanEnd {
    /// The last frame is whole, and only zeros follow it.
    Clean,
    /// From this offset on nothing can be trusted: a commit that was cut off by a crash, which
    /// nobody was promised.
    Torn {
        /// Bytes from the start of the file.
        offset: u64,
    },
    /// From this offset on nothing can be trusted, and a sound frame follows further on: the file
    /// was damaged after it had been written.
    Damaged {
        /// Bytes from the start of the file.
        offset: u64,
    },
}

/// A WAL file of a folder.
#[derive(Clone, Debug)]
pub struct ScannedFile {
    /// The file.
    pub path: PathBuf,
    /// What it holds; an error when it does not begin as a WAL file (a crash can leave one that
    /// was just created empty).
    pub scan: Result<Scan, HeaderError>,
}

/// Reads a WAL file's bytes.
///
/// # Errors
///
/// When the file header is not one.
pub fn scan(bytes: &[u8]) -> Result<Scan, HeaderError> {
    let header = FileHeader::parse(bytes)?;
    let mut scan = Scan {
        shard: header.shard.get(),
        store: header.store,
        first: Lsn(header.first_lsn.get()),
        records: Vec::new(),
        durable: Lsn(0),
        end: ScanEnd::Clean,
    };
    let mut at = ALIGNMENT;
    let mut next = scan.first;
    while at < bytes.len() {
        let frame = Frame::read(header.seed(), &bytes[at..]);
        let Some(frame) = frame.filter(|frame| frame.first == next) else {
            scan.end = end(header.seed(), next, bytes, at);
            break;
        };
        for record in frame.records {
            scan.records.push((next, record.to_vec()));
            next.0 += 1;
        }
        scan.durable = scan.durable.max(frame.durable);
        at += frame.length;
    }
    Ok(scan)
}

/// What follows the last frame that could be trusted.
fn end(seed: u32, next: Lsn, bytes: &[u8], at: usize) -> ScanEnd {
    let offset = at as u64;
    if bytes[at..].iter().all(|&byte| byte == 0) {
        return ScanEnd::Clean;
    }
    let later = (at + ALIGNMENT..bytes.len()).step_by(ALIGNMENT).any(|at| {
        FrameHeader::parse(seed, &bytes[at..])
            .is_some_and(|(header, _)| header.first_lsn.get() >= next.0)
    });
    if later { ScanEnd::Damaged { offset } } else { ScanEnd::Torn { offset } }
}

/// Reads every WAL file of a folder, in the order of their names: by shard, then by first LSN.
///
/// # Errors
///
/// When the folder or a file cannot be read.
pub fn read_folder(folder: &Path) -> Result<Vec<ScannedFile>, FileError> {
    let mut files = Vec::new();
    for name in blocking::list_dir(folder)? {
        let path = folder.join(&name);
        if path.extension().is_some_and(|extension| extension == "log")
            && let Some(bytes) = blocking::read_file(&path)?
        {
            files.push(ScannedFile { path, scan: scan(&bytes) });
        }
    }
    Ok(files)
}
