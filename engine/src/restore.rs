//! Restoring: a store is made of a backup.
//!
//! What names a store comes last, and until it is whole the folder says that it is being restored:
//! a restore that was broken off is begun anew.

use std::path::{Path, PathBuf};

use tapstone_runtime::blocking::{self, RandomAccessFile, ReadFile};
use tapstone_runtime::file::FileError;
use tapstone_runtime::lock::{FolderLock, LockError};

use crate::check::Damage;
use crate::id::StoreId;
use crate::keys::{KeyError, KeyRing};
use crate::layout::Layout;
use crate::maintenance::manifest::{FILES, FOLDERS, Listed, Manifest};
use crate::maintenance::{Hash, ManifestError};
use crate::store::{OpenError, OpenOptions, Store};

/// Read and written at once.
const PIECE: usize = 1 << 20;
/// The file that says which store it is.
const STORE: &str = "store";
/// What restoring makes besides what the backup has; with that it may lie in the folder of a restore
/// that was broken off.
const MADE: [&str; 2] = ["master.key", "catalog.new"];

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestoreReport {
    /// Which store it is: the same as the one that the backup was made of.
    pub store: StoreId,
    /// What was acknowledged before is in it: nanoseconds since the epoch.
    pub taken_nanos: u64,
    /// Segments that were checked.
    pub segments: u64,
    /// Packets that were found in them.
    pub packets: u64,
    /// Packets that the backup says it has.
    pub expected_packets: u64,
    /// Files that were copied.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What is wrong: files that are not what the manifest says, and what a check of the store
    /// finds. Empty when all is well.
    pub damage: Vec<Damage>,
}

