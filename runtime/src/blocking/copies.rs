//! One file's bytes under another name: shared, or copied.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Advice, copy_file_range, fadvise, ioctl_ficlone};
use rustix::io::Errno;

use super::{RandomAccessFile, ReadFile};
use crate::file::FileError;
use crate::simulation::world;

/// What the system copies at once; whoever copies is asked in between whether to go on.
const STEP: u64 = 16 << 20;
/// What is read and written at once where the system does not copy by itself.
const PIECE: usize = 1 << 20;

/// Gives a file another name, so that both share its bytes; `false` where that cannot be: in another
/// file system, in one that knows no such thing, or because somebody else's file is nobody's to share. The
/// name is not durable.
///
/// # Errors
///
/// When the system refuses for another reason.
pub fn link(from: &Path, to: &Path) -> Result<bool, FileError> {
    let linked = world().map_or_else(|| fs::hard_link(from, to), |world| world.link(from, to));
    match linked {
        Ok(()) => Ok(true),
        Err(error) => match error.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::XDEV | Errno::PERM | Errno::MLINK | Errno::OPNOTSUPP | Errno::NOSYS) => {
                Ok(false)
            }
            _ => Err(FileError::new("link", to, error)),
        },
    }
}

/// How many names a file has.
///
/// # Errors
///
/// When it does not exist or the system refuses.
pub fn names_of(path: &Path) -> Result<u64, FileError> {
    let names =
        world().map_or_else(|| fs::metadata(path).map(|it| it.nlink()), |it| it.names(path));
    names.map_err(|error| FileError::new("stat", path, error))
}

/// Copies the first `length` bytes of a file into a new one for its owner alone, durably; `false` when that was given up
/// because `go_on` said no, and the new file is of no use then. Where the file system can share the bytes until one of
/// both is changed, it does. The new file's name is not durable.
///
/// # Errors
///
/// When the disk refuses, the file is shorter, or there is something under the new name.
pub fn copy(
    from: &Path,
    to: &Path,
    length: u64,
    go_on: &dyn Fn() -> bool,
) -> Result<bool, FileError> {
    if world().is_some() {
        return copy_by_hand(&ReadFile::open(from)?, to, length, go_on);
    }
    let source = File::open(from).map_err(|error| FileError::new("open", from, error))?;
    let target = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(to);
    let target = target.map_err(|error| FileError::new("create", to, error))?;
    let failed = |at| move |error: io::Error| FileError::new("copy to", to, error).at(at);
    let there = source.metadata().map_err(|error| FileError::new("stat", from, error))?.len();
    if there < length {
        let short = io::ErrorKind::UnexpectedEof.into();
        return Err(FileError::new("read", from, short).at(there));
    }
    if ioctl_ficlone(&target, &source).is_ok() {
        target.set_len(length).map_err(failed(length))?;
    } else {
        let mut at = 0;
        while at < length {
            if !go_on() {
                return Ok(false);
            }
            let step = STEP.min(length - at) as usize;
            at += copy_some(&source, &target, at, step).map_err(failed(at))?;
        }
    }
    target.sync_data().map_err(|error| FileError::new("sync", to, error))?;
    // Nobody asks for these soon, and what others ask for should stay in memory.
    forget(&source);
    forget(&target);
    Ok(true)
}

/// Copies up to `length` bytes; gives how many.
fn copy_some(source: &File, target: &File, at: u64, length: usize) -> io::Result<u64> {
    let (mut from, mut to) = (at, at);
    match copy_file_range(source, Some(&mut from), target, Some(&mut to), length) {
        Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
        Ok(copied) => Ok(copied as u64),
        Err(Errno::INTR) => Ok(0),
        // Between these two file systems, or on this kernel, it does not.
        Err(Errno::XDEV | Errno::NOSYS | Errno::OPNOTSUPP | Errno::INVAL | Errno::PERM) => {
            let mut piece = vec![0; length.min(PIECE)];
            source.read_exact_at(&mut piece, at)?;
            target.write_all_at(&piece, at)?;
            Ok(piece.len() as u64)
        }
        Err(error) => Err(error.into()),
    }
}

