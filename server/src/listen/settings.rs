//! Where to listen, and with which certificates.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Where to listen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ListenSettings {
    /// TCP addresses; all of them speak TLS where `tls` is there, and none does otherwise.
    pub(crate) addresses: Vec<SocketAddr>,
    /// Permits addresses that other machines reach without TLS.
    pub(crate) plaintext: bool,
    /// The Unix socket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) socket: Option<PathBuf>,
    /// Who may connect to it, as in `chmod`; 0o600 when there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) socket_mode: Option<u32>,
    /// Certificates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tls: Option<TlsSettings>,
}

/// The files of TLS, all PEM.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TlsSettings {
    /// The server's certificate, and behind it those between it and the authority.
    pub(crate) certificate: PathBuf,
    /// Its private key.
    pub(crate) key: PathBuf,
    /// The authorities whose client certificates are believed; without it clients show none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) client_ca: Option<PathBuf>,
    /// Whether a client must have one. Left out: it must, unless some identity has a token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) client_certificates: Option<ClientCertificates>,
}

/// Whether a client must show a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ClientCertificates {
    /// Who shows none is turned away in the handshake.
    Required,
    /// Who shows none can still show a token.
    Optional,
}

impl TlsSettings {
    /// What holds, given whether any identity has a token.
    pub(super) fn client_certificates(&self, tokens: bool) -> ClientCertificates {
        self.client_certificates.unwrap_or(if tokens {
            ClientCertificates::Optional
        } else {
            ClientCertificates::Required
        })
    }
}
