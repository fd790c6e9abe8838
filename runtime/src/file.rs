//! Direct I/O on a shard: reads and writes that bypass the page cache.

use std::fmt;
use std::fs::File;
use std::io;
use std::ops::Deref;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use glommio::GlommioError;
use glommio::io::{DmaBuffer, DmaFile, OpenOptions, ReadResult};

use crate::ALIGNMENT;
use crate::aligned::AlignedBuffer;
use crate::shards::is_on_ring;
use crate::simulation::{self, Inode, World};

/// What failed on a file: the operation, where, and why.
#[derive(Debug, Clone, thiserror::Error)]
#[error("cannot {operation} {}{}: {source}{}", path.display(), At(*offset), Remedy(source))]
pub struct FileError {
    /// What was tried, as a verb: "open", "write", ...
    pub operation: &'static str,
    /// The file.
    pub path: PathBuf,
    /// Where in the file, in bytes.
    pub offset: Option<u64>,
    /// What the system said.
    pub source: std::sync::Arc<io::Error>,
}

impl FileError {
    /// An error without a position.
    #[must_use]
    pub fn new(operation: &'static str, path: &Path, source: io::Error) -> FileError {
        let (path, source) = (path.to_owned(), std::sync::Arc::new(source));
        FileError { operation, path, offset: None, source }
    }

    /// The same error, at a position.
    #[must_use]
    pub fn at(mut self, offset: u64) -> FileError {
        self.offset = Some(offset);
        self
    }

    /// Whether there is no such file.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.source.kind() == io::ErrorKind::NotFound
    }

    /// Whether the file system is full (or the process's file size limit is reached).
    #[must_use]
    pub fn is_no_space(&self) -> bool {
        is_no_space(&self.source)
    }
}

fn is_no_space(error: &io::Error) -> bool {
    let kind = error.kind();
    matches!(
        kind,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}

struct At(Option<u64>);

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |offset| write!(f, " at offset {offset}"))
    }
}

struct Remedy<'a>(&'a io::Error);

impl fmt::Display for Remedy<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if is_no_space(self.0) {
            f.write_str("; free some space on that file system and run the command again")
        } else {
            Ok(())
        }
    }
}

/// A file opened for direct I/O. Lives on the shard that opened it; clones are the same file.
#[derive(Clone, Debug)]
pub struct DirectFile {
    handle: Handle,
    path: Rc<Path>,
}

#[derive(Clone)]
enum Handle {
    Ring(Rc<DmaFile>),
    Plain(Rc<File>),
    Simulated(Rc<World>, Inode),
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Handle")
    }
}

impl DirectFile {
    /// Creates a file that must not exist yet, for writing. The caller syncs its directory.
    ///
    /// # Errors
    ///
    /// When it exists or cannot be created.
    pub async fn create_new(path: &Path) -> Result<DirectFile, FileError> {
        if let Some(world) = simulation::world() {
            let created = world.create_new(path, 0o600);
            return Self::simulated("create", world, created, path);
        }
        if !is_on_ring() {
            let options = std::fs::OpenOptions::new().create_new(true).write(true).clone();
            return Self::open_plain("create", options, path);
        }
        let mut options = OpenOptions::new();
        // For writing alone: glommio finds out whether a device can be polled by reading the first
        // file that it opens there, and an empty file makes it believe that any can.
        options.create_new(true).write(true).mode(0o600);
        let file = options.dma_open(path).await.map_err(|error| failed("create", path, error))?;
        Ok(DirectFile { handle: Handle::Ring(Rc::new(file)), path: path.into() })
    }

    /// Opens a file for reading.
    ///
    /// # Errors
    ///
    /// When it does not exist or cannot be read.
    pub async fn open(path: &Path) -> Result<DirectFile, FileError> {
        if let Some(world) = simulation::world() {
            let opened = world.open(path);
            return Self::simulated("open", world, opened, path);
        }
        if !is_on_ring() {
            return Self::open_plain("open", std::fs::OpenOptions::new().read(true).clone(), path);
        }
        // glommio asks for the path again once it has opened it, and panics when that was renamed or
        // removed meanwhile. The name of a descriptor stays.
        let held = std::fs::OpenOptions::new()
            .read(true)
            .custom_flags(rustix::fs::OFlags::PATH.bits().cast_signed())
            .open(path)
            .map_err(|error| FileError::new("open", path, error))?;
        let name = PathBuf::from(format!("/proc/self/fd/{}", held.as_raw_fd()));
        let opened = OpenOptions::new().read(true).dma_open(&name).await;
        let file = opened.map_err(|error| failed("open", path, error))?;
        Ok(DirectFile { handle: Handle::Ring(Rc::new(file)), path: path.into() })
    }

