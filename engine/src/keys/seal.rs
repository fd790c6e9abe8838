//! Sealing: AES-256-GCM with nonces that are positions, and keys that are committed to.

use std::fmt;

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, Tag, UnboundKey};
use ring::hkdf;

use super::Secret;

/// Bytes of the tag behind everything sealed.
pub(crate) const TAG_LEN: usize = 16;
/// Bytes of a key commitment.
pub(crate) const COMMITMENT_LEN: usize = 32;
/// Bytes of the salt that makes a file's key its own.
pub(crate) const SALT_LEN: usize = 32;

/// What is sealed under one key, so that positions in different series never share a nonce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Stream {
    /// Blocks of a segment, by ordinal.
    Blocks = 1,
    /// Unit descriptions of a segment, by unit number.
    Units = 2,
    /// Frames of a region, by frame number.
    Frames = 3,
}

/// The key that seals one file (or one region of a file), and the commitment to it.
///
/// GCM alone does not bind a ciphertext to one key; the commitment, stored beside the salt and
/// compared before anything is opened, does.
pub(crate) struct FileKey {
    key: LessSafeKey,
    commitment: [u8; COMMITMENT_LEN],
}

struct Length(usize);

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

impl FileKey {
    /// HKDF-SHA-256 of the segment key with the file's own salt (RFC 5869).
    pub(crate) fn derive(segment_key: &Secret, salt: &[u8; SALT_LEN]) -> FileKey {
        let extracted = hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(&segment_key.0);
        let expand = |info: &[u8], out: &mut [u8]| {
            extracted
                .expand(&[info], Length(out.len()))
                .and_then(|okm| okm.fill(out))
                .expect("HKDF-SHA-256 gives up to 8,160 bytes");
        };
        let (mut key, mut commitment) = ([0; 32], [0; COMMITMENT_LEN]);
        expand(b"tapstone v1 aes-256-gcm", &mut key);
        expand(b"tapstone v1 commitment", &mut commitment);
        FileKey { key: unbound(&key), commitment }
    }

    pub(crate) fn commitment(&self) -> &[u8; COMMITMENT_LEN] {
        &self.commitment
    }

    /// Seals `data` in place and gives the tag. The caller vouches that `(stream, position)` is
    /// sealed once in the life of the key: positions only go up, and a file that was left open
    /// is never appended to again.
    pub(crate) fn seal(
        &self,
        stream: Stream,
        position: u64,
        aad: &[&[u8]],
        data: &mut [u8],
    ) -> [u8; TAG_LEN] {
        let tag = self
            .key
            .seal_in_place_separate_tag(nonce(stream, position), joined(aad).aad(), data)
            .expect("a block is far below GCM's 64 GiB");
        let mut bytes = [0; TAG_LEN];
        bytes.copy_from_slice(tag.as_ref());
        bytes
    }

    /// Opens what [`seal`](Self::seal) made, in place; `false` when anything differs.
    #[must_use]
    pub(crate) fn open(
        &self,
        stream: Stream,
        position: u64,
        aad: &[&[u8]],
        data: &mut [u8],
        tag: [u8; TAG_LEN],
    ) -> bool {
        let nonce = nonce(stream, position);
        let tag = Tag::from(tag);
        self.key.open_in_place_separate_tag(nonce, joined(aad).aad(), tag, data, 0..).is_ok()
    }
}

impl fmt::Debug for FileKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FileKey(..)")
    }
}

pub(super) fn unbound(key: &[u8; 32]) -> LessSafeKey {
    let key = UnboundKey::new(&AES_256_GCM, key).expect("AES-256 keys have 32 bytes");
    LessSafeKey::new(key)
}

/// The nonce of a position: the stream's number, then the position, both big-endian.
fn nonce(stream: Stream, position: u64) -> Nonce {
    let mut bytes = [0; NONCE_LEN];
    bytes[..4].copy_from_slice(&(stream as u32).to_be_bytes());
    bytes[4..].copy_from_slice(&position.to_be_bytes());
    Nonce::assume_unique_for_key(bytes)
}

/// Associated data in one piece, on the stack: everything bound here is of fixed length.
struct JoinedAad {
    bytes: [u8; 192],
    length: usize,
}

impl JoinedAad {
    fn aad(&self) -> Aad<&[u8]> {
        Aad::from(&self.bytes[..self.length])
    }
}

fn joined(parts: &[&[u8]]) -> JoinedAad {
    let mut joined = JoinedAad { bytes: [0; 192], length: 0 };
    for part in parts {
        joined.bytes[joined.length..joined.length + part.len()].copy_from_slice(part);
        joined.length += part.len();
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_only_where_it_was_sealed() {
        let key = FileKey::derive(&Secret([1; 32]), &[2; SALT_LEN]);
        let mut data = *b"packets";
        let tag = key.seal(Stream::Blocks, 5, &[b"header"], &mut data);
        assert_ne!(&data, b"packets");
        for (stream, position, aad) in [
            (Stream::Units, 5, &b"header"[..]),
            (Stream::Blocks, 6, b"header"),
            (Stream::Blocks, 5, b"other"),
        ] {
            assert!(!key.open(stream, position, &[aad], &mut data.clone(), tag));
        }
        assert!(key.open(Stream::Blocks, 5, &[b"hea", b"der"], &mut data, tag));
        assert_eq!(&data, b"packets");
    }

    #[test]
    fn keys_and_commitments_differ_by_salt() {
        let secret = Secret([1; 32]);
        let (a, b) = (FileKey::derive(&secret, &[0; 32]), FileKey::derive(&secret, &[1; 32]));
        assert_ne!(a.commitment(), b.commitment());
        let mut data = [0; 16];
        let tag = a.seal(Stream::Frames, 0, &[], &mut data);
        assert!(!b.open(Stream::Frames, 0, &[], &mut data, tag));
    }
}
