//! Key files: the master key as it is, a bucket key wrapped by the master key.

use std::path::{Path, PathBuf};

use tapstone_runtime::blocking;
use tapstone_runtime::file::FileError;
use zerocopy::byteorder::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

const MAGIC: [u8; 8] = *b"TAPSTKEY";
const VERSION: u16 = 1;
/// A wrapped key is no longer than this: what AWS KMS may return.
const WRAPPED_LEN_MAX: usize = 6144;

/// What a key file holds behind its header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub(crate) enum KeyKind {
    /// 32 bytes, in the clear.
    Master = 1,
    /// A bucket key, wrapped by the key that the header names.
    Bucket = 2,
    /// The key that signs reports, wrapped likewise.
    Report = 3,
}

/// The header of a key file (docs/format/segment.md, "Keys").
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Header {
    magic: [u8; 8],
    version: U16,
    kind: U16,
    length: U32,
    id: [u8; 16],
    wrapped_by: [u8; 16],
    reserved: [u8; 12],
    crc: U32,
}

/// A key file's content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeyFile {
    pub(crate) id: [u8; 16],
    pub(crate) wrapped_by: [u8; 16],
    pub(crate) bytes: Vec<u8>,
}

/// Why a key cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read or written.
    #[error("key file: {0}")]
    File(#[from] FileError),
    /// The file is not a sound key file.
    #[error(
        "{} is not a usable key file: {what}; restore it from a backup (without it, what it \
         protects cannot be read)", path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The file can be read by others.
    #[error(
        "the master key {} can be read by others (mode {mode:o}); run: chmod 600 {}",
        path.display(), path.display()
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file belongs to somebody else.
    #[error(
        "the master key {0} belongs to user {owner}, who can read it and put another in its place; \
         this is user {user}, so run: chown {user} {0}",
        path.display()
    )]
    Foreign {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Who this is.
        user: u32,
    },
    /// The master key's file holds another key than the one in use.
    #[error(
        "{} holds another key than the one in use; put the store's own master.key back before the \
         store is closed: without it nothing in it can be read", path.display()
    )]
    Exchanged {
        /// The file.
        path: PathBuf,
    },
    /// A wrapped key was not wrapped by the key at hand.
    #[error(
        "{} cannot be unwrapped: it was made under another master key; put the store's own \
         master.key back", path.display()
    )]
    WrongKey {
        /// The file that holds the wrapped key.
        path: PathBuf,
    },
    /// The bucket's key file is gone: what it protected was shredded.
    #[error("the key of bucket {bucket} does not exist ({}): its packets were shredded, or the file was lost", path.display())]
    Destroyed {
        /// The bucket's id in hexadecimal.
        bucket: String,
        /// Where its key would be.
        path: PathBuf,
    },
}

/// Reads and checks a key file; `None` when there is none.
pub(crate) fn read(path: &Path, kind: KeyKind) -> Result<Option<KeyFile>, KeyError> {
    let Some(bytes) = blocking::read_file(path)? else { return Ok(None) };
    let damaged = |what| KeyError::Damaged { path: path.to_owned(), what };
    let (header, wrapped) = Header::read_from_prefix(&bytes).map_err(|_| damaged("too short"))?;
    if header.magic != MAGIC {
        return Err(damaged("it does not begin as one"));
    }
    if header.version.get() != VERSION {
        return Err(damaged("it was written by another version of Tapstone"));
    }
    if header.kind.get() != kind as u16 {
        return Err(damaged("it holds another kind of key"));
    }
    if header.length.get() as usize != wrapped.len() || wrapped.len() > WRAPPED_LEN_MAX {
        return Err(damaged("its length is wrong"));
    }
    if header.crc.get() != checksum(&header, wrapped) {
        return Err(damaged("its checksum is wrong"));
    }
    Ok(Some(KeyFile { id: header.id, wrapped_by: header.wrapped_by, bytes: wrapped.to_vec() }))
}

/// Writes a key file, mode 0600, durably, whole or not at all.
pub(crate) fn write(path: &Path, kind: KeyKind, file: &KeyFile) -> Result<(), KeyError> {
    let length = u32::try_from(file.bytes.len()).expect("wrapped keys are short");
    let mut header = Header {
        magic: MAGIC,
        version: U16::new(VERSION),
        kind: U16::new(kind as u16),
        length: U32::new(length),
        id: file.id,
        wrapped_by: file.wrapped_by,
        reserved: [0; 12],
        crc: U32::new(0),
    };
    header.crc = U32::new(checksum(&header, &file.bytes));
    let bytes = [header.as_bytes(), &file.bytes].concat();
    Ok(blocking::replace_file(path, &bytes)?)
}

fn checksum(header: &Header, wrapped: &[u8]) -> u32 {
    let covered = &header.as_bytes()[..size_of::<Header>() - 4];
    crc32c::crc32c_append(crc32c::crc32c(covered), wrapped)
}
