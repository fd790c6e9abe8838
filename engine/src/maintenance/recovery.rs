//! Recovery: what was damaged is made good, and all of it is checked.

use crate::state::Recovery as Step;
use crate::store::Store;

/// How.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecoveryOptions {}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecoveryReport {}

/// Why it cannot be done.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    /// Something came that matters more.
    #[error("it was given up")]
    GivenUp,
}

/// It, under way.
#[derive(Debug)]
pub(super) struct Recovery {
    _options: RecoveryOptions,
    report: RecoveryReport,
}

impl Recovery {
    pub(super) fn new(options: RecoveryOptions) -> Recovery {
        Recovery { _options: options, report: RecoveryReport::default() }
    }

    /// Does one step; where it takes long, as long as `go_on` says so.
    pub(super) fn perform(
        &mut self,
        _store: &Store,
        step: Step,
        go_on: &dyn Fn() -> bool,
    ) -> Result<(), RecoveryError> {
        let _ = step;
        if go_on() { Ok(()) } else { Err(RecoveryError::GivenUp) }
    }

    /// What came of all steps.
    pub(super) fn report(&self) -> RecoveryReport {
        self.report.clone()
    }
}
