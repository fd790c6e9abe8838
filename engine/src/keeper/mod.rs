//! Keeping a store: the half of the storage state machine that acts (docs/state-machine.md). What
//! is to be done is decided in [`crate::state`].
//!
//! ```text
//! measure.rs ── Gauges ──▶ judge ──▶ Machine::step ──▶ recorder.rs ──▶ DIR/ledger
//!                                        ▲     └──▶ Actions ──▶ works.rs    (what states stand for)
//!                                        └── done, failed ◀────────┘
//! Store::state, Store::watch_state ◀── board.rs
//! ```
//!
//! Two threads: one reads the gauges once a second, and decides; the other does what takes time,
//! and says what came of it. Neither keeps the store open, and neither keeps packets or questions
//! waiting.

mod board;
mod consequences;
mod measure;
mod recorder;
mod run;
mod task;
mod works;

use std::sync::Mutex;

use async_channel::Sender;
use tapstone_runtime::{StartError, Thread, memory, spawn_thread};

pub(crate) use board::Board;
pub use board::{StateReport, StateWatch};
use run::{Keeper, Told};

use crate::maintenance::{Chore, MaintainError, Maintained, Ordered};
use crate::retention::Retention;
use crate::state::{AwsLifecycle, Event, Occasion, ThresholdError, Thresholds, Transition};
use crate::store::Store;

/// What the thread may be behind with.
const QUEUE: usize = 64;

/// How to keep a store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeepOptions {
    /// From what on the gauges mean what, and how long things must last.
    pub thresholds: Thresholds,
    /// What retention keeps free, which is what room on the disk is measured against. Letting
    /// segments go is left to [`Store::expire`].
    pub retention: Retention,
}

/// Why a store cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    /// The thresholds make no sense.
    #[error("thresholds: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Thresholds(Vec<ThresholdError>),
    /// It is kept.
    #[error("the store is kept already; once is enough")]
    Kept,
    /// The threads cannot be started.
    #[error(transparent)]
    Start(#[from] StartError),
}

impl Store {
    /// Keeps the store from now on: once this returns, its state is known. It follows from what is measured, each transition is
    /// recorded, and what the states stand for is done. It ends when the store is closed. Large pieces
    /// of memory go back to the system as soon as the process frees them, from now on
    /// ([`memory::give_back_large`]).
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// use tapstone::{KeepOptions, OpenOptions, Store};
    ///
    /// let options = OpenOptions { create: true, ..OpenOptions::default() };
    /// let store = Store::open(folder.path(), options)?;
    /// store.keep(KeepOptions::default())?;
    /// let mut watch = store.watch_state();
    /// # futures_lite::future::block_on(async {
    /// let report = watch.changed().await.expect("the store is kept");
    /// println!("{}: {}", report.state, report.why);
    /// # });
    /// store.close()?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// When the thresholds make no sense, the store is kept already, or there can be no more
    /// threads.
    pub fn keep(&self, options: KeepOptions) -> Result<(), KeepError> {
        options.thresholds.check().map_err(KeepError::Thresholds)?;
        let mut running = self.keeper.running();
        if running.is_some() {
            return Err(KeepError::Kept);
        }
        // The gauge of memory is to show what is needed.
        memory::give_back_large();
        let (tell, told) = async_channel::bounded(QUEUE);
        // It must be able to outlive the handle that ends the thread.
        let store = Store { keeper: Default::default(), inner: self.inner.clone() };
        let keeper = Keeper::start(store, options, tell.clone()).map_err(StartError::Thread)?;
        let thread = spawn_thread("keeper", move || async move { keeper.run(&told) });
        let thread = thread.map_err(StartError::Thread)?;
        *running = Some(Running { tell, thread });
        Ok(())
    }

    /// The state that the store is in; where it is not kept, what was recorded last. `None` when
    /// nothing ever was.
    #[must_use]
    pub fn state(&self) -> Option<StateReport> {
        let kept = self.inner.board.report();
        kept.or_else(|| board::recorded(&self.inner.ledger.state().transitions))
    }

    /// The last transitions, in order: those that are in the ledger, and those that cannot be
    /// recorded now.
    #[must_use]
    pub fn state_history(&self) -> Vec<Transition> {
        let history = self.inner.board.history();
        if history.is_empty() { self.inner.ledger.state().transitions.into() } else { history }
    }

    /// Watches the state: the first change is how it is now, when the store is kept.
    #[must_use]
    pub fn watch_state(&self) -> StateWatch {
        Board::watch(&self.inner.board)
    }

    /// Tells the machine what the cloud says of the instance: that it is about to stop, say. Nothing
    /// comes of it where the store is not kept.
    pub fn tell_cloud(&self, said: AwsLifecycle) {
        if let Some(running) = &*self.keeper.running() {
            // A thread that is gone has told why.
            running.tell.send_blocking(Told::Event(Event::Cloud(said))).ok();
        }
    }

    /// Gives up the task that is under way, where the store is kept: whoever waits for it is told why. What
    /// it did by then stays done, or is undone, as the task has it.
    pub fn give_up_task(&self, why: &str) {
        if let Some(running) = &*self.keeper.running() {
            // A thread that is gone has told why.
            running.tell.send_blocking(Told::GiveUp(why.to_owned())).ok();
        }
    }

    /// Has the keeper do a task, and waits for it; `None` where nobody keeps the store.
    pub(crate) fn ask_keeper_for(
        &self,
        chore: &Chore,
        occasion: Occasion,
    ) -> Option<Result<Maintained, MaintainError>> {
        let tell = self.keeper.running().as_ref()?.tell.clone();
        let (done, answer) = async_channel::bounded(1);
        let ordered = Ordered { chore: chore.clone(), occasion, done };
        let sent = tell.send_blocking(Told::Ordered(ordered)).is_ok();
        // Or closing would wait for whoever waits here.
        drop(tell);
        let answer = if sent { answer.recv_blocking().ok() } else { None };
        Some(answer.unwrap_or(Err(MaintainError::Closed)))
    }
}

/// The thread, for as long as somebody has the store. Dropping it ends the thread, before what it
/// keeps is closed.
#[derive(Debug, Default)]
pub(crate) struct Handle(Mutex<Option<Running>>);

#[derive(Debug)]
struct Running {
    tell: Sender<Told>,
    thread: Thread,
}

impl Handle {
    fn running(&self) -> std::sync::MutexGuard<'_, Option<Running>> {
        self.0.lock().expect("no holder of the lock panics")
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        let Some(Running { tell, thread }) = self.running().take() else { return };
        tell.close();
        if thread.join().is_err() {
            tracing::error!("the keeper died; the ledger has what it recorded");
        }
    }
}
