//! Backup: a copy of the store as it is at one moment.

use crate::state::Backup as Step;
use crate::store::Store;

/// How.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BackupOptions {}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BackupReport {}

/// Why it cannot be done.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// Something came that matters more.
    #[error("it was given up")]
    GivenUp,
}

/// It, under way.
#[derive(Debug)]
pub(super) struct Backup {
    _options: BackupOptions,
    report: BackupReport,
}

impl Backup {
    pub(super) fn new(options: BackupOptions) -> Backup {
        Backup { _options: options, report: BackupReport::default() }
    }

    /// Does one step; where it takes long, as long as `go_on` says so.
    pub(super) fn perform(
        &mut self,
        _store: &Store,
        step: Step,
        go_on: &dyn Fn() -> bool,
    ) -> Result<(), BackupError> {
        let _ = step;
        if go_on() { Ok(()) } else { Err(BackupError::GivenUp) }
    }

    /// What came of all steps.
    pub(super) fn report(&self) -> BackupReport {
        self.report.clone()
    }
}
