//! Files for threads that are not shards: small files, directories, and reads through the page
//! cache.

mod copies;

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::file::FileError;
use crate::simulation::{Inode, world};
pub use copies::{copy, forget_cached, link, names_of, real_path};

/// A file open for reading at any place, by any number of threads.
#[derive(Debug)]
pub struct ReadFile {
    file: Handle,
    path: PathBuf,
}

#[derive(Debug)]
enum Handle {
    System(File),
    Simulated(Inode),
}

impl ReadFile {
    /// Opens a file.
    ///
    /// # Errors
    ///
    /// When it does not exist or cannot be read.
    pub fn open(path: &Path) -> Result<ReadFile, FileError> {
        let file = match world() {
            Some(world) => world.open(path).map(Handle::Simulated),
            None => File::open(path).map(Handle::System),
        };
        let file = file.map_err(|error| FileError::new("open", path, error))?;
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
        self.file.length().map_err(|error| FileError::new("stat", &self.path, error))
    }

    /// Lets the system keep nothing of the file in memory that the disk has too: what is read next
    /// is what the disk gives.
    pub fn forget_cached(&self) {
        if let Handle::System(file) = &self.file {
            // It is advice: what is read from memory all the same was written a moment ago.
            rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed).ok();
        }
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

impl Handle {
    fn length(&self) -> io::Result<u64> {
        match self {
            Handle::System(file) => Ok(file.metadata()?.len()),
            Handle::Simulated(inode) => simulated().len(*inode),
        }
    }

    fn read_exact_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        match self {
            Handle::System(file) => file.read_exact_at(bytes, offset),
            Handle::Simulated(inode) => simulated().read_exact_at(*inode, bytes, offset),
        }
    }
}

fn simulated() -> std::rc::Rc<crate::simulation::World> {
    world().expect("a simulated file is used in its simulation")
}

/// A file that is read and written at any place, by any number of threads.
#[derive(Debug)]
pub struct RandomAccessFile {
    file: Handle,
}

impl RandomAccessFile {
    /// Opens a file that is there.
    ///
    /// # Errors
    ///
    /// When it is not, or cannot be opened.
    pub fn open(path: &Path) -> Result<RandomAccessFile, FileError> {
        let file = match world() {
            Some(world) => world.open(path).map(Handle::Simulated),
            None => {
                let mut options = fs::OpenOptions::new();
                options.read(true).write(true).open(path).map(Handle::System)
            }
        };
        let file = file.map_err(|error| FileError::new("open", path, error))?;
        Ok(RandomAccessFile { file })
    }

    /// Makes a file that is not there yet. Its name is not durable.
    ///
    /// # Errors
    ///
    /// When it is there, or cannot be made.
    pub fn create_new(path: &Path) -> Result<RandomAccessFile, FileError> {
        let file = match world() {
            Some(world) => world.create_new(path, 0o600).map(Handle::Simulated),
            None => {
                let mut options = fs::OpenOptions::new();
                options.create_new(true).read(true).write(true).mode(0o600);
                options.open(path).map(Handle::System)
            }
        };
        let file = file.map_err(|error| FileError::new("create", path, error))?;
        Ok(RandomAccessFile { file })
    }

    /// Bytes of the file.
    ///
    /// # Errors
    ///
    /// When the system refuses.
    pub fn length(&self) -> io::Result<u64> {
        self.file.length()
    }

