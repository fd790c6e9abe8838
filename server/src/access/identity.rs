//! An identity, checked.

use std::sync::Arc;
use std::time::Duration;

use tapstone::Timestamp;
use tapstone_packet::time::ATTOS_PER_NANO;

use super::net::Net;
use super::{ClientCertificate, Digest, Role, Scope};

/// Someone who is known: by what, and what for.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    pub(super) name: Arc<str>,
    pub(super) certificate: Option<CertificateTest>,
    pub(super) token: Option<Digest>,
    pub(super) uid: Option<u32>,
    pub(super) roles: Vec<Role>,
    pub(super) limits: Limits,
}

/// Which certificate is theirs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum CertificateTest {
    Called(String),
    Fingerprint(Digest),
}

impl CertificateTest {
    pub(super) fn fits(&self, certificate: &ClientCertificate) -> bool {
        match self {
            CertificateTest::Called(name) => certificate.is_called(name),
            CertificateTest::Fingerprint(digest) => digest.matches(&certificate.fingerprint),
        }
    }

    /// Whether one certificate name could be meant by both.
    pub(super) fn is_same(&self, other: &CertificateTest) -> bool {
        match (self, other) {
            (CertificateTest::Called(one), CertificateTest::Called(other)) => {
                one.eq_ignore_ascii_case(other)
            }
            (one, other) => one == other,
        }
    }
}

/// What bounds a scope, before it is known what time it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Limits {
    pub(super) nets: Vec<Net>,
    pub(super) last: Option<Duration>,
    pub(super) since: Option<Timestamp>,
    pub(super) until: Option<Timestamp>,
}

impl Limits {
    /// The scope at an instant. Where `last` and `since` are both given, the later one counts.
    pub(super) fn at(&self, now: Timestamp) -> Scope {
        let oldest = self.last.map(|last| {
            let attos = i128::try_from(last.as_nanos())
                .ok()
                .and_then(|nanos| nanos.checked_mul(ATTOS_PER_NANO))
                .and_then(|attos| now.attos().checked_sub(attos));
            attos.map_or(Timestamp::MIN, Timestamp::from_attos)
        });
        Scope::new(self.nets.clone(), self.since.max(oldest), self.until)
    }
}
