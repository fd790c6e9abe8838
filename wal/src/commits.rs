//! Reading a WAL file commit by commit, past what is damaged.

use std::ops::Range;

use crate::format::{FileHeader, Frame, HeaderError};
use crate::{ALIGNMENT, Lsn};

/// What stands in a WAL file, from front to back.
///
/// Unlike [`scan`](crate::scan), it gives every sound commit, whatever its number and whatever
/// stands before it: who reads decides what fits.
#[derive(Clone, Debug)]
pub struct Commits {
    bytes: Vec<u8>,
    header: Result<Lsn, HeaderError>,
    seed: u32,
    at: usize,
}

/// A part of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// One group commit.
    Commit(Commit),
    /// Bytes that are no commit, with a sound one behind them.
    Damaged(Range<u64>),
    /// Bytes that are no commit, up to the file's end.
    Torn(Range<u64>),
}

/// One group commit, as it stands in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// Where in the file, padding included.
    pub place: Range<u64>,
    /// The number of its first record.
    pub first: Lsn,
    /// Its records.
    pub records: Vec<Vec<u8>>,
}

impl Commits {
    /// Reads the bytes of a file that this shard of this store wrote, or should have written.
    #[must_use]
    pub fn new(bytes: Vec<u8>, store: [u8; 16], shard: u16) -> Commits {
        let header = FileHeader::parse(&bytes);
        let seed = match &header {
            Ok(header) => header.seed(),
            Err(_) => probable_seed(&bytes, store, shard),
        };
        let header = header.and_then(|header| {
            let own = (header.store, header.shard.get()) == (store, shard);
            own.then_some(Lsn(header.first_lsn.get())).ok_or(HeaderError::Stranger)
        });
        // What another wrote, or a newer program, is not ours to read.
        let readable = !matches!(header, Err(HeaderError::Stranger | HeaderError::Version(_)));
        let at = if readable { ALIGNMENT.min(bytes.len()) } else { bytes.len() };
        Commits { bytes, header, seed, at }
    }

    /// The number of the first record that was to be written here.
    ///
    /// # Errors
    ///
    /// When the header is not a sound one. The commits behind a damaged header are read all the
    /// same.
    pub fn first(&self) -> Result<Lsn, HeaderError> {
        self.header
    }
}

impl Iterator for Commits {
    type Item = Piece;

    fn next(&mut self) -> Option<Piece> {
        let start = self.at;
        let rest = self.bytes.get(start..).filter(|rest| rest.iter().any(|&byte| byte != 0))?;
        if let Some(frame) = Frame::read(self.seed, rest) {
            let records = frame.records.into_iter().map(<[u8]>::to_vec).collect();
            let first = frame.first;
            self.at += frame.length;
            let place = range(start, self.at);
            return Some(Piece::Commit(Commit { place, first, records }));
        }
        let mut later = (start + ALIGNMENT..self.bytes.len()).step_by(ALIGNMENT);
        match later.find(|at| Frame::read(self.seed, &self.bytes[*at..]).is_some()) {
            Some(at) => {
                self.at = at;
                Some(Piece::Damaged(range(start, at)))
            }
            None => {
                self.at = self.bytes.len();
                Some(Piece::Torn(range(start, self.at)))
            }
        }
    }
}

fn range(start: usize, end: usize) -> Range<u64> {
    start as u64..end as u64
}

/// What ties frames to a header that is damaged: its checksum as it stands there, or as it must
/// have been by what the first frame says.
fn probable_seed(bytes: &[u8], store: [u8; 16], shard: u16) -> u32 {
    let number = |at: usize| bytes.get(at..at + 4).and_then(|it| it.try_into().ok());
    let written = number(ALIGNMENT - 4).map_or(0, u32::from_le_bytes);
    let first = bytes.get(ALIGNMENT..).and_then(Frame::claimed_first);
    let made = first.map(|first| FileHeader::new(store, shard, first).seed());
    let fits = |seed: &u32| Frame::read(*seed, &bytes[ALIGNMENT..]).is_some();
    made.filter(fits).unwrap_or(written)
}

#[cfg(test)]
mod tests {
    use zerocopy::IntoBytes;

    use super::*;
    use crate::format::frame;

    const STORE: [u8; 16] = [7; 16];

    /// A file of these commits, each of two records that hold their number.
    fn file(firsts: &[u64]) -> Vec<u8> {
        let header = FileHeader::new(STORE, 3, Lsn(5));
        let mut bytes = header.as_bytes().to_vec();
        for first in firsts {
            let records = [vec![*first as u8], vec![*first as u8 + 1]];
            bytes.extend(frame(header.seed(), Lsn(*first), Lsn(0), &records));
            bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
        }
        bytes
    }

    fn firsts(bytes: Vec<u8>) -> (Vec<u64>, Vec<Piece>) {
        let pieces: Vec<_> = Commits::new(bytes, STORE, 3).collect();
        let number = |piece: &Piece| match piece {
            Piece::Commit(commit) => Some(commit.first.0),
            _ => None,
        };
        let firsts = pieces.iter().filter_map(number).collect();
        (firsts, pieces.into_iter().filter(|it| !matches!(it, Piece::Commit(_))).collect())
    }

    #[test]
    fn every_sound_commit_is_given_and_what_is_none_is_told() {
        assert_eq!(firsts(file(&[5, 7, 9])), (vec![5, 7, 9], vec![]));
        assert_eq!(firsts(file(&[5, 9, 7])), (vec![5, 9, 7], vec![]));
        let mut middle = file(&[5, 7, 9]);
        middle[2 * 4096 + 40] ^= 1;
        assert_eq!(firsts(middle), (vec![5, 9], vec![Piece::Damaged(8192..12288)]));
        let mut last = file(&[5, 7]);
        last[2 * 4096 + 1000] = 1;
        assert_eq!(firsts(last), (vec![5], vec![Piece::Torn(8192..12288)]));
        let mut longer = file(&[5]);
        longer.resize(longer.len() + 8192, 0);
        assert_eq!(firsts(longer), (vec![5], vec![]));
    }

    #[test]
    fn a_damaged_header_costs_no_commit() {
        for at in [0, 9, 20, 1000, ALIGNMENT - 1] {
            let mut bytes = file(&[5, 7]);
            bytes[at] ^= 1;
            assert!(Commits::new(bytes.clone(), STORE, 3).first().is_err(), "byte {at}");
            assert_eq!(firsts(bytes), (vec![5, 7], vec![]), "byte {at}");
        }
        for length in [0, 100, ALIGNMENT] {
            assert_eq!(firsts(file(&[5])[..length].to_vec()), (vec![], vec![]));
        }
    }

    #[test]
    fn what_another_wrote_is_not_read() {
        let mut commits = Commits::new(file(&[5]), [8; 16], 3);
        assert_eq!((commits.first(), commits.next()), (Err(HeaderError::Stranger), None));
        let mut commits = Commits::new(file(&[5]), STORE, 4);
        assert_eq!((commits.first(), commits.next()), (Err(HeaderError::Stranger), None));
    }
}
