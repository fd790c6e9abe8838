//! The file that says how far the log reached (docs/format/audit.md, "The head").

use std::path::Path;

use tapstone_runtime::blocking;
use tapstone_runtime::file::FileError;
use zerocopy::byteorder::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::record::{AuditHash, SEQUENCE_MAX};
use super::verify::AuditHead;
use crate::id::StoreId;

const MAGIC: [u8; 8] = *b"TAPSTAUH";
const VERSION: u16 = 1;

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy)]
#[repr(C)]
struct HeadFile {
    magic: [u8; 8],
    version: U16,
    reserved: [u8; 6],
    store: [u8; 16],
    sequence: U64,
    hash: [u8; 32],
    zeros: [u8; 20],
    crc: U32,
}

const _: () = assert!(size_of::<HeadFile>() == 96);

/// What the file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Saved {
    Head(AuditHead),
    /// There is none.
    Nothing,
    /// It cannot be used, and why.
    Damaged(String),
}

pub(super) fn read(path: &Path, store: StoreId) -> Result<Saved, FileError> {
    Ok(match blocking::read_file(path)? {
        Some(bytes) => {
            parse(&bytes, store).map_or_else(|why| Saved::Damaged(why.to_owned()), Saved::Head)
        }
        None => Saved::Nothing,
    })
}

fn parse(bytes: &[u8], store: StoreId) -> Result<AuditHead, &'static str> {
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
    if file.sequence.get() > SEQUENCE_MAX {
        return Err("its number makes no sense");
    }
    Ok(AuditHead { sequence: file.sequence.get(), hash: AuditHash(file.hash) })
}

/// Puts it in place of what is there, durably.
pub(super) fn write(path: &Path, store: StoreId, head: AuditHead) -> Result<(), FileError> {
    let mut file = HeadFile {
        magic: MAGIC,
        version: U16::new(VERSION),
        store: store.0,
        sequence: U64::new(head.sequence),
        hash: head.hash.0,
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
        let path = dir.path().join("audit.head");
        let (store, head) = (StoreId([4; 16]), AuditHead { sequence: 5, hash: AuditHash([6; 32]) });
        assert_eq!(read(&path, store).unwrap(), Saved::Nothing);
        write(&path, store, head).unwrap();
        assert_eq!(read(&path, store).unwrap(), Saved::Head(head));
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
