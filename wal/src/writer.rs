//! Appending to the log, on a shard.

use std::path::{Path, PathBuf};

use tapstone_runtime::appender::Appender;
use tapstone_runtime::file::{DirectFile, FileError};
use tapstone_runtime::{aside, blocking};
use zerocopy::IntoBytes;

use crate::Lsn;
use crate::format::{FileHeader, frame};

/// Why a record could not be made durable.
#[derive(Clone, Debug, thiserror::Error)]
pub enum WalError {
    /// The file refused.
    #[error("write-ahead log: {0}")]
    File(#[from] FileError),
    /// An earlier commit failed; nothing can be vouched for until the store is opened again.
    #[error("write-ahead log: an earlier write failed ({0}); close the store and open it again")]
    Failed(FileError),
}

impl WalError {
    /// What the file said, now or before.
    #[must_use]
    pub fn file_error(&self) -> &FileError {
        match self {
            WalError::File(error) | WalError::Failed(error) => error,
        }
    }
}

impl From<WalError> for FileError {
    fn from(error: WalError) -> FileError {
        match error {
            WalError::File(error) | WalError::Failed(error) => error,
        }
    }
}

/// The log of one shard, open for appending.
#[derive(Debug)]
pub struct Wal {
    path: PathBuf,
    appender: Appender,
    seed: u32,
    /// The number of the next record to be appended.
    next: Lsn,
    durable: Lsn,
    /// Bytes of the file that hold everything durable.
    durable_size: u64,
    pending: Vec<Vec<u8>>,
    failure: Option<FileError>,
}

impl Wal {
    /// Begins the WAL file of a shard in `folder`, durably. Its records count from `first`.
    ///
    /// # Errors
    ///
    /// When the file exists or cannot be written.
    pub async fn create(
        folder: &Path,
        store: [u8; 16],
        shard: u16,
        first: Lsn,
    ) -> Result<Wal, WalError> {
        let path = folder.join(file_name(shard, first));
        Self::create_file(path, store, shard, first).await
    }

    /// As [`create`](Self::create), under a name of the caller's choice.
    ///
    /// # Errors
    ///
    /// When the file exists or cannot be written.
    pub async fn create_file(
        path: PathBuf,
        store: [u8; 16],
        shard: u16,
        first: Lsn,
    ) -> Result<Wal, WalError> {
        let file = DirectFile::create_new(&path).await?;
        let header = FileHeader::new(store, shard, first);
        let begun = begin(file, &header, &path).await;
        // One that was not begun means nothing, and more would come as long as the disk is full.
        let appender = begun.inspect_err(|_| drop(blocking::remove(&path)))?;
        Ok(Wal {
            path,
            durable_size: appender.position(),
            appender,
            seed: header.seed(),
            next: first,
            durable: Lsn(first.0 - 1),
            pending: Vec::new(),
            failure: None,
        })
    }

    /// Appends a record to the next commit, and gives its number.
    pub fn append(&mut self, record: Vec<u8>) -> Lsn {
        self.pending.push(record);
        let lsn = self.next;
        self.next.0 += 1;
        lsn
    }

    /// Makes everything appended so far durable; gives the durable LSN.
    ///
    /// # Errors
    ///
    /// When the disk refuses. Every later commit then fails too: what the disk holds of this one
    /// is unknown.
    pub async fn commit(&mut self) -> Result<Lsn, WalError> {
        if let Some(failure) = &self.failure {
            return Err(WalError::Failed(failure.clone()));
        }
        if self.pending.is_empty() {
            return Ok(self.durable);
        }
        let records = std::mem::take(&mut self.pending);
        let first = Lsn(self.next.0 - records.len() as u64);
        let bytes = frame(self.seed, first, self.durable, &records);
        match self.write(&bytes).await {
            Ok(()) => {
                self.durable_size = self.size();
                self.durable = Lsn(self.next.0 - 1);
                Ok(self.durable)
            }
            Err(error) => {
                self.failure = Some(error.clone());
                Err(error.into())
            }
        }
    }

    /// Everything up to here survives a power cut.
    #[must_use]
    pub fn durable(&self) -> Lsn {
        self.durable
    }

    /// Bytes of its file.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.appender.position()
    }

    /// Ends the log, and gives its file's path: to be removed once everything that it speaks of is
    /// durable elsewhere. What was appended and not committed is dropped.
    ///
    /// # Errors
    ///
    /// When the file cannot be closed.
    pub async fn close(self) -> Result<PathBuf, WalError> {
        self.appender.file().clone().close().await?;
        Ok(self.path)
    }

    /// Ends a log that failed. What was not committed is cut off, so that nothing of it is ever read;
    /// gives the file's path.
    ///
    /// # Errors
    ///
    /// When it cannot be cut: then nobody knows what it will say.
    pub async fn give_up(self) -> Result<PathBuf, FileError> {
        self.appender.give_up().await;
        blocking::cut(&self.path, self.durable_size)?;
        Ok(self.path)
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), FileError> {
        self.appender.append(bytes).await?;
        self.appender.pad().await?;
        self.appender.flush().await?;
        self.appender.file().sync_data().await
    }
}

