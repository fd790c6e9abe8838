//! The folder that a backup is made in, until it is whole.

use std::path::{Path, PathBuf};

use tapstone_packet::time::Timestamp;
use tapstone_runtime::blocking;
use tapstone_runtime::file::FileError;
use tapstone_runtime::lock::FolderLock;

use super::BackupError;
use super::manifest::FOLDERS;
use crate::id::StoreId;
use crate::query::format_instant;

/// What its name ends in.
const PARTIAL: &str = ".partial";

/// A backup under way. It is removed when it is dropped, unless it was finished.
#[derive(Debug)]
pub(super) struct Partial {
    /// Where backups are.
    folder: PathBuf,
    name: String,
    is_finished: bool,
    /// One backup at a time is made there. Given free when what is left of this one is gone.
    _lock: FolderLock,
}

impl Partial {
    /// Takes hold of the folder, removes what was never finished there, and makes a new one.
    pub(super) fn begin(
        folder: &Path,
        store: StoreId,
        taken_nanos: u64,
    ) -> Result<Partial, BackupError> {
        let lock = FolderLock::take(folder)?;
        for left in blocking::list_dir(folder)? {
            if left.to_str().is_some_and(is_partial) {
                tracing::info!("{} was never finished, and goes", folder.join(&left).display());
                blocking::remove_dir(&folder.join(left))?;
            }
        }
        let name = free_name(folder, store, taken_nanos)?;
        let partial = Partial { folder: folder.to_owned(), name, is_finished: false, _lock: lock };
        blocking::create_dir(&partial.path())?;
        for inner in FOLDERS {
            blocking::create_dir(&partial.path().join(inner))?;
        }
        Ok(partial)
    }

    /// Where it is now.
    pub(super) fn path(&self) -> PathBuf {
        self.folder.join(format!("{}{PARTIAL}", self.name))
    }

    /// Gives it its name, durably: it is a backup from then on. Gives where it is.
    pub(super) fn finish(mut self) -> Result<PathBuf, FileError> {
        let path = self.folder.join(&self.name);
        blocking::rename(&self.path(), &path)?;
        self.is_finished = true;
        Ok(path)
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if self.is_finished {
            return;
        }
        // The next backup tries again.
        if let Err(error) = blocking::remove_dir(&self.path()) {
            tracing::warn!(%error, "what there is of a backup that was not finished takes up room");
        }
    }
}

fn is_partial(name: &str) -> bool {
    name.strip_suffix(PARTIAL).is_some_and(is_name)
}

/// Whether a folder's name is a backup's.
fn is_name(name: &str) -> bool {
    let Some((stamp, store)) = name.split_once('-') else { return false };
    stamp.len() == 20 && stamp.ends_with('Z') && store.len() == 8
}

/// Names sort by time: `20261127T083000.123Z-0123abcd`, the end being the store's.
fn name_of(store: StoreId, nanos: u64) -> String {
    let text = format_instant(Timestamp::from_attos(i128::from(nanos) * 1_000_000_000));
    let mut stamp: String = text.chars().filter(|it| !"-:Z".contains(*it)).collect();
    stamp.truncate("20261127T083000.123".len());
    format!("{stamp}Z-{}", suffix(store))
}

/// What the names of a store's backups end in.
fn suffix(store: StoreId) -> String {
    store.to_string()[..8].to_owned()
}

/// The names of a store's backups in a folder, the newest first.
pub(super) fn names_of(folder: &Path, store: StoreId) -> Result<Vec<String>, FileError> {
    let names = blocking::list_dir(folder)?.into_iter().rev();
    let names = names.filter_map(|name| name.into_string().ok());
    Ok(names.filter(|name| is_name(name) && name.ends_with(&suffix(store))).collect())
}

/// A name that nothing has yet.
fn free_name(folder: &Path, store: StoreId, nanos: u64) -> Result<String, FileError> {
    let taken = names_of(folder, store)?;
    let mut names = (0..).map(|millis| name_of(store, nanos + millis * 1_000_000));
    Ok(names.find(|name| !taken.contains(name)).expect("time goes on"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STORE: StoreId = StoreId([0xab; 16]);

    #[test]
    fn names_sort_by_time_and_say_whose_they_are() {
        let nanos = 1_700_000_000_123_456_789;
        let name = name_of(STORE, nanos);
        assert_eq!(name, "20231114T221320.123Z-abababab");
        assert!(is_name(&name) && is_partial(&format!("{name}.partial")));
        assert!(name < name_of(STORE, nanos + 1_000_000));
        for other in ["lock", "a-b", "x.partial", "20231114T221320.123Z-abababab.partial.partial"] {
            assert!(!is_partial(other) && !is_name(other), "{other}");
        }
    }

    #[test]
    fn what_was_never_finished_goes_and_what_was_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = {
            let partial = Partial::begin(dir.path(), STORE, 5_000_000).unwrap();
            let again = Partial::begin(dir.path(), STORE, 5_000_000).unwrap_err();
            assert!(matches!(again, BackupError::Folder(_)), "{again}");
            partial.path()
        };
        assert_eq!(blocking::list_dir(dir.path()).unwrap(), ["lock"], "dropped, and removed");
        // As a kill leaves it; and what others have there is theirs.
        std::fs::create_dir_all(path.join("segments")).unwrap();
        std::fs::create_dir(dir.path().join("mine.partial")).unwrap();
        let first = Partial::begin(dir.path(), STORE, 5_000_000).unwrap().finish().unwrap();
        let second = Partial::begin(dir.path(), STORE, 5_000_000).unwrap().finish().unwrap();
        let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
        let names = names_of(dir.path(), STORE).unwrap();
        assert_eq!(names, [name(&second), name(&first)], "the newest first");
        assert_eq!(names_of(dir.path(), StoreId([1; 16])).unwrap(), Vec::<String>::new());
        assert!(dir.path().join("mine.partial").try_exists().unwrap());
        assert!(!path.try_exists().unwrap());
    }
}
