//! ComplianceOps: the audit log is archived, and what was done with the store is reported
//! (docs/format/report.md).
//!
//! ```text
//! AuditPrep ─▶ LogArchival ─▶ ComplianceCheck: verify the log ─▶ gather ─▶ Report ─▶ sign
//! ```

mod expired;
mod gather;
mod losses;
mod period;
mod report;
mod signature;
mod states;

pub use period::Period;
pub use signature::{KeyFingerprint, SignatureError, verify_report};

use tapstone_packet::time::Timestamp;
use tapstone_runtime::clock;
use tapstone_runtime::file::FileError;

use crate::audit::{
    ArchiveError, ArchiveOptions, ArchivedFiles, AuditError, AuditRecord, AuditReport,
};
use crate::catalog::CatalogError;
use crate::keys::KeyError;
use crate::state::ComplianceOps as Step;
use crate::store::Store;
use signature::Signer;

/// How.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ComplianceOptions {
    /// What the report is about.
    pub period: Period,
    /// What of the audit log goes to the archive; `None` for nothing.
    pub archive: Option<ArchiveOptions>,
    /// What tells what the entries of the audit log mean; without it the report says nothing of
    /// them.
    pub summary: Option<Summary>,
}

/// Makes what sums up entries of the audit log, whose meaning is their writer's business.
#[derive(Clone, Copy, Debug)]
pub struct Summary(pub fn() -> Box<dyn Summarise>);

/// Sums up entries of the audit log.
pub trait Summarise {
    /// Takes the next record of the period.
    fn take(&mut self, record: &AuditRecord);
    /// What the report says of all of them.
    fn finish(self: Box<Self>) -> serde_json::Value;
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ComplianceReport {
    /// What went to the archive.
    pub archived: ArchivedFiles,
    /// The report: JSON (docs/format/report.md).
    pub report: Vec<u8>,
    /// Ed25519 over exactly these bytes.
    pub signature: Vec<u8>,
    /// The key that it is verified with, as PEM (SPKI).
    pub public_key: String,
    /// Whether the audit log is whole.
    pub is_sound: bool,
}

/// Why it cannot be done.
#[derive(Debug, thiserror::Error)]
pub enum ComplianceError {
    /// Something came that matters more.
    #[error("it was given up")]
    GivenUp,
    /// Nothing can lie in the period.
    #[error("a report is about a time, and this one ends where it begins, or before: give another")]
    EmptyPeriod,
    /// The audit log cannot be brought to a point.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// Not everything that is due could be archived.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The catalog cannot say what is kept, or what expired.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The key that signs cannot be had.
    #[error("the report cannot be signed: {0}")]
    Key(#[from] KeyError),
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
}

/// What the clock says.
fn now() -> Timestamp {
    Timestamp::from_nanos(i64::try_from(clock::unix_nanos()).unwrap_or(i64::MAX))
}

impl PartialEq for Summary {
    fn eq(&self, other: &Summary) -> bool {
        std::ptr::fn_addr_eq(self.0, other.0)
    }
}

impl Eq for Summary {}

/// It, under way.
#[derive(Debug)]
pub(super) struct Compliance {
    options: ComplianceOptions,
    archived: ArchivedFiles,
    report: Option<Box<ComplianceReport>>,
}

impl Compliance {
    pub(super) fn new(options: ComplianceOptions) -> Compliance {
        Compliance { options, archived: ArchivedFiles::default(), report: None }
    }

    /// Does one step; where it takes long, as long as `go_on` says so.
    pub(super) fn perform(
        &mut self,
        store: &Store,
        step: Step,
        go_on: &dyn Fn() -> bool,
    ) -> Result<(), ComplianceError> {
        match step {
            Step::AuditPrep if self.options.period.is_empty() => Err(ComplianceError::EmptyPeriod),
            Step::AuditPrep => Ok(store.inner.audit.close_file()?),
            Step::LogArchival => self.archive(store, go_on),
            Step::ComplianceCheck => self.check(store, go_on),
        }
    }

    fn archive(&mut self, store: &Store, go_on: &dyn Fn() -> bool) -> Result<(), ComplianceError> {
        if let Some(options) = &self.options.archive {
            self.archived = store.inner.audit.archive(options, now(), go_on)?;
            for path in &self.archived.files {
                tracing::info!("a file of the audit log was archived: {}", path.display());
            }
        }
        Ok(())
    }

    fn check(&mut self, store: &Store, go_on: &dyn Fn() -> bool) -> Result<(), ComplianceError> {
        let (audit, read) = self.verify(store, go_on)?;
        let layout = &store.inner.layout;
        let seed = store.inner.keys.report_key(&layout.report_key())?;
        let signer = Signer::new(&seed);
        signer.publish(&layout.report_public_key())?;
        let key = signer.fingerprint();
        let report = gather::gather(store, self.options.period, &audit, read, key)?;
        let report = report.to_bytes();
        self.report = Some(Box::new(ComplianceReport {
            archived: std::mem::take(&mut self.archived),
            signature: signer.sign(&report),
            report,
            public_key: signer.public_key(),
            is_sound: audit.is_sound(),
        }));
        Ok(())
    }

    /// Verifies the audit log, and sums up what the period has of it.
    fn verify(
        &self,
        store: &Store,
        go_on: &dyn Fn() -> bool,
    ) -> Result<(AuditReport, Option<serde_json::Value>), ComplianceError> {
        let mut summary = self.options.summary.map(|it| it.0());
        let period = self.options.period;
        let mut each = |record: &AuditRecord| {
            if let Some(summary) = summary.as_mut().filter(|_| period.contains(record.time)) {
                summary.take(record);
            }
            go_on()
        };
        let report = store.inner.audit.verify(&mut each)?.ok_or(ComplianceError::GivenUp)?;
        Ok((report, summary.map(|it| it.finish())))
    }

    /// What came of all steps.
    pub(super) fn report(&self) -> ComplianceReport {
        self.report.as_deref().cloned().expect("its last step is done")
    }
}