fn copy_by_hand(
    source: &ReadFile,
    to: &Path,
    length: u64,
    go_on: &dyn Fn() -> bool,
) -> Result<bool, FileError> {
    let target = RandomAccessFile::create_new(to)?;
    for at in (0..length).step_by(PIECE) {
        if !go_on() {
            return Ok(false);
        }
        let piece = source.read_at(at, PIECE.min((length - at) as usize))?;
        let written = target.write_all_at(&piece, at);
        written.map_err(|error| FileError::new("copy to", to, error).at(at))?;
    }
    target.sync_data().map_err(|error| FileError::new("sync", to, error))?;
    Ok(true)
}

/// Lets the system keep nothing of a file in memory: what is read next comes from the disk, as far as
/// it was written there.
///
/// # Errors
///
/// When the file cannot be opened.
pub fn forget_cached(path: &Path) -> Result<(), FileError> {
    if world().is_none() {
        forget(&File::open(path).map_err(|error| FileError::new("open", path, error))?);
    }
    Ok(())
}

/// It is advice: a file system that takes none only keeps more in memory.
fn forget(file: impl AsFd) {
    if let Err(error) = fadvise(file, 0, None, Advice::DontNeed) {
        tracing::debug!(%error, "a file stays in memory");
    }
}

/// Where a file or directory really is: from the root, and without links.
///
/// # Errors
///
/// When it does not exist, or may not be reached.
pub fn real_path(path: &Path) -> Result<PathBuf, FileError> {
    let real = world().map_or_else(|| fs::canonicalize(path), |_| Ok(path.to_owned()));
    real.map_err(|error| FileError::new("find", path, error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulation::{Disk, Simulation};

    /// Here, on another file system where there is one, and in a simulation.
    fn everywhere(test: impl Fn(&Path, &Path)) {
        let here = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        test(here.path(), here.path());
        let here = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        match tempfile::tempdir_in("/dev/shm") {
            Ok(other) => test(here.path(), other.path()),
            Err(error) => eprintln!("SKIPPED: no other file system: {error}"),
        }
        Simulation::new(1, Disk::default()).run(|| test(Path::new("/"), Path::new("/")));
    }

    #[test]
    fn as_much_is_copied_as_was_asked_for() {
        everywhere(|from, to| {
            let (from, to) = (from.join("a"), to.join("b"));
            let bytes: Vec<u8> = (0..3_000_001_u32).map(|it| it as u8).collect();
            crate::blocking::replace_file(&from, &bytes).unwrap();
            assert!(copy(&from, &to, 2_000_003, &|| true).unwrap());
            assert_eq!(crate::blocking::read_file(&to).unwrap().unwrap(), bytes[..2_000_003]);
            assert_eq!(crate::blocking::permissions(&to).unwrap(), 0o600);
            assert!(copy(&from, &to, 1, &|| true).is_err(), "nothing is written over");
            let error = copy(&from, &to.with_extension("long"), 3_000_002, &|| true).unwrap_err();
            assert_eq!(error.source.kind(), io::ErrorKind::UnexpectedEof, "{error}");
        });
    }

    #[test]
    fn whoever_gives_up_is_asked_before_anything_is_copied() {
        everywhere(|from, to| {
            let (from, to) = (from.join("a"), to.join("b"));
            crate::blocking::replace_file(&from, &[1; 5000]).unwrap();
            // A file system that shares the bytes has nothing to copy.
            if !copy(&from, &to, 5000, &|| false).unwrap() {
                assert_eq!(crate::blocking::file_len(&to).unwrap(), Some(0));
            }
        });
    }

    #[test]
    fn a_file_is_shared_within_its_file_system_and_told_when_it_cannot_be() {
        everywhere(|folder, other| {
            let (from, to) = (folder.join("a"), other.join("b"));
            crate::blocking::replace_file(&from, b"shared").unwrap();
            assert_eq!(names_of(&from).unwrap(), 1);
            if link(&from, &to).unwrap() {
                assert_eq!(folder, other);
                assert_eq!(names_of(&from).unwrap(), 2);
                crate::blocking::remove(&from).unwrap();
                assert_eq!(crate::blocking::read_file(&to).unwrap().unwrap(), b"shared");
                assert_eq!(names_of(&to).unwrap(), 1);
            } else {
                assert_ne!(folder, other);
            }
            assert!(link(&folder.join("none"), &other.join("c")).is_err());
        });
    }
}
