//! Recovery: what was damaged and can be made anew is, and all of it is checked, while packets are
//! stored and found. What leads to packets is made of the segments; those are the truth.

mod index;
mod scrub;
mod state;

pub(super) use scrub::ScrubPlace;

use crate::catalog::CatalogError;
use crate::check::{CheckReport, Damage};
use crate::ledger::LedgerError;
use crate::pace::{GivenUp, Pace};
use crate::retention::ExpireError;
use crate::state::Recovery as Step;
use crate::store::Store;
use tapstone_runtime::file::FileError;

/// How.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecoveryOptions {
    /// For how many hundredths of the time it is at work, at the disk or on a core: 1 to 100.
    pub disk_share: u8,
}

impl Default for RecoveryOptions {
    /// A tenth.
    fn default() -> Self {
        RecoveryOptions { disk_share: 10 }
    }
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecoveryReport {
    /// What was wrong and is made good.
    pub mended: Vec<Damage>,
    /// What was looked at, and what is wrong still.
    pub check: CheckReport,
    /// Whether the pass over all segments was begun by an earlier task, which was given up; what that
    /// looked at and found is in here too.
    pub resumed: bool,
}

/// Why it cannot be done.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    /// Something came that matters more.
    #[error("the scrub was given up; the next one goes on where it was")]
    GivenUp,
    /// The catalog refuses.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// What had been let go cannot be removed.
    #[error(transparent)]
    Expire(#[from] ExpireError),
    /// The ledger cannot be made anew.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// A file or folder cannot be read.
    #[error("recovery: {0}")]
    File(#[from] FileError),
}

impl From<GivenUp> for RecoveryError {
    fn from(_: GivenUp) -> Self {
        RecoveryError::GivenUp
    }
}

/// It, under way.
#[derive(Debug)]
pub(super) struct Recovery {
    options: RecoveryOptions,
    report: RecoveryReport,
}

impl Recovery {
    pub(super) fn new(options: RecoveryOptions) -> Recovery {
        Recovery { options, report: RecoveryReport::default() }
    }

    /// Does one step; where it takes long, as long as `go_on` says so.
    pub(super) fn perform(
        &mut self,
        store: &Store,
        step: Step,
        go_on: &dyn Fn() -> bool,
    ) -> Result<(), RecoveryError> {
        let mut pace = Pace::new(self.options.disk_share, go_on);
        let report = &mut self.report;
        match step {
            Step::StateRestore => state::restore(store, &mut pace, report),
            Step::IndexRebuild => index::rebuild(store, &mut pace, report),
            Step::IntegrityVerify => scrub::verify(store, &mut pace, report),
        }
    }

    /// What came of all steps.
    pub(super) fn report(&self) -> RecoveryReport {
        self.report.clone()
    }
}

impl RecoveryReport {
    fn mended(&mut self, damage: impl IntoIterator<Item = Damage>) {
        for it in damage {
            tracing::warn!("{it}; it is made good");
            self.mended.push(it);
        }
    }
}
