//! A task under way: what it knows from one step to the next.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use async_channel::Sender;

use super::backup::Backup;
use super::cleanup::Cleanup;
use super::compliance::Compliance;
use super::recovery::Recovery;
use super::{Chore, MaintainError, Maintained};
use crate::state::{Maintenance, Occasion, Task};
use crate::store::Store;

/// A task that somebody wants and waits for.
#[derive(Debug)]
pub(crate) struct Ordered {
    pub(crate) chore: Chore,
    pub(crate) occasion: Occasion,
    pub(crate) done: Sender<Result<Maintained, MaintainError>>,
}

/// A task under way.
#[derive(Debug)]
pub(crate) struct Run {
    task: Task,
    work: Mutex<Work>,
    given_up: AtomicBool,
}

#[derive(Debug)]
enum Work {
    Backup(Backup),
    Cleanup(Cleanup),
    Recovery(Recovery),
    Compliance(Compliance),
}

impl Run {
    /// Nothing is done yet.
    pub(crate) fn new(chore: Chore) -> Run {
        let task = chore.task();
        let work = match chore {
            Chore::Backup(options) => Work::Backup(Backup::new(options)),
            Chore::Cleanup(retention) => Work::Cleanup(Cleanup::new(retention)),
            Chore::Recovery(options) => Work::Recovery(Recovery::new(options)),
            Chore::ComplianceOps(options) => Work::Compliance(Compliance::new(options)),
        };
        Run { task, work: Mutex::new(work), given_up: AtomicBool::new(false) }
    }

    pub(crate) fn task(&self) -> Task {
        self.task
    }

    /// Does one step; when it was the last, that is noted.
    pub(crate) fn perform(&self, store: &Store, step: Maintenance) -> Result<(), MaintainError> {
        self.do_step(store, step)?;
        if step.next_step().is_none() {
            store.note_done(self.task);
        }
        Ok(())
    }

    fn do_step(&self, store: &Store, step: Maintenance) -> Result<(), MaintainError> {
        let go_on = || !self.given_up.load(Ordering::Relaxed);
        let mut work = self.work.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match (&mut *work, step) {
            (Work::Backup(it), Maintenance::Backup(step)) => Ok(it.perform(store, step, &go_on)?),
            (Work::Cleanup(it), Maintenance::Cleanup(step)) => Ok(it.perform(store, step, &go_on)?),
            (Work::Recovery(it), Maintenance::Recovery(step)) => {
                Ok(it.perform(store, step, &go_on)?)
            }
            (Work::Compliance(it), Maintenance::ComplianceOps(step)) => {
                Ok(it.perform(store, step, &go_on)?)
            }
            (
                Work::Backup(_) | Work::Cleanup(_) | Work::Recovery(_) | Work::Compliance(_),
                Maintenance::Backup(_)
                | Maintenance::Cleanup(_)
                | Maintenance::Recovery(_)
                | Maintenance::ComplianceOps(_),
            ) => unreachable!("a step of {} in {}", step.task(), self.task),
        }
    }

    /// What came of it; all steps are done.
    pub(crate) fn finish(&self) -> Maintained {
        let work = self.work.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match &*work {
            Work::Backup(it) => Maintained::Backup(it.report()),
            Work::Cleanup(it) => Maintained::Cleanup(it.report()),
            Work::Recovery(it) => Maintained::Recovery(it.report()),
            Work::Compliance(it) => Maintained::ComplianceOps(it.report()),
        }
    }

    /// Nobody wants it any more: steps that take long look at it.
    pub(crate) fn give_up(&self) {
        self.given_up.store(true, Ordering::Relaxed);
    }
}
