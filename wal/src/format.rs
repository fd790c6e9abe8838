//! The bytes of a WAL file (docs/format/wal.md).

use zerocopy::byteorder::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::{ALIGNMENT, Lsn};

pub(crate) const VERSION: u16 = 1;
const FILE_MAGIC: [u8; 8] = *b"TAPSTWAL";
const FRAME_MAGIC: [u8; 4] = *b"TSWF";
/// Most bytes of records in one frame: far more than any group commit has.
pub(crate) const PAYLOAD_MAX: usize = 16 << 20;

/// The first page of a WAL file.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy)]
#[repr(C)]
pub(crate) struct FileHeader {
    magic: [u8; 8],
    version: U16,
    pub(crate) shard: U16,
    reserved: [u8; 4],
    pub(crate) store: [u8; 16],
    pub(crate) first_lsn: U64,
    zeros: [u8; ALIGNMENT - 44],
    crc: U32,
}

/// What stands before a frame's records.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy)]
#[repr(C)]
pub(crate) struct FrameHeader {
    magic: [u8; 4],
    pub(crate) payload_length: U32,
    pub(crate) first_lsn: U64,
    /// Everything up to here was durable when the frame was written.
    pub(crate) durable_lsn: U64,
    pub(crate) records: U32,
    /// CRC32C over the file header's checksum, this header without its last field, and the
    /// records: a frame of another file never fits.
    crc: U32,
}

pub(crate) const FRAME_HEADER_LEN: usize = size_of::<FrameHeader>();

const _: () = assert!(size_of::<FileHeader>() == ALIGNMENT);
const _: () = assert!(FRAME_HEADER_LEN == 32);

/// Why a WAL file's header is not one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// The file is shorter than a header.
    #[error("it is cut short")]
    Short,
    /// It begins as something else.
    #[error("its magic is wrong")]
    Magic,
    /// Its checksum is wrong.
    #[error("its checksum is wrong")]
    Checksum,
    /// A newer program wrote it.
    #[error("it has version {0}, this program knows version {VERSION}; use a newer Tapstone")]
    Version(u16),
    /// It belongs to another store or log.
    #[error("it belongs to another store or log")]
    Stranger,
}

impl FileHeader {
    pub(crate) fn new(store: [u8; 16], shard: u16, first_lsn: Lsn) -> FileHeader {
        let mut header = FileHeader {
            magic: FILE_MAGIC,
            version: U16::new(VERSION),
            shard: U16::new(shard),
            store,
            first_lsn: U64::new(first_lsn.0),
            ..FileHeader::new_zeroed()
        };
        header.crc = U32::new(header.checksum());
        header
    }

    pub(crate) fn parse(bytes: &[u8]) -> Result<FileHeader, HeaderError> {
        let (header, _) = FileHeader::read_from_prefix(bytes).map_err(|_| HeaderError::Short)?;
        if header.magic != FILE_MAGIC {
            return Err(HeaderError::Magic);
        }
        if header.crc.get() != header.checksum() {
            return Err(HeaderError::Checksum);
        }
        if header.version.get() != VERSION {
            return Err(HeaderError::Version(header.version.get()));
        }
        Ok(header)
    }

    /// The checksum, which ties the file's frames to it.
    pub(crate) fn seed(&self) -> u32 {
        self.crc.get()
    }

    fn checksum(&self) -> u32 {
        crc32c::crc32c(&self.as_bytes()[..ALIGNMENT - 4])
    }
}

/// Makes a frame of records: length-prefixed, one behind the other.
pub(crate) fn frame(seed: u32, first: Lsn, durable: Lsn, records: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = vec![0; FRAME_HEADER_LEN];
    for record in records {
        let length = u32::try_from(record.len()).expect("records are far below PAYLOAD_MAX");
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(record);
    }
    let payload_length = bytes.len() - FRAME_HEADER_LEN;
    assert!(payload_length <= PAYLOAD_MAX, "a group commit holds a few control records");
    let mut header = FrameHeader {
        magic: FRAME_MAGIC,
        payload_length: U32::new(payload_length as u32),
        first_lsn: U64::new(first.0),
        durable_lsn: U64::new(durable.0),
        records: U32::new(records.len() as u32),
        crc: U32::new(0),
    };
    header.crc = U32::new(header.checksum(seed, &bytes[FRAME_HEADER_LEN..]));
    bytes[..FRAME_HEADER_LEN].copy_from_slice(header.as_bytes());
    bytes
}

impl FrameHeader {
    /// The frame at the front of `bytes`, its payload verified; `None` when there is none.
    pub(crate) fn parse(seed: u32, bytes: &[u8]) -> Option<(FrameHeader, &[u8])> {
        let (header, rest) = FrameHeader::read_from_prefix(bytes).ok()?;
        let length = header.payload_length.get() as usize;
        if header.magic != FRAME_MAGIC || length > PAYLOAD_MAX {
            return None;
        }
        let payload = rest.get(..length)?;
        (header.checksum(seed, payload) == header.crc.get()).then_some((header, payload))
    }

    fn checksum(&self, seed: u32, payload: &[u8]) -> u32 {
        let crc = crc32c::crc32c(&seed.to_le_bytes());
        let crc = crc32c::crc32c_append(crc, &self.as_bytes()[..FRAME_HEADER_LEN - 4]);
        crc32c::crc32c_append(crc, payload)
    }
}

/// A sound frame: its checksum is right, its records fill it, and its padding is zero.
pub(crate) struct Frame<'b> {
    pub(crate) first: Lsn,
    /// Everything up to here was durable when it was written.
    pub(crate) durable: Lsn,
    pub(crate) records: Vec<&'b [u8]>,
    /// Bytes that it takes, padding included.
    pub(crate) length: usize,
}

impl<'b> Frame<'b> {
    /// The number of the first record, as the frame at the front of `bytes` says unverified.
    pub(crate) fn claimed_first(bytes: &[u8]) -> Option<Lsn> {
        let (header, _) = FrameHeader::read_from_prefix(bytes).ok()?;
        Some(Lsn(header.first_lsn.get()))
    }

    /// The frame at the front of `bytes`; `None` when no sound one is there.
    pub(crate) fn read(seed: u32, bytes: &'b [u8]) -> Option<Frame<'b>> {
        let (header, mut payload) = FrameHeader::parse(seed, bytes)?;
        let used = FRAME_HEADER_LEN + payload.len();
        let length = used.next_multiple_of(ALIGNMENT);
        if bytes.get(used..length)?.iter().any(|&byte| byte != 0) {
            return None;
        }
        let mut records = Vec::new();
        for _ in 0..header.records.get() {
            let (size, rest) = payload.split_first_chunk::<4>()?;
            let (record, rest) = rest.split_at_checked(u32::from_le_bytes(*size) as usize)?;
            records.push(record);
            payload = rest;
        }
        let (first, durable) = (Lsn(header.first_lsn.get()), Lsn(header.durable_lsn.get()));
        Some(Frame { first, durable, records, length })
    }
}
