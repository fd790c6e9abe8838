//! Ordered durable records. Knows log sequence numbers and opaque payloads, never what they mean.
//!
//! A WAL file (docs/format/wal.md) is a header page, then frames. A frame is one group commit:
//! the records of one [`Wal::commit`], checksummed together, beginning at a multiple of
//! [`ALIGNMENT`] and filled with zeros to the next. Nothing is ever written twice: the next frame
//! goes to the next boundary, and after a restart a new file is begun.
//!
//! [`scan`] reads a file back without ever changing it: up to the first frame that cannot be
//! trusted, and why. [`Commits`] reads on behind what is damaged.

#![forbid(unsafe_code)]

mod commits;
mod format;
mod scan;
mod writer;

pub use commits::{Commit, Commits, Piece};
pub use format::HeaderError;
pub use scan::{Scan, ScanEnd, ScannedFile, read_folder, scan};
pub use writer::{Wal, WalError, file_name};

pub(crate) use tapstone_runtime::ALIGNMENT;

/// A log sequence number: the position of a record in one shard's log, counted from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lsn(pub u64);

impl std::fmt::Display for Lsn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)
    }
}
