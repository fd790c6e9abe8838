//! Small files that say how far a log reaches, put in place whole: magic (8), version (2), reserved
//! (6), store (16), what they say, zeros (20), CRC32C of all that (4). What a log's file says is in
//! docs/format, "The head" of that log, and "The archive mark".

use std::path::Path;

use tapstone_runtime::blocking;
use tapstone_runtime::file::FileError;

use crate::id::StoreId;

const VERSION: u16 = 1;
/// Bytes before what the file says, and behind it.
const BEFORE: usize = 32;
const BEHIND: usize = 24;

/// What was found in such a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Saved<T> {
    /// What it says.
    Head(T),
    /// There is none.
    Nothing,
    /// It cannot be used, and why.
    Damaged(&'static str),
}

impl<T> Saved<T> {
    /// What it means, unless it makes no sense.
    pub(crate) fn and_then<U>(self, mean: impl FnOnce(T) -> Result<U, &'static str>) -> Saved<U> {
        match self {
            Saved::Head(said) => mean(said).map_or_else(Saved::Damaged, Saved::Head),
            Saved::Nothing => Saved::Nothing,
            Saved::Damaged(why) => Saved::Damaged(why),
        }
    }
}

/// Reads a file that says `N` bytes.
pub(crate) fn read<const N: usize>(
    path: &Path,
    magic: [u8; 8],
    store: StoreId,
) -> Result<Saved<[u8; N]>, FileError> {
    Ok(read_any(path, magic, store)?.and_then(|said| as_long(&said)))
}

/// Reads a file that says whatever it says.
pub(crate) fn read_any(
    path: &Path,
    magic: [u8; 8],
    store: StoreId,
) -> Result<Saved<Vec<u8>>, FileError> {
    Ok(match blocking::read_file(path)? {
        Some(bytes) => {
            let said = parse(&bytes, magic, store);
            said.map_or_else(Saved::Damaged, |said| Saved::Head(said.to_vec()))
        }
        None => Saved::Nothing,
    })
}

fn as_long<const N: usize>(said: &[u8]) -> Result<[u8; N], &'static str> {
    said.try_into().map_err(|_| "its length is wrong")
}

fn parse(bytes: &[u8], magic: [u8; 8], store: StoreId) -> Result<&[u8], &'static str> {
    if bytes.len() < BEFORE + BEHIND {
        return Err("its length is wrong");
    }
    let (content, crc) = bytes.split_at(bytes.len() - 4);
    if !content.starts_with(&magic) {
        return Err("it begins as something else");
    }
    if crc != crc32c::crc32c(content).to_le_bytes() {
        return Err("its checksum is wrong");
    }
    if content[8..10] != VERSION.to_le_bytes() {
        return Err("a newer Tapstone wrote it");
    }
    if content[16..BEFORE] != store.0 {
        return Err("it belongs to another store");
    }
    Ok(&bytes[BEFORE..bytes.len() - BEHIND])
}

/// Puts a file in place of what is there, durably.
pub(crate) fn write(
    path: &Path,
    magic: [u8; 8],
    store: StoreId,
    said: &[u8],
) -> Result<(), FileError> {
    let version = VERSION.to_le_bytes();
    let mut bytes = [&magic[..], &version, &[0; 6], &store.0, said, &[0; BEHIND - 4]].concat();
    let crc = crc32c::crc32c(&bytes);
    bytes.extend(crc.to_le_bytes());
    blocking::replace_file(path, &bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flipped_byte_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.head");
        let (magic, store) = (*b"TAPSTXXX", StoreId([4; 16]));
        let parse = |bytes: &[u8]| as_long::<8>(parse(bytes, magic, store)?);
        assert_eq!(read::<8>(&path, magic, store).unwrap(), Saved::Nothing);
        write(&path, magic, store, &[5; 8]).unwrap();
        assert_eq!(read(&path, magic, store).unwrap(), Saved::Head([5; 8]));
        let other = read::<8>(&path, magic, StoreId([5; 16])).unwrap();
        assert!(matches!(other, Saved::Damaged(_)));
        let bytes = std::fs::read(&path).unwrap();
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 0x10;
            assert!(parse(&bad).is_err(), "byte {at}");
            assert!(parse(&bytes[..at]).is_err(), "length {at}");
        }
    }
}
