//! The thread that writes the log. It owns everything it touches; others reach it by requests.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use async_channel::{Receiver, Sender};
use tapstone_runtime::file::FileError;
use tapstone_runtime::{blocking, clock};
use tapstone_wal::{Lsn, Wal};

use super::log::AuditError;
use super::resume::{Resumed, resume};
use super::verify::{AuditBreak, AuditHead};
use super::{AUDIT_ENTRY_MAX, head, record};
use crate::id::StoreId;
use crate::layout::Layout;
use crate::log_files::{self, NO_SHARD};
use crate::unindexed::Unindexed;

/// Most breaks that opening a store tells of.
const TOLD_MAX: usize = 10;
/// A commit takes no more entries when it has so many bytes.
const COMMIT_SIZE: usize = 16 * AUDIT_ENTRY_MAX;

/// What the thread is asked for.
#[derive(Debug)]
pub(super) enum Request {
    /// An entry is to be recorded.
    Entry(Entry),
    /// All files so far are to be closed.
    CloseFile(Sender<Result<(), AuditError>>),
}

/// An entry to be recorded; its number goes back once it is durable.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) content: Vec<u8>,
    pub(super) done: Sender<Result<u64, AuditError>>,
}

impl Entry {
    fn size(&self) -> usize {
        record::HEADER_LEN + self.content.len()
    }
}

/// What the log needs of the store.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    pub(crate) layout: Layout,
    pub(crate) store: StoreId,
    pub(crate) unindexed: Arc<Unindexed>,
    /// A file that has so many bytes is followed by another.
    pub(crate) file_size: u64,
    /// The head is written once in so many records.
    pub(crate) records_per_head: u64,
}

/// Takes requests until nobody can send any.
pub(super) async fn run(context: Context, requests: Receiver<Request>) {
    let mut writer = Writer::new(context);
    while let Ok(request) = requests.recv().await {
        let mut next = Some(request);
        while let Some(request) = next.take() {
            match request {
                Request::Entry(entry) => {
                    let (batch, behind) = gather(entry, &requests);
                    next = behind;
                    writer.record_and_tell(batch).await;
                    writer.look_after_files().await;
                }
                Request::CloseFile(done) => {
                    let closed = writer.close_file().await.map_err(AuditError::Unwritable);
                    done.send(closed).await.ok();
                }
            }
        }
    }
    writer.end().await;
}

/// What waits by now shares one commit; gives also what came behind it and is none of it.
fn gather(first: Entry, requests: &Receiver<Request>) -> (Vec<Entry>, Option<Request>) {
    let mut size = first.size();
    let mut batch = vec![first];
    while size < COMMIT_SIZE {
        match requests.try_recv() {
            Ok(Request::Entry(entry)) => {
                size += entry.size();
                batch.push(entry);
            }
            Ok(other) => return (batch, Some(other)),
            Err(_) => break,
        }
    }
    (batch, None)
}

struct Writer {
    context: Context,
    /// The last number given out, and the hash of the last record.
    last: AuditHead,
    /// The number that the head file says; none when it must be written.
    saved: Option<u64>,
    /// The head is written again behind this record.
    head_due: u64,
    /// Whether anything was written since the store was opened.
    is_begun: bool,
    wal: Option<Wal>,
    /// The number of the last file.
    file: u64,
    /// The number of the record that it begins with.
    first: u64,
    doubtful: Option<(PathBuf, Range<u64>)>,
    /// What the disk holds of a commit that failed is unknown: nothing is built upon it.
    failure: Option<FileError>,
}

impl Writer {
    fn new(context: Context) -> Writer {
        let (resumed, failure) = match resume(&context.layout, context.store) {
            Ok(resumed) => (resumed, None),
            Err(error) => {
                let text = format!(
                    "the audit log cannot be written, since its end cannot be read: {error}; \
                     mend the disk or move the file away, and open the store again"
                );
                context.unindexed.tell([text]);
                (Resumed::default(), Some(error))
            }
        };
        let Resumed { last, saved, file, doubtful, breaks } = resumed;
        let tell = |it: &AuditBreak| format!("audit log: {it}; new records are written behind it");
        context.unindexed.tell(breaks.iter().take(TOLD_MAX).map(tell));
        let (head_due, is_begun, wal, first) = (0, false, None, 0);
        Writer { context, last, saved, head_due, is_begun, wal, file, first, doubtful, failure }
    }

