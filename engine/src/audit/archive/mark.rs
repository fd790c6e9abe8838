//! The archive mark: which files of the log were archived, and what each ends with
//! (docs/format/audit.md, "The archive mark").

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use tapstone_runtime::file::FileError;

use super::super::record::{AuditHash, SEQUENCE_MAX};
use super::super::verify::AuditHead;
use crate::bits::take_bytes;
use crate::head_file::{self, Saved};
use crate::id::StoreId;

const MAGIC: [u8; 8] = *b"TAPSTAUM";

/// What it says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::audit) struct Mark {
    /// Folders that were named for the archive, besides the store's own.
    pub(in crate::audit) folders: Vec<PathBuf>,
    /// The files that were archived, by their numbers.
    pub(in crate::audit) files: Vec<Archived>,
}

/// A file that was archived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::audit) struct Archived {
    /// Its number.
    pub(in crate::audit) file: u64,
    /// The last record up to its end: of this file, unless it holds none.
    pub(in crate::audit) last: AuditHead,
}

impl Mark {
    /// The last record that was archived; none when none was.
    pub(in crate::audit) fn last(&self) -> Option<AuditHead> {
        self.files.last().map(|it| it.last).filter(|it| it.sequence > 0)
    }

    /// The number of the last file that was archived; 0 when none was.
    pub(in crate::audit) fn last_file(&self) -> u64 {
        self.files.last().map_or(0, |it| it.file)
    }

    /// What a reading begins behind when `first` is the first file that is there: the end of those
    /// that were archived before it. None when it begins with the first record.
    pub(in crate::audit) fn behind(&self, first: Option<u64>) -> Option<AuditHead> {
        let are_gone = |it: &&Archived| first.is_none_or(|first| it.file < first);
        let gone = self.files.iter().take_while(are_gone).last();
        gone.map(|it| it.last).filter(|it| it.sequence > 0)
    }

    /// The hash that it says of a record, where it says one.
    pub(in crate::audit) fn hash_of(&self, sequence: u64) -> Option<AuditHash> {
        let at = self.files.partition_point(|it| it.last.sequence < sequence);
        let last = self.files.get(at)?.last;
        (last.sequence == sequence).then_some(last.hash)
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = length(self.folders.len());
        for folder in &self.folders {
            let name = folder.as_os_str().as_bytes();
            bytes.extend(length(name.len()));
            bytes.extend(name);
        }
        bytes.extend(length(self.files.len()));
        for Archived { file, last } in &self.files {
            bytes.extend(file.to_le_bytes());
            bytes.extend(last.sequence.to_le_bytes());
            bytes.extend(last.hash.0);
        }
        bytes
    }

    fn decode(mut bytes: &[u8]) -> Result<Mark, &'static str> {
        const SENSELESS: &str = "it makes no sense";
        let input = &mut bytes;
        let mut mark = Mark::default();
        for _ in 0..take_length(input).ok_or(SENSELESS)? {
            let folder = take_folder(input).ok_or(SENSELESS)?;
            if !folder.is_absolute() || mark.folders.contains(&folder) {
                return Err(SENSELESS);
            }
            mark.folders.push(folder);
        }
        let mut before = Archived { file: 0, last: NONE };
        for _ in 0..take_length(input).ok_or(SENSELESS)? {
            let next = take_archived(input).ok_or(SENSELESS)?;
            if !next.may_follow(before) {
                return Err(SENSELESS);
            }
            mark.files.push(next);
            before = next;
        }
        if input.is_empty() { Ok(mark) } else { Err(SENSELESS) }
    }
}

impl Archived {
    fn may_follow(self, before: Archived) -> bool {
        let adds_none = self.last == before.last;
        let adds_some = self.last.sequence > before.last.sequence;
        self.file > before.file && self.last.sequence <= SEQUENCE_MAX && (adds_none || adds_some)
    }
}

/// What stands for the record before the first.
pub(super) const NONE: AuditHead = AuditHead { sequence: 0, hash: AuditHash::NONE };

pub(in crate::audit) fn read(path: &Path, store: StoreId) -> Result<Saved<Mark>, FileError> {
    Ok(head_file::read_any(path, MAGIC, store)?.and_then(|said| Mark::decode(&said)))
}

/// Puts it in place of what is there, durably.
pub(in crate::audit) fn write(path: &Path, store: StoreId, mark: &Mark) -> Result<(), FileError> {
    head_file::write(path, MAGIC, store, &mark.encode())
}

