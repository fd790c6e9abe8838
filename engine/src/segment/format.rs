//! The fixed parts of a segment file, byte for byte (docs/format/segment.md).

use tapstone_packet::time::Timestamp;
use zerocopy::byteorder::little_endian::{I128, U16, U32, U64};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::id::{SegmentId, StoreId};
use crate::keys::{BucketId, COMMITMENT_LEN, SALT_LEN, WrappedKey};
use crate::limits::PAGE_SIZE;

/// The version of the segment format that this program writes, and the only one it reads.
pub(crate) const VERSION: u16 = 1;

const SEGMENT_MAGIC: [u8; 8] = *b"TAPSTSEG";
/// What a disk writes as a whole or not at all.
const SECTOR: usize = 512;
const DESTROYED_MAGIC: [u8; 8] = *b"TAPSTDEL";
const TRAILER_MAGIC: [u8; 8] = *b"TAPSTEND";
const BLOCK_MAGIC: [u8; 4] = *b"TSBK";
const UNIT_MAGIC: [u8; 4] = *b"TSUN";

/// What is wrong with a fixed part of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// The bytes are fewer than the part has.
    #[error("it is cut short")]
    Short,
    /// It does not begin with its magic.
    #[error("its magic is wrong: it is something else, or was overwritten")]
    Magic,
    /// It was written by a newer program.
    #[error(
        "it has format version {0}, this program knows version {VERSION}; use a newer Tapstone"
    )]
    Version(u16),
    /// The checksum does not match.
    #[error("its checksum is wrong")]
    Checksum,
    /// Bytes that must be zero are not.
    #[error("reserved bytes are not zero")]
    Reserved,
    /// A field has a value that makes no sense here.
    #[error("its {0} is impossible")]
    Field(&'static str),
}

/// The first page of a segment file.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone)]
#[repr(C)]
pub(crate) struct SegmentHeader {
    magic: [u8; 8],
    version: U16,
    pub(crate) shard: U16,
    reserved: [u8; 4],
    pub(crate) store: [u8; 16],
    pub(crate) segment: [u8; 16],
    /// Wall clock when the segment was begun, nanoseconds since the epoch.
    pub(crate) created_nanos: U64,
    pub(crate) bucket: [u8; 16],
    pub(crate) wrapped_key: WrappedKey,
    pub(crate) salt: [u8; SALT_LEN],
    pub(crate) commitment: [u8; COMMITMENT_LEN],
    zeros: [u8; 3896],
    crc: U32,
}

/// The last page of a sealed segment file.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone)]
#[repr(C)]
pub(crate) struct SegmentTrailer {
    magic: [u8; 8],
    version: U16,
    reserved: [u8; 6],
    pub(crate) store: [u8; 16],
    pub(crate) segment: [u8; 16],
    pub(crate) footer: RegionPlace,
    pub(crate) packets: U64,
    pub(crate) packet_bytes: U64,
    pub(crate) time_min: I128,
    pub(crate) time_max: I128,
    pub(crate) units: U32,
    pub(crate) blocks: U32,
    pub(crate) flows: U32,
    /// What the header says, once more: it leads to the keys.
    pub(crate) header: HeaderCopy,
    zeros: [u8; 3708],
    crc: U32,
}

/// The bytes of a segment's header before its zeros.
pub(crate) type HeaderCopy = [u8; 196];

/// Where a sealed region of a file is, and what derives its key (see [`super::region`]).
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct RegionPlace {
    pub(crate) offset: U64,
    /// Bytes before sealing.
    pub(crate) plain_length: U64,
    pub(crate) salt: [u8; SALT_LEN],
    pub(crate) commitment: [u8; COMMITMENT_LEN],
}

/// What stands before each block, in the clear; all but the checksum is associated data of the
/// sealed bytes behind it.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct BlockHeader {
    magic: [u8; 4],
    /// [`Codec`].
    pub(crate) codec: u8,
    reserved: [u8; 3],
    /// Ordinal in the segment, from 0.
    pub(crate) block: U32,
    pub(crate) unit: U32,
    /// Bytes behind this header: sealed bytes and tag.
    pub(crate) stored_length: U32,
    /// Bytes of directory and packets before compression.
    pub(crate) plain_length: U32,
    pub(crate) packets: U32,
    pub(crate) time_min: I128,
    pub(crate) time_max: I128,
    /// CRC32C over this header (this field left out) and the stored bytes.
    pub(crate) crc: U32,
}

/// What stands behind the last block of a unit, in the clear, followed by the sealed description.
#[derive(
    FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy, Debug, PartialEq, Eq,
)]
#[repr(C)]
pub(crate) struct UnitEnd {
    magic: [u8; 4],
    reserved: [u8; 4],
    pub(crate) segment: [u8; 16],
    pub(crate) unit: U32,
    pub(crate) first_block: U32,
    pub(crate) blocks: U32,
    pub(crate) packets: U32,
    pub(crate) packet_bytes: U64,
    /// Where the unit's first block begins in the file.
    pub(crate) offset: U64,
    /// Bytes of the unit's blocks; this header stands at `offset + blocks_length`.
    pub(crate) blocks_length: U64,
    /// Bytes of the sealed description, tag included.
    pub(crate) description_length: U32,
    pub(crate) description_crc: U32,
    /// CRC32C over the checksums of the unit's blocks, in order.
    pub(crate) blocks_crc: U32,
    zeros: [u8; 24],
    pub(crate) time_min: I128,
    pub(crate) time_max: I128,
    crc: U32,
}

