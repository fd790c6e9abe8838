//! A file's SHA-256.

use std::fmt::Write as _;
use std::path::Path;

use ring::digest;
use tapstone_runtime::blocking::ReadFile;
use tapstone_runtime::file::FileError;

/// Read at once.
const PIECE: usize = 1 << 20;

/// The hash of what was seen so far.
pub(crate) struct Hash(digest::Context);

impl Hash {
    pub(crate) fn new() -> Hash {
        Hash(digest::Context::new(&digest::SHA256))
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// In hexadecimal.
    pub(crate) fn finish(self) -> String {
        let digest = self.0.finish();
        digest.as_ref().iter().fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").expect("a String takes every write");
            text
        })
    }
}

/// A file's length and hash.
pub(super) fn of_file(path: &Path) -> Result<(u64, String), FileError> {
    let file = ReadFile::open(path)?;
    let length = file.length()?;
    Ok((length, of_beginning(&file, length)?))
}

/// The hash of a file's first bytes.
pub(super) fn of_beginning(file: &ReadFile, length: u64) -> Result<String, FileError> {
    let mut hash = Hash::new();
    for at in (0..length).step_by(PIECE) {
        hash.update(&file.read_at(at, PIECE.min((length - at) as usize))?);
    }
    Ok(hash.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_the_one_that_sha256sum_gives() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        std::fs::write(&path, b"abc").unwrap();
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(of_file(&path).unwrap(), (3, expected.to_owned()));
    }

    #[test]
    fn pieces_make_the_same_hash_as_the_whole() {
        let dir = tempfile::tempdir().unwrap();
        let (path, bytes) = (dir.path().join("f"), vec![7; PIECE * 2 + 3]);
        std::fs::write(&path, &bytes).unwrap();
        let mut whole = Hash::new();
        whole.update(&bytes);
        assert_eq!(of_file(&path).unwrap(), (bytes.len() as u64, whole.finish()));
    }
}
