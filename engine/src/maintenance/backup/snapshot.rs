//! SnapshotInit: what is in the backup is settled.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Duration;

use tapstone_runtime::clock::Stopwatch;
use tapstone_runtime::file::FileError;
use tapstone_runtime::{blocking, clock};

use super::earlier::Earlier;
use super::partial::Partial;
use super::parts::{Names, Part, parts};
use super::{BackupError, ask};
use crate::layout::Layout;
use crate::log_files;
use crate::retention::Sparing;
use crate::store::Store;

/// How long splits that are being made are waited for. A backup without one is whole all the same:
/// it is made when the backup is restored.
const INDEXED_WITHIN: Duration = Duration::from_secs(30);
/// How often it is looked whether to go on.
const LOOK: Duration = Duration::from_millis(100);
/// How often what the ledger has in force is copied before it stays as it is for so long.
const LEDGER_TRIES: usize = 10;

/// A backup under way.
#[derive(Debug)]
pub(super) struct Snapshot {
    /// Until they are taken.
    pub(super) sparing: Sparing,
    pub(super) partial: Partial,
    pub(super) taken_nanos: u64,
    /// What is to be taken.
    pub(super) parts: Vec<Part>,
    /// What the backup before has.
    pub(super) earlier: Option<Earlier>,
    /// What is there, but for the manifest.
    pub(super) taken: Vec<Taken>,
}

/// A file that is in the backup.
#[derive(Clone, Debug)]
pub(super) struct Taken {
    pub(super) path: String,
    pub(super) bytes: u64,
    pub(super) way: Way,
}

/// How it came there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Copied,
    /// The store has the same file.
    Shared,
    /// The backup before has the same file, and gave it this hash.
    Carried(String),
}

impl Snapshot {
    /// Seals what was acknowledged, copies what changes, and lists what does not.
    ///
    /// Open segments are sealed rather than copied as far as they go: a sealed segment is never written
    /// again, so it can be shared and taken over from one backup to the next, and needs no log.
    pub(super) fn begin(
        store: &Store,
        folder: &Path,
        go_on: &dyn Fn() -> bool,
    ) -> Result<Snapshot, BackupError> {
        let inner = &store.inner;
        if is_within(folder, inner.layout.root())? {
            return Err(BackupError::Inside(folder.to_owned()));
        }
        blocking::create_dir(folder)?;
        let taken_nanos = clock::unix_nanos();
        let partial = Partial::begin(folder, inner.id, taken_nanos)?;
        let first = inner.next_sequence.load(Ordering::Relaxed);
        store.flush()?;
        store.seal_early()?;
        wait_for_builders(store, go_on)?;
        let copy = Copying { from: &inner.layout, to: partial.path(), taken: Vec::new() };
        let (parts, sparing) = {
            // Nothing expires between the two.
            let _held = inner.expiring.lock().expect("no holder of the lock panics");
            inner.catalog.copy_to(&copy.to.join("catalog.redb"))?;
            let parts = parts(&names(&inner.layout)?, first);
            let segments: BTreeSet<_> = parts.iter().filter_map(|part| part.segment).collect();
            (parts, Sparing::new(&inner.spared, segments))
        };
        let taken = copy.what_changes()?;
        let earlier = Earlier::find(folder, inner.id)?;
        let snapshot = Snapshot { sparing, partial, taken_nanos, parts, earlier, taken };
        snapshot.look_for_room(&inner.layout, folder)?;
        Ok(snapshot)
    }

    /// Whether there is room for what cannot be shared.
    fn look_for_room(&self, layout: &Layout, folder: &Path) -> Result<(), BackupError> {
        let Some(space) = blocking::space(folder) else { return Ok(()) };
        let can_share = self.can_share(layout)?;
        let mut needed = 0;
        for part in self.parts.iter().filter(|part| !(part.may_share && can_share)) {
            let source = layout.root().join(&part.path);
            let is_there = match &self.earlier {
                Some(earlier) => earlier.same(&part.path, &source)?.is_some(),
                None => false,
            };
            if !is_there {
                needed += blocking::file_len(&source)?.unwrap_or(0);
            }
        }
        match space.free {
            free if free < needed => {
                Err(BackupError::NoRoom { folder: folder.to_owned(), needed, free })
            }
            _ => Ok(()),
        }
    }

    /// Whether the backup can share files with the store.
    fn can_share(&self, layout: &Layout) -> Result<bool, FileError> {
        let probe = self.partial.path().join("probe");
        let can_share = blocking::link(&layout.store_file(), &probe)?;
        blocking::remove(&probe)?;
        Ok(can_share)
    }
}

/// Whether a folder, which need not be there yet, is another one or lies in it.
fn is_within(folder: &Path, other: &Path) -> Result<bool, FileError> {
    for above in folder.ancestors().filter(|it| !it.as_os_str().is_empty()) {
        if blocking::file_len(above)?.is_some() {
            return Ok(blocking::real_path(above)?.starts_with(blocking::real_path(other)?));
        }
    }
    Ok(blocking::real_path(".".as_ref())?.starts_with(blocking::real_path(other)?))
}

