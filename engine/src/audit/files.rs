//! The log's files, as far as they can be read.

use std::path::{Path, PathBuf};

use tapstone_runtime::ALIGNMENT;
use tapstone_runtime::blocking::{self, ReadFile};
use tapstone_runtime::file::FileError;
use tapstone_wal::Commits;

use super::{FILE_SIZE, NO_SHARD};
use crate::id::StoreId;

/// Read at once; of what cannot be read, so much is lost.
const PIECE: usize = 1 << 20;
/// More than a file ever has: its last commit begins before [`FILE_SIZE`].
const LENGTH_MAX: u64 = FILE_SIZE + (32 << 20);

/// The log's files, by their numbers.
pub(super) fn files(folder: &Path) -> Result<Vec<(u64, PathBuf)>, FileError> {
    let names = blocking::list_dir(folder)?;
    let number = |name: &str| name.strip_suffix(".log")?.parse::<u64>().ok();
    let numbered =
        names.iter().filter_map(|name| Some((number(name.to_str()?)?, folder.join(name))));
    let mut files: Vec<_> = numbered.collect();
    files.sort_unstable();
    Ok(files)
}

/// A file's bytes, zeros in place of those that cannot be read, and why they cannot.
pub(super) fn load(path: &Path) -> (Vec<u8>, Option<FileError>) {
    let (mut bytes, mut failure) = (Vec::new(), None);
    let opened = ReadFile::open(path).and_then(|file| Ok((file.length()?, file)));
    let (length, file) = match opened {
        Ok(opened) => opened,
        Err(error) => return (bytes, Some(error)),
    };
    if length > LENGTH_MAX {
        let why = std::io::Error::other("it is longer than any file that is written");
        failure = Some(FileError::new("read", path, why).at(LENGTH_MAX));
    }
    let length = length.min(LENGTH_MAX) as usize;
    for at in (0..length).step_by(PIECE) {
        match file.read_at(at as u64, PIECE.min(length - at)) {
            Ok(piece) => bytes.extend(piece),
            Err(error) => {
                bytes.resize((at + PIECE).min(length), 0);
                failure.get_or_insert(error);
            }
        }
    }
    (bytes, failure)
}

/// The number that a file begins with, where it says so.
pub(super) fn first_of(path: &Path, store: StoreId) -> Result<Option<u64>, FileError> {
    let file = ReadFile::open(path)?;
    let length = file.length()?.min(ALIGNMENT as u64);
    let commits = Commits::new(file.read_at(0, length as usize)?, store.0, NO_SHARD);
    Ok(commits.first().ok().map(|first| first.0))
}
