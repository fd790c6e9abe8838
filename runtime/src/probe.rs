//! Whether a disk keeps what is written to it, and how fast, tried with a file that is there for no
//! other reason. For threads that are not shards, and for the real disk.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, OFlags, StatxFlags, statx};

use crate::ALIGNMENT;
use crate::aligned::AlignedBuffer;
use crate::blocking::remove;
use crate::file::FileError;
use crate::random_bytes;

/// Bytes that are written and read at once.
const PIECE: usize = 1 << 20;

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probed {
    /// Whether the page cache was passed by. Some file systems cannot.
    pub is_direct: bool,
    /// Bytes that were written, and read back.
    pub bytes: u64,
    /// How long writing took.
    pub writing: Duration,
    /// How long it took to make it durable.
    pub syncing: Duration,
}

/// Writes pieces to a file that is made for it, as the store's own files are written, makes them
/// durable, reads them back, compares, and removes the file.
///
/// # Errors
///
/// When any step fails, when other bytes come back, or when the file system wants direct writes
/// aligned otherwise than all of ours are.
pub fn disk(path: &Path, pieces: usize) -> Result<Probed, FileError> {
    remove(path)?;
    let probed = write_and_read(path, pieces);
    let removed = remove(path);
    let probed = probed?;
    removed?;
    Ok(probed)
}

fn write_and_read(path: &Path, pieces: usize) -> Result<Probed, FileError> {
    let fail = |operation| move |error| FileError::new(operation, path, error);
    let (file, is_direct) = open(path).map_err(fail("create"))?;
    if is_direct {
        check_alignment(&file).map_err(fail("align direct writes to"))?;
    }
    // No disk gives back by chance what nobody has written before.
    let salt: [u8; 16] = random_bytes();
    let mut buffer = AlignedBuffer::new(PIECE);
    let began = Instant::now();
    for piece in 0..pieces {
        fill(&mut buffer, salt, piece);
        let at = (piece * PIECE) as u64;
        file.write_all_at(&buffer, at).map_err(|error| fail("write")(error).at(at))?;
    }
    let writing = began.elapsed();
    let began = Instant::now();
    file.sync_data().map_err(fail("sync"))?;
    let syncing = began.elapsed();
    let mut expected = AlignedBuffer::new(PIECE);
    for piece in 0..pieces {
        let at = (piece * PIECE) as u64;
        file.read_exact_at(&mut buffer, at).map_err(|error| fail("read")(error).at(at))?;
        fill(&mut expected, salt, piece);
        if buffer[..] != expected[..] {
            let other = io::Error::other("it gives back other bytes than were written");
            return Err(fail("trust")(other).at(at));
        }
    }
    Ok(Probed { is_direct, bytes: (pieces * PIECE) as u64, writing, syncing })
}

/// A file of its own, past the page cache where that can be.
fn open(path: &Path) -> io::Result<(File, bool)> {
    let mut options = OpenOptions::new();
    options.create_new(true).read(true).write(true).mode(0o600);
    let direct = OFlags::DIRECT.bits().cast_signed();
    match options.custom_flags(direct).open(path) {
        Ok(file) => Ok((file, true)),
        // The file system knows no direct I/O. It may have made the file all the same.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
            std::fs::remove_file(path).ok();
            options.custom_flags(0).open(path).map(|file| (file, false))
        }
        Err(error) => Err(error),
    }
}

/// Whether the file system takes direct writes that are aligned as ours are. Kernels before 6.1 do
/// not say; then the write shows it.
fn check_alignment(file: &File) -> io::Result<()> {
    let said = statx(file, "", AtFlags::EMPTY_PATH, StatxFlags::DIOALIGN)?;
    for wanted in [said.stx_dio_mem_align, said.stx_dio_offset_align] {
        if wanted != 0 && !ALIGNMENT.is_multiple_of(wanted as usize) {
            let what = format!("it wants them at multiples of {wanted} bytes, not of {ALIGNMENT}");
            return Err(io::Error::other(what));
        }
    }
    Ok(())
}

fn fill(buffer: &mut [u8], salt: [u8; 16], piece: usize) {
    for (number, chunk) in buffer.chunks_exact_mut(16).enumerate() {
        let number = ((piece * PIECE + number) as u128).to_le_bytes();
        let salted = number.iter().zip(salt);
        chunk.iter_mut().zip(salted).for_each(|(byte, (number, salt))| *byte = number ^ salt);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sound_disk_keeps_what_is_written_and_nothing_is_left() {
        let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let path = dir.path().join("probe");
        std::fs::write(&path, "left by a crash").unwrap();
        let probed = disk(&path, 3).unwrap();
        assert_eq!(probed.bytes, 3 << 20);
        assert!(!probed.writing.is_zero() && !probed.syncing.is_zero());
        assert!(!path.try_exists().unwrap());
    }

    #[test]
    fn a_disk_that_takes_nothing_is_told_with_its_reason() {
        let error = disk(Path::new("/proc/probe"), 1).unwrap_err();
        assert!(error.to_string().contains("/proc"), "{error}");
        let error = disk(Path::new("/dev/full/probe"), 1).unwrap_err();
        assert_eq!(error.source.kind(), io::ErrorKind::NotADirectory, "{error}");
    }
}
