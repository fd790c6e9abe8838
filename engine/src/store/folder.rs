//! A store's folder: made, and found again.

use std::ffi::OsStr;
use std::io::ErrorKind;

use tapstone_runtime::file::FileError;
use tapstone_runtime::{blocking, random_bytes};

use super::OpenError;
use crate::erase;
use crate::id::StoreId;
use crate::keys::KeyRing;
use crate::layout::Layout;
use crate::store_file;

/// Makes the folders that are missing, durably.
pub(super) fn prepare_folder(layout: &Layout, create: bool) -> Result<(), OpenError> {
    let root = layout.root();
    if blocking::file_len(&layout.restoring())?.is_some() {
        return Err(OpenError::Restoring(root.to_owned()));
    }
    let is_store = blocking::file_len(&layout.store_file())?.is_some();
    if !is_store {
        if !create {
            return Err(OpenError::NoStore(root.to_owned()));
        }
        let names = blocking::list_dir(root)?;
        if !names.iter().all(|name| is_of_a_beginning(name)) {
            return Err(OpenError::NotAStore(root.to_owned()));
        }
        blocking::create_dir(root)?;
    }
    // What is found under a name is built upon, so every name must survive a power cut: one that
    // was given right before the last process ended may not yet.
    match blocking::sync_parent(root) {
        // Whoever may only pass through it did not make it a moment ago.
        Err(error) if error.source.kind() == ErrorKind::PermissionDenied => {}
        synced => synced?,
    }
    blocking::sync_dir(root)?;
    for folder in [layout.keys(), layout.segments(), layout.splits(), layout.wal()] {
        blocking::create_dir(&folder)?;
        blocking::sync_dir(&folder)?;
    }
    Ok(())
}

/// Whether a file or folder may be there when the power went while a store was being made.
fn is_of_a_beginning(name: &OsStr) -> bool {
    let name = name.to_str().unwrap_or_default();
    let name = name.strip_suffix(".new").unwrap_or(name);
    ["lock", "store", "master.key", "keys", "segments", "splits", "wal"].contains(&name)
}

/// Makes a new store; the file that says what store it is comes last, so that a store that has it
/// is whole.
pub(super) fn make_store(layout: &Layout) -> Result<StoreId, OpenError> {
    if blocking::file_len(&layout.master_key())?.is_none() {
        KeyRing::create(&layout.master_key())?;
    }
    let id = StoreId(random_bytes());
    store_file::write(&layout.store_file(), id)?;
    Ok(id)
}

pub(super) fn forget_what_can_be_rebuilt(layout: &Layout) -> Result<(), FileError> {
    blocking::remove(&layout.catalog())?;
    for name in blocking::list_dir(&layout.splits())? {
        erase::leftover(&layout.splits().join(name))?;
    }
    blocking::remove_dir(&layout.names())
}
