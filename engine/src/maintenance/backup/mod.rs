//! Backup: the store as it is at one moment, in a folder of its own (docs/format/backup.md).
//!
//! ```text
//! SnapshotInit      all that was acknowledged is sealed; what changes is copied, what does not is
//!                   listed, and spared from retention
//! SecureTransfer    what is listed is shared with the backup before, or with the store, or copied
//! VerifyIntegrity   all that came is read, opened and hashed; the manifest is written, and the
//!                   folder gets its name
//! ```
//!
//! Packets are taken and found meanwhile, and go first on every core. Until it has its name it is no backup, and is removed
//! when it cannot be finished.

mod earlier;
mod hash;
pub(crate) mod manifest;
mod partial;
mod parts;
mod snapshot;
mod transfer;
mod verify;

use std::path::PathBuf;

use tapstone_runtime::file::FileError;
use tapstone_runtime::lock::LockError;
use tapstone_runtime::patiently;

pub(crate) use hash::Hash;
pub use manifest::ManifestError;

use crate::catalog::CatalogError;
use crate::check::Damage;
use crate::keys::KeyError;
use crate::pace::GivenUp;
use crate::shard::IngestError;
use crate::state::Backup as Step;
use crate::store::Store;
use crate::store_file::StoreFileError;
use snapshot::Snapshot;

/// Where to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupOptions {
    /// Where backups are kept, each in a folder of its own; made when it is not there. What the
    /// newest backup of the same store has there is shared with it.
    pub folder: PathBuf,
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BackupReport {
    /// Where it is.
    pub path: PathBuf,
    /// What was acknowledged before is in it: nanoseconds since the epoch.
    pub taken_nanos: u64,
    /// Segments in it.
    pub segments: u64,
    /// Packets in it.
    pub packets: u64,
    /// Their captured bytes.
    pub packet_bytes: u64,
    /// Files in it.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes of these that were copied.
    pub copied_bytes: u64,
    /// Bytes that it shares with the store: they take no room of their own.
    pub shared_bytes: u64,
    /// Bytes that it shares with the backup before.
    pub carried_bytes: u64,
    /// What is wrong with the store itself, and so with its copy.
    pub damage: Vec<Damage>,
}

/// Why it cannot be done. Nothing is left of it then.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// Something came that matters more.
    #[error("it was given up")]
    GivenUp,
    /// It would be part of what is copied.
    #[error("{} lies in the store's own folder; name one elsewhere", .0.display())]
    Inside(PathBuf),
    /// Somebody else makes a backup there, or it cannot be written to.
    #[error("the backups' folder {0}")]
    Folder(#[from] LockError),
    /// There is too little room.
    #[error(
        "the backup needs {needed} bytes and {} has {free}; make room there, or name another \
         folder", folder.display()
    )]
    NoRoom {
        /// Where.
        folder: PathBuf,
        /// So much is needed.
        needed: u64,
        /// So much is there.
        free: u64,
    },
    /// What has come cannot be made durable.
    #[error("what has come cannot be sealed: {0}")]
    Seal(#[from] IngestError),
    /// The catalog cannot be read, or its copy written.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// A file cannot be read or written.
    #[error("backup: {0}")]
    File(#[from] FileError),
    /// A key in the copy cannot be used.
    #[error("backup: {0}")]
    Key(#[from] KeyError),
    /// The copy of the file that says what store it is cannot be used.
    #[error("backup: {0}")]
    StoreFile(#[from] StoreFileError),
    /// The copy is not what the store has.
    #[error("the copy is damaged ({0}) where the store is not; look at the disk, and try again")]
    Damaged(Damage),
}

impl From<GivenUp> for BackupError {
    fn from(_: GivenUp) -> Self {
        BackupError::GivenUp
    }
}

/// It, under way.
#[derive(Debug)]
pub(super) struct Backup {
    options: BackupOptions,
    /// There from the first step on, until it is whole or given up.
    snapshot: Option<Snapshot>,
    report: BackupReport,
}

impl Backup {
    pub(super) fn new(options: BackupOptions) -> Backup {
        Backup { options, snapshot: None, report: BackupReport::default() }
    }

    /// Does one step; where it takes long, as long as `go_on` says so.
    pub(super) fn perform(
        &mut self,
        store: &Store,
        step: Step,
        go_on: &dyn Fn() -> bool,
    ) -> Result<(), BackupError> {
        // What it has made goes with it when a step fails.
        let snapshot = self.snapshot.take();
        let begun = || snapshot.ok_or(BackupError::GivenUp);
        match step {
            Step::SnapshotInit => {
                self.snapshot = Some(Snapshot::begin(store, &self.options.folder, go_on)?);
            }
            Step::SecureTransfer => {
                let mut snapshot = begun()?;
                patiently(go_on, |go_on| snapshot.transfer(store, go_on))?;
                self.snapshot = Some(snapshot);
            }
            Step::VerifyIntegrity => {
                let snapshot = begun()?;
                self.report = patiently(go_on, |go_on| snapshot.verify(store, go_on))?;
            }
        }
        Ok(())
    }

    /// What came of all steps.
    pub(super) fn report(&self) -> BackupReport {
        self.report.clone()
    }
}

/// Whether something is to be gone on with.
fn ask(go_on: &dyn Fn() -> bool) -> Result<(), BackupError> {
    if go_on() { Ok(()) } else { Err(BackupError::GivenUp) }
}
