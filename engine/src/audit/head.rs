//! The file that says how far the log reached (docs/format/audit.md, "The head").

use std::path::Path;

use tapstone_runtime::file::FileError;

use super::record::{AuditHash, SEQUENCE_MAX};
use super::verify::AuditHead;
use crate::head_file;
pub(super) use crate::head_file::Saved;
use crate::id::StoreId;

const MAGIC: [u8; 8] = *b"TAPSTAUH";
/// A number and a hash.
const LENGTH: usize = 40;

pub(super) fn read(path: &Path, store: StoreId) -> Result<Saved<AuditHead>, FileError> {
    Ok(head_file::read(path, MAGIC, store)?.and_then(parse))
}

fn parse(said: [u8; LENGTH]) -> Result<AuditHead, &'static str> {
    let (sequence, hash) = said.split_first_chunk().expect("it is longer");
    let sequence = u64::from_le_bytes(*sequence);
    if sequence > SEQUENCE_MAX {
        return Err("its number makes no sense");
    }
    Ok(AuditHead { sequence, hash: AuditHash(hash.try_into().expect("it is that long")) })
}

/// Puts it in place of what is there, durably.
pub(super) fn write(path: &Path, store: StoreId, head: AuditHead) -> Result<(), FileError> {
    let said = [&head.sequence.to_le_bytes()[..], &head.hash.0].concat();
    head_file::write(path, MAGIC, store, &said)
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
            for (what, bytes) in [("byte", &bad[..]), ("length", &bytes[..at])] {
                std::fs::write(&path, bytes).unwrap();
                let saved = read(&path, store).unwrap();
                assert!(matches!(saved, Saved::Damaged(_)), "{what} {at}");
            }
        }
    }
}