/// Reads bytes as what a mark says.
pub(in crate::audit) fn parse_for_fuzzing(bytes: &[u8]) {
    if let Ok(mark) = Mark::decode(bytes) {
        assert_eq!(mark.encode(), bytes);
        let all = mark.behind(None);
        assert_eq!(all, mark.last());
        assert_eq!(all.map(|it| mark.hash_of(it.sequence)), all.map(|it| Some(it.hash)));
    }
}

fn length(count: usize) -> Vec<u8> {
    let count = u32::try_from(count).expect("there are not so many files");
    count.to_le_bytes().to_vec()
}

fn take_length(input: &mut &[u8]) -> Option<u32> {
    take(input).map(u32::from_le_bytes)
}

fn take_folder(input: &mut &[u8]) -> Option<PathBuf> {
    let length = take_length(input)?;
    let name = take_bytes(input, length as usize)?;
    Some(PathBuf::from(OsStr::from_bytes(name)))
}

fn take_archived(input: &mut &[u8]) -> Option<Archived> {
    let (file, sequence) = (u64::from_le_bytes(take(input)?), u64::from_le_bytes(take(input)?));
    Some(Archived { file, last: AuditHead { sequence, hash: AuditHash(take(input)?) } })
}

fn take<const N: usize>(input: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = input.split_first_chunk()?;
    *input = rest;
    Some(*taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(sequence: u64) -> AuditHead {
        AuditHead { sequence, hash: AuditHash([sequence as u8; 32]) }
    }

    /// File 1 holds no record, files 2 and 4 do, and file 5 none.
    fn mark() -> Mark {
        let ends = [(1, NONE), (2, head(7)), (4, head(9)), (5, head(9))];
        let files = ends.map(|(file, last)| Archived { file, last }).to_vec();
        Mark { folders: vec!["/archive".into(), "/mnt/\u{e4}".into()], files }
    }

    #[test]
    fn it_survives_its_encoding_and_no_part_of_it_is_one() {
        for mark in [mark(), Mark::default()] {
            let bytes = mark.encode();
            assert_eq!(Mark::decode(&bytes), Ok(mark));
            for length in 0..bytes.len() {
                assert!(Mark::decode(&bytes[..length]).is_err(), "{length}");
            }
            assert!(Mark::decode(&[&bytes[..], &[0]].concat()).is_err());
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let spoilt = |spoil: fn(&mut Mark)| {
            let mut mark = mark();
            spoil(&mut mark);
            Mark::decode(&mark.encode())
        };
        let senseless: [fn(&mut Mark); 6] = [
            |it| it.folders[0] = "archive".into(),
            |it| it.folders[0] = it.folders[1].clone(),
            |it| it.files.swap(1, 2),
            |it| it.files[2].file = 2,
            |it| it.files[3].last.hash = AuditHash([1; 32]),
            |it| it.files[3].last.sequence = SEQUENCE_MAX + 1,
        ];
        for spoil in senseless {
            assert_eq!(spoilt(spoil), Err("it makes no sense"));
        }
    }

    #[test]
    fn a_reading_begins_behind_those_that_are_gone() {
        let mark = mark();
        assert_eq!(mark.behind(Some(1)), None);
        assert_eq!(mark.behind(Some(2)), None, "the first file holds nothing");
        assert_eq!(mark.behind(Some(3)), Some(head(7)));
        assert_eq!(mark.behind(Some(4)), Some(head(7)));
        assert_eq!(mark.behind(Some(6)), Some(head(9)));
        assert_eq!(mark.behind(None), Some(head(9)));
        assert_eq!((mark.hash_of(7), mark.hash_of(8)), (Some(AuditHash([7; 32])), None));
        assert_eq!((mark.last(), mark.last_file()), (Some(head(9)), 5));
        assert_eq!((Mark::default().last(), Mark::default().behind(None)), (None, None));
    }

    #[test]
    fn every_flipped_byte_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.mark");
        let store = StoreId([4; 16]);
        assert_eq!(read(&path, store).unwrap(), Saved::Nothing);
        write(&path, store, &mark()).unwrap();
        assert_eq!(read(&path, store).unwrap(), Saved::Head(mark()));
        let bytes = std::fs::read(&path).unwrap();
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 0x10;
            std::fs::write(&path, &bad).unwrap();
            assert!(matches!(read(&path, store).unwrap(), Saved::Damaged(_)), "byte {at}");
        }
    }
}