/// How a block's bytes are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Codec {
    /// Not at all.
    Raw = 0,
    /// LZ4 block format.
    Lz4 = 1,
}

/// Bytes of a block's header.
pub(crate) const BLOCK_HEADER_LEN: usize = size_of::<BlockHeader>();
/// Bytes of a unit's end.
pub(crate) const UNIT_END_LEN: usize = size_of::<UnitEnd>();

const _: () = assert!(size_of::<SegmentHeader>() == PAGE_SIZE);
const _: () = assert!(size_of::<SegmentTrailer>() == PAGE_SIZE);
const _: () = assert!(size_of::<HeaderCopy>() <= SECTOR);
const _: () = assert!(BLOCK_HEADER_LEN == 64);
const _: () = assert!(UNIT_END_LEN == 136);

impl SegmentHeader {
    pub(crate) fn new(store: StoreId, segment: SegmentId, shard: u16, created_nanos: u64) -> Self {
        SegmentHeader {
            magic: SEGMENT_MAGIC,
            version: U16::new(VERSION),
            shard: U16::new(shard),
            store: store.0,
            segment: segment.0,
            created_nanos: U64::new(created_nanos),
            ..Self::new_zeroed()
        }
    }

    pub(crate) fn with_keys(
        mut self,
        bucket: BucketId,
        wrapped_key: WrappedKey,
        salt: [u8; SALT_LEN],
        commitment: [u8; COMMITMENT_LEN],
    ) -> Self {
        self.bucket = bucket.0;
        self.wrapped_key = wrapped_key;
        self.salt = salt;
        self.commitment = commitment;
        self.crc = U32::new(page_crc(self.as_bytes()));
        self
    }

    pub(crate) fn parse(page: &[u8]) -> Result<Self, FormatError> {
        let (header, _) = Self::read_from_prefix(page).map_err(|_| FormatError::Short)?;
        check_page(&header.magic, &SEGMENT_MAGIC, header.version, header.crc, header.as_bytes())?;
        if header.reserved != [0; 4] || header.zeros.iter().any(|&byte| byte != 0) {
            return Err(FormatError::Reserved);
        }
        Ok(header)
    }

    /// What is written over the first sector of a segment, which has its key, to destroy that: whose
    /// it was, and nothing else. A power cut leaves a sector as it was, or as it is to be.
    pub(crate) fn destroyed(store: StoreId, segment: SegmentId) -> [u8; SECTOR] {
        let header = SegmentHeader {
            magic: DESTROYED_MAGIC,
            version: U16::new(VERSION),
            store: store.0,
            segment: segment.0,
            ..Self::new_zeroed()
        };
        *header.as_bytes().first_chunk().expect("a header has eight sectors")
    }

    /// Whether a segment's key was destroyed.
    pub(crate) fn is_destroyed(page: &[u8]) -> bool {
        let keys = |header: &Self| header.bucket == [0; 16] && header.wrapped_key == [0; 60];
        Self::read_from_prefix(page)
            .is_ok_and(|(header, _)| header.magic == DESTROYED_MAGIC && keys(&header))
    }

    /// What is kept of it elsewhere, so that one bad byte does not cost the segment's keys.
    pub(crate) fn copy(&self) -> HeaderCopy {
        let (copy, _) = self.as_bytes().split_first_chunk().expect("a header is longer");
        *copy
    }

    /// The header that a copy was made of.
    pub(crate) fn restore(copy: &HeaderCopy) -> Result<Self, FormatError> {
        let mut header = Self::new_zeroed();
        header.as_mut_bytes()[..copy.len()].copy_from_slice(copy);
        header.crc = U32::new(page_crc(header.as_bytes()));
        Self::parse(header.as_bytes())
    }
}

/// What a trailer tells of its segment.
#[derive(Clone, Debug)]
pub(crate) struct Totals {
    pub(crate) packets: u64,
    pub(crate) packet_bytes: u64,
    pub(crate) time_min: Timestamp,
    pub(crate) time_max: Timestamp,
    pub(crate) units: u32,
    pub(crate) blocks: u32,
    pub(crate) flows: u32,
}

impl SegmentTrailer {
    pub(crate) fn new(
        store: StoreId,
        segment: SegmentId,
        footer: RegionPlace,
        totals: &Totals,
        header: HeaderCopy,
    ) -> Self {
        let mut trailer = SegmentTrailer {
            magic: TRAILER_MAGIC,
            version: U16::new(VERSION),
            store: store.0,
            segment: segment.0,
            footer,
            packets: U64::new(totals.packets),
            packet_bytes: U64::new(totals.packet_bytes),
            time_min: I128::new(totals.time_min.attos()),
            time_max: I128::new(totals.time_max.attos()),
            units: U32::new(totals.units),
            blocks: U32::new(totals.blocks),
            flows: U32::new(totals.flows),
            header,
            ..Self::new_zeroed()
        };
        trailer.crc = U32::new(page_crc(trailer.as_bytes()));
        trailer
    }

