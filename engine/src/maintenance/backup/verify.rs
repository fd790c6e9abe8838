//! VerifyIntegrity: what came is read back, opened and hashed, as a check of the store would; then it
//! is a backup.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use tapstone_runtime::blocking::{self, ReadFile};
use tapstone_runtime::clock;
use tapstone_runtime::file::FileError;

use super::manifest::{FOLDERS, Listed, Manifest};
use super::snapshot::{Snapshot, Taken, Way};
use super::{BackupError, BackupReport, ask, hash};
use crate::catalog::{Catalog, SegmentRow};
use crate::check::{CheckReport, Checker, Damage};
use crate::id::SegmentId;
use crate::keys::KeyRing;
use crate::layout::Layout;
use crate::ledger;
use crate::pace::{GivenUp, Pace};
use crate::segment::reader;
use crate::store::Store;
use crate::store_file;

impl Snapshot {
    /// Verifies what came, and makes a backup of it. What the backup before has was verified when it
    /// came there, and is not read again: whoever restores it reads all of it.
    pub(super) fn verify(
        mut self,
        store: &Store,
        go_on: &dyn Fn() -> bool,
    ) -> Result<BackupReport, BackupError> {
        let path = self.partial.path();
        let layout = Layout::new(&path);
        let id = store_file::read(&layout.store_file())?;
        if id != Some(store.id()) {
            return Err(copy_is_damaged(&layout.store_file(), "it says another store"));
        }
        let rows = rows_of(&layout.catalog())?;
        // The keys as they are in the copy.
        let keys = store.inner.keys.over(&layout.keys());
        keys.unwrap_all()?;
        let mut manifest = Manifest::new(store.id(), self.taken_nanos);
        let mut verifying = Verifying {
            checker: Checker { layout: &layout, keys: &keys, store: store.id() },
            original: &store.inner.layout,
            rows: &rows,
            keys: &keys,
            read: BTreeSet::new(),
            pace: Pace::new(100, go_on),
            report: CheckReport::default(),
        };
        for taken in &mut self.taken {
            ask(go_on)?;
            let listed = verifying.file(taken)?;
            taken.bytes = listed.bytes;
            manifest.files.push(listed);
            verifying.count(&taken.path, &mut manifest);
        }
        verifying.look_for_gaps(&self.taken);
        verifying.checker.check_audit(&mut verifying.report);
        verifying.report.damage.extend(ledger::damage_of(&layout, store.id()));
        let damage = verifying.of_the_store(&self.taken)?;
        manifest.damage = damage.iter().map(ToString::to_string).collect();
        manifest.written_nanos = clock::unix_nanos();
        manifest.files.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        for folder in FOLDERS {
            blocking::sync_dir(&path.join(folder))?;
        }
        ask(go_on)?;
        manifest.write(&path)?;
        let mut report = report(&manifest, &self.taken, damage);
        report.path = self.partial.finish()?;
        Ok(report)
    }
}

/// What a copy of the catalog has. Opening it may change it, so it is made durable once more.
fn rows_of(path: &Path) -> Result<BTreeMap<SegmentId, SegmentRow>, BackupError> {
    let rows = Catalog::open(path)?.segments()?.rows.clone();
    blocking::cut(path, blocking::file_len(path)?.unwrap_or(0))?;
    Ok(rows)
}

struct Verifying<'v> {
    checker: Checker<'v>,
    original: &'v Layout,
    /// What the copy of the catalog has.
    rows: &'v BTreeMap<SegmentId, SegmentRow>,
    keys: &'v KeyRing,
    /// Segments that were opened.
    read: BTreeSet<SegmentId>,
    pace: Pace<'v>,
    report: CheckReport,
}

