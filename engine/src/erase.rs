//! Removing files so that nobody can read what they held: the keys in them are overwritten first.
//!
//! A segment's key, wrapped, is in its header, once more in its trailer, in its log, and in its
//! split. Where it is overwritten, what was sealed with it is noise, wherever the disk still has it;
//! docs/security.md says what overwriting can promise on which disk.
//!
//! A crash may come between any two steps: a segment's first sector says that its key was destroyed,
//! and a log gets another name first, so that neither is taken for damaged. Where the disk does not
//! let a key be overwritten, the file is removed all the same, and that is told: room is needed. A file
//! that a backup shares is not overwritten, or the backup would lose it.

use std::io;
use std::ops::Range;
use std::path::Path;

use tapstone_runtime::blocking::{self, RandomAccessFile};
use tapstone_runtime::file::FileError;

use crate::id::{SegmentId, StoreId};
use crate::limits::PAGE_SIZE;
use crate::pace::Pace;
use crate::segment::format::SegmentHeader;
use crate::segment::split_file;

/// What a log or a key's file is called while it is being removed.
pub(crate) const GOING: &str = "gone";

/// What came of removing a file.
#[derive(Debug, Default)]
pub(crate) struct Erased {
    /// Bytes that it had.
    pub(crate) bytes: u64,
    /// Why a key in it could not be overwritten.
    pub(crate) key_left: Option<FileError>,
}

/// Removes a segment's file; what is not there is removed already.
pub(crate) fn segment(
    path: &Path,
    store: StoreId,
    segment: SegmentId,
) -> Result<Erased, FileError> {
    erase_unshared(path, |file, length| {
        let page = PAGE_SIZE as u64;
        // The first sector says that it is being removed, so it is durable before the copy of the
        // key in the last one goes.
        file.write_all_at(&SegmentHeader::destroyed(store, segment), 0)?;
        file.sync_data()?;
        if length >= 2 * page {
            file.write_all_at(&[0; PAGE_SIZE], length - page)?;
            file.sync_data()?;
        }
        // Whoever has the file open keeps no room.
        give_back(file, page.min(length)..length)
    })
}

/// Gives room back piece by piece. A file system that tells its disk what is free (`discard`) has the
/// disk take note of all of it at once, and every read and sync waits meanwhile: 0.2 s for 1 GiB.
fn give_back(file: &RandomAccessFile, room: Range<u64>) -> io::Result<()> {
    const PIECE: u64 = 16 << 20;
    // Half of the disk's time is left to others.
    let mut pace = Pace::new(50, &|| true);
    let mut from = room.start;
    while from < room.end {
        let to = room.end.min(from + PIECE);
        if !file.give_back(from..to)? {
            break;
        }
        // The last piece may go with what is synced next.
        if to < room.end {
            file.sync_data()?;
            pace.rest().expect("it always goes on");
        }
        from = to;
    }
    Ok(())
}

/// Removes a split's file.
pub(crate) fn split(path: &Path) -> Result<Erased, FileError> {
    erase_unshared(path, |file, length| {
        let at = length.saturating_sub(split_file::TRAILER_LEN as u64);
        file.write_all_at(&vec![0; (length - at) as usize], at)?;
        file.sync_data()
    })
}

/// Removes a log.
pub(crate) fn log(path: &Path) -> Result<Erased, FileError> {
    aside(path)
}

/// Removes the file of a bucket's key.
pub(crate) fn key(path: &Path) -> Result<Erased, FileError> {
    aside(path)
}

/// Removes a file that a crash left, whatever it is.
pub(crate) fn leftover(path: &Path) -> Result<Erased, FileError> {
    match path.extension().and_then(|it| it.to_str()) {
        Some("log" | GOING) => aside(path),
        // A split may be whole and have no name yet.
        Some("split" | "new") => split(path),
        _ => blocking::remove(path).map(|()| Erased::default()),
    }
}

/// Gives a file another name, under which nobody looks for it, and overwrites all of it.
fn aside(path: &Path) -> Result<Erased, FileError> {
    if blocking::file_len(path)?.is_none() {
        return Ok(Erased::default());
    }
    let going = path.with_extension(GOING);
    if path != going {
        match blocking::rename(path, &going) {
            // Somebody else is about it.
            Err(error) if error.is_not_found() => return Ok(Erased::default()),
            renamed => renamed?,
        }
    }
    erase(&going, |file, length| {
        const PIECE: u64 = 1 << 20;
        for at in (0..length).step_by(PIECE as usize) {
            file.write_all_at(&vec![0; PIECE.min(length - at) as usize], at)?;
        }
        file.sync_data()
    })
}

