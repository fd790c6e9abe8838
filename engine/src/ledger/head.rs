//! The file that says which file is in force, and how far it reaches (docs/format/ledger.md, "The
//! head").

use std::path::Path;

use tapstone_runtime::file::FileError;
use tapstone_wal::Lsn;

use crate::head_file;
pub(super) use crate::head_file::Saved;
use crate::id::StoreId;

const MAGIC: [u8; 8] = *b"TAPSTLEH";

/// The last record that is in force; 0 when there is none yet.
pub(super) fn read(path: &Path, store: StoreId) -> Result<Saved<Lsn>, FileError> {
    let saved = head_file::read(path, MAGIC, store)?;
    Ok(saved.and_then(|last| Ok(Lsn(u64::from_le_bytes(last)))))
}

/// Puts it in place of what is there, durably.
pub(super) fn write(path: &Path, store: StoreId, last: Lsn) -> Result<(), FileError> {
    head_file::write(path, MAGIC, store, &last.0.to_le_bytes())
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
        assert_eq!(read(&path, store).unwrap(), Saved::Head(Lsn(5)));
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
