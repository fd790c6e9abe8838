//! Authorities and certificates, made for a test.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SanType,
    date_time_ymd,
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion, version};

use super::*;

/// An authority.
pub(super) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key.
pub(super) struct Identity {
    pub(super) certificate: CertificateDer<'static>,
    key: KeyPair,
}

impl Authority {
    pub(super) fn new(name: &str) -> Authority {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Authority(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(super) fn certificate(&self) -> CertificateDer<'static> {
        self.0.der().clone()
    }

    /// A server on loopback.
    pub(super) fn server(&self) -> Identity {
        self.issue(vec![SanType::IpAddress([127, 0, 0, 1].into())], 2100)
    }

    pub(super) fn client(&self, email: &str) -> Identity {
        self.issue(vec![SanType::Rfc822Name(email.try_into().unwrap())], 2100)
    }

    pub(super) fn expired_client(&self, email: &str) -> Identity {
        self.issue(vec![SanType::Rfc822Name(email.try_into().unwrap())], 2001)
    }

    fn issue(&self, names: Vec<SanType>, last_year: i32) -> Identity {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.subject_alt_names = names;
        params.not_after = date_time_ymd(last_year, 1, 1);
        let certificate = params.signed_by(&key, &self.0).unwrap().der().clone();
        Identity { certificate, key }
    }
}

impl Identity {
    fn key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key.serialize_der()).into()
    }
}

/// A folder with the files of a server.
pub(super) struct Files(tempfile::TempDir);

impl Files {
    pub(super) fn new(server: &Identity) -> Files {
        let files = Files(tempfile::tempdir().unwrap());
        files.put_server(server);
        files
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(super) fn put_server(&self, server: &Identity) {
        write_pem(&self.path("server.pem"), "CERTIFICATE", &[&server.certificate]);
        write_pem(&self.path("server.key"), "PRIVATE KEY", &[server.key().secret_der()]);
    }

    pub(super) fn put_authorities(&self, authorities: &[&Authority]) {
        let certificates: Vec<CertificateDer<'_>> =
            authorities.iter().map(|authority| authority.certificate()).collect();
        let ders: Vec<&[u8]> = certificates.iter().map(|certificate| &certificate[..]).collect();
        write_pem(&self.path("ca.pem"), "CERTIFICATE", &ders);
    }

    /// With client certificates where there is a `ca.pem`.
    pub(super) fn settings(&self) -> TlsSettings {
        let ca = self.path("ca.pem");
        TlsSettings {
            certificate: self.path("server.pem"),
            key: self.path("server.key"),
            client_ca: ca.try_exists().unwrap().then_some(ca),
            client_certificates: None,
        }
    }

    pub(super) async fn listen(&self, tokens: bool) -> (Listener, SocketAddr) {
        let settings = ListenSettings {
            addresses: loopback(),
            tls: Some(self.settings()),
            ..ListenSettings::default()
        };
        let listener = Listener::bind(&settings, tokens).await.unwrap();
        let address = listener.addresses()[0];
        (listener, address)
    }
}

fn write_pem(path: &Path, label: &str, ders: &[&[u8]]) {
    use base64::Engine;
    let encode = |der: &&[u8]| {
        let body = base64::engine::general_purpose::STANDARD.encode(der);
        format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n")
    };
    fs::write(path, ders.iter().map(encode).collect::<String>()).unwrap();
}

/// How a client connects.
pub(super) struct Client<'a> {
    pub(super) trusts: &'a Authority,
    pub(super) shows: Option<&'a Identity>,
    pub(super) version: &'static SupportedProtocolVersion,
    pub(super) protocol: &'static str,
}

impl<'a> Client<'a> {
    pub(super) fn new(trusts: &'a Authority, shows: Option<&'a Identity>) -> Client<'a> {
        Client { trusts, shows, version: &version::TLS13, protocol: "h2" }
    }

    pub(super) async fn connect(
        &self,
        address: SocketAddr,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.trusts.certificate()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[self.version])
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match self.shows {
            Some(own) => {
                config.with_client_auth_cert(vec![own.certificate.clone()], own.key()).unwrap()
            }
            None => config.with_no_client_auth(),
        };
        config.alpn_protocols = vec![self.protocol.as_bytes().to_vec()];
        let stream = TcpStream::connect(address).await.unwrap();
        let name = address.ip().into();
        timeout(SOON, TlsConnector::from(Arc::new(config)).connect(name, stream)).await.unwrap()
    }

    /// Connects and expects to be turned away: with TLS 1.3 a client learns that only when it reads.
    pub(super) async fn is_refused(&self, address: SocketAddr) -> bool {
        match self.connect(address).await {
            Err(_) => true,
            Ok(mut stream) => timeout(SOON, stream.read_u8()).await.unwrap().is_err(),
        }
    }
}