    fn open_plain(
        operation: &'static str,
        mut options: std::fs::OpenOptions,
        path: &Path,
    ) -> Result<DirectFile, FileError> {
        let direct = rustix::fs::OFlags::DIRECT.bits().cast_signed();
        let opened = match options.mode(0o600).custom_flags(direct).open(path) {
            // The file system knows no direct I/O (tmpfs); glommio does without it there too.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                options.custom_flags(0).open(path)
            }
            opened => opened,
        };
        let file = opened.map_err(|error| FileError::new(operation, path, error))?;
        Ok(DirectFile { handle: Handle::Plain(Rc::new(file)), path: path.into() })
    }

    fn simulated(
        operation: &'static str,
        world: Rc<World>,
        opened: io::Result<Inode>,
        path: &Path,
    ) -> Result<DirectFile, FileError> {
        let inode = opened.map_err(|error| FileError::new(operation, path, error))?;
        Ok(DirectFile { handle: Handle::Simulated(world, inode), path: path.into() })
    }

    /// The file's path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads `len` bytes at any offset.
    ///
    /// # Errors
    ///
    /// When the disk refuses, or the file ends before.
    pub async fn read_at(&self, offset: u64, len: usize) -> Result<ReadBuf, FileError> {
        let start = offset / ALIGNMENT as u64 * ALIGNMENT as u64;
        let skip = (offset - start) as usize;
        let size = (skip + len).next_multiple_of(ALIGNMENT);
        let read = match &self.handle {
            Handle::Ring(file) => {
                // Not `read_at`: near the end of a file it takes bytes for read that were not.
                let read = file.read_at_aligned(start, size).await;
                ReadBytes::Ring(read.map_err(|error| failed("read", &self.path, error).at(offset))?)
            }
            Handle::Plain(file) => {
                let mut buffer = AlignedBuffer::new(size);
                let read = read_full(file, &mut buffer, start);
                let read =
                    read.map_err(|error| FileError::new("read", &self.path, error).at(offset))?;
                buffer.truncate(read);
                ReadBytes::Plain(buffer)
            }
            Handle::Simulated(world, inode) => {
                let mut buffer = AlignedBuffer::new(size);
                let read = world.read_slowly(*inode, start, &mut buffer).await;
                let read =
                    read.map_err(|error| FileError::new("read", &self.path, error).at(offset))?;
                buffer.truncate(read);
                ReadBytes::Plain(buffer)
            }
        };
        if read.len() < skip + len {
            let short = io::Error::from(io::ErrorKind::UnexpectedEof);
            return Err(FileError::new("read", &self.path, short).at(offset));
        }
        Ok(ReadBuf { read, skip, len })
    }

    /// Makes every write that has completed survive a power cut.
    ///
    /// # Errors
    ///
    /// When the disk refuses. What was written since the last successful call is then in doubt
    /// for good: a later success does not vouch for it.
    pub async fn sync_data(&self) -> Result<(), FileError> {
        match &self.handle {
            Handle::Ring(file) => {
                file.fdatasync().await.map_err(|error| failed("sync", &self.path, error))
            }
            Handle::Plain(file) => {
                file.sync_data().map_err(|error| FileError::new("sync", &self.path, error))
            }
            Handle::Simulated(world, inode) => {
                let synced = world.sync_slowly(*inode).await;
                synced.map_err(|error| FileError::new("sync", &self.path, error))
            }
        }
    }

    /// Closes the file, and says so when that fails. Dropping it closes it later and in silence.
    ///
    /// # Errors
    ///
    /// When the system refuses.
    pub async fn close(self) -> Result<(), FileError> {
        match self.handle {
            Handle::Ring(file) => {
                let closed = file.close_rc().await;
                closed.map(drop).map_err(|error| failed("close", &self.path, error))
            }
            // Nothing is buffered, and every write was checked.
            Handle::Plain(_) | Handle::Simulated(..) => Ok(()),
        }
    }

    /// Memory that can be written to the file.
    pub(crate) fn allocate(&self, size: usize) -> Chunk {
        match &self.handle {
            Handle::Ring(file) => Chunk::Ring(file.alloc_dma_buffer(size)),
            Handle::Plain(_) | Handle::Simulated(..) => Chunk::Plain(AlignedBuffer::new(size)),
        }
    }

    /// Writes a chunk that was allocated for this file; gives it back, where it can be, and how
    /// much of it was written.
    pub(crate) async fn write_at(
        &self,
        chunk: Chunk,
        offset: u64,
    ) -> (Option<Chunk>, Result<usize, FileError>) {
        match (&self.handle, chunk) {
            (Handle::Ring(file), Chunk::Ring(buffer)) => {
                let buffer = Rc::new(buffer);
                let written = file.write_rc_at(Rc::clone(&buffer), offset).await;
                let chunk = Rc::try_unwrap(buffer).ok().map(Chunk::Ring);
                (chunk, written.map_err(|error| failed("write", &self.path, error).at(offset)))
            }
            (Handle::Plain(file), Chunk::Plain(buffer)) => {
                let written = file.write_all_at(&buffer, offset).map(|()| buffer.len());
                let fail = |error| FileError::new("write", &self.path, error).at(offset);
                (Some(Chunk::Plain(buffer)), written.map_err(fail))
            }
            (Handle::Simulated(world, inode), Chunk::Plain(buffer)) => {
                let written = world.write_slowly(*inode, offset, &buffer).await;
                let fail = |error| FileError::new("write", &self.path, error).at(offset);
                (Some(Chunk::Plain(buffer)), written.map_err(fail))
            }
            _ => unreachable!("a chunk is written to the file that it was allocated for"),
        }
    }
}

