//! The bundle: the members of a split in one file, found from its last bytes.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use zerocopy::byteorder::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

pub(crate) const VERSION: u16 = 1;
const MAGIC: [u8; 8] = *b"TAPSPLIT";
const NAME_LEN: usize = 48;

/// What a bundle is read from; what is below (frames, keys, files) is the caller's.
pub trait BundleSource: std::fmt::Debug + Send + Sync + 'static {
    /// Bytes of the bundle.
    fn len(&self) -> u64;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads part of it.
    ///
    /// # Errors
    ///
    /// When it cannot be read; a part beyond the end is an error too.
    fn read(&self, range: Range<u64>) -> io::Result<Vec<u8>>;
}

/// Why a bundle cannot be opened or read.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// The source refuses.
    #[error("split: {0}")]
    Read(#[from] io::Error),
    /// Its last bytes are not a bundle's.
    #[error("split: {0}")]
    Format(&'static str),
    /// A newer program wrote it.
    #[error(
        "split: it has version {0}, this program knows version {VERSION}; use a newer Tapstone"
    )]
    Version(u16),
    /// A member is missing or damaged.
    #[error("split: its part '{0}' is missing or damaged")]
    Member(String),
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy)]
#[repr(C)]
struct Entry {
    name: [u8; NAME_LEN],
    offset: U64,
    length: U64,
    crc: U32,
    reserved: [u8; 4],
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy)]
#[repr(C)]
struct Trailer {
    magic: [u8; 8],
    version: U16,
    reserved: [u8; 2],
    members: U32,
    table_offset: U64,
    rows: U32,
    /// Over the table and the trailer's other fields.
    crc: U32,
}

const TRAILER_LEN: usize = size_of::<Trailer>();
const ENTRY_LEN: usize = size_of::<Entry>();
/// Read at once when a bundle is opened; holds the trailer and, usually, the whole table.
const TAIL_LEN: u64 = 4096;

/// Puts members together.
pub(crate) fn write(members: &[(String, Vec<u8>)], rows: u32) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(
        members.iter().map(|(_, data)| data.len() + ENTRY_LEN).sum::<usize>() + TRAILER_LEN,
    );
    let mut table = Vec::new();
    for (name, data) in members {
        let mut entry = Entry {
            name: [0; NAME_LEN],
            offset: U64::new(bytes.len() as u64),
            length: U64::new(data.len() as u64),
            crc: U32::new(crc32c::crc32c(data)),
            reserved: [0; 4],
        };
        entry.name[..name.len()].copy_from_slice(name.as_bytes());
        table.extend_from_slice(entry.as_bytes());
        bytes.extend_from_slice(data);
    }
    let mut trailer = Trailer {
        magic: MAGIC,
        version: U16::new(VERSION),
        reserved: [0; 2],
        members: U32::new(members.len() as u32),
        table_offset: U64::new(bytes.len() as u64),
        rows: U32::new(rows),
        crc: U32::new(0),
    };
    trailer.crc = U32::new(checksum(&table, &trailer));
    bytes.extend_from_slice(&table);
    bytes.extend_from_slice(trailer.as_bytes());
    bytes
}

fn checksum(table: &[u8], trailer: &Trailer) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(table), &trailer.as_bytes()[..TRAILER_LEN - 4])
}

/// An open bundle.
#[derive(Clone, Debug)]
pub(crate) struct Bundle {
    source: Arc<dyn BundleSource>,
    members: Arc<[Member]>,
    pub(crate) rows: u32,
}

#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) range: Range<u64>,
    crc: u32,
}

impl Bundle {
    pub(crate) fn open(source: Arc<dyn BundleSource>) -> Result<Bundle, BundleError> {
        let length = source.len();
        let start = length.saturating_sub(TAIL_LEN);
        let tail = source.read(start..length)?;
        let (_, trailer) =
            Trailer::read_from_suffix(&tail).map_err(|_| BundleError::Format("it is cut short"))?;
        if trailer.magic != MAGIC {
            return Err(BundleError::Format("it does not end as a split"));
        }
        let table_length = u64::from(trailer.members.get()) * ENTRY_LEN as u64;
        let table_start = trailer.table_offset.get();
        let table_end = length - TRAILER_LEN as u64;
        if table_start.checked_add(table_length) != Some(table_end) {
            return Err(BundleError::Format("its table is not where it should be"));
        }
        let table = if table_start >= start {
            tail[(table_start - start) as usize..(table_end - start) as usize].to_vec()
        } else {
            source.read(table_start..table_end)?
        };
        if checksum(&table, &trailer) != trailer.crc.get() {
            return Err(BundleError::Format("the checksum of its table is wrong"));
        }
        if trailer.version.get() != VERSION {
            return Err(BundleError::Version(trailer.version.get()));
        }
        let members = table.chunks_exact(ENTRY_LEN).map(|entry| member(entry, table_start));
        let members = members.collect::<Option<Vec<Member>>>();
        let members = members.ok_or(BundleError::Format("its table makes no sense"))?;
        Ok(Bundle { source, members: members.into(), rows: trailer.rows.get() })
    }

    pub(crate) fn members(&self) -> &[Member] {
        &self.members
    }

    pub(crate) fn member(&self, name: &str) -> Option<&Member> {
        self.members.iter().find(|member| member.name == name)
    }

    /// Reads part of a member.
    pub(crate) fn read(&self, member: &Member, range: Range<u64>) -> io::Result<Vec<u8>> {
        let (start, end) = (member.range.start + range.start, member.range.start + range.end);
        if end > member.range.end || start > end {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.source.read(start..end)
    }

    /// Reads a whole member and verifies its checksum.
    pub(crate) fn verified(&self, name: &str) -> Result<Vec<u8>, BundleError> {
        let damaged = || BundleError::Member(name.to_owned());
        let member = self.member(name).ok_or_else(damaged)?;
        let bytes = self.source.read(member.range.clone())?;
        if crc32c::crc32c(&bytes) != member.crc {
            return Err(damaged());
        }
        Ok(bytes)
    }
}

fn member(bytes: &[u8], table_start: u64) -> Option<Member> {
    let (entry, _) = Entry::read_from_prefix(bytes).ok()?;
    let name = entry.name.split(|byte| *byte == 0).next()?;
    let start = entry.offset.get();
    let end = start.checked_add(entry.length.get()).filter(|end| *end <= table_start)?;
    Some(Member {
        name: String::from_utf8(name.to_vec()).ok()?,
        range: start..end,
        crc: entry.crc.get(),
    })
}