    /// Fills `bytes` from `offset` on.
    ///
    /// # Errors
    ///
    /// When the disk refuses, or the file ends before.
    pub fn read_exact_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(bytes, offset)
    }

    /// Writes all of `bytes` at `offset`; a sync makes them durable.
    ///
    /// # Errors
    ///
    /// When the disk refuses.
    pub fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        match &self.file {
            Handle::System(file) => file.write_all_at(bytes, offset),
            Handle::Simulated(inode) => simulated().write(*inode, offset, bytes),
        }
    }

    /// Cuts the file to `len` bytes, or adds zeros.
    ///
    /// # Errors
    ///
    /// When the system refuses.
    pub fn set_length(&self, len: u64) -> io::Result<()> {
        match &self.file {
            Handle::System(file) => file.set_len(len),
            Handle::Simulated(inode) => simulated().set_len(*inode, len),
        }
    }

    /// Gives the room of a range back, which reads as zeros from then on, also for whoever has the
    /// file open: the file system may tell the disk that nobody needs it any more. Gives whether the
    /// file system can.
    ///
    /// # Errors
    ///
    /// When it can, and refuses.
    pub fn give_back(&self, range: std::ops::Range<u64>) -> io::Result<bool> {
        use rustix::fs::FallocateFlags;
        if range.is_empty() {
            return Ok(true);
        }
        let length = range.end - range.start;
        match &self.file {
            Handle::System(file) => {
                let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
                match rustix::fs::fallocate(file, hole, range.start, length) {
                    Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => Ok(false),
                    done => done.map(|()| true).map_err(io::Error::from),
                }
            }
            Handle::Simulated(inode) => {
                simulated().write(*inode, range.start, &vec![0; length as usize]).map(|()| true)
            }
        }
    }

    /// Makes everything written so far durable.
    ///
    /// # Errors
    ///
    /// When the disk refuses; what was written is then in doubt for good.
    pub fn sync_data(&self) -> io::Result<()> {
        match &self.file {
            Handle::System(file) => file.sync_data(),
            Handle::Simulated(inode) => simulated().sync(*inode),
        }
    }
}

/// The whole content of a small file; `None` when there is none.
///
/// # Errors
///
/// When it cannot be read.
pub fn read_file(path: &Path) -> Result<Option<Vec<u8>>, FileError> {
    let read = world().map_or_else(|| fs::read(path), |world| world.read(path));
    match read {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(FileError::new("read", path, error)),
    }
}

/// Puts `bytes` in place of a file, or makes it, for its owner alone: wholly or not at all, and
/// durably.
///
/// # Errors
///
/// When any step fails; the old file is then still there.
pub fn replace_file(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let new = path.with_file_name(name);
    let written = write_synced(&new, bytes).and_then(|()| rename(&new, path));
    if written.is_err() {
        // What is left of a failed attempt only takes up space.
        remove_file(&new).ok();
    }
    written
}

fn write_synced(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let fail = |operation| move |error| FileError::new(operation, path, error);
    match remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(fail("remove")(error)),
        _ => {}
    }
    let file = RandomAccessFile::create_new(path)?;
    file.write_all_at(bytes, 0).map_err(fail("write"))?;
    file.sync_data().map_err(fail("sync"))
}

/// Renames a file within its directory, durably.
///
/// # Errors
///
/// When the system refuses.
pub fn rename(from: &Path, to: &Path) -> Result<(), FileError> {
    let renamed = world().map_or_else(|| fs::rename(from, to), |world| world.rename(from, to));
    renamed.map_err(|error| FileError::new("rename", from, error))?;
    sync_parent(to)
}

/// Removes a file, durably; one that does not exist is removed already.
///
/// # Errors
///
/// When the system refuses.
pub fn remove(path: &Path) -> Result<(), FileError> {
    match remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(FileError::new("remove", path, error))
        }
        _ => sync_parent(path),
    }
}

fn remove_file(path: &Path) -> io::Result<()> {
    world().map_or_else(|| fs::remove_file(path), |world| world.remove(path))
}

/// Removes a directory and all that is in it; one that does not exist is removed already.
///
/// # Errors
///
/// When the system refuses.
pub fn remove_dir(path: &Path) -> Result<(), FileError> {
    let removed = world().map_or_else(|| fs::remove_dir_all(path), |world| world.remove(path));
    match removed {
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
    let system = || File::open(path).and_then(|directory| directory.sync_all());
    let synced = world().map_or_else(system, |world| world.sync_dir(path));
    synced.map_err(|error| FileError::new("sync the directory", path, error))
}

/// Makes the name of a file or directory durable.
///
/// # Errors
///
/// When the system refuses.
pub fn sync_parent(path: &Path) -> Result<(), FileError> {
    sync_dir(path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(".".as_ref()))
}

/// Makes a directory that only its owner can enter, and those above it, durably; one that exists is
/// left as it is.
///
/// # Errors
///
/// When the system refuses.
pub fn create_dir(path: &Path) -> Result<(), FileError> {
    use std::os::unix::fs::DirBuilderExt;
    if path.as_os_str().is_empty() || file_len(path)?.is_some() {
        return Ok(());
    }
    create_dir(path.parent().unwrap_or(path))?;
    let system = || fs::DirBuilder::new().mode(0o700).create(path);
    match world().map_or_else(system, |world| world.create_dir(path)) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(FileError::new("create the directory", path, error))
        }
        _ => sync_parent(path).inspect_err(|_| {
            // Another attempt must not take it for durable.
            world().map_or_else(|| fs::remove_dir(path), |world| world.remove(path)).ok();
        }),
    }
}

