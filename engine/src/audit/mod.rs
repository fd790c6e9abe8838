//! The audit log: who asked what and what became of it, in order, for good
//! (docs/format/audit.md).
//!
//! An *entry* is bytes that mean nothing here. [`AuditLog::append`] makes it durable as a *record*:
//! numbered, timed, and tied by a hash to the record before it, so that whatever is changed,
//! removed or put in another order later on shows. [`read_audit`] and [`verify_audit`] read the log
//! of a store that may be in use.
//!
//! ```text
//! append ──▶ thread "audit" (writer.rs) ──▶ DIR/audit/*.log     records, by group commits
//!                                      └──▶ DIR/audit.head      how far it reached, now and then
//! archive (archive/) ──▶ DIR/audit/archive/*.log                files that were closed long ago
//!                   └──▶ DIR/audit.mark                         which, and what each ends with
//! ```

mod archive;
mod chain;
mod head;
mod log;
mod places;
mod read;
mod record;
mod resume;
#[cfg(test)]
mod tests;
mod verify;
mod walk;
mod writer;

pub use archive::{ArchiveError, ArchiveOptions, ArchivedFiles};
pub(crate) use log::Running;
pub use log::{AuditError, AuditLog};
pub use read::{AuditRecords, read_audit, read_audit_with_archive};
pub use record::{AuditHash, AuditRecord};
pub use verify::{
    AuditBreak, AuditBreakKind, AuditHead, AuditPlace, AuditReport, verify_audit,
    verify_audit_with_archive,
};
pub(crate) use writer::Context;

use crate::log_files::LENGTH_MAX;

/// Most bytes of an entry.
pub const AUDIT_ENTRY_MAX: usize = 64 << 10;

/// A file that has so many bytes is followed by another.
pub(crate) const FILE_SIZE: u64 = 64 << 20;
const _: () = assert!(FILE_SIZE + (32 << 20) <= LENGTH_MAX, "its last commit begins before");
/// Records between two writes of the head.
pub(crate) const RECORDS_PER_HEAD: u64 = 1000;

/// Reads bytes as a record, and as what an archive mark says.
pub(crate) fn parse_for_fuzzing(bytes: &[u8]) {
    record::parse_for_fuzzing(bytes);
    archive::mark::parse_for_fuzzing(bytes);
}
