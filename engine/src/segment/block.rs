//! Blocks: compressed, sealed and checksummed on the way in; verified, opened and expanded on
//! the way out.

use tapstone_packet::time::Timestamp;
use zerocopy::IntoBytes;
use zerocopy::byteorder::little_endian::U32;

use super::format::{BLOCK_HEADER_LEN, BlockHeader, Codec, FormatError};
use crate::id::{SegmentId, StoreId};
use crate::keys::{FileKey, Stream, TAG_LEN};
use crate::limits::STEP_SIZE_MAX;

/// The largest plaintext a block may claim: one packet of the largest size, and its directory.
const PLAIN_LENGTH_MAX: usize = STEP_SIZE_MAX + (1 << 20);

/// Which segment a block belongs to; bound into everything sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) store: StoreId,
    pub(crate) segment: SegmentId,
}

/// Why a block cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlockError {
    /// Its header is not one.
    #[error("block header: {0}")]
    Header(#[from] FormatError),
    /// Its bytes changed on the disk.
    #[error("block checksum is wrong: its bytes changed on the disk")]
    Checksum,
    /// It is sound but not authentic.
    #[error("block does not open: it was altered, moved or made under another key")]
    Sealed,
    /// It opened but does not hold what it says.
    #[error("block content: {0}")]
    Content(&'static str),
}

/// Compresses blocks where that pays. Keeps its buffers.
#[derive(Debug, Default)]
pub(crate) struct BlockSealer {
    /// Room for the header, then the plaintext as it is gathered.
    gathered: Vec<u8>,
    /// Room for the header, then the compressed plaintext.
    compressed: Vec<u8>,
    sample: Vec<u8>,
}

impl BlockSealer {
    /// Begins a block: its plaintext (directory and packets) is to be appended to what this gives.
    pub(crate) fn begin(&mut self) -> &mut Vec<u8> {
        self.gathered.clear();
        self.gathered.resize(BLOCK_HEADER_LEN, 0);
        &mut self.gathered
    }

    /// Seals what was appended since [`begin`](Self::begin) under `header`, whose lengths, codec
    /// and checksum are filled in. Gives header and stored bytes in one piece, and the checksum.
    pub(crate) fn seal(
        &mut self,
        owner: Owner,
        key: &FileKey,
        mut header: BlockHeader,
    ) -> (&[u8], u32) {
        let plain_length = self.gathered.len() - BLOCK_HEADER_LEN;
        header.plain_length = U32::new(u32::try_from(plain_length).expect("blocks are bounded"));
        let codec = self.compress();
        header.codec = codec as u8;
        let stored = match codec {
            Codec::Raw => &mut self.gathered,
            Codec::Lz4 => &mut self.compressed,
        };
        let stored_length = stored.len() - BLOCK_HEADER_LEN + TAG_LEN;
        header.stored_length =
            U32::new(u32::try_from(stored_length).expect("LZ4 adds less than a percent"));

        let aad = [&owner.store.0[..], &owner.segment.0, header.bound()];
        let position = u64::from(header.block.get());
        let tag = key.seal(Stream::Blocks, position, &aad, &mut stored[BLOCK_HEADER_LEN..]);
        stored.extend_from_slice(&tag);
        let crc = header.checksum(&stored[BLOCK_HEADER_LEN..]);
        header.crc = U32::new(crc);
        stored[..BLOCK_HEADER_LEN].copy_from_slice(header.as_bytes());
        (stored, crc)
    }

    /// Compresses the plaintext where that saves at least a sixteenth.
    fn compress(&mut self) -> Codec {
        let plain = &self.gathered[BLOCK_HEADER_LEN..];
        if !sample_shrinks(plain, &mut self.sample) {
            return Codec::Raw;
        }
        let room = lz4_flex::block::get_maximum_output_size(plain.len());
        self.compressed.resize(BLOCK_HEADER_LEN + room, 0);
        let target = &mut self.compressed[BLOCK_HEADER_LEN..];
        let written =
            lz4_flex::block::compress_into(plain, target).expect("the room is LZ4's own maximum");
        self.compressed.truncate(BLOCK_HEADER_LEN + written);
        if written <= plain.len() - plain.len() / 16 { Codec::Lz4 } else { Codec::Raw }
    }
}

/// Tries three small pieces first: most traffic is encrypted, and compressing a block only to throw
/// the result away would cost more than all else that is done to it.
fn sample_shrinks(plain: &[u8], sample: &mut Vec<u8>) -> bool {
    const PIECE: usize = 4096;
    if plain.len() <= 4 * PIECE {
        return true;
    }
    sample.resize(lz4_flex::block::get_maximum_output_size(PIECE), 0);
    let starts = [plain.len() / 4, plain.len() / 2, plain.len() - PIECE];
    let compressed: usize = starts
        .into_iter()
        .map(|start| {
            let piece = &plain[start..start + PIECE];
            lz4_flex::block::compress_into(piece, sample).unwrap_or(PIECE)
        })
        .sum();
    compressed <= 3 * PIECE - PIECE / 4
}

/// Opens the block at the front of `bytes` (header, sealed bytes, tag) into `plain`.
///
/// `block` is the ordinal that the block must have. `scratch` is working space.
pub(crate) fn open(
    owner: Owner,
    key: &FileKey,
    block: u32,
    bytes: &[u8],
    scratch: &mut Vec<u8>,
    plain: &mut Vec<u8>,
) -> Result<BlockHeader, BlockError> {
    let header = verify(bytes)?;
    if header.block.get() != block {
        return Err(BlockError::Header(FormatError::Field("block number")));
    }
    let stored = &bytes[BLOCK_HEADER_LEN..][..header.stored_length.get() as usize];
    let (sealed, tag) = stored.split_last_chunk::<TAG_LEN>().ok_or(FormatError::Short)?;
    let codec = header.codec().ok_or(FormatError::Field("codec"))?;
    let target = if codec == Codec::Raw { &mut *plain } else { &mut *scratch };
    target.clear();
    target.extend_from_slice(sealed);
    let aad = [&owner.store.0[..], &owner.segment.0, header.bound()];
    if !key.open(Stream::Blocks, u64::from(block), &aad, target, *tag) {
        return Err(BlockError::Sealed);
    }
    let plain_length = header.plain_length.get() as usize;
    if codec == Codec::Lz4 {
        if plain_length > PLAIN_LENGTH_MAX {
            return Err(BlockError::Content("it claims an impossible length"));
        }
        plain.resize(plain_length, 0);
        let written = lz4_flex::block::decompress_into(scratch, plain)
            .map_err(|_| BlockError::Content("it does not decompress"))?;
        plain.truncate(written);
    }
    if plain.len() != plain_length {
        return Err(BlockError::Content("its length is not what it says"));
    }
    Ok(header)
}

/// Checks the header and checksum of the block at the front of `bytes`, without a key.
pub(crate) fn verify(bytes: &[u8]) -> Result<BlockHeader, BlockError> {
    let header = BlockHeader::parse(bytes)?;
    let stored = bytes
        .get(BLOCK_HEADER_LEN..)
        .and_then(|rest| rest.get(..header.stored_length.get() as usize))
        .ok_or(FormatError::Short)?;
    if header.checksum(stored) != header.crc.get() {
        return Err(BlockError::Checksum);
    }
    Ok(header)
}

/// The times that a block's header claims, in order.
pub(crate) fn overlaps(times: (Timestamp, Timestamp), since: Timestamp, until: Timestamp) -> bool {
    times.0 < until && times.1 >= since
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::Secret;

    fn owner() -> Owner {
        let store = StoreId([1; 16]);
        Owner { store, segment: SegmentId::new(store, 1, 1) }
    }

    fn check(plain: &[u8], codec: Codec) -> Vec<u8> {
        let key = FileKey::derive(&Secret([3; 32]), &[0; 32]);
        let header = BlockHeader::new(7, 0, 1, (Timestamp::EPOCH, Timestamp::EPOCH));
        let mut sealer = BlockSealer::default();
        sealer.begin().extend_from_slice(plain);
        let stored = sealer.seal(owner(), &key, header).0.to_vec();
        let (mut scratch, mut read) = (Vec::new(), Vec::new());
        let header = open(owner(), &key, 7, &stored, &mut scratch, &mut read).unwrap();
        assert_eq!(header.codec(), Some(codec));
        assert_eq!(read, plain);
        stored
    }

    #[test]
    fn text_is_compressed_and_noise_is_not() {
        let text: Vec<u8> = b"GET / HTTP/1.1\r\n".iter().copied().cycle().take(100_000).collect();
        assert!(check(&text, Codec::Lz4).len() < 2_000);
        let mut state = 1u64;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        })
        .take(100_000)
        .collect();
        assert_eq!(check(&noise, Codec::Raw).len(), 100_000 + BLOCK_HEADER_LEN + TAG_LEN);
    }

    #[test]
    fn every_flipped_byte_is_noticed() {
        let key = FileKey::derive(&Secret([3; 32]), &[0; 32]);
        let stored = check(b"some packets", Codec::Raw);
        for index in 0..stored.len() {
            let mut bad = stored.clone();
            bad[index] ^= 0x40;
            let result = open(owner(), &key, 7, &bad, &mut Vec::new(), &mut Vec::new());
            assert!(result.is_err(), "byte {index}");
        }
    }

    #[test]
    fn a_block_opens_only_in_its_own_segment_and_place() {
        let key = FileKey::derive(&Secret([3; 32]), &[0; 32]);
        let stored = check(b"some packets", Codec::Raw);
        let (mut scratch, mut plain) = (Vec::new(), Vec::new());
        let other = Owner { segment: SegmentId::new(owner().store, 2, 1), ..owner() };
        let moved = open(other, &key, 7, &stored, &mut scratch, &mut plain);
        assert_eq!(moved.unwrap_err(), BlockError::Sealed);
        assert!(open(owner(), &key, 8, &stored, &mut scratch, &mut plain).is_err());
    }
}
