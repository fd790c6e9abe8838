//! Reading PEM files, and saying what is wrong with them.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::TlsError;

/// Longest file taken: a bundle of every public authority has a quarter of that.
const LEN_MAX: u64 = 1 << 20;

/// The certificates in a file; at least one.
pub(super) fn certificates(
    what: &'static str,
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let bytes = read(what, path)?;
    let content = |problem: String| TlsError::Content { what, path: path.to_owned(), problem };
    let certificates: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&bytes)
        .collect::<Result<_, _>>()
        .map_err(|cause| content(format!("it is not sound PEM: {cause}; copy it anew")))?;
    if certificates.is_empty() {
        return Err(content(if bytes.is_empty() {
            "it is empty; write the certificate into it, in PEM".to_owned()
        } else if has(&bytes, "PRIVATE KEY-----") {
            "there is a private key in it and no certificate; are the files exchanged?".to_owned()
        } else {
            "there is no certificate in it; it should begin with -----BEGIN CERTIFICATE----- (from \
             DER: openssl x509 -inform der)"
                .to_owned()
        }));
    }
    Ok(certificates)
}

/// The private key in a file.
pub(super) fn key(what: &'static str, path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let bytes = read(what, path)?;
    let found = PrivateKeyDer::from_pem_slice(&bytes);
    found.map_err(|cause| {
        let problem = if bytes.is_empty() {
            "it is empty; write the private key into it, in PEM".to_owned()
        } else if has(&bytes, "ENCRYPTED") {
            "the key is encrypted, and nobody is there to type its password; decrypt it: openssl \
             pkey"
                .to_owned()
        } else if has(&bytes, "-----BEGIN CERTIFICATE") {
            "there is a certificate in it and no private key; are the files exchanged?".to_owned()
        } else {
            format!("there is no private key in it ({cause}); it should be PEM")
        };
        TlsError::Content { what, path: path.to_owned(), problem }
    })
}

fn read(what: &'static str, path: &Path) -> Result<Vec<u8>, TlsError> {
    let error = |source| TlsError::Read { what, path: path.to_owned(), source };
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(LEN_MAX + 1).read_to_end(&mut bytes))
        .map_err(error)?;
    if bytes.len() as u64 > LEN_MAX {
        return Err(TlsError::TooLong { what, path: path.to_owned(), max: LEN_MAX });
    }
    Ok(bytes)
}

fn has(bytes: &[u8], words: &str) -> bool {
    bytes.windows(words.len()).any(|window| window == words.as_bytes())
}
