//! What of a stream is stored already: the checkpoints of everything imported before.

use std::collections::BTreeMap;

use xxhash_rust::xxh3::Xxh3;

use crate::catalog::CheckpointRow;

/// The checkpoints of a store: by stream offset and hash of the bytes before it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    rows: BTreeMap<(u64, u128), CheckpointRow>,
}

/// A stretch of a stream that is stored already.
#[derive(Clone, Debug)]
pub(crate) struct Stored<'k> {
    /// Bytes of the stretch.
    pub(crate) length: usize,
    pub(crate) row: &'k CheckpointRow,
}

impl Known {
    pub(crate) fn new(rows: BTreeMap<(u64, u128), CheckpointRow>) -> Known {
        Known { rows }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// How much of `bytes`, which stand at `offset` of a stream whose earlier bytes are in
    /// `hasher`, is stored already: up to the last checkpoint in it that agrees. `hasher` moves to
    /// there.
    pub(crate) fn stored_prefix(
        &self,
        offset: u64,
        bytes: &[u8],
        hasher: &mut Xxh3,
    ) -> Option<Stored<'_>> {
        let mut ahead = hasher.clone();
        let mut hashed = 0;
        let mut found = None;
        let end = offset + bytes.len() as u64;
        let mut candidates = self.rows.range((offset + 1, 0)..=(end, u128::MAX)).peekable();
        while let Some(((at, _), _)) = candidates.peek() {
            let at = *at;
            let length = (at - offset) as usize;
            ahead.update(&bytes[hashed..length]);
            hashed = length;
            let digest = ahead.digest128();
            while let Some(((_, hash), row)) = candidates.next_if(|((next, _), _)| *next == at) {
                if *hash == digest {
                    found = Some(Stored { length, row });
                    *hasher = ahead.clone();
                }
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(stream: &[u8], offsets: &[u64]) -> Known {
        let rows = offsets.iter().map(|&offset| {
            let hash = xxhash_rust::xxh3::xxh3_128(&stream[..offset as usize]);
            let row = CheckpointRow { packets: offset, source: "s".into(), created_nanos: 0 };
            ((offset, hash), row)
        });
        Known::new(rows.collect())
    }

    #[test]
    fn a_stream_is_stored_up_to_its_last_agreeing_checkpoint() {
        let stream: Vec<u8> = (0..100).collect();
        let known = known(&stream, &[10, 40, 90]);
        let mut hasher = Xxh3::new();
        assert_eq!(known.stored_prefix(0, &stream[..50], &mut hasher).unwrap().length, 40);
        let rest = known.stored_prefix(40, &stream[40..], &mut hasher).unwrap();
        assert_eq!((rest.length, rest.row.packets), (50, 90));
        assert!(known.stored_prefix(90, &stream[90..], &mut hasher).is_none());
    }

    #[test]
    fn a_stream_that_differs_before_a_checkpoint_is_not_stored() {
        let stream: Vec<u8> = (0..100).collect();
        let known = known(&stream, &[10, 40]);
        let mut other = stream.clone();
        other[20] ^= 1;
        assert_eq!(known.stored_prefix(0, &other, &mut Xxh3::new()).unwrap().length, 10);
        other[5] ^= 1;
        assert!(known.stored_prefix(0, &other, &mut Xxh3::new()).is_none());
    }
}
