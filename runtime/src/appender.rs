//! Streaming to a file: bytes are gathered into aligned chunks and written in the background.

use std::collections::VecDeque;
use std::io;

use crate::ALIGNMENT;
use crate::file::{Chunk, DirectFile, FileError};
use crate::shards::{Spawned, spawn_local};

const CHUNK_SIZE: usize = 1 << 20;
const IN_FLIGHT_MAX: usize = 4;

/// Writes a file from front to back.
///
/// Nothing is ever written twice: what does not fill a chunk waits until [`pad`](Self::pad) fills
/// it with zeros to the next boundary. The first failure latches.
#[derive(Debug)]
pub struct Appender {
    file: DirectFile,
    chunk: Option<Chunk>,
    filled: usize,
    /// Where the current chunk begins in the file.
    start: u64,
    in_flight: VecDeque<Write>,
    spare: Vec<Chunk>,
    failure: Option<FileError>,
}

#[derive(Debug)]
struct Write {
    offset: u64,
    length: usize,
    written: Spawned<(Option<Chunk>, Result<usize, FileError>)>,
}

impl Appender {
    /// Appends to `file`, which must be empty.
    #[must_use]
    pub fn new(file: DirectFile) -> Appender {
        Appender {
            file,
            chunk: None,
            filled: 0,
            start: 0,
            in_flight: VecDeque::with_capacity(IN_FLIGHT_MAX),
            spare: Vec::with_capacity(IN_FLIGHT_MAX + 1),
            failure: None,
        }
    }

    /// Where the next byte goes.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.start + self.filled as u64
    }

    /// The file that is written.
    #[must_use]
    pub fn file(&self) -> &DirectFile {
        &self.file
    }

    /// Copies `bytes` behind what was appended before. Waits only when the disk is far behind.
    ///
    /// # Errors
    ///
    /// The first failure of any write so far.
    pub async fn append(&mut self, mut bytes: &[u8]) -> Result<(), FileError> {
        while !bytes.is_empty() {
            let chunk = match &mut self.chunk {
                Some(chunk) => chunk,
                None => {
                    let chunk = self.spare.pop();
                    self.chunk.insert(chunk.unwrap_or_else(|| self.file.allocate(CHUNK_SIZE)))
                }
            };
            let taken = bytes.len().min(CHUNK_SIZE - self.filled);
            let (now, later) = bytes.split_at(taken);
            chunk.as_mut()[self.filled..self.filled + taken].copy_from_slice(now);
            self.filled += taken;
            bytes = later;
            if self.filled == CHUNK_SIZE {
                self.start_write().await?;
            }
        }
        Ok(())
    }

    /// Fills with zeros to the next boundary of [`ALIGNMENT`], so that everything appended so far
    /// can be written.
    ///
    /// # Errors
    ///
    /// As [`append`](Self::append).
    pub async fn pad(&mut self) -> Result<(), FileError> {
        const ZEROS: [u8; ALIGNMENT] = [0; ALIGNMENT];
        let length = self.position().next_multiple_of(ALIGNMENT as u64) - self.position();
        self.append(&ZEROS[..length as usize]).await
    }

    /// Writes everything appended so far and waits until all writes have completed. It does not
    /// sync.
    ///
    /// # Errors
    ///
    /// The first failure of any write so far.
    ///
    /// # Panics
    ///
    /// When the position is not aligned: call [`pad`](Self::pad) first.
    pub async fn flush(&mut self) -> Result<(), FileError> {
        if self.filled > 0 {
            assert!(self.filled.is_multiple_of(ALIGNMENT), "pad before flush");
            self.start_write().await?;
        }
        while !self.in_flight.is_empty() {
            self.finish_write().await?;
        }
        self.failure.clone().map_or(Ok(()), Err)
    }

    /// Ends it without a promise about what it wrote: waits until no write is under way any more, so
    /// that nothing changes the file after this.
    pub async fn give_up(mut self) {
        while !self.in_flight.is_empty() {
            self.finish_write().await.ok();
        }
        self.file.close().await.ok();
    }

    async fn start_write(&mut self) -> Result<(), FileError> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        if self.in_flight.len() == IN_FLIGHT_MAX {
            self.finish_write().await?;
        }
        let mut chunk = self.chunk.take().expect("a chunk that holds bytes");
        if self.filled < CHUNK_SIZE {
            chunk.truncate(self.filled);
        }
        let (file, offset, length) = (self.file.clone(), self.start, self.filled);
        let written = spawn_local(async move { file.write_at(chunk, offset).await });
        self.in_flight.push_back(Write { offset, length, written });
        self.start += self.filled as u64;
        self.filled = 0;
        Ok(())
    }

    async fn finish_write(&mut self) -> Result<(), FileError> {
        let Some(write) = self.in_flight.pop_front() else { return Ok(()) };
        let (chunk, written) = write.written.await;
        let result = match written {
            Ok(length) if length == write.length => Ok(()),
            // The kernel takes part of a write only when there is no room for the rest.
            Ok(length) => {
                let text = format!("only {length} of {} bytes fit", write.length);
                let error = io::Error::new(io::ErrorKind::StorageFull, text);
                Err(FileError::new("write", self.file.path(), error).at(write.offset))
            }
            Err(error) => Err(error),
        };
        if let Err(error) = result {
            self.failure.get_or_insert_with(|| error.clone());
            return Err(error);
        }
        // Chunks cut at a flush are not worth keeping.
        self.spare.extend(chunk.filter(|chunk| chunk.len() == CHUNK_SIZE));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shards::tests::both_kinds;
    use crate::{Shards, TaskClass};
    use std::path::PathBuf;

    /// Appends pieces of these lengths, padding and flushing after each negative one; gives the
    /// file's path and what it must hold.
    fn check(lengths: &'static [isize]) {
        for shards in both_kinds(1) {
            check_on(&shards, lengths);
        }
    }

    fn check_on(shards: &Shards, lengths: &'static [isize]) {
        let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let path: PathBuf = dir.path().join("f");
        let target = path.clone();
        let task = shards.spawn(0, TaskClass::Capture, move || async move {
            let file = DirectFile::create_new(&target).await.unwrap();
            let mut appender = Appender::new(file);
            let mut expected = Vec::new();
            for (number, length) in lengths.iter().enumerate() {
                let piece = vec![number as u8 + 1; length.unsigned_abs()];
                appender.append(&piece).await.unwrap();
                expected.extend(piece);
                if *length < 0 {
                    appender.pad().await.unwrap();
                    appender.flush().await.unwrap();
                    expected.resize(expected.len().next_multiple_of(ALIGNMENT), 0);
                    appender.file().sync_data().await.unwrap();
                }
                assert_eq!(appender.position(), expected.len() as u64);
            }
            appender.file().clone().close().await.unwrap();
            expected
        });
        let expected = task.wait().unwrap();
        assert!(std::fs::read(&path).unwrap() == expected, "{lengths:?}");
    }

    #[test]
    fn what_is_appended_is_in_the_file() {
        check(&[5, -3, 4096, -1]);
        check(&[-(10 << 20) - 7, 3 << 20, 17, -1, -4096]);
    }
}