impl Verifying<'_> {
    /// Reads a file of the backup, and opens segment and split where it is one of these; gives what the
    /// manifest says of it.
    fn file(&mut self, taken: &Taken) -> Result<Listed, BackupError> {
        let Taken { path, bytes, way } = taken.clone();
        if let Way::Carried(sha256) = &way {
            let sha256 = sha256.clone();
            return Ok(Listed { path, bytes, sha256 });
        }
        let file = self.checker.layout.root().join(&path);
        // Only what comes from the disk says what is on the disk. Splits that are shared with the store
        // stay: questions read them from memory.
        let from_disk = way == Way::Copied || sealed(&path).is_some();
        if from_disk {
            blocking::forget_cached(&file)?;
        }
        let (length, sha256) = hash::of_file(&file)?;
        if length != bytes && path != "catalog.redb" {
            return Err(copy_is_damaged(&file, "it has another length than what was copied"));
        }
        let fresh = segment_of(&path).filter(|id| self.read.insert(*id));
        if let Some(id) = fresh {
            self.segment(id)?;
        }
        if from_disk {
            blocking::forget_cached(&file)?;
        }
        Ok(Listed { path, bytes: length, sha256 })
    }

    /// A segment that has no row in the catalog has no split either.
    fn segment(&mut self, id: SegmentId) -> Result<(), GivenUp> {
        let (report, pace) = (&mut self.report, &mut self.pace);
        if let Some(row) = self.rows.get(&id) {
            return self.checker.check_sealed(id, row, pace, report);
        }
        let path = self.checker.layout.segment(id);
        match reader::open_sealed(&path, self.keys, self.checker.store) {
            Ok(segment) => self.checker.check_blocks(&segment, u32::MAX, pace, report),
            Err(error) => {
                report.add(path, None, error);
                Ok(())
            }
        }
    }

    /// Segments that the catalog knows and the store has not.
    fn look_for_gaps(&mut self, taken: &[Taken]) {
        let there: BTreeSet<_> = taken.iter().filter_map(|taken| sealed(&taken.path)).collect();
        for id in self.rows.keys().filter(|id| !there.contains(id)) {
            let what = "it is in the catalog, but its file is gone";
            self.report.add(self.checker.layout.segment(*id), None, what);
        }
    }

    fn count(&self, path: &str, manifest: &mut Manifest) {
        let Some(id) = sealed(path) else { return };
        let totals = self.rows.get(&id).map(|row| (row.packets, row.packet_bytes)).or_else(|| {
            let path = self.checker.layout.segment(id);
            let segment = reader::open_sealed(&path, self.keys, self.checker.store).ok()?;
            let totals = segment.map.totals(0);
            Some((totals.packets, totals.packet_bytes))
        });
        let (packets, bytes) = totals.unwrap_or_default();
        manifest.segments += 1;
        manifest.packets += packets;
        manifest.packet_bytes += bytes;
    }

    /// What is wrong, in the store's own files: each is what was copied, byte for byte, or else it is
    /// the copy that is damaged.
    fn of_the_store(&self, taken: &[Taken]) -> Result<Vec<Damage>, BackupError> {
        let root = self.checker.layout.root();
        let mut damage = self.report.damage.clone();
        for it in &mut damage {
            let Ok(path) = it.path.strip_prefix(root).map(Path::to_owned) else { continue };
            let own = self.original.root().join(&path);
            let copied = taken.iter().find(|taken| Path::new(&taken.path) == path);
            if copied.is_some_and(|taken| taken.way == Way::Copied) && !is_same(&own, &it.path) {
                return Err(BackupError::Damaged(it.clone()));
            }
            it.path = own;
        }
        Ok(damage)
    }
}

/// Whether a copy has what its original has, as far as it goes. One that is gone cannot be asked.
fn is_same(original: &Path, copy: &Path) -> bool {
    let compare = || {
        let (length, copied) = hash::of_file(copy)?;
        Ok::<_, FileError>(hash::of_beginning(&ReadFile::open(original)?, length)? == copied)
    };
    compare().unwrap_or(false)
}

fn sealed(path: &str) -> Option<SegmentId> {
    path.strip_prefix("segments/")?.strip_suffix(".seg")?.parse().ok()
}

/// The sealed segment that a file is, or is the split of.
fn segment_of(path: &str) -> Option<SegmentId> {
    let split = || path.strip_prefix("splits/")?.strip_suffix(".split")?.parse().ok();
    sealed(path).or_else(split)
}

fn copy_is_damaged(path: &Path, what: &str) -> BackupError {
    let (path, what) = (path.to_owned(), what.to_owned());
    BackupError::Damaged(Damage { path, offset: None, what })
}

fn report(manifest: &Manifest, taken: &[Taken], damage: Vec<Damage>) -> BackupReport {
    let mut report = BackupReport {
        path: PathBuf::new(),
        taken_nanos: manifest.taken_nanos,
        segments: manifest.segments,
        packets: manifest.packets,
        packet_bytes: manifest.packet_bytes,
        files: manifest.files.len() as u64,
        bytes: manifest.files.iter().map(|file| file.bytes).sum(),
        damage,
        ..BackupReport::default()
    };
    for Taken { bytes, way, .. } in taken {
        *match way {
            Way::Copied => &mut report.copied_bytes,
            Way::Shared => &mut report.shared_bytes,
            Way::Carried(_) => &mut report.carried_bytes,
        } += bytes;
    }
    report
}