/// Only removes a file that has another name.
fn erase_unshared(
    path: &Path,
    overwrite: impl FnOnce(&RandomAccessFile, u64) -> io::Result<()>,
) -> Result<Erased, FileError> {
    match blocking::names_of(path) {
        Ok(names) if names > 1 => {
            let bytes = blocking::file_len(path)?.unwrap_or(0);
            blocking::remove(path)?;
            Ok(Erased { bytes, key_left: None })
        }
        Err(error) if error.is_not_found() => Ok(Erased::default()),
        named => named.and_then(|_| erase(path, overwrite)),
    }
}

fn erase(
    path: &Path,
    overwrite: impl FnOnce(&RandomAccessFile, u64) -> io::Result<()>,
) -> Result<Erased, FileError> {
    let Some(bytes) = blocking::file_len(path)? else { return Ok(Erased::default()) };
    let overwritten = match RandomAccessFile::open(path) {
        Err(error) if error.is_not_found() => return Ok(Erased::default()),
        opened => opened.and_then(|file| {
            let wrong = |error| FileError::new("overwrite the key in", path, error);
            overwrite(&file, bytes).map_err(wrong)
        }),
    };
    blocking::remove(path)?;
    Ok(Erased { bytes, key_left: overwritten.err() })
}

impl Erased {
    /// What is told of a key that could not be overwritten.
    pub(crate) fn damage(&self) -> Option<String> {
        self.key_left.as_ref().map(|error| {
            format!(
                "{error}; the file was removed all the same: until the disk writes something else \
                 there, whoever reads the raw disk and has the store's keys can read it"
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_overwritten_whole_and_gone_under_either_name() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["wal-0-1.log", "wal-0-2.gone", "00.key"] {
            let (path, link) = (dir.path().join(name), dir.path().join("link"));
            std::fs::write(&path, [7; 5000]).unwrap();
            std::fs::hard_link(&path, &link).unwrap();
            let erased = if name.ends_with("key") { key(&path) } else { leftover(&path) };
            assert_eq!(erased.unwrap().bytes, 5000);
            assert_eq!(std::fs::read(&link).unwrap(), [0; 5000]);
            std::fs::remove_file(&link).unwrap();
            assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
            assert_eq!(log(&path).unwrap().bytes, 0, "it is gone already");
        }
    }

    #[test]
    fn a_split_that_a_backup_shares_stays_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let (path, shared) = (dir.path().join("s.split"), dir.path().join("shared"));
        std::fs::write(&path, [7; 600]).unwrap();
        std::fs::hard_link(&path, &shared).unwrap();
        assert_eq!(split(&path).unwrap().bytes, 600);
        assert_eq!(std::fs::read(&shared).unwrap(), [7; 600]);
        assert!(!path.try_exists().unwrap());
        assert_eq!(split(&path).unwrap().bytes, 0, "it is gone already");
    }

    #[test]
    fn a_segment_that_somebody_has_open_keeps_no_room() {
        use std::os::unix::fs::MetadataExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s.seg");
        let store = StoreId([1; 16]);
        // Several pieces, and a part of one.
        let length = 50_000_000;
        std::fs::write(&path, vec![7; length]).unwrap();
        let open = std::fs::File::open(&path).unwrap();
        let erased = segment(&path, store, SegmentId::new(store, 1, 1)).unwrap();
        assert_eq!((erased.bytes, erased.key_left.is_none()), (length as u64, true));
        let room = open.metadata().unwrap().blocks() * 512;
        assert!(room <= 4 * PAGE_SIZE as u64, "{room} bytes are left");
        assert!(!path.try_exists().unwrap());
    }

    #[test]
    fn what_cannot_be_overwritten_is_removed_and_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s.split");
        std::fs::write(&path, [7; 600]).unwrap();
        let refuse = |_: &RandomAccessFile, _| Err(io::Error::other("on purpose"));
        let erased = erase(&path, refuse).unwrap();
        let told = erased.damage().unwrap();
        assert!(told.contains("s.split") && told.contains("on purpose"), "{told}");
        assert!(!path.try_exists().unwrap());
    }
}
