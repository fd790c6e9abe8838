//! The handle of the log.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use async_channel::Sender;
use tapstone_packet::time::Timestamp;
use tapstone_runtime::file::FileError;
use tapstone_runtime::{StartError, Thread, block_on, spawn_thread};

use super::AUDIT_ENTRY_MAX;
use super::archive::{ArchiveError, ArchiveOptions, ArchivedFiles, archive};
use super::record::AuditRecord;
use super::verify::{AuditBreak, AuditReport, verify};
use super::walk::Walk;
use super::writer::{self, Context, Entry, Request};
use crate::id::StoreId;
use crate::layout::Layout;
use crate::store_file::StoreFileError;

/// Entries that wait for the thread; more, and appending waits.
const QUEUE: usize = 1024;

/// Why something could not be recorded or read.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The entry is too long.
    #[error(
        "the entry has {length} bytes, and {AUDIT_ENTRY_MAX} at most can be recorded; shorten it"
    )]
    TooLong {
        /// Its bytes.
        length: usize,
    },
    /// The disk refused, now or before. What it holds of this entry is unknown, and nothing is
    /// recorded any more.
    #[error(
        "the audit log cannot be written: {0}; nothing is recorded until the store is opened again"
    )]
    Unwritable(FileError),
    /// The store was closed.
    #[error(
        "the audit log is closed: the store was closed, or its thread died (see its panic \
         message); open the store again"
    )]
    Closed,
    /// There is no store.
    #[error("there is no store at {}; import makes one", .0.display())]
    NoStore(PathBuf),
    /// The file that says what store it is is damaged, or of a newer program.
    #[error(transparent)]
    StoreFile(#[from] StoreFileError),
    /// A folder or file cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// The log is not what was written.
    #[error("audit log: {0}; restore the file from a backup")]
    Broken(AuditBreak),
}

/// The audit log of an open store. Cheap to clone; it does not keep the store open.
#[derive(Clone, Debug)]
pub struct AuditLog {
    requests: Sender<Request>,
}

impl AuditLog {
    /// Records an entry of at most [`AUDIT_ENTRY_MAX`] bytes, durably, and gives its number. Works
    /// on any executor; entries that wait at the same time share one sync of the disk.
    ///
    /// An entry whose future is dropped may be recorded or not.
    ///
    /// # Errors
    ///
    /// When the entry is too long, the disk refuses, or the store was closed. Once the disk has
    /// refused, every later call fails until the store is opened again.
    pub async fn append(&self, content: &[u8]) -> Result<u64, AuditError> {
        if content.len() > AUDIT_ENTRY_MAX {
            return Err(AuditError::TooLong { length: content.len() });
        }
        let (done, answer) = async_channel::bounded(1);
        let request = Request::Entry(Entry { content: content.to_vec(), done });
        self.requests.send(request).await.map_err(|_| AuditError::Closed)?;
        answer.recv().await.unwrap_or(Err(AuditError::Closed))
    }
}

/// The log and its thread. Dropping it records what waits, whoever still has a handle, and ends the
/// thread.
#[derive(Debug)]
pub(crate) struct Running {
    log: AuditLog,
    layout: Layout,
    store: StoreId,
    /// Locked while files are archived: by one at a time.
    archiving: Mutex<()>,
    thread: Option<Thread>,
}

impl Running {
    /// Starts the thread. It writes nothing before the first entry comes.
    ///
    /// It is a thread of its own and no task on a shard: the head and the directories are synced
    /// by blocking calls, which would keep the shard's packets waiting.
    pub(crate) fn start(context: Context) -> Result<Running, StartError> {
        let (requests, queue) = async_channel::bounded(QUEUE);
        let (layout, store, archiving) = (context.layout.clone(), context.store, Mutex::default());
        let thread = spawn_thread("audit", move || writer::run(context, queue));
        let thread = Some(thread.map_err(StartError::Thread)?);
        Ok(Running { log: AuditLog { requests }, layout, store, archiving, thread })
    }

    /// Brings the log to a point: what came before is durable, in files that are closed, and the head
    /// says so.
    pub(crate) fn close_file(&self) -> Result<(), AuditError> {
        let (done, answer) = async_channel::bounded(1);
        let sent = block_on(self.log.requests.send(Request::CloseFile(done)));
        sent.map_err(|_| AuditError::Closed)?;
        block_on(answer.recv()).unwrap_or(Err(AuditError::Closed))
    }

    /// Moves closed files that are due to the archive. The log must have been brought to a point
    /// before.
    pub(crate) fn archive(
        &self,
        options: &ArchiveOptions,
        now: Timestamp,
        go_on: &dyn Fn() -> bool,
    ) -> Result<ArchivedFiles, ArchiveError> {
        let _alone = self.archiving.lock().unwrap_or_else(PoisonError::into_inner);
        archive(&self.layout, self.store, options, now, go_on)
    }

    /// Verifies all that is there, for as long as `each`, which is told of every record, says so; `None`
    /// when it was given up.
    pub(crate) fn verify(
        &self,
        each: &mut dyn FnMut(&AuditRecord) -> bool,
    ) -> Result<Option<AuditReport>, FileError> {
        Ok(verify(Walk::through_all(&self.layout, self.store, None)?, each))
    }

    pub(crate) fn log(&self) -> AuditLog {
        self.log.clone()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.log.requests.close();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the audit log's thread died; what was acknowledged is recorded");
        }
    }
}
