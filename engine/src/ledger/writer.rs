//! The thread that writes the ledger. Others reach it by requests.

use std::sync::{Arc, Mutex, MutexGuard};

use async_channel::{Receiver, Sender};
use tapstone_runtime::blocking;
use tapstone_runtime::file::FileError;
use tapstone_wal::{Lsn, Wal};

use super::first_of;
use super::handle::LedgerError;
use super::head;
use super::read::{Found, read};
use super::record::Record;
use super::state::State;
use crate::check::Damage;
use crate::id::StoreId;
use crate::layout::Layout;
use crate::log_files::{self, NO_SHARD, files};

/// What the thread is asked.
#[derive(Debug)]
pub(super) enum Request {
    /// To record something.
    Record(Record, Sender<Result<(), LedgerError>>),
    /// What is wrong with what is on the disk.
    Verify(Sender<Vec<Damage>>),
    /// To put all that is in force on the disk anew.
    Renew(Sender<Result<(), LedgerError>>),
}

/// What the ledger needs of the store.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    pub(crate) layout: Layout,
    pub(crate) store: StoreId,
    /// A file that has so many bytes is followed by another.
    pub(crate) file_size: u64,
}

pub(super) struct Writer {
    context: Context,
    state: Arc<Mutex<State>>,
    /// There while its last record is the one that the head names.
    wal: Option<Wal>,
    /// The largest number that a file has or had.
    file: u64,
    /// Whether a head must be there before the first file is.
    is_new: bool,
}

impl Writer {
    pub(super) fn new(context: Context, found: &Found, state: Arc<Mutex<State>>) -> Writer {
        Writer { context, state, wal: None, file: found.file, is_new: found.is_new }
    }

    /// Takes requests until nobody can send any.
    pub(super) async fn run(mut self, requests: &Receiver<Request>) {
        while let Ok(request) = requests.recv().await {
            // Whoever asked may have gone; that is theirs to decide.
            match request {
                Request::Record(record, done) => {
                    let recorded = self.record(Some(record)).await;
                    done.send(recorded.map_err(LedgerError::Unwritable)).await.ok();
                }
                Request::Verify(done) => {
                    let Context { layout, store, .. } = &self.context;
                    done.send(read(layout, *store).damage).await.ok();
                }
                Request::Renew(done) => {
                    if let Some(wal) = self.wal.take() {
                        close(wal).await;
                    }
                    let renewed = self.record(None).await;
                    done.send(renewed.map_err(LedgerError::Unwritable)).await.ok();
                }
            }
        }
        if let Some(wal) = self.wal.take() {
            close(wal).await;
        }
    }

    /// Puts a record in force: durable first, then named by the head, then in the state. Without one,
    /// what is in force is put into a file of its own.
    ///
    /// After a failure the next record begins another file: what the disk holds of this one is
    /// unknown.
    async fn record(&mut self, record: Option<Record>) -> Result<(), FileError> {
        let (mut wal, mut records) = match self.wal.take() {
            Some(wal) => (wal, Vec::new()),
            None => (self.begin().await?, self.state().snapshot()),
        };
        let begins = !records.is_empty();
        records.extend(record.clone());
        let last = records.iter().fold(Lsn(0), |_, record| wal.append(record.encode()));
        if let Err(error) = wal.commit().await {
            // It may stay as it is: no head names it.
            wal.give_up().await.ok();
            return Err(error.into());
        }
        let Context { layout, store, .. } = &self.context;
        if let Err(error) = head::write(&layout.ledger_head(), *store, last) {
            close(wal).await;
            return Err(error);
        }
        let vouches = record == Some(Record::Vouched);
        if let Some(record) = record {
            self.state().apply(record);
        }
        if (begins || vouches) && !self.state().in_doubt {
            self.remove_old_files();
        }
        if wal.size() < self.context.file_size {
            self.wal = Some(wal);
        } else {
            close(wal).await;
        }
        Ok(())
    }

    /// Begins a file.
    async fn begin(&mut self) -> Result<Wal, FileError> {
        let Context { layout, store, .. } = &self.context;
        let folder = layout.ledger();
        if self.is_new {
            // So that a ledger without a head shows, and one whose folder is gone.
            head::write(&layout.ledger_head(), *store, Lsn(0))?;
            self.is_new = false;
        }
        blocking::create_dir(&folder)?;
        self.file += 1;
        let (path, first) = (log_files::file(&folder, self.file), first_of(self.file));
        Wal::create_file(path, store.0, NO_SHARD, first).await.map_err(FileError::from)
    }

    /// Removes the files before the one in force. Those that were damaged are kept until somebody
    /// vouches for what is in force: they may say more to one who looks.
    fn remove_old_files(&self) {
        let folder = self.context.layout.ledger();
        let old = files(&folder).map(|files| files.into_iter().filter(|it| it.0 < self.file));
        let removed =
            old.and_then(|mut files| files.try_for_each(|(_, path)| blocking::remove(&path)));
        if let Err(error) = removed {
            tracing::warn!(%error, "old files of the ledger only take up room; the next one tries again");
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of the lock panics")
    }
}

async fn close(wal: Wal) {
    // All that anybody was promised is durable.
    if let Err(error) = wal.close().await {
        tracing::warn!(%error, "the ledger");
    }
}