    async fn record_and_tell(&mut self, batch: Vec<Entry>) {
        let result = match &self.failure {
            Some(failure) => Err(failure.clone()),
            None => self.record(&batch).await,
        };
        if let Err(error) = &result {
            self.failure = Some(error.clone());
        }
        for (place, request) in (0..).zip(batch) {
            let told = result.as_ref().map(|first| first + place);
            let told = told.map_err(|error| AuditError::Unwritable(error.clone()));
            // Whoever asked may have gone; that is theirs to decide.
            request.done.send(told).await.ok();
        }
    }

    /// Makes entries durable, by one commit; gives the number of the first.
    async fn record(&mut self, batch: &[Entry]) -> Result<u64, FileError> {
        let mut wal = match self.wal.take() {
            Some(wal) => wal,
            None => self.begin().await?,
        };
        let (store, now) = (self.context.store, clock::unix_nanos());
        let mut last = self.last;
        for request in batch {
            last.sequence += 1;
            let (bytes, hash) =
                record::encode(store, last.sequence, now, last.hash, &request.content);
            last.hash = hash;
            wal.append(bytes);
        }
        wal.commit().await?;
        let first = self.last.sequence + 1;
        self.last = last;
        self.wal = Some(wal);
        Ok(first)
    }

    /// Begins a file.
    async fn begin(&mut self) -> Result<Wal, FileError> {
        let folder = self.context.layout.audit();
        blocking::create_dir(&folder)?;
        self.settle()?;
        // Before the first file is there, so that a log without a head shows.
        self.save_head()?;
        self.is_begun = true;
        self.file += 1;
        let path = log_files::file(&folder, self.file);
        self.first = self.last.sequence + 1;
        let wal = Wal::create_file(path, self.context.store.0, NO_SHARD, Lsn(self.first)).await;
        wal.map_err(FileError::from)
    }

    /// The record that the next one follows must survive a power cut. Its file's name does: a file
    /// holds nothing before.
    fn settle(&mut self) -> Result<(), FileError> {
        if let Some((path, range)) = &self.doubtful {
            blocking::write_again(path, range.clone())?;
            self.doubtful = None;
        }
        Ok(())
    }

    /// Closes the file that holds the last records, and begins another. Where nothing was written
    /// since the last file was begun, or since the store was opened, all are closed.
    async fn close_file(&mut self) -> Result<(), FileError> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        self.settle()?;
        let first = self.first;
        let Some(wal) = self.wal.take_if(|_| first <= self.last.sequence) else { return Ok(()) };
        self.close(wal).await;
        // Which writes the head.
        self.wal = Some(self.begin().await?);
        Ok(())
    }

    /// Writes the head now and then, and ends a file that is full.
    async fn look_after_files(&mut self) {
        if self.failure.is_some() {
            return;
        }
        if self.last.sequence >= self.head_due {
            self.save_head_or_tell();
        }
        let file_size = self.context.file_size;
        if let Some(wal) = self.wal.take_if(|wal| wal.size() >= file_size) {
            self.close(wal).await;
        }
    }

    async fn end(mut self) {
        // Also after a failure: it speaks of what was acknowledged before.
        if self.is_begun {
            self.save_head_or_tell();
        }
        if let Some(wal) = self.wal.take() {
            self.close(wal).await;
        }
    }

    async fn close(&self, wal: Wal) {
        // All of it is durable.
        let failed = wal.close().await.map_err(FileError::from).err();
        self.context.unindexed.tell(failed.map(|error| format!("audit log: {error}")));
    }

    fn save_head_or_tell(&mut self) {
        // The log itself is whole; its next head makes up for this one.
        let failed = self.save_head().err();
        self.context.unindexed.tell(failed.map(|error| format!("audit log: {error}")));
    }

    fn save_head(&mut self) -> Result<(), FileError> {
        self.head_due = self.last.sequence + self.context.records_per_head;
        if self.saved != Some(self.last.sequence) {
            let Context { layout, store, .. } = &self.context;
            head::write(&layout.audit_head(), *store, self.last)?;
            self.saved = Some(self.last.sequence);
        }
        Ok(())
    }
}
