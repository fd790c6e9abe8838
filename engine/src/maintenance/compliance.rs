//! ComplianceOps: the audit log is archived, and what was done with the store is reported.

use crate::state::ComplianceOps as Step;
use crate::store::Store;

/// How.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ComplianceOptions {}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ComplianceReport {}

/// Why it cannot be done.
#[derive(Debug, thiserror::Error)]
pub enum ComplianceError {
    /// Something came that matters more.
    #[error("it was given up")]
    GivenUp,
}

/// It, under way.
#[derive(Debug)]
pub(super) struct Compliance {
    _options: ComplianceOptions,
    report: ComplianceReport,
}

impl Compliance {
    pub(super) fn new(options: ComplianceOptions) -> Compliance {
        Compliance { _options: options, report: ComplianceReport::default() }
    }

    /// Does one step; where it takes long, as long as `go_on` says so.
    pub(super) fn perform(
        &mut self,
        _store: &Store,
        step: Step,
        go_on: &dyn Fn() -> bool,
    ) -> Result<(), ComplianceError> {
        let _ = step;
        if go_on() { Ok(()) } else { Err(ComplianceError::GivenUp) }
    }

    /// What came of all steps.
    pub(super) fn report(&self) -> ComplianceReport {
        self.report.clone()
    }
}