    pub(crate) fn parse(page: &[u8]) -> Result<Self, FormatError> {
        let (trailer, _) = Self::read_from_prefix(page).map_err(|_| FormatError::Short)?;
        let (magic, version, crc) = (&trailer.magic, trailer.version, trailer.crc);
        check_page(magic, &TRAILER_MAGIC, version, crc, trailer.as_bytes())?;
        if trailer.reserved != [0; 6] || trailer.zeros.iter().any(|&byte| byte != 0) {
            return Err(FormatError::Reserved);
        }
        Ok(trailer)
    }

    pub(crate) fn totals(&self) -> Totals {
        Totals {
            packets: self.packets.get(),
            packet_bytes: self.packet_bytes.get(),
            time_min: Timestamp::from_attos(self.time_min.get()),
            time_max: Timestamp::from_attos(self.time_max.get()),
            units: self.units.get(),
            blocks: self.blocks.get(),
            flows: self.flows.get(),
        }
    }
}

impl BlockHeader {
    /// A header without its checksum and stored length.
    pub(crate) fn new(block: u32, unit: u32, packets: u32, times: (Timestamp, Timestamp)) -> Self {
        BlockHeader {
            magic: BLOCK_MAGIC,
            block: U32::new(block),
            unit: U32::new(unit),
            packets: U32::new(packets),
            time_min: I128::new(times.0.attos()),
            time_max: I128::new(times.1.attos()),
            ..Self::new_zeroed()
        }
    }

    /// Reads the header at the front of `bytes`; its checksum covers the stored bytes too and is
    /// checked with them.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, FormatError> {
        let (header, _) = Self::read_from_prefix(bytes).map_err(|_| FormatError::Short)?;
        if header.magic != BLOCK_MAGIC {
            return Err(FormatError::Magic);
        }
        if header.reserved != [0; 3] {
            return Err(FormatError::Reserved);
        }
        Ok(header)
    }

    pub(crate) fn checksum(&self, stored: &[u8]) -> u32 {
        crc32c::crc32c_append(crc32c::crc32c(self.bound()), stored)
    }

    /// The bytes that the sealed block is bound to: all but the checksum.
    pub(crate) fn bound(&self) -> &[u8] {
        &self.as_bytes()[..BLOCK_HEADER_LEN - 4]
    }

    pub(crate) fn codec(&self) -> Option<Codec> {
        [Codec::Raw, Codec::Lz4].into_iter().find(|codec| *codec as u8 == self.codec)
    }

    pub(crate) fn times(&self) -> (Timestamp, Timestamp) {
        (Timestamp::from_attos(self.time_min.get()), Timestamp::from_attos(self.time_max.get()))
    }
}

impl UnitEnd {
    pub(crate) fn new(segment: SegmentId, unit: u32) -> Self {
        UnitEnd {
            magic: UNIT_MAGIC,
            segment: segment.0,
            unit: U32::new(unit),
            ..Self::new_zeroed()
        }
    }

    pub(crate) fn finish(mut self) -> Self {
        self.crc = U32::new(self.checksum());
        self
    }

    pub(crate) fn times(&self) -> (Timestamp, Timestamp) {
        (Timestamp::from_attos(self.time_min.get()), Timestamp::from_attos(self.time_max.get()))
    }

    pub(crate) fn is_at(bytes: &[u8]) -> bool {
        bytes.starts_with(&UNIT_MAGIC)
    }

    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, FormatError> {
        let (end, _) = Self::read_from_prefix(bytes).map_err(|_| FormatError::Short)?;
        if end.magic != UNIT_MAGIC {
            return Err(FormatError::Magic);
        }
        if end.crc.get() != end.checksum() {
            return Err(FormatError::Checksum);
        }
        if end.reserved != [0; 4] || end.zeros != [0; 24] {
            return Err(FormatError::Reserved);
        }
        Ok(end)
    }

    fn checksum(&self) -> u32 {
        crc32c::crc32c(&self.as_bytes()[..UNIT_END_LEN - 4])
    }
}

fn page_crc(page: &[u8]) -> u32 {
    crc32c::crc32c(&page[..PAGE_SIZE - 4])
}

/// Checks what every page of its own has. The checksum comes before the version, so that a
/// flipped version byte is damage and not a newer program's file.
fn check_page(
    magic: &[u8; 8],
    expected: &[u8; 8],
    version: U16,
    crc: U32,
    page: &[u8],
) -> Result<(), FormatError> {
    if magic != expected {
        return Err(FormatError::Magic);
    }
    if crc.get() != page_crc(page) {
        return Err(FormatError::Checksum);
    }
    if version.get() != VERSION {
        return Err(FormatError::Version(version.get()));
    }
    Ok(())
}
