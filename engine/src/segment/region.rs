//! Sealed regions: many bytes of a file, sealed in frames so that any part can be read alone.
//!
//! A frame is up to [`FRAME_SIZE`] bytes of ciphertext, its tag, and a CRC32C over both. Each
//! frame is bound to its owner, the region's kind and length, and its own number, so frames cannot
//! be moved, swapped, dropped or relabelled. A region has its own salt and therefore its own key:
//! writing it again after a crash never repeats a nonce.

use std::ops::Range;

use tapstone_runtime::random_bytes;
use zerocopy::byteorder::little_endian::U64;

use super::block::Owner;
use super::format::RegionPlace;
use crate::keys::{FileKey, Secret, Stream, TAG_LEN};
use crate::limits::FRAME_SIZE;

const FRAME_OVERHEAD: usize = TAG_LEN + 4;

/// What a region holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum RegionKind {
    /// The units of a segment.
    Footer = 1,
    /// The split of a segment.
    Split = 2,
}

/// Why part of a region cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegionError {
    /// The file does not hold the frame whole.
    #[error("frame {0} is cut short")]
    Short(u64),
    /// The frame's bytes changed on the disk.
    #[error("frame {0} has a wrong checksum: its bytes changed on the disk")]
    Checksum(u64),
    /// The frame is sound but not authentic.
    #[error("frame {0} does not open: it was altered, moved or made under another key")]
    Sealed(u64),
    /// The key is not the one the region was sealed with.
    #[error("the key does not match its commitment")]
    Commitment,
}

/// Seals `plain` as a region that begins at `offset` of its file.
pub(crate) fn seal(
    owner: Owner,
    secret: &Secret,
    kind: RegionKind,
    offset: u64,
    plain: &[u8],
) -> (RegionPlace, Vec<u8>) {
    let salt = random_bytes();
    let key = FileKey::derive(secret, &salt);
    let plain_length = U64::new(plain.len() as u64);
    let place =
        RegionPlace { offset: U64::new(offset), plain_length, salt, commitment: *key.commitment() };
    let frames = plain.len().div_ceil(FRAME_SIZE);
    let mut sealed = Vec::with_capacity(plain.len() + frames * FRAME_OVERHEAD);
    for (number, frame) in plain.chunks(FRAME_SIZE).enumerate() {
        let start = sealed.len();
        sealed.extend_from_slice(frame);
        let bound = bound(owner, kind, &place);
        let tag = key.seal(Stream::Frames, number as u64, &[&bound], &mut sealed[start..]);
        sealed.extend_from_slice(&tag);
        let crc = crc32c::crc32c(&sealed[start..]);
        sealed.extend_from_slice(&crc.to_le_bytes());
    }
    (place, sealed)
}

/// A region that can be read in parts.
#[derive(Debug)]
pub(crate) struct Region {
    place: RegionPlace,
    key: FileKey,
    bound: [u8; 41],
}

impl Region {
    pub(crate) fn new(
        owner: Owner,
        secret: &Secret,
        kind: RegionKind,
        place: RegionPlace,
    ) -> Result<Region, RegionError> {
        let key = FileKey::derive(secret, &place.salt);
        if key.commitment() != &place.commitment {
            return Err(RegionError::Commitment);
        }
        Ok(Region { bound: bound(owner, kind, &place), place, key })
    }

    /// Bytes of the region's content.
    pub(crate) fn len(&self) -> u64 {
        self.place.plain_length.get()
    }

    /// Bytes of the region on disk.
    pub(crate) fn stored_len(place: &RegionPlace) -> Option<u64> {
        let plain = place.plain_length.get();
        let frames = plain.div_ceil(FRAME_SIZE as u64);
        plain.checked_add(frames.checked_mul(FRAME_OVERHEAD as u64)?)
    }

    /// The numbers of the frames that hold `range` of the content.
    pub(crate) fn frames(range: &Range<u64>) -> Range<u64> {
        range.start / FRAME_SIZE as u64..range.end.div_ceil(FRAME_SIZE as u64)
    }

    /// Where the frames are in the file.
    pub(crate) fn file_range(&self, frames: &Range<u64>) -> Range<u64> {
        let start = self.place.offset.get();
        let end = start + Self::stored_len(&self.place).expect("checked when the file was opened");
        let stride = (FRAME_SIZE + FRAME_OVERHEAD) as u64;
        (start + frames.start * stride).min(end)..(start + frames.end * stride).min(end)
    }

    /// Opens consecutive frames from `first` on, read from [`file_range`](Self::file_range).
    pub(crate) fn open(&self, first: u64, stored: &[u8]) -> Result<Vec<u8>, RegionError> {
        let mut plain = Vec::with_capacity(stored.len());
        for (number, frame) in (first..).zip(stored.chunks(FRAME_SIZE + FRAME_OVERHEAD)) {
            let (sealed, crc) = frame.split_last_chunk::<4>().ok_or(RegionError::Short(number))?;
            if crc32c::crc32c(sealed) != u32::from_le_bytes(*crc) {
                return Err(RegionError::Checksum(number));
            }
            let (data, tag) =
                sealed.split_last_chunk::<TAG_LEN>().ok_or(RegionError::Short(number))?;
            let start = plain.len();
            plain.extend_from_slice(data);
            let aad = [&self.bound[..]];
            if !self.key.open(Stream::Frames, number, &aad, &mut plain[start..], *tag) {
                return Err(RegionError::Sealed(number));
            }
        }
        Ok(plain)
    }
}

fn bound(owner: Owner, kind: RegionKind, place: &RegionPlace) -> [u8; 41] {
    let mut bytes = [0; 41];
    bytes[..16].copy_from_slice(&owner.store.0);
    bytes[16..32].copy_from_slice(&owner.segment.0);
    bytes[32] = kind as u8;
    bytes[33..].copy_from_slice(&place.plain_length.get().to_le_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{SegmentId, StoreId};

    #[test]
    fn any_part_can_be_read_alone_and_no_flip_goes_unnoticed() {
        let store = StoreId([1; 16]);
        let owner = Owner { store, segment: SegmentId::new(store, 1, 1) };
        let secret = Secret([9; 32]);
        let plain: Vec<u8> = (0..FRAME_SIZE * 2 + 77).map(|index| index as u8).collect();
        let (place, sealed) = seal(owner, &secret, RegionKind::Split, 10, &plain);
        assert_eq!(Some(sealed.len() as u64), Region::stored_len(&place));
        let region = Region::new(owner, &secret, RegionKind::Split, place).unwrap();

        let frames = Region::frames(&(FRAME_SIZE as u64 + 3..FRAME_SIZE as u64 + 5));
        assert_eq!(frames, 1..2);
        let range = region.file_range(&frames);
        let stored = &sealed[range.start as usize - 10..range.end as usize - 10];
        assert_eq!(region.open(1, stored).unwrap(), plain[FRAME_SIZE..2 * FRAME_SIZE]);
        assert_eq!(region.open(0, stored), Err(RegionError::Sealed(0)));

        assert_eq!(region.open(0, &sealed).unwrap(), plain);
        for index in (0..sealed.len()).step_by(97) {
            let mut bad = sealed.clone();
            bad[index] ^= 1;
            assert!(region.open(0, &bad).is_err(), "byte {index}");
        }
        assert!(region.open(0, &sealed[..sealed.len() - 1]).is_err());
        let wrong = Region::new(owner, &Secret([8; 32]), RegionKind::Split, place);
        assert_eq!(wrong.unwrap_err(), RegionError::Commitment);
    }
}
