//! The files of a log that are numbered through the life of a store, as far as they can be read.

use std::path::{Path, PathBuf};

use tapstone_runtime::blocking::{self, ReadFile};
use tapstone_runtime::file::FileError;

/// What stands for a shard's number in such files: no shard wrote them.
pub(crate) const NO_SHARD: u16 = u16::MAX;
/// More than a file ever has.
pub(crate) const LENGTH_MAX: u64 = 96 << 20;
/// Read at once; of what cannot be read, so much is lost.
const PIECE: usize = 1 << 20;

/// The log's files, by their numbers.
pub(crate) fn files(folder: &Path) -> Result<Vec<(u64, PathBuf)>, FileError> {
    let names = blocking::list_dir(folder)?;
    let paths = names.iter().map(|name| folder.join(name));
    let mut files: Vec<_> = paths.filter_map(|path| Some((number_of(&path)?, path))).collect();
    files.sort_unstable();
    Ok(files)
}

/// The number of a file; none when it is no file of a log.
pub(crate) fn number_of(path: &Path) -> Option<u64> {
    path.file_name()?.to_str()?.strip_suffix(".log")?.parse().ok()
}

/// Where the file of a number is.
pub(crate) fn file(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:08}.log"))
}

/// A file's bytes, zeros in place of those that cannot be read, and why they cannot.
pub(crate) fn load(path: &Path) -> (Vec<u8>, Option<FileError>) {
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
