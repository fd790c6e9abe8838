//! The file that says what store a folder is.

use std::path::{Path, PathBuf};

use tapstone_runtime::blocking;
use tapstone_runtime::file::FileError;
use zerocopy::byteorder::little_endian::{U16, U32};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::id::StoreId;

const MAGIC: [u8; 8] = *b"TAPSTONE";
/// The version of the folder's layout.
const VERSION: u16 = 1;

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy)]
#[repr(C)]
struct StoreFile {
    magic: [u8; 8],
    version: U16,
    reserved: [u8; 6],
    id: [u8; 16],
    zeros: [u8; 28],
    crc: U32,
}

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreFileError {
    /// It cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// It is damaged.
    #[error("{} is damaged: {what}; restore it from a backup of the store", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: &'static str,
    },
    /// A newer program made the store.
    #[error(
        "the store has version {version}, this program knows version {VERSION}; use a newer Tapstone"
    )]
    Version {
        /// The store's version.
        version: u16,
    },
}

impl StoreFile {
    fn checksum(&self) -> u32 {
        crc32c::crc32c(&self.as_bytes()[..size_of::<StoreFile>() - 4])
    }
}

/// The store's identity; `None` when there is no such file.
pub(crate) fn read(path: &Path) -> Result<Option<StoreId>, StoreFileError> {
    let Some(bytes) = blocking::read_file(path)? else { return Ok(None) };
    let damaged = |what| StoreFileError::Damaged { path: path.to_owned(), what };
    let file = StoreFile::read_from_bytes(&bytes).map_err(|_| damaged("its length is wrong"))?;
    if file.magic != MAGIC {
        return Err(damaged("it begins as something else"));
    }
    if file.crc.get() != file.checksum() {
        return Err(damaged("its checksum is wrong"));
    }
    if file.version.get() != VERSION {
        return Err(StoreFileError::Version { version: file.version.get() });
    }
    Ok(Some(StoreId(file.id)))
}

/// Writes it, durably.
pub(crate) fn write(path: &Path, id: StoreId) -> Result<(), FileError> {
    let mut file =
        StoreFile { magic: MAGIC, version: U16::new(VERSION), id: id.0, ..StoreFile::new_zeroed() };
    file.crc = U32::new(file.checksum());
    blocking::replace_file(path, file.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_store_is_refused_and_damage_is_told_from_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store");
        assert_eq!(read(&path).unwrap(), None);
        write(&path, StoreId([4; 16])).unwrap();
        assert_eq!(read(&path).unwrap(), Some(StoreId([4; 16])));
        let bytes = std::fs::read(&path).unwrap();
        let mut newer = StoreFile::read_from_bytes(&bytes).unwrap();
        newer.version = U16::new(VERSION + 1);
        std::fs::write(&path, newer.as_bytes()).unwrap();
        assert!(matches!(read(&path), Err(StoreFileError::Damaged { .. })));
        newer.crc = U32::new(newer.checksum());
        std::fs::write(&path, newer.as_bytes()).unwrap();
        assert!(matches!(read(&path), Err(StoreFileError::Version { version: 2 })));
    }
}
