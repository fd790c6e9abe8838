//! Files for threads that are not shards: small files, directories, and reads through the page
//! cache.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::file::FileError;

/// A file open for reading at any place, by any number of threads.
#[derive(Debug)]
pub struct ReadFile {
    file: File,
    path: PathBuf,
}

impl ReadFile {
    /// Opens a file.
    ///
    /// # Errors
    ///
    /// When it does not exist or cannot be read.
    pub fn open(path: &Path) -> Result<ReadFile, FileError> {
        let file = File::open(path).map_err(|error| FileError::new("open", path, error))?;
        Ok(ReadFile { file, path: path.to_owned() })
    }

    /// The file's path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes of the file.
    ///
    /// # Errors
    ///
    /// When the system refuses.
    pub fn length(&self) -> Result<u64, FileError> {
        let metadata = self.file.metadata();
        metadata.map(|it| it.len()).map_err(|error| FileError::new("stat", &self.path, error))
    }

    /// Reads `len` bytes at `offset`.
    ///
    /// # Errors
    ///
    /// When the disk refuses, or the file ends before.
    pub fn read_at(&self, offset: u64, len: usize) -> Result<Vec<u8>, FileError> {
        let mut bytes = vec![0; len];
        self.file
            .read_exact_at(&mut bytes, offset)
            .map_err(|error| FileError::new("read", &self.path, error).at(offset))?;
        Ok(bytes)
    }
}

/// The whole content of a small file; `None` when there is none.
///
/// # Errors
///
/// When it cannot be read.
pub fn read_file(path: &Path) -> Result<Option<Vec<u8>>, FileError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(FileError::new("read", path, error)),
    }
}

/// Puts `bytes` in place of a file, or makes it: wholly or not at all, and durably.
///
/// `mode` is the file's permissions.
///
/// # Errors
///
/// When any step fails; the old file is then still there.
pub fn replace_file(path: &Path, bytes: &[u8], mode: u32) -> Result<(), FileError> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let new = path.with_file_name(name);
    let written = write_synced(&new, bytes, mode).and_then(|()| rename(&new, path));
    if written.is_err() {
        // What is left of a failed attempt only takes up space.
        fs::remove_file(&new).ok();
    }
    written
}

fn write_synced(path: &Path, bytes: &[u8], mode: u32) -> Result<(), FileError> {
    let fail = |operation| move |error| FileError::new(operation, path, error);
    let mut options = fs::OpenOptions::new();
    options.create(true).truncate(true).write(true).mode(mode);
    let mut file = options.open(path).map_err(fail("create"))?;
    file.write_all(bytes).map_err(fail("write"))?;
    file.sync_all().map_err(fail("sync"))
}

/// Renames a file within its directory, durably.
///
/// # Errors
///
/// When the system refuses.
pub fn rename(from: &Path, to: &Path) -> Result<(), FileError> {
    fs::rename(from, to).map_err(|error| FileError::new("rename", from, error))?;
    sync_parent(to)
}

/// Removes a file, durably; one that does not exist is removed already.
///
/// # Errors
///
/// When the system refuses.
pub fn remove(path: &Path) -> Result<(), FileError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(FileError::new("remove", path, error))
        }
        _ => sync_parent(path),
    }
}

/// Removes a directory and all that is in it; one that does not exist is removed already.
///
/// # Errors
///
/// When the system refuses.
pub fn remove_dir(path: &Path) -> Result<(), FileError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(FileError::new("remove the directory", path, error))
        }
        _ => sync_parent(path),
    }
}

/// Makes the names in a directory durable.
///
/// # Errors
///
/// When the system refuses.
pub fn sync_dir(path: &Path) -> Result<(), FileError> {
    File::open(path)
        .and_then(|directory| directory.sync_all())
        .map_err(|error| FileError::new("sync the directory", path, error))
}

fn sync_parent(path: &Path) -> Result<(), FileError> {
    sync_dir(path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(".".as_ref()))
}

/// Makes a directory that only its owner can enter, and those above it; one that exists is left
/// as it is.
///
/// # Errors
///
/// When the system refuses.
pub fn create_dir(path: &Path) -> Result<(), FileError> {
    use std::os::unix::fs::DirBuilderExt;
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true).mode(0o700);
    builder.create(path).map_err(|error| FileError::new("create the directory", path, error))
}

/// The names in a directory, sorted; none when it does not exist.
///
/// # Errors
///
/// When it cannot be read.
pub fn list_dir(path: &Path) -> Result<Vec<OsString>, FileError> {
    let fail = |error| FileError::new("list", path, error);
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(fail(error)),
    };
    let names = entries.map(|entry| entry.map(|entry| entry.file_name()));
    let mut names: Vec<OsString> = names.collect::<Result<_, _>>().map_err(fail)?;
    names.sort_unstable();
    Ok(names)
}

/// Bytes of a file; `None` when there is none.
///
/// # Errors
///
/// When the system refuses.
pub fn file_len(path: &Path) -> Result<Option<u64>, FileError> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(Some(metadata.len())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(FileError::new("stat", path, error)),
    }
}

/// A file's permission bits.
///
/// # Errors
///
/// When it does not exist or the system refuses.
pub fn permissions(path: &Path) -> Result<u32, FileError> {
    let metadata = fs::metadata(path).map_err(|error| FileError::new("stat", path, error))?;
    Ok(metadata.permissions().mode() & 0o7777)
}

/// Cuts a file to `len` bytes, durably.
///
/// # Errors
///
/// When the system refuses.
pub fn cut(path: &Path, len: u64) -> Result<(), FileError> {
    fs::OpenOptions::new()
        .write(true)
        .open(path)
        .and_then(|file| file.set_len(len).and_then(|()| file.sync_all()))
        .map_err(|error| FileError::new("cut", path, error).at(len))
}

/// Writes `bytes` at `offset` of an existing file, durably.
///
/// # Errors
///
/// When the system refuses.
pub fn write_at(path: &Path, offset: u64, bytes: &[u8]) -> Result<(), FileError> {
    fs::OpenOptions::new()
        .write(true)
        .open(path)
        .and_then(|file| file.write_all_at(bytes, offset).and_then(|()| file.sync_all()))
        .map_err(|error| FileError::new("write", path, error).at(offset))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replacing_a_file_leaves_the_new_content_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        assert_eq!(read_file(&path).unwrap(), None);
        replace_file(&path, b"old", 0o600).unwrap();
        replace_file(&path, b"new", 0o600).unwrap();
        assert_eq!(read_file(&path).unwrap().unwrap(), b"new");
        assert_eq!(permissions(&path).unwrap(), 0o600);
        assert_eq!(list_dir(dir.path()).unwrap(), ["f"]);
    }

    #[test]
    fn removing_twice_is_no_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        replace_file(&path, b"x", 0o600).unwrap();
        remove(&path).unwrap();
        remove(&path).unwrap();
        assert_eq!(file_len(&path).unwrap(), None);
    }

    #[test]
    fn reading_past_the_end_names_the_place() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        replace_file(&path, b"abc", 0o600).unwrap();
        let file = ReadFile::open(&path).unwrap();
        assert_eq!(file.length().unwrap(), 3);
        assert_eq!(file.read_at(1, 2).unwrap(), b"bc");
        assert!(file.read_at(1, 3).unwrap_err().to_string().contains("at offset 1"));
    }
}
