//! The bytes of a record (docs/format/audit.md, "Records").

use std::fmt;

use ring::digest::{Context, SHA256};
use tapstone_packet::time::Timestamp;
use zerocopy::byteorder::little_endian::{U32, U64};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::id::StoreId;

const VERSION: u8 = 1;
/// Far beyond what any log reaches, and far from where numbers overflow.
pub(super) const SEQUENCE_MAX: u64 = 1 << 62;

/// A SHA-256, shown in hexadecimal.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct AuditHash(pub [u8; 32]);

impl AuditHash {
    /// What stands for the record before the first.
    pub const NONE: AuditHash = AuditHash([0; 32]);
}

impl fmt::Display for AuditHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for AuditHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AuditHash({self})")
    }
}

/// One entry, and where it stands in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditRecord {
    /// Its number: from 1, through the life of the store.
    pub sequence: u64,
    /// When it was recorded.
    pub time: Timestamp,
    /// The hash of the record before it; [`AuditHash::NONE`] for the first.
    pub previous: AuditHash,
    /// Its own hash: over the store's id and everything here.
    pub hash: AuditHash,
    /// The entry.
    pub content: Vec<u8>,
}

/// What stands before a record's content.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy)]
#[repr(C)]
struct Header {
    version: u8,
    reserved: [u8; 3],
    content_length: U32,
    sequence: U64,
    unix_nanos: U64,
    previous: [u8; 32],
    hash: [u8; 32],
}

pub(super) const HEADER_LEN: usize = size_of::<Header>();
const HASHED: usize = HEADER_LEN - size_of::<AuditHash>();
const _: () = assert!(HEADER_LEN == 88);

/// Makes a record; gives its bytes and its hash.
pub(super) fn encode(
    store: StoreId,
    sequence: u64,
    unix_nanos: u64,
    previous: AuditHash,
    content: &[u8],
) -> (Vec<u8>, AuditHash) {
    let length = u32::try_from(content.len()).expect("an entry is within AUDIT_ENTRY_MAX");
    let mut header = Header {
        version: VERSION,
        content_length: U32::new(length),
        sequence: U64::new(sequence),
        unix_nanos: U64::new(unix_nanos),
        previous: previous.0,
        ..Header::new_zeroed()
    };
    header.hash = hash(store, &header, content).0;
    ([header.as_bytes(), content].concat(), AuditHash(header.hash))
}

/// Reads a record; also whether its hash is right.
pub(super) fn decode(store: StoreId, bytes: &[u8]) -> Result<(AuditRecord, bool), &'static str> {
    let (header, content) = Header::read_from_prefix(bytes).map_err(|_| "it is cut short")?;
    let sequence = header.sequence.get();
    if header.version != VERSION {
        return Err("a newer Tapstone wrote it");
    }
    if header.reserved != [0; 3] || header.content_length.get() as usize != content.len() {
        return Err("its header makes no sense");
    }
    if sequence == 0 || sequence > SEQUENCE_MAX {
        return Err("its number makes no sense");
    }
    let sound = hash(store, &header, content).0 == header.hash;
    let record = AuditRecord {
        sequence,
        time: instant(header.unix_nanos.get()),
        previous: AuditHash(header.previous),
        hash: AuditHash(header.hash),
        content: content.to_vec(),
    };
    Ok((record, sound))
}

fn hash(store: StoreId, header: &Header, content: &[u8]) -> AuditHash {
    let mut context = Context::new(&SHA256);
    context.update(&store.0);
    context.update(&header.as_bytes()[..HASHED]);
    context.update(content);
    AuditHash(context.finish().as_ref().try_into().expect("SHA-256 has 32 bytes"))
}

/// Reads bytes as a record.
pub(super) fn parse_for_fuzzing(bytes: &[u8]) {
    let store = StoreId([0; 16]);
    if let Ok((record, sound)) = decode(store, bytes) {
        assert_eq!(record.content.len(), bytes.len() - HEADER_LEN);
        assert!(!sound, "nobody finds a hash by trying");
    }
}

fn instant(unix_nanos: u64) -> Timestamp {
    const SECOND: u64 = 1_000_000_000;
    Timestamp::from_secs_nanos((unix_nanos / SECOND) as i64, (unix_nanos % SECOND) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STORE: StoreId = StoreId([9; 16]);

    #[test]
    fn a_record_survives_its_encoding() {
        let (bytes, hash) = encode(STORE, 7, 1_500_000_000, AuditHash([3; 32]), b"entry");
        let (record, sound) = decode(STORE, &bytes).unwrap();
        let expected = AuditRecord {
            sequence: 7,
            time: Timestamp::from_secs_nanos(1, 500_000_000),
            previous: AuditHash([3; 32]),
            hash,
            content: b"entry".to_vec(),
        };
        assert_eq!((record, sound), (expected, true));
    }

    #[test]
    fn every_changed_bit_shows_and_so_does_another_store() {
        let (bytes, _) = encode(STORE, 7, 1, AuditHash([3; 32]), b"entry");
        let is_sound = |store, bytes: &[u8]| matches!(decode(store, bytes), Ok((_, true)));
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(!is_sound(STORE, &bad), "bit {bit}");
        }
        assert!((0..bytes.len()).all(|length| !is_sound(STORE, &bytes[..length])));
        assert!(!is_sound(StoreId([8; 16]), &bytes));
    }
}
