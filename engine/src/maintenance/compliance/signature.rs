//! The signature of a report: Ed25519 over the file's bytes, and a public key in a form that other
//! programs read (docs/format/report.md, "The signature").

use std::fmt;
use std::path::Path;

use pem::{EncodeConfig, LineEnding, Pem};
use ring::digest::{SHA256, digest};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use tapstone_runtime::blocking;
use tapstone_runtime::file::FileError;

use crate::keys::Secret;

/// What a public key of Ed25519 begins with as SubjectPublicKeyInfo (RFC 8410): the algorithm, and
/// that 32 bytes follow.
const SPKI: [u8; 12] = [0x30, 0x2a, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 3, 0x21, 0];
const TAG: &str = "PUBLIC KEY";

/// Why a report is not to be believed.
#[derive(Debug, thiserror::Error)]
pub enum SignatureError {
    /// The public key is none.
    #[error("the public key cannot be read: {0}; it must be PEM, as DIR/report.pem is")]
    Key(String),
    /// The signature is no signature.
    #[error(
        "the signature has {0} bytes, and an Ed25519 signature has 64: is it the file that was \
         written beside the report?"
    )]
    Length(usize),
    /// It was not made by this key over these bytes.
    #[error(
        "the signature is not that of this report under the key {0}: the report, the signature or \
         the key is another, or was changed"
    )]
    Wrong(KeyFingerprint),
}

/// The SHA-256 of a public key's SubjectPublicKeyInfo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyFingerprint(pub [u8; 32]);

impl fmt::Display for KeyFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256:")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Whether a report is signed by a public key (PEM); gives the key's fingerprint, which whoever got
/// it from elsewhere can compare.
///
/// # Errors
///
/// When it is not.
pub fn verify_report(
    report: &[u8],
    signature: &[u8],
    public_key: &str,
) -> Result<KeyFingerprint, SignatureError> {
    let key = |why: &str| SignatureError::Key(why.to_owned());
    let pem = pem::parse(public_key).map_err(|error| key(&error.to_string()))?;
    if pem.tag() != TAG {
        return Err(key(&format!("it is a {}", pem.tag())));
    }
    let spki = pem.contents();
    let raw = spki.strip_prefix(&SPKI).filter(|raw| raw.len() == 32);
    let raw = raw.ok_or_else(|| key("it is of another kind than Ed25519"))?;
    let length = signature.len();
    if length != 64 {
        return Err(SignatureError::Length(length));
    }
    let fingerprint = fingerprint(spki);
    let verified = UnparsedPublicKey::new(&ED25519, raw).verify(report, signature);
    verified.map(|()| fingerprint).map_err(|_| SignatureError::Wrong(fingerprint))
}

/// What signs reports.
pub(super) struct Signer {
    pair: Ed25519KeyPair,
    spki: Vec<u8>,
}

impl Signer {
    /// By a key's 32 bytes.
    pub(super) fn new(seed: &Secret) -> Signer {
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed.0);
        let pair = pair.expect("every 32 bytes are a key");
        let spki = [&SPKI, pair.public_key().as_ref()].concat();
        Signer { pair, spki }
    }

    pub(super) fn sign(&self, report: &[u8]) -> Vec<u8> {
        self.pair.sign(report).as_ref().to_vec()
    }

    pub(super) fn fingerprint(&self) -> KeyFingerprint {
        fingerprint(&self.spki)
    }

    /// The public key as PEM.
    pub(super) fn public_key(&self) -> String {
        let config = EncodeConfig::new().set_line_ending(LineEnding::LF);
        pem::encode_config(&Pem::new(TAG, self.spki.clone()), config)
    }

    /// Puts the public key in its file, where it is not there.
    pub(super) fn publish(&self, path: &Path) -> Result<(), FileError> {
        let pem = self.public_key().into_bytes();
        if blocking::read_file(path)?.as_ref() == Some(&pem) {
            return Ok(());
        }
        blocking::replace_file(path, &pem)
    }
}

fn fingerprint(spki: &[u8]) -> KeyFingerprint {
    KeyFingerprint(digest(&SHA256, spki).as_ref().try_into().expect("SHA-256 has 32 bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8032, 7.1, test 2.
    const SEED: &str = "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb";
    const PUBLIC: &str = "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c";
    const SIGNATURE: &str = "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da\
                             085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00";

    fn bytes(hex: &str) -> Vec<u8> {
        let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        (0..hex.len()).step_by(2).map(byte).collect()
    }

    fn signer() -> Signer {
        Signer::new(&Secret(bytes(SEED).try_into().unwrap()))
    }

    #[test]
    fn it_is_the_ed25519_of_its_specification() {
        let signer = signer();
        assert_eq!(signer.spki[12..], bytes(PUBLIC));
        assert_eq!(signer.sign(&[0x72]), bytes(SIGNATURE));
        let fingerprint = verify_report(&[0x72], &bytes(SIGNATURE), &signer.public_key()).unwrap();
        assert_eq!(fingerprint, signer.fingerprint());
        assert!(fingerprint.to_string().starts_with("sha256:"), "{fingerprint}");
    }

    #[test]
    fn whatever_bit_is_changed_it_is_refused_with_a_word_why() {
        let (signer, report) = (signer(), b"{\"version\": 1}");
        let (signature, key) = (signer.sign(report), signer.public_key());
        verify_report(report, &signature, &key).unwrap();
        let flipped = |bytes: &[u8], bit: usize| {
            let mut bytes = bytes.to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            bytes
        };
        for bit in 0..report.len() * 8 {
            let error = verify_report(&flipped(report, bit), &signature, &key).unwrap_err();
            assert!(error.to_string().contains("was changed"), "{error}");
        }
        for bit in 0..signature.len() * 8 {
            let error = verify_report(report, &flipped(&signature, bit), &key).unwrap_err();
            assert!(matches!(error, SignatureError::Wrong(_)), "{error}");
        }
        let other = Signer::new(&Secret([7; 32])).public_key();
        let error = verify_report(report, &signature, &other).unwrap_err();
        assert!(error.to_string().contains("sha256:"), "{error}");
    }

    #[test]
    fn what_is_no_key_or_no_signature_is_refused_with_a_word_why() {
        let (signer, report) = (signer(), b"{}");
        let (signature, key) = (signer.sign(report), signer.public_key());
        let error = verify_report(report, &signature[..63], &key).unwrap_err();
        assert!(error.to_string().contains("63 bytes"), "{error}");
        let private = key.replace("PUBLIC", "PRIVATE");
        let rsa = pem::encode(&Pem::new(TAG, vec![0x30; 44]));
        let short = pem::encode(&Pem::new(TAG, &signer.spki[..43]));
        for key in ["", "nonsense", &private, &rsa, &short] {
            let error = verify_report(report, &signature, key).unwrap_err();
            assert!(matches!(error, SignatureError::Key(_)), "{key}: {error}");
        }
    }

    #[test]
    fn the_public_key_is_written_once_and_again_where_it_is_another() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("report.pem");
        signer().publish(&path).unwrap();
        let pem = std::fs::read_to_string(&path).unwrap();
        assert!(pem.starts_with("-----BEGIN PUBLIC KEY-----\n"), "{pem}");
        std::fs::write(&path, "another").unwrap();
        signer().publish(&path).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), pem);
    }
}