/// The name of the WAL file of a shard whose records count from `first`.
#[must_use]
pub fn file_name(shard: u16, first: Lsn) -> String {
    format!("wal-{shard:05}-{:020}.log", first.0)
}

/// Writes the header, durably.
async fn begin(file: DirectFile, header: &FileHeader, path: &Path) -> Result<Appender, FileError> {
    let mut appender = Appender::new(file);
    appender.append(header.as_bytes()).await?;
    appender.flush().await?;
    appender.file().sync_data().await?;
    let path = path.to_owned();
    aside(move || blocking::sync_parent(&path)).await?;
    Ok(appender)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ScanEnd, read_folder, scan};
    use tapstone_runtime::{Shards, TaskClass};

    /// Commits groups of records; gives the file's bytes.
    fn written(groups: Vec<Vec<Vec<u8>>>) -> Vec<u8> {
        let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let folder = dir.path().to_owned();
        let shards = Shards::start(1).unwrap();
        let task = shards.spawn(0, TaskClass::Capture, move || async move {
            let mut wal = Wal::create(&folder, [7; 16], 3, Lsn(5)).await.unwrap();
            for group in groups {
                for record in group {
                    wal.append(record);
                }
                wal.commit().await.unwrap();
            }
        });
        task.wait().unwrap();
        let files = read_folder(dir.path()).unwrap();
        assert_eq!(files.len(), 1);
        std::fs::read(&files[0].path).unwrap()
    }

    fn groups() -> Vec<Vec<Vec<u8>>> {
        vec![
            vec![b"one".to_vec(), b"two".to_vec()],
            vec![vec![3; 5000]],
            vec![Vec::new(), b"five".to_vec()],
        ]
    }

    #[test]
    fn committed_records_come_back_in_order() {
        let scanned = scan(&written(groups())).unwrap();
        let expected: Vec<(Lsn, Vec<u8>)> =
            (5..).map(Lsn).zip(groups().into_iter().flatten()).collect();
        assert_eq!(scanned.records, expected);
        assert_eq!((scanned.end, scanned.shard), (ScanEnd::Clean, 3));
        assert_eq!(scanned.durable, Lsn(7));
    }

    /// To freeze a file of a new version, run with `TAPSTONE_FREEZE=1` and commit it.
    #[test]
    fn a_file_of_version_1_is_read() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/wal-v1.log");
        if std::env::var_os("TAPSTONE_FREEZE").is_some() {
            std::fs::write(&path, written(groups())).unwrap();
        }
        let scanned = scan(&std::fs::read(&path).unwrap()).unwrap();
        let records: Vec<Vec<u8>> = scanned.records.into_iter().map(|(_, it)| it).collect();
        assert_eq!(records, groups().concat());
        assert_eq!((scanned.first, scanned.end), (Lsn(5), ScanEnd::Clean));
    }

    #[test]
    fn every_flipped_byte_is_noticed_and_what_came_before_is_kept() {
        let bytes = written(groups());
        let whole = scan(&bytes).unwrap();
        for index in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[index] ^= 0x10;
            let Ok(scanned) = scan(&bad) else {
                assert!(index < 4096, "byte {index}");
                continue;
            };
            assert_ne!(scanned.end, ScanEnd::Clean, "byte {index}");
            assert!(whole.records.starts_with(&scanned.records), "byte {index}");
        }
    }

    #[test]
    fn a_file_cut_anywhere_gives_the_commits_before_the_cut() {
        let bytes = written(groups());
        let whole = scan(&bytes).unwrap();
        for length in (4096..bytes.len()).step_by(512) {
            let scanned = scan(&bytes[..length]).unwrap();
            assert!(whole.records.starts_with(&scanned.records), "length {length}");
            assert!(!matches!(scanned.end, ScanEnd::Damaged { .. }), "length {length}");
        }
    }

    #[test]
    fn damage_in_the_middle_is_told_from_a_torn_end() {
        let bytes = written(groups());
        let mut middle = bytes.clone();
        middle[4096 + 40] ^= 1;
        assert_eq!(scan(&middle).unwrap().end, ScanEnd::Damaged { offset: 4096 });
        let mut last = bytes.clone();
        let at = bytes.len() - 4096;
        last[at + 40] ^= 1;
        assert_eq!(scan(&last).unwrap().end, ScanEnd::Torn { offset: at as u64 });
    }

    #[test]
    fn a_frame_of_another_file_is_not_taken() {
        let bytes = written(groups());
        let mut other = FileHeader::new([7; 16], 3, Lsn(4)).as_bytes().to_vec();
        other.extend_from_slice(&bytes[4096..]);
        assert!(scan(&other).unwrap().records.is_empty());
    }
}
