//! MAINTENANCE: tasks that look after what is stored, each in the steps of the storage state machine
//! (docs/state-machine.md, "What the tasks of MAINTENANCE do").
//!
//! A store that is kept does one at a time, and gives it up where something comes that matters more;
//! a store that nobody keeps does it in place. Packets are stored and found meanwhile.
//!
//! ```text
//! Store::maintain ─▶ keeper: MAINTENANCE begins ─▶ Run::perform, step by step ─▶ Maintained
//! ```

mod backup;
mod cleanup;
mod compliance;
mod record;
mod recovery;
mod run;

pub use backup::{BackupError, BackupOptions, BackupReport, ManifestError};
pub(crate) use backup::{Hash, manifest};
pub use cleanup::{CleanupError, CleanupReport};
pub use compliance::{
    ComplianceError, ComplianceOptions, ComplianceReport, KeyFingerprint, Period, SignatureError,
    Summarise, Summary, verify_report,
};
pub(crate) use record::KeptRecord;
pub use recovery::{RecoveryError, RecoveryOptions, RecoveryReport};
pub(crate) use run::{Ordered, Run};

use crate::retention::Retention;
use crate::state::{Occasion, Task};
use crate::store::Store;

/// A task, and what it needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Chore {
    /// A copy of the store is made.
    Backup(BackupOptions),
    /// What has to go goes.
    Cleanup(Retention),
    /// What was damaged is made good, as far as it can be.
    Recovery(RecoveryOptions),
    /// The audit log is archived, and what was done with the store is reported.
    ComplianceOps(ComplianceOptions),
}

impl Chore {
    /// Which task it is.
    #[must_use]
    pub const fn task(&self) -> Task {
        match self {
            Chore::Backup(_) => Task::Backup,
            Chore::Cleanup(_) => Task::Cleanup,
            Chore::Recovery(_) => Task::Recovery,
            Chore::ComplianceOps(_) => Task::ComplianceOps,
        }
    }
}

/// What came of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Maintained {
    /// Of a backup.
    Backup(BackupReport),
    /// Of a cleanup.
    Cleanup(CleanupReport),
    /// Of a recovery.
    Recovery(RecoveryReport),
    /// Of a report.
    ComplianceOps(ComplianceReport),
}

/// Why a task was not done to its end.
#[derive(Debug, thiserror::Error)]
pub enum MaintainError {
    /// One at a time.
    #[error("{0} is under way; ask again when it is done")]
    UnderWay(Task),
    /// Something came that matters more.
    #[error("{task} gave way: {why}; ask again when that is over")]
    GaveWay {
        /// What was given up.
        task: Task,
        /// For what.
        why: String,
    },
    /// Nobody knows what came of it.
    #[error("the store was closed while the task was under way; look at its log")]
    Closed,
    /// A step made the program panic.
    #[error("it panicked (see the message before); please report that")]
    Panicked,
    /// The copy cannot be made.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// Not everything could go.
    #[error(transparent)]
    Cleanup(#[from] CleanupError),
    /// Something cannot be made good.
    #[error(transparent)]
    Recovery(#[from] RecoveryError),
    /// The report cannot be made.
    #[error(transparent)]
    ComplianceOps(#[from] ComplianceError),
}

impl MaintainError {
    /// Whether the same may be asked again in a while: something else came first.
    #[must_use]
    pub const fn is_over_soon(&self) -> bool {
        matches!(
            self,
            MaintainError::UnderWay(_)
                | MaintainError::GaveWay { .. }
                | MaintainError::Closed
                | MaintainError::Backup(BackupError::GivenUp)
                | MaintainError::Cleanup(CleanupError::GivenUp)
                | MaintainError::Recovery(RecoveryError::GivenUp)
                | MaintainError::ComplianceOps(ComplianceError::GivenUp)
        )
    }
}

impl Store {
    /// Does a task, and waits for what comes of it. Where the store is kept, the state machine is in
    /// MAINTENANCE meanwhile, and the task is given up where something comes that matters more.
    ///
    /// # Errors
    ///
    /// When another task is under way, something came that matters more, or a step failed: what it
    /// did by then stays done.
    pub fn maintain(&self, chore: Chore, occasion: Occasion) -> Result<Maintained, MaintainError> {
        if let Some(answer) = self.ask_keeper_for(&chore, occasion) {
            return answer;
        }
        let run = Run::new(chore);
        let steps = std::iter::successors(Some(run.task().first()), |it| it.next_step());
        for step in steps {
            run.perform(self, step)?;
        }
        Ok(run.finish())
    }
}