/// Why a backup cannot be restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// It is no backup, or none that can be used.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// There is something.
    #[error("{} is not empty; name a folder that is empty, or that does not exist", .0.display())]
    NotEmpty(PathBuf),
    /// Somebody restores there.
    #[error("the folder {0}")]
    InUse(#[from] LockError),
    /// There is too little room.
    #[error(
        "the store needs {needed} bytes and {} has {free}; make room there, or name another folder",
        folder.display()
    )]
    NoRoom {
        /// Where.
        folder: PathBuf,
        /// So much is needed.
        needed: u64,
        /// So much is there.
        free: u64,
    },
    /// The master key is not the store's, or cannot be read.
    #[error("{0}; nothing was restored")]
    Key(#[from] KeyError),
    /// A file cannot be read or written.
    #[error("restore: {0}; run it again, which begins anew")]
    File(#[from] FileError),
    /// What was restored cannot be opened.
    #[error("the restored store: {0}")]
    Open(#[from] OpenError),
}

/// Makes a store in an empty folder of a backup; `master_key` is the file of the key that the backup
/// does not have. What is damaged of the backup is restored as it is, and told.
///
/// The store has the identity of the one that the backup was made of.
///
/// # Errors
///
/// When the backup or the key cannot be used, the folder is not empty, or the disk refuses.
pub fn restore(
    backup: &Path,
    folder: &Path,
    master_key: &Path,
) -> Result<RestoreReport, RestoreError> {
    let manifest = Manifest::read(backup)?;
    let keys = KeyRing::of_any_mode(master_key, &Layout::new(backup).keys())?;
    keys.unwrap_all()?;
    let layout = Layout::new(folder);
    let bytes = manifest.files.iter().map(|file| file.bytes).sum();
    let damage = {
        let _lock = begin(&layout)?;
        look_for_room(folder, bytes)?;
        let mut damage = copy_all(&manifest, backup, &layout)?;
        KeyRing::copy(master_key, &layout.master_key())?;
        // What says which store it is comes last.
        for file in manifest.files.iter().filter(|file| file.path == STORE) {
            damage.extend(copy(file, backup, folder)?);
        }
        blocking::sync_dir(folder)?;
        blocking::remove(&layout.restoring())?;
        damage
    };
    check(&manifest, folder, bytes, damage)
}

/// Makes the folder, or goes on with one that a restore was broken off in.
fn begin(layout: &Layout) -> Result<FolderLock, RestoreError> {
    let root = layout.root();
    let is_broken_off = blocking::file_len(&layout.restoring())?.is_some();
    let names = blocking::list_dir(root)?;
    let is_ours = |name: &str| {
        // As replacing a file leaves it when the power goes.
        let whole = name.strip_suffix(".new").unwrap_or(name);
        let known = [&FOLDERS[..], &FILES, &MADE, &["names"]];
        let of_a_restore = [name, whole].iter().any(|it| known.iter().any(|all| all.contains(it)));
        ["lock", "restoring"].contains(&whole) || is_broken_off && of_a_restore
    };
    if !names.iter().all(|name| name.to_str().is_some_and(is_ours)) {
        return Err(RestoreError::NotEmpty(root.to_owned()));
    }
    blocking::create_dir(root)?;
    let lock = FolderLock::take(root)?;
    blocking::replace_file(&layout.restoring(), b"A backup is being restored here.\n")?;
    for name in FOLDERS {
        blocking::remove_dir(&root.join(name))?;
        blocking::create_dir(&root.join(name))?;
    }
    blocking::remove_dir(&layout.names())?;
    for name in FILES.iter().chain(&MADE) {
        blocking::remove(&root.join(name))?;
    }
    Ok(lock)
}

fn look_for_room(folder: &Path, needed: u64) -> Result<(), RestoreError> {
    match blocking::space(folder) {
        Some(space) if space.free < needed => {
            let (folder, free) = (folder.to_owned(), space.free);
            Err(RestoreError::NoRoom { folder, needed, free })
        }
        _ => Ok(()),
    }
}

/// Copies all but what says which store it is; gives what differs from what the manifest says.
fn copy_all(
    manifest: &Manifest,
    backup: &Path,
    layout: &Layout,
) -> Result<Vec<Damage>, RestoreError> {
    let mut damage = Vec::new();
    for file in manifest.files.iter().filter(|file| file.path != STORE) {
        damage.extend(copy(file, backup, layout.root())?);
    }
    for name in FOLDERS {
        blocking::sync_dir(&layout.root().join(name))?;
    }
    Ok(damage)
}

/// Copies a file, durably. One that is not what the manifest says is copied as it is, zeros in place of
/// what cannot be read: most of a store is found in spite of damage.
fn copy(file: &Listed, backup: &Path, folder: &Path) -> Result<Option<Damage>, FileError> {
    let (from, to) = (backup.join(&file.path), folder.join(&file.path));
    let damaged = |offset, what: String| Ok(Some(Damage { path: from.clone(), offset, what }));
    let opened = ReadFile::open(&from).and_then(|source| Ok((source.length()?, source)));
    let (length, source) = match opened {
        Ok(opened) => opened,
        Err(error) => return damaged(None, error.to_string()),
    };
    let (target, mut hash) = (RandomAccessFile::create_new(&to)?, Hash::new());
    let mut unreadable = None;
    for at in (0..length).step_by(PIECE) {
        let size = PIECE.min((length - at) as usize);
        let piece = source.read_at(at, size).unwrap_or_else(|error| {
            unreadable.get_or_insert((at, error));
            vec![0; size]
        });
        hash.update(&piece);
        let written = target.write_all_at(&piece, at);
        written.map_err(|error| FileError::new("write", &to, error).at(at))?;
    }
    target.sync_data().map_err(|error| FileError::new("sync", &to, error))?;
    if let Some((at, error)) = unreadable {
        return damaged(Some(at), error.to_string());
    }
    if length != file.bytes {
        return damaged(None, format!("it has {length} bytes, and {} were written", file.bytes));
    }
    match hash.finish() == file.sha256 {
        true => Ok(None),
        false => damaged(None, "its content is not what was written".to_owned()),
    }
}

/// Opens what was restored, which makes what is missing of splits and catalog, and checks all of it.
fn check(
    manifest: &Manifest,
    folder: &Path,
    bytes: u64,
    mut damage: Vec<Damage>,
) -> Result<RestoreReport, RestoreError> {
    let store = Store::open(folder, OpenOptions::default())?;
    let checked = store.check();
    damage.extend(checked.damage);
    if checked.packets != manifest.packets && damage.is_empty() {
        let (path, offset) = (folder.to_owned(), None);
        let what = format!("{} packets are there, and {} were", checked.packets, manifest.packets);
        damage.push(Damage { path, offset, what });
    }
    Ok(RestoreReport {
        store: store.id(),
        taken_nanos: manifest.taken_nanos,
        segments: checked.segments,
        packets: checked.packets,
        expected_packets: manifest.packets,
        files: manifest.files.len() as u64,
        bytes,
        damage,
    })
}
