//! Reading the log of a store that is not opened for it.

use std::path::Path;

use super::log::AuditError;
use super::record::AuditRecord;
use super::verify::AuditHead;
use super::walk::{Found, Walk};
use crate::layout::Layout;
use crate::store_file;

/// The records of a log, in order.
///
/// What is wrong with the log comes between them, in its place, as [`AuditError::Broken`]; the
/// reading goes on behind it.
#[derive(Debug)]
pub struct AuditRecords {
    walk: Walk,
}

/// Reads the audit log of a store, what was archived of it included, as far as that is there. The
/// store may be in use; records that are written meanwhile may or may not be given. Memory holds one
/// file of the log at a time.
///
/// # Errors
///
/// When there is no store, or its folder cannot be read.
pub fn read_audit(store_folder: &Path) -> Result<AuditRecords, AuditError> {
    Ok(AuditRecords { walk: walk(store_folder, None)? })
}

/// As [`read_audit`], from the first record on: what was archived and then taken away is looked for
/// in this folder.
///
/// # Errors
///
/// As [`read_audit`].
pub fn read_audit_with_archive(
    store_folder: &Path,
    archive: &Path,
) -> Result<AuditRecords, AuditError> {
    Ok(AuditRecords { walk: walk(store_folder, Some(archive))? })
}

impl AuditRecords {
    /// The archived record that the reading begins behind, where what was archived up to there has
    /// been taken away.
    #[must_use]
    pub fn behind(&self) -> Option<AuditHead> {
        self.walk.behind()
    }
}

impl Iterator for AuditRecords {
    type Item = Result<AuditRecord, AuditError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.walk.next()? {
                Found::Record(record) => return Some(Ok(record)),
                Found::Break(it) => return Some(Err(AuditError::Broken(it))),
                Found::Unacknowledged(_) => {}
            }
        }
    }
}

pub(super) fn walk(store_folder: &Path, archive: Option<&Path>) -> Result<Walk, AuditError> {
    let layout = Layout::new(store_folder);
    let store = store_file::read(&layout.store_file())?;
    let store = store.ok_or_else(|| AuditError::NoStore(store_folder.to_owned()))?;
    Ok(Walk::through_all(&layout, store, archive)?)
}