/// Reads until the buffer is full or the file ends.
fn read_full(file: &File, buffer: &mut [u8], start: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], start + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        // Only the end of the file gives less than was asked for, and direct reads must go on at
        // an aligned place.
        if !filled.is_multiple_of(ALIGNMENT) {
            break;
        }
    }
    Ok(filled)
}

/// Memory that is written at once.
#[derive(Debug)]
pub(crate) enum Chunk {
    Ring(DmaBuffer),
    Plain(AlignedBuffer),
}

impl Chunk {
    pub(crate) fn as_mut(&mut self) -> &mut [u8] {
        match self {
            Chunk::Ring(buffer) => buffer.as_bytes_mut(),
            Chunk::Plain(buffer) => buffer,
        }
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Chunk::Ring(buffer) => buffer.len(),
            Chunk::Plain(buffer) => buffer.len(),
        }
    }

    pub(crate) fn truncate(&mut self, len: usize) {
        match self {
            Chunk::Ring(buffer) => buffer.trim_to_size(len),
            Chunk::Plain(buffer) => buffer.truncate(len),
        }
    }
}

/// Bytes read from a file.
#[derive(Debug)]
pub struct ReadBuf {
    read: ReadBytes,
    skip: usize,
    len: usize,
}

#[derive(Debug)]
enum ReadBytes {
    Ring(ReadResult),
    Plain(AlignedBuffer),
}

impl Deref for ReadBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            ReadBytes::Ring(read) => read,
            ReadBytes::Plain(read) => read,
        }
    }
}

impl Deref for ReadBuf {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.read[self.skip..self.skip + self.len]
    }
}

fn failed(operation: &'static str, path: &Path, error: GlommioError<()>) -> FileError {
    // glommio wraps the system's error in a text of its own; the error itself is what callers need.
    let source = match error {
        GlommioError::EnhancedIoError { source, .. } | GlommioError::IoError(source) => source,
        other => io::Error::from(other),
    };
    FileError::new(operation, path, source)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TaskClass;
    use crate::shards::tests::both_kinds;

    #[test]
    fn a_read_beyond_the_end_is_an_error_and_up_to_it_is_not() {
        let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let path = dir.path().join("f");
        std::fs::write(&path, vec![7; 5000]).unwrap();
        for shards in both_kinds(1) {
            let path = path.clone();
            let task = shards.spawn(0, TaskClass::Query, move || async move {
                let file = DirectFile::open(&path).await.unwrap();
                assert_eq!(&*file.read_at(4990, 10).await.unwrap(), [7; 10]);
                assert_eq!(&*file.read_at(4000, 200).await.unwrap(), [7; 200]);
                let error = file.read_at(4990, 11).await.unwrap_err();
                assert_eq!(error.source.kind(), io::ErrorKind::UnexpectedEof);
                assert!(error.to_string().contains("at offset 4990"), "{error}");
                file.close().await.unwrap();
            });
            task.wait().unwrap();
        }
    }

    /// glommio panicked over a file that was renamed while it was being opened.
    #[test]
    fn a_file_may_be_renamed_while_it_is_opened() {
        let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        std::fs::write(&a, vec![7; 5000]).unwrap();
        for shards in both_kinds(1) {
            let over = std::sync::atomic::AtomicBool::new(false);
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    while !over.load(std::sync::atomic::Ordering::Relaxed) {
                        std::fs::rename(&a, &b).unwrap();
                        std::fs::rename(&b, &a).unwrap();
                    }
                });
                let path = a.clone();
                let task = shards.spawn(0, TaskClass::Query, move || async move {
                    for _ in 0..3_000 {
                        match DirectFile::open(&path).await {
                            Ok(file) => assert_eq!(&*file.read_at(0, 1).await.unwrap(), [7]),
                            Err(error) => assert!(error.is_not_found(), "{error}"),
                        }
                    }
                });
                let answered = task.wait();
                over.store(true, std::sync::atomic::Ordering::Relaxed);
                answered.unwrap();
            });
        }
    }

    #[test]
    fn errors_keep_the_system_s_reason_and_name_the_file() {
        for shards in both_kinds(1) {
            let task = shards.spawn(0, TaskClass::Query, || async {
                DirectFile::open(Path::new("/nonexistent/file")).await.unwrap_err()
            });
            let error = task.wait().unwrap();
            assert_eq!(error.source.kind(), io::ErrorKind::NotFound);
            assert!(error.to_string().starts_with("cannot open /nonexistent/file"), "{error}");
        }
    }

    #[test]
    fn a_full_disk_names_the_remedy() {
        let error = FileError::new("write", Path::new("x"), io::ErrorKind::StorageFull.into());
        assert!(error.is_no_space());
        assert!(error.to_string().contains("free some space"), "{error}");
    }
}