/// Waits until what a crash left is finished, which changes its files, and for a while until what
/// was sealed has its splits.
fn wait_for_builders(store: &Store, go_on: &dyn Fn() -> bool) -> Result<(), BackupError> {
    let (waited, unindexed) = (Stopwatch::start(), &store.inner.unindexed);
    loop {
        ask(go_on)?;
        match unindexed.in_work() {
            (0, 0) => return Ok(()),
            (_, 0) if waited.elapsed() >= INDEXED_WITHIN => return Ok(()),
            _ => unindexed.wait_within(LOOK),
        }
    }
}

/// What there is of what is never written again.
fn names(layout: &Layout) -> Result<Names, FileError> {
    let mut audit = audit_files(layout)?;
    // The last one is written on.
    audit.pop();
    Ok(Names {
        segments: listed(&layout.segments())?,
        splits: listed(&layout.splits())?,
        logs: listed(&layout.wal())?,
        audit,
    })
}

fn listed(folder: &Path) -> Result<Vec<String>, FileError> {
    let names = blocking::list_dir(folder)?.into_iter();
    Ok(names.filter_map(|name| name.into_string().ok()).collect())
}

/// Of the audit log, what is not in the archive, in order.
fn audit_files(layout: &Layout) -> Result<Vec<String>, FileError> {
    let files = log_files::files(&layout.audit())?.into_iter();
    Ok(files.filter_map(|(_, path)| Some(path.file_name()?.to_str()?.to_owned())).collect())
}

/// Copies the small files that change, each as it is at some moment after everything was sealed.
struct Copying<'s> {
    from: &'s Layout,
    to: PathBuf,
    taken: Vec<Taken>,
}

impl Copying<'_> {
    fn what_changes(mut self) -> Result<Vec<Taken>, BackupError> {
        let (from, to) = (self.from, self.to.clone());
        let bytes = blocking::file_len(&to.join("catalog.redb"))?.unwrap_or(0);
        self.taken.push(Taken { path: "catalog.redb".to_owned(), bytes, way: Way::Copied });
        self.audit()?;
        self.ledger()?;
        for name in listed(&from.keys())?.iter().filter(|name| name.ends_with(".key")) {
            self.copy(&format!("keys/{name}"))?;
        }
        // The mark says what of the audit log is in the archive, and so not here.
        for name in ["audit.mark", "report.key", "report.pem"] {
            if blocking::file_len(&from.root().join(name))?.is_some() {
                self.copy(name)?;
            }
        }
        self.copy("store")?;
        Ok(self.taken)
    }

    /// The head first: the log reached it at least.
    fn audit(&mut self) -> Result<(), FileError> {
        if blocking::file_len(&self.from.audit_head())?.is_some() {
            self.copy("audit.head")?;
        }
        match audit_files(self.from)?.pop() {
            Some(last) => self.copy(&format!("audit/{last}")),
            None => Ok(()),
        }
    }

    /// What the ledger has in force: its head, and the files that were there while the head stayed
    /// as it is. A new head may have removed the file of the one before.
    fn ledger(&mut self) -> Result<(), FileError> {
        let head = || blocking::read_file(&self.from.ledger_head());
        let mut before = head()?;
        for tries in 1.. {
            let copied = self.ledger_files();
            let after = head()?;
            match copied {
                Ok(files) if after == before || tries == LEDGER_TRIES => {
                    self.taken.extend(files);
                    break;
                }
                Err(error) if after == before || !error.is_not_found() => return Err(error),
                _ => {}
            }
            let ledger = self.to.join("ledger");
            blocking::remove_dir(&ledger)?;
            blocking::create_dir(&ledger)?;
            before = after;
        }
        if let Some(head) = before {
            blocking::replace_file(&self.to.join("ledger.head"), &head)?;
            let bytes = head.len() as u64;
            self.taken.push(Taken { path: "ledger.head".to_owned(), bytes, way: Way::Copied });
        }
        Ok(())
    }

    fn ledger_files(&self) -> Result<Vec<Taken>, FileError> {
        let mut taken = Vec::new();
        for (number, path) in log_files::files(&self.from.ledger())? {
            let to = log_files::file(&self.to.join("ledger"), number);
            let bytes = blocking::file_len(&path)?.unwrap_or(0);
            blocking::copy(&path, &to, bytes, &|| true)?;
            let name = to.file_name().unwrap_or_default().display();
            taken.push(Taken { path: format!("ledger/{name}"), bytes, way: Way::Copied });
        }
        Ok(taken)
    }

    /// As much as there is now.
    fn copy(&mut self, path: &str) -> Result<(), FileError> {
        let from = self.from.root().join(path);
        let bytes = blocking::file_len(&from)?.unwrap_or(0);
        blocking::copy(&from, &self.to.join(path), bytes, &|| true)?;
        self.taken.push(Taken { path: path.to_owned(), bytes, way: Way::Copied });
        Ok(())
    }
}
