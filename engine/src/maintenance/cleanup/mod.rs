//! Cleanup: what has to go goes, so that nobody can read it, and nothing is left of it.

mod index;
mod unneeded;

use tapstone_runtime::file::FileError;

use crate::catalog::CatalogError;
use crate::retention::{ExpireError, ExpireReport, Expired, HeldBack, Retention};
use crate::state::Cleanup as Step;
use crate::store::Store;

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CleanupReport {
    /// Segments that retention asked to let go.
    pub due: u64,
    /// What went, by cause.
    pub gone: Vec<Expired>,
    /// Segments that had gone before, and whose files are gone now.
    pub finished: u64,
    /// Bytes of all files that were removed.
    pub given_back: u64,
    /// What would have gone, and holds keep.
    pub held_back: HeldBack,
    /// Days whose keys were destroyed, since nothing of them is left.
    pub keys_destroyed: u64,
    /// Indexes that belonged to no segment.
    pub splits: u64,
    /// Logs of segments that are gone, or indexed.
    pub logs: u64,
    /// Rows of the catalog about what is gone.
    pub rows: u64,
    /// Names that nothing in the store was found by any more.
    pub names: u64,
    /// Files that were being made when a crash came.
    pub leftovers: u64,
}

/// Why it cannot be done.
#[derive(Debug, thiserror::Error)]
pub enum CleanupError {
    /// Something came that matters more.
    #[error("cleanup was given up; what has gone by then is gone, the rest goes with the next one")]
    GivenUp,
    /// Segments cannot be let go.
    #[error(transparent)]
    Expire(#[from] ExpireError),
    /// The catalog refuses.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// A file or folder cannot be read or removed.
    #[error("cleanup: {0}")]
    File(#[from] FileError),
}

/// It, under way.
#[derive(Debug)]
pub(super) struct Cleanup {
    retention: Retention,
    report: CleanupReport,
}

impl Cleanup {
    pub(super) fn new(retention: Retention) -> Cleanup {
        Cleanup { retention, report: CleanupReport::default() }
    }

    /// Does one step; where it takes long, as long as `go_on` says so.
    pub(super) fn perform(
        &mut self,
        store: &Store,
        step: Step,
        go_on: &dyn Fn() -> bool,
    ) -> Result<(), CleanupError> {
        match step {
            Step::RetentionCheck => {
                let mut held = store.inner.expiring.lock().expect("no holder of the lock panics");
                let due = store.due(&self.retention, &mut held)?;
                self.report.due = due.segments.len() as u64;
                self.report.held_back = due.held_back;
            }
            // What has to go is looked at once more: a hold may have come since.
            Step::SecureDelete => self.report.add(store.let_go(&self.retention, go_on)?),
            Step::IndexCleanup => index::clean(store, &mut self.report, go_on)?,
        }
        if go_on() { Ok(()) } else { Err(CleanupError::GivenUp) }
    }

    /// What came of all steps.
    pub(super) fn report(&self) -> CleanupReport {
        self.report.clone()
    }
}

impl CleanupReport {
    fn add(&mut self, report: ExpireReport) {
        for expired in report.gone {
            match self.gone.iter_mut().find(|it| it.by == expired.by) {
                Some(sum) => *sum = sum.and(expired),
                None => self.gone.push(expired),
            }
        }
        self.held_back = report.held_back;
        self.given_back += report.given_back;
        self.finished += report.finished;
        self.keys_destroyed += report.keys_destroyed;
    }
}
