//! Cleanup: what has to go goes, so that nobody can read it.

use crate::state::Cleanup as Step;
use crate::store::Store;

use crate::retention::Retention;

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CleanupReport {}

/// Why it cannot be done.
#[derive(Debug, thiserror::Error)]
pub enum CleanupError {
    /// Something came that matters more.
    #[error("it was given up")]
    GivenUp,
}

/// It, under way.
#[derive(Debug)]
pub(super) struct Cleanup {
    _options: Retention,
    report: CleanupReport,
}

impl Cleanup {
    pub(super) fn new(options: Retention) -> Cleanup {
        Cleanup { _options: options, report: CleanupReport::default() }
    }

    /// Does one step; where it takes long, as long as `go_on` says so.
    pub(super) fn perform(
        &mut self,
        _store: &Store,
        step: Step,
        go_on: &dyn Fn() -> bool,
    ) -> Result<(), CleanupError> {
        let _ = step;
        if go_on() { Ok(()) } else { Err(CleanupError::GivenUp) }
    }

    /// What came of all steps.
    pub(super) fn report(&self) -> CleanupReport {
        self.report.clone()
    }
}
