//! How a caller is known from its connection.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use super::ClientCertificate;

/// The other end of a connection, as far as the connection itself proves it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    /// A process on this machine, through the Unix socket; the kernel vouches for it.
    Unix {
        /// The user it ran as when it connected.
        uid: u32,
        /// Its number then; only good for the audit log.
        pid: Option<i32>,
    },
    /// Whoever connected without TLS.
    Tcp {
        /// Where from.
        address: SocketAddr,
    },
    /// Whoever connected with TLS.
    Tls {
        /// Where from.
        address: SocketAddr,
        /// What it proved to own, verified against the configured authority.
        certificate: Option<Arc<ClientCertificate>>,
    },
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Peer::Unix { uid, pid: Some(pid) } => write!(f, "uid {uid} (process {pid})"),
            Peer::Unix { uid, pid: None } => write!(f, "uid {uid}"),
            Peer::Tcp { address } => write!(f, "{address} (plaintext)"),
            Peer::Tls { address, certificate: None } => write!(f, "{address}"),
            Peer::Tls { address, certificate: Some(certificate) } => {
                write!(f, "{address} (certificate of {certificate})")
            }
        }
    }
}
