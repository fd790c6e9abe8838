//! SHA-256 digests: what is kept of tokens, and how certificates are told apart.

use std::fmt;

use subtle::ConstantTimeEq;

/// A SHA-256 digest, written `sha256:` and 64 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Digest([u8; 32]);

impl Digest {
    /// The digest of some bytes.
    pub(crate) fn of(bytes: &[u8]) -> Digest {
        let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
        let mut kept = [0; 32];
        kept.copy_from_slice(digest.as_ref());
        Digest(kept)
    }

    /// Reads `sha256:` and the digits, with or without colons between bytes, as openssl prints them.
    pub(crate) fn parse(text: &str) -> Option<Digest> {
        let digits = text.strip_prefix("sha256:")?;
        let digits: Vec<u8> = digits.bytes().filter(|&byte| byte != b':').collect();
        let mut digest = [0; 32];
        if digits.len() != 2 * digest.len() {
            return None;
        }
        for (byte, pair) in digest.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
        }
        Some(Digest(digest))
    }

    /// Whether both are the same, in a time that does not depend on where they differ.
    pub(crate) fn matches(&self, other: &Digest) -> bool {
        self.0.ct_eq(&other.0).into()
    }

    /// Its beginning: enough to tell tokens apart in a log, too little to find one.
    pub(crate) fn brief(&self) -> String {
        self.to_string().chars().take("sha256:".len() + 8).collect()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256:")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

fn nibble(digit: u8) -> Option<u8> {
    (digit as char).to_digit(16).map(|value| value as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_read_as_openssl_and_sha256sum_write_them() {
        let digest = Digest::of(b"abc");
        let text = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(digest.to_string(), text);
        assert_eq!(Digest::parse(text), Some(digest));
        let digits = text["sha256:".len()..].to_uppercase();
        let pairs: Vec<&str> = (0..64).step_by(2).map(|at| &digits[at..at + 2]).collect();
        assert_eq!(Digest::parse(&format!("sha256:{}", pairs.join(":"))), Some(digest));
        assert_eq!(digest.brief(), "sha256:ba7816bf");
        for wrong in ["", "sha256:", "sha256:zz", &text[7..], &text[..70], &text.replace('a', "g")]
        {
            assert_eq!(Digest::parse(wrong), None, "{wrong}");
        }
    }
}
