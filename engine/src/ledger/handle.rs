//! The ledger of an open store.

use std::sync::{Arc, Mutex};

use async_channel::{Receiver, Sender, TrySendError};
use tapstone_runtime::file::FileError;
use tapstone_runtime::{StartError, Thread, spawn_thread};

use super::read::read;
use super::record::Record;
use super::state::State;
use super::writer::{Context, Request, Writer};
use crate::check::Damage;
use crate::shard::Inbox;
use crate::unindexed::Unindexed;

/// Requests that wait for the thread; more, and asking waits.
const QUEUE: usize = 64;

/// Why something could not be recorded in the ledger.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LedgerError {
    /// The disk refused. Whether it is in force shows when the store is opened again.
    #[error(
        "the ledger cannot be written: {0}; try again, or open the store again to see what is in \
         force"
    )]
    Unwritable(FileError),
    /// More is to be recorded than the disk takes.
    #[error("the ledger has too much to write: the disk is slow; try again")]
    Busy,
    /// The store was closed.
    #[error(
        "the ledger is closed: the store was closed, or its thread died (see its panic message); \
         open the store again"
    )]
    Closed,
}

/// The ledger and its thread. Dropping it records what waits, and ends the thread.
#[derive(Debug)]
pub(crate) struct Running {
    state: Arc<Mutex<State>>,
    requests: Sender<Request>,
    thread: Option<Thread>,
}

impl Running {
    /// Reads what is in force, tells what is wrong with it, and starts the thread, which writes
    /// nothing before there is something to record.
    pub(crate) fn start(context: Context, unindexed: &Unindexed) -> Result<Running, StartError> {
        let found = read(&context.layout, context.store);
        let tell = |it: &Damage| format!("ledger: {it}; what can be read of it is in force");
        unindexed.tell(found.damage.iter().map(tell));
        if found.state.in_doubt {
            let text = "holds may be missing, so nothing is let go: look at them (tapstone hold \
                        list), add what is missing, and then run: tapstone hold accept";
            unindexed.tell([text.to_owned()]);
        }
        let state = Arc::new(Mutex::new(found.state.clone()));
        let written = Arc::clone(&state);
        let (requests, queue) = async_channel::bounded(QUEUE);
        let thread = spawn_thread("ledger", move || async move {
            let queue = Inbox(queue);
            Writer::new(context, &found, written).run(&queue.0).await;
        });
        let thread = Some(thread.map_err(StartError::Thread)?);
        Ok(Running { state, requests, thread })
    }

    /// What is in force now.
    pub(crate) fn state(&self) -> State {
        self.state.lock().expect("no holder of the lock panics").clone()
    }

    /// Puts a record in force; it survives a power cut when this is done.
    pub(crate) async fn record(&self, record: Record) -> Result<(), LedgerError> {
        let (done, answer) = async_channel::bounded(1);
        let request = Request::Record(record, done);
        self.requests.send(request).await.map_err(|_| LedgerError::Closed)?;
        answer.recv().await.unwrap_or(Err(LedgerError::Closed))
    }

    /// Asks for a record to be put in force; the answer comes when it is. Nobody waits here.
    pub(crate) fn ask(
        &self,
        record: Record,
    ) -> Result<Receiver<Result<(), LedgerError>>, LedgerError> {
        let (done, answer) = async_channel::bounded(1);
        match self.requests.try_send(Request::Record(record, done)) {
            Ok(()) => Ok(answer),
            Err(TrySendError::Full(_)) => Err(LedgerError::Busy),
            Err(TrySendError::Closed(_)) => Err(LedgerError::Closed),
        }
    }

    /// Takes nothing more.
    #[cfg(test)]
    pub(crate) fn close(&self) {
        self.requests.close();
    }

    /// Puts all that is in force on the disk anew, in place of what is damaged there.
    pub(crate) async fn renew(&self) -> Result<(), LedgerError> {
        let (done, answer) = async_channel::bounded(1);
        self.requests.send(Request::Renew(done)).await.map_err(|_| LedgerError::Closed)?;
        answer.recv().await.unwrap_or(Err(LedgerError::Closed))
    }

    /// What is wrong with what is on the disk.
    pub(crate) async fn verify(&self) -> Vec<Damage> {
        let (done, answer) = async_channel::bounded(1);
        // A thread that is gone has told why.
        self.requests.send(Request::Verify(done)).await.ok();
        answer.recv().await.unwrap_or_default()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.requests.close();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the ledger's thread died; what was acknowledged is in force");
        }
    }
}
