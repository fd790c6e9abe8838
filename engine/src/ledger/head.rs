//! The file that says which file is in force, and how far it reaches (docs/format/ledger.md, "The
//! head").

use std::path::Path;

use tapstone_runtime::blocking;
use tapstone_runtime::file::FileError;
use tapstone_wal::Lsn;
use zerocopy::byteorder::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::id::StoreId;

const MAGIC: [u8; 8] = *b"TAPSTLEH";
const VERSION: u16 = 1;

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy)]
#[repr(C)]
struct HeadFile {
    magic: [u8; 8],
    version: U16,
    reserved: [u8; 6],
    store: [u8; 16],
    last: U64,
    zeros: [u8; 20],
    crc: U32,
}

const _: () = assert!(size_of::<HeadFile>() == 64);

/// What the file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Saved {
    /// The last record that is in force; 0 when there is none yet.
    Last(Lsn),
    /// There is none.
    Nothing,
    /// It cannot be used, and why.
    Damaged(&'static str),
}

pub(super) fn read(path: &Path, store: StoreId) -> Result<Saved, FileError> {
    Ok(match blocking::read_file(path)? {
        Some(bytes) => parse(&bytes, store).map_or_else(Saved::Damaged, Saved::Last),
        None => Saved::Nothing,
    })
}

fn parse(bytes: &[u8], store: StoreId) -> Result<Lsn, &'static str> {
    let file = HeadFile::read_from_bytes(bytes).map_err(|_| "its length is wrong")?;
    if file.magic != MAGIC {
        return Err("it begins as something else");
    }
    if file.crc.get() != file.checksum() {
        return Err("its checksum is wrong");
    }
    if file.version.get() != VERSION {
        return Err("a newer Tapstone wrote it");
    }
    if file.store != store.0 {
        return Err("it belongs to another store");
    }
    Ok(Lsn(file.last.get()))
}

/// Puts it in place of what is there, durably.
pub(super) fn write(path: &Path, store: StoreId, last: Lsn) -> Result<(), FileError> {
    let mut file = HeadFile {
        magic: MAGIC,
        version: U16::new(VERSION),
        store: store.0,
        last: U64::new(last.0),
        ..HeadFile::new_zeroed()
    };
    file.crc = U32::new(file.checksum());
    blocking::replace_file(path, file.as_bytes())
}

impl HeadFile {
    fn checksum(&self) -> u32 {
        crc32c::crc32c(&self.as_bytes()[..size_of::<HeadFile>() - 4])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flipped_byte_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger.head");
        let store = StoreId([4; 16]);
        assert_eq!(read(&path, store).unwrap(), Saved::Nothing);
        write(&path, store, Lsn(5)).unwrap();
        assert_eq!(read(&path, store).unwrap(), Saved::Last(Lsn(5)));
        assert!(matches!(read(&path, StoreId([5; 16])).unwrap(), Saved::Damaged(_)));
        let bytes = std::fs::read(&path).unwrap();
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 0x10;
            assert!(parse(&bad, store).is_err(), "byte {at}");
            assert!(parse(&bytes[..at], store).is_err(), "length {at}");
        }
    }
}
