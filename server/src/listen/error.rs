//! Why nobody can be listened to.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use tokio_rustls::rustls;

/// Why a socket cannot be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ListenError {
    /// There would be no way in.
    #[error("there is nothing to listen on; give a TCP address, or the path of a Unix socket")]
    Nowhere,
    /// Others could read along.
    #[error(
        "{0} can be reached from other machines, and without TLS whoever is on the way reads along; \
         set certificate and key under tls, listen on 127.0.0.1 instead, or set plaintext = true to \
         do it all the same"
    )]
    Plaintext(SocketAddr),
    /// Two settings that exclude each other.
    #[error("plaintext = true, and TLS is set up, which every address then speaks; leave one out")]
    PlaintextAndTls,
    /// The address cannot be listened on.
    #[error(
        "cannot listen on {address}: {source}; choose another address, or see who has it: ss -ltnp"
    )]
    Tcp {
        /// Which one.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The path does not fit where the kernel keeps it.
    #[error(
        "the path of the Unix socket, {}, has {length} bytes, more than the {max} that the kernel \
         takes; give a shorter one, such as /run/tapstone.sock", path.display(), max = super::unix::PATH_LEN_MAX
    )]
    PathTooLong {
        /// The path.
        path: PathBuf,
        /// Its length.
        length: usize,
    },
    /// Another process has it.
    #[error(
        "another process answers on the Unix socket {}; stop it, or give another path", path.display()
    )]
    Live {
        /// The path.
        path: PathBuf,
    },
    /// Something else has its name.
    #[error("{} is there and is no socket; remove it, or give another path", path.display())]
    NotASocket {
        /// The path.
        path: PathBuf,
    },
    /// The socket cannot be made.
    #[error("cannot make the Unix socket {}: {source}; see whether its folder is there and can be written to", path.display())]
    Unix {
        /// The path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The certificates cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// Why certificates cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    /// A file cannot be read.
    #[error("tls: {what} {}: {source}", path.display())]
    Read {
        /// What it should be.
        what: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is too long to be what it should be.
    #[error("tls: {what} {}: longer than {max} bytes; name the right file", path.display())]
    TooLong {
        /// What it should be.
        what: &'static str,
        /// Which file.
        path: PathBuf,
        /// The most it can be.
        max: u64,
    },
    /// A file lacks what it should hold.
    #[error("tls: {what} {}: {problem}", path.display())]
    Content {
        /// What it should be.
        what: &'static str,
        /// Which file.
        path: PathBuf,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// Certificate and key are not of one pair.
    #[error(
        "tls: the key {} does not fit the certificate {}; name the key that it was requested with, \
         and the server's own certificate first in its file", key.display(), certificate.display()
    )]
    KeyDoesNotFit {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// rustls takes them not for another reason.
    #[error("tls: {} with key {}: {source}", certificate.display(), key.display())]
    Unusable {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// Why.
        source: rustls::Error,
    },
    /// Client certificates are demanded and nothing says which.
    #[error(
        "tls: client_certificates is set without client_ca; name the file of the authority that \
         signs them, or leave it out"
    )]
    NoAuthority,
}
