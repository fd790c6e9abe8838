//! Writing a large file from front to back without the page cache, on a thread that is not a shard.
//!
//! What is exported is rarely read again on the same machine; going through the page cache would
//! push out what is, and wait for the disk all the same once a fifth of the memory is dirty.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use crate::ALIGNMENT;
use crate::aligned::AlignedBuffer;
use crate::file::FileError;

/// Bytes that are written at once.
const CHUNK_SIZE: usize = 4 << 20;

/// A file that is written from front to back.
#[derive(Debug)]
pub struct DirectWriter {
    file: File,
    /// Whether writes must be aligned.
    direct: bool,
    chunk: AlignedBuffer,
    filled: usize,
    written: u64,
}

impl DirectWriter {
    /// Creates a file, or empties the one that is there. What is no regular file, and what lies on
    /// a file system without direct I/O, is written in the ordinary way.
    ///
    /// # Errors
    ///
    /// When it cannot be created.
    pub fn create(path: &Path) -> Result<DirectWriter, FileError> {
        let mut options = OpenOptions::new();
        options.create(true).truncate(true).write(true);
        let plain = options.open(path).map_err(|error| FileError::new("create", path, error))?;
        let regular = plain.metadata().is_ok_and(|metadata| metadata.is_file());
        let flags = rustix::fs::OFlags::DIRECT.bits().cast_signed();
        let direct = regular.then(|| options.custom_flags(flags).open(path).ok()).flatten();
        let (file, direct) = direct.map_or((plain, false), |file| (file, true));
        let chunk = AlignedBuffer::new(CHUNK_SIZE);
        Ok(DirectWriter { file, direct, chunk, filled: 0, written: 0 })
    }

    /// Writes what is left, and ends the file behind the last byte.
    ///
    /// # Errors
    ///
    /// When the system refuses.
    pub fn finish(mut self) -> io::Result<()> {
        let length = self.written + self.filled as u64;
        if self.direct {
            let padded = self.filled.next_multiple_of(ALIGNMENT);
            self.chunk[self.filled..padded].fill(0);
            self.filled = padded;
        }
        self.write_chunk()?;
        if self.direct { self.file.set_len(length) } else { self.file.flush() }
    }

    fn write_chunk(&mut self) -> io::Result<()> {
        let chunk = &self.chunk[..self.filled];
        if self.direct {
            self.file.write_all_at(chunk, self.written)?;
        } else {
            self.file.write_all(chunk)?;
        }
        self.written += self.filled as u64;
        self.filled = 0;
        Ok(())
    }
}

impl Write for DirectWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(CHUNK_SIZE - self.filled);
        self.chunk[self.filled..self.filled + taken].copy_from_slice(&bytes[..taken]);
        self.filled += taken;
        if self.filled == CHUNK_SIZE {
            self.write_chunk()?;
        }
        Ok(taken)
    }

    /// Does nothing: a chunk is written when it is full, and the last by
    /// [`finish`](DirectWriter::finish).
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_what_was_written_and_no_more() {
        let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let path = dir.path().join("f");
        for length in [0, 1, ALIGNMENT, CHUNK_SIZE, CHUNK_SIZE + 5] {
            std::fs::write(&path, vec![9; 10_000_000]).unwrap();
            let expected: Vec<u8> = (0..length).map(|index| (index % 251) as u8).collect();
            let mut writer = DirectWriter::create(&path).unwrap();
            for piece in expected.chunks(70_001) {
                writer.write_all(piece).unwrap();
            }
            writer.finish().unwrap();
            assert!(std::fs::read(&path).unwrap() == expected, "{length}");
        }
    }

    #[test]
    fn what_is_no_file_is_written_all_the_same() {
        let mut writer = DirectWriter::create(Path::new("/dev/null")).unwrap();
        writer.write_all(b"x").unwrap();
        writer.finish().unwrap();
    }
}
