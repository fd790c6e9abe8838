//! Checking a store: every checksum and every cross-reference.

mod sealed;

pub(crate) use sealed::is_row_of;

use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tapstone_runtime::file::FileError;
use tapstone_runtime::{block_on, blocking};
use tapstone_wal::{ScanEnd, read_folder};

use crate::audit::verify_audit;
use crate::catalog::Segments;
use crate::id::{SegmentId, StoreId};
use crate::keys::KeyRing;
use crate::layout::Layout;
use crate::pace::{GivenUp, Pace};
use crate::store::{Inner, Store};

/// What a check looked at and found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckReport {
    /// Segments read.
    pub segments: u64,
    /// Blocks opened.
    pub blocks: u64,
    /// Packets counted.
    pub packets: u64,
    /// Flows looked at.
    pub flows: u64,
    /// Records of the audit log read.
    pub audit_records: u64,
    /// What is wrong; empty when the store is sound.
    pub damage: Vec<Damage>,
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Damage {
    /// The file.
    pub path: PathBuf,
    /// Where in it, in bytes, where that can be said.
    pub offset: Option<u64>,
    /// What is wrong.
    pub what: String,
}

impl std::fmt::Display for Damage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.path.display())?;
        if let Some(offset) = self.offset {
            write!(f, " at offset {offset}")?;
        }
        write!(f, ": {}", self.what)
    }
}

impl CheckReport {
    pub(crate) fn add(&mut self, path: PathBuf, offset: Option<u64>, what: impl ToString) {
        self.damage.push(Damage { path, offset, what: what.to_string() });
    }

    /// Adds what another check found.
    pub(crate) fn extend(&mut self, other: CheckReport) {
        self.segments += other.segments;
        self.blocks += other.blocks;
        self.packets += other.packets;
        self.flows += other.flows;
        self.audit_records += other.audit_records;
        self.damage.extend(other.damage);
    }
}

impl Store {
    /// Reads everything and verifies it, once what a crash left is in order. Open segments are
    /// checked as far as they are durable.
    #[must_use]
    pub fn check(&self) -> CheckReport {
        self.wait_until_indexed();
        let mut report = CheckReport::default();
        for text in self.damage() {
            report.add(self.inner.layout.root().to_owned(), None, text);
        }
        let checked = self.check_all(&mut Pace::unbounded(), &mut report);
        checked.expect("nobody gives it up");
        report
    }

    fn check_all(&self, pace: &mut Pace<'_>, report: &mut CheckReport) -> Result<(), GivenUp> {
        for (id, row) in &self.check_catalog(report).rows {
            self.checker().check_sealed(*id, row, pace, report)?;
        }
        self.check_others(pace, report)
    }

    /// What the catalog has.
    pub(crate) fn check_catalog(&self, report: &mut CheckReport) -> Arc<Segments> {
        self.inner.catalog.segments().unwrap_or_else(|error| {
            report.add(self.inner.layout.catalog(), None, error);
            Arc::default()
        })
    }

    /// All but the segments that the catalog has.
    pub(crate) fn check_others(
        &self,
        pace: &mut Pace<'_>,
        report: &mut CheckReport,
    ) -> Result<(), GivenUp> {
        // In the order in which a segment wanders.
        let files = self.sealed_files();
        let without_row = self.segments_without_row();
        let rows = self.inner.catalog.segments().unwrap_or_default();
        let without_row: Vec<_> =
            without_row.into_iter().filter(|it| !rows.rows.contains_key(&it.id())).collect();
        let is_known =
            |id| rows.rows.contains_key(&id) || without_row.iter().any(|it| it.id() == id);
        match files {
            Ok(files) => {
                files.into_iter().filter(|id| !is_known(*id)).for_each(|id| {
                    self.check_unknown(id, report);
                });
            }
            Err(error) => report.add(self.inner.layout.segments(), None, error),
        }
        for segment in &without_row {
            let mut own = CheckReport::default();
            self.checker().check_blocks(segment, u32::MAX, pace, &mut own)?;
            // It may have been let go meanwhile.
            if own.damage.is_empty() || !self.is_gone(segment.id()) {
                report.extend(own);
            }
        }
        self.check_logs(report);
        pace.rest()?;
        self.checker().check_audit(report);
        pace.rest()?;
        report.damage.extend(block_on(self.inner.ledger.verify()));
        pace.rest()
    }

    /// A file that nobody knows, unless it is being removed.
    fn check_unknown(&self, id: SegmentId, report: &mut CheckReport) {
        let path = self.inner.layout.segment(id);
        let is_going = self.inner.catalog.expiring().is_ok_and(|it| it.contains(&id))
            || blocking::file_len(&path).is_ok_and(|length| length.is_none());
        if !is_going {
            let what = "it is not in the catalog; run: tapstone scrub, or tapstone rebuild";
            report.add(path, None, what);
        }
    }

    /// The segments that have the name of a sealed one.
    pub(crate) fn sealed_files(&self) -> Result<Vec<SegmentId>, FileError> {
        let names = blocking::list_dir(&self.inner.layout.segments())?.into_iter();
        Ok(names.filter_map(|name| name.to_str()?.strip_suffix(".seg")?.parse().ok()).collect())
    }

    fn check_logs(&self, report: &mut CheckReport) {
        let folder = self.inner.layout.wal();
        let files = match read_folder(&folder) {
            Ok(files) => files,
            Err(error) => return report.add(folder, None, error),
        };
        for file in files {
            if let Ok(scan) = &file.scan
                && let ScanEnd::Damaged { offset } = scan.end
            {
                report.add(file.path, Some(offset), "the log is damaged here");
            }
        }
    }

    /// Looks at what this store has.
    pub(crate) fn checker(&self) -> Checker<'_> {
        let Inner { layout, keys, id, .. } = &*self.inner;
        Checker { layout, keys, store: *id }
    }
}

/// Looks at the files of a store, which need not be open.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Checker<'c> {
    pub(crate) layout: &'c Layout,
    pub(crate) keys: &'c KeyRing,
    pub(crate) store: StoreId,
}

impl Checker<'_> {
    pub(crate) fn check_audit(&self, report: &mut CheckReport) {
        let layout = self.layout;
        match verify_audit(layout.root()) {
            Ok(audit) => {
                report.audit_records = audit.records;
                for it in &audit.breaks {
                    report.add(it.place.path.clone(), it.place.offset, it.text());
                }
                if audit.more_breaks > 0 {
                    let what = format!("{} more breaks", audit.more_breaks);
                    report.add(layout.audit(), None, what);
                }
            }
            Err(error) => report.add(layout.audit(), None, error),
        }
    }
}