/// The names in a directory, sorted; none when it does not exist.
///
/// # Errors
///
/// When it cannot be read.
pub fn list_dir(path: &Path) -> Result<Vec<OsString>, FileError> {
    match world().map_or_else(|| names_in(path), |world| world.list(path)) {
        Ok(mut names) => {
            names.sort_unstable();
            Ok(names)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(FileError::new("list", path, error)),
    }
}

fn names_in(path: &Path) -> io::Result<Vec<OsString>> {
    fs::read_dir(path)?.map(|entry| entry.map(|entry| entry.file_name())).collect()
}

/// Bytes of a file; `None` when there is none.
///
/// # Errors
///
/// When the system refuses.
pub fn file_len(path: &Path) -> Result<Option<u64>, FileError> {
    let simulated = |world: std::rc::Rc<crate::simulation::World>| world.len(world.open(path)?);
    match world().map_or_else(|| fs::metadata(path).map(|it| it.len()), simulated) {
        Ok(length) => Ok(Some(length)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(FileError::new("stat", path, error)),
    }
}

/// Room on a file system, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// What this user can still take.
    pub free: u64,
    /// All of it.
    pub total: u64,
}

/// The room where a file is; `None` when the system does not say.
pub fn space(path: &Path) -> Option<Space> {
    if world().is_some() {
        return None;
    }
    let it = rustix::fs::statvfs(path).ok()?;
    Some(Space { free: it.f_bavail * it.f_frsize, total: it.f_blocks * it.f_frsize })
}

/// A file's permission bits.
///
/// # Errors
///
/// When it does not exist or the system refuses.
pub fn permissions(path: &Path) -> Result<u32, FileError> {
    let system = || fs::metadata(path).map(|it| it.permissions().mode() & 0o7777);
    let mode = world().map_or_else(system, |world| world.mode(path));
    mode.map_err(|error| FileError::new("stat", path, error))
}

/// The user who owns a file.
///
/// # Errors
///
/// When it does not exist or the system refuses.
pub fn owner(path: &Path) -> Result<u32, FileError> {
    use std::os::unix::fs::MetadataExt;
    let owner = match world() {
        Some(world) => world.mode(path).map(|_| crate::privileges::user()),
        None => fs::metadata(path).map(|it| it.uid()),
    };
    owner.map_err(|error| FileError::new("stat", path, error))
}

/// Cuts a file to `len` bytes, durably.
///
/// # Errors
///
/// When the system refuses.
pub fn cut(path: &Path, len: u64) -> Result<(), FileError> {
    let file = RandomAccessFile::open(path)?;
    let cut = file.set_length(len).and_then(|()| file.sync_data());
    cut.map_err(|error| FileError::new("cut", path, error).at(len))
}

/// Writes `bytes` at `offset` of an existing file, durably.
///
/// # Errors
///
/// When the system refuses.
pub fn write_at(path: &Path, offset: u64, bytes: &[u8]) -> Result<(), FileError> {
    let file = RandomAccessFile::open(path)?;
    let written = file.write_all_at(bytes, offset).and_then(|()| file.sync_data());
    written.map_err(|error| FileError::new("write", path, error).at(offset))
}

/// Writes what a range of a file holds once more, durably, and zeros where it ends before: whoever wrote it before may have failed
/// to make it so, and no later sync vouches for that.
///
/// # Errors
///
/// When the system refuses.
pub fn write_again(path: &Path, range: std::ops::Range<u64>) -> Result<(), FileError> {
    const PIECE: usize = 1 << 20;
    if range.is_empty() {
        return Ok(());
    }
    let file = RandomAccessFile::open(path)?;
    if file_len(path)?.is_some_and(|len| len < range.end) {
        let longer = file.set_length(range.end);
        longer.map_err(|error| FileError::new("lengthen", path, error))?;
    }
    for at in range.clone().step_by(PIECE) {
        let mut bytes = vec![0; PIECE.min((range.end - at) as usize)];
        let written =
            file.read_exact_at(&mut bytes, at).and_then(|()| file.write_all_at(&bytes, at));
        written.map_err(|error| FileError::new("write again", path, error).at(at))?;
    }
    file.sync_data().map_err(|error| FileError::new("sync", path, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replacing_a_file_leaves_the_new_content_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        assert_eq!(read_file(&path).unwrap(), None);
        replace_file(&path, b"old").unwrap();
        replace_file(&path, b"new").unwrap();
        assert_eq!(read_file(&path).unwrap().unwrap(), b"new");
        assert_eq!(permissions(&path).unwrap(), 0o600);
        assert_eq!(list_dir(dir.path()).unwrap(), ["f"]);
    }

    #[test]
    fn directories_are_made_with_those_above_them_and_only_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b");
        create_dir(&path).unwrap();
        replace_file(&path.join("f"), b"x").unwrap();
        create_dir(&path).unwrap();
        assert_eq!(list_dir(&path).unwrap(), ["f"]);
        assert_eq!(permissions(&path).unwrap(), 0o700);
    }

    #[test]
    fn writing_again_changes_nothing_but_a_missing_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        replace_file(&path, b"abcdef").unwrap();
        write_again(&path, 2..4).unwrap();
        assert_eq!(read_file(&path).unwrap().unwrap(), b"abcdef");
        write_again(&path, 4..8).unwrap();
        assert_eq!(read_file(&path).unwrap().unwrap(), b"abcdef\0\0");
    }

    #[test]
    fn a_file_is_read_and_written_at_any_place() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let file = RandomAccessFile::create_new(&path).unwrap();
        file.write_all_at(b"abc", 2).unwrap();
        file.set_length(4).unwrap();
        file.sync_data().unwrap();
        drop(file);
        let file = RandomAccessFile::open(&path).unwrap();
        let mut bytes = [0; 4];
        file.read_exact_at(&mut bytes, 0).unwrap();
        assert_eq!((&bytes, file.length().unwrap()), (b"\0\0ab", 4));
        assert!(RandomAccessFile::create_new(&path).is_err());
    }

    #[test]
    fn what_is_given_back_reads_as_zeros_and_takes_no_room() {
        use std::os::unix::fs::MetadataExt;
        let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let path = dir.path().join("f");
        replace_file(&path, &[7; 64 << 10]).unwrap();
        let reader = ReadFile::open(&path).unwrap();
        let before = fs::metadata(&path).unwrap().blocks();
        let file = RandomAccessFile::open(&path).unwrap();
        assert!(file.give_back(5..5).unwrap());
        if !file.give_back(4096..64 << 10).unwrap() {
            println!("SKIPPED: this file system gives no room of a file back");
            return;
        }
        file.sync_data().unwrap();
        assert_eq!(reader.length().unwrap(), 64 << 10);
        assert_eq!(reader.read_at(4095, 2).unwrap(), [7, 0]);
        assert_eq!(reader.read_at((64 << 10) - 1, 1).unwrap(), [0]);
        let after = fs::metadata(&path).unwrap().blocks();
        assert!(after < before, "{before} blocks, then {after}");
        reader.forget_cached();
        assert_eq!(reader.read_at(0, 1).unwrap(), [7]);
    }

    #[test]
    fn removing_twice_is_no_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        replace_file(&path, b"x").unwrap();
        remove(&path).unwrap();
        remove(&path).unwrap();
        assert_eq!(file_len(&path).unwrap(), None);
    }

    #[test]
    fn reading_past_the_end_names_the_place() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        replace_file(&path, b"abc").unwrap();
        let file = ReadFile::open(&path).unwrap();
        assert_eq!(file.length().unwrap(), 3);
        assert_eq!(file.read_at(1, 2).unwrap(), b"bc");
        assert!(file.read_at(1, 3).unwrap_err().to_string().contains("at offset 1"));
    }
}
