//! What is read from a client's certificate. Whether to believe it was decided before: the TLS
//! handshake checked the chain, the dates, and that the client has the key.

use std::fmt;

use tapstone::Timestamp;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

use super::Digest;

/// The names in a client's certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClientCertificate {
    /// The subject's common name, where there is exactly one.
    pub(crate) common_name: Option<String>,
    /// Alternative names: hosts.
    pub(crate) dns: Vec<String>,
    /// Alternative names: mail addresses.
    pub(crate) emails: Vec<String>,
    /// Alternative names: URIs, such as SPIFFE IDs.
    pub(crate) uris: Vec<String>,
    /// SHA-256 over the whole certificate.
    pub(crate) fingerprint: Digest,
    /// When it stops being valid: a connection may live longer.
    pub(crate) expires: Timestamp,
}

/// A certificate that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("the client's certificate cannot be read: {what}; have it issued anew")]
pub(crate) struct CertificateError {
    what: String,
}

impl ClientCertificate {
    /// Reads a certificate in DER.
    pub(crate) fn from_der(der: &[u8]) -> Result<ClientCertificate, CertificateError> {
        let error = |what: &dyn fmt::Display| CertificateError { what: what.to_string() };
        let (rest, parsed) = X509Certificate::from_der(der).map_err(|cause| error(&cause))?;
        if !rest.is_empty() {
            return Err(error(&"there are bytes behind it"));
        }
        let mut common_names = parsed.subject().iter_common_name();
        let common_name = match (common_names.next(), common_names.next()) {
            (Some(name), None) => name.as_str().ok().map(str::to_owned),
            _ => None,
        };
        let mut certificate = ClientCertificate {
            common_name,
            dns: Vec::new(),
            emails: Vec::new(),
            uris: Vec::new(),
            fingerprint: Digest::of(der),
            expires: Timestamp::from_secs_nanos(parsed.validity().not_after.timestamp(), 0),
        };
        let names = parsed.subject_alternative_name().map_err(|cause| error(&cause))?;
        for name in names.iter().flat_map(|extension| &extension.value.general_names) {
            match name {
                GeneralName::DNSName(name) => certificate.dns.push((*name).to_owned()),
                GeneralName::RFC822Name(name) => certificate.emails.push((*name).to_owned()),
                GeneralName::URI(name) => certificate.uris.push((*name).to_owned()),
                _ => {}
            }
        }
        Ok(certificate)
    }

    /// Whether it carries a name. Host names have no case; all else is compared byte for byte.
    ///
    /// The common name counts only where there is no alternative name: an authority that checks the
    /// alternative names of what it signs may let its clients write any common name.
    pub(crate) fn is_called(&self, name: &str) -> bool {
        if self.alternatives().next().is_none() {
            return self.common_name.as_deref() == Some(name);
        }
        self.dns.iter().any(|host| host.eq_ignore_ascii_case(name))
            || self.emails.iter().chain(&self.uris).any(|other| other == name)
    }

    fn alternatives(&self) -> impl Iterator<Item = &String> {
        self.dns.iter().chain(&self.emails).chain(&self.uris)
    }
}

impl fmt::Display for ClientCertificate {
    /// Every name that counts, and the fingerprint's beginning. What a stranger wrote into them is
    /// quoted and cut.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 3;
        let alternatives: Vec<&String> = self.alternatives().collect();
        let names =
            if alternatives.is_empty() { self.common_name.iter().collect() } else { alternatives };
        for name in names.iter().take(SHOWN) {
            write!(f, "{:.100}, ", name.escape_default().to_string())?;
        }
        if names.len() > SHOWN {
            write!(f, "{} names more, ", names.len() - SHOWN)?;
        }
        f.write_str(&self.fingerprint.brief())
    }
}
