//! TLS as it is in force, exchanged as a whole.

use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::server::danger::ClientCertVerifier;
use tokio_rustls::rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{self, InconsistentKeys, RootCertStore, ServerConfig};

use super::{ClientCertificates, TlsError, TlsSettings, pem};

/// The certificates in force. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Tls {
    current: Arc<RwLock<Arc<ServerConfig>>>,
}

impl Tls {
    /// Reads the files. `tokens` tells whether any identity has a token
    /// ([`Policy::has_tokens`](crate::access::Policy::has_tokens)).
    pub(crate) fn load(settings: &TlsSettings, tokens: bool) -> Result<Tls, TlsError> {
        let config = configure(settings, tokens)?;
        Ok(Tls { current: Arc::new(RwLock::new(config)) })
    }

    /// Reads the files anew. Connections made from now on get what they hold; those that are open go
    /// on. On an error what was in force stays in force.
    pub(crate) fn reload(&self, settings: &TlsSettings, tokens: bool) -> Result<(), TlsError> {
        let config = configure(settings, tokens)?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = config;
        Ok(())
    }

    pub(super) fn current(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }
}

fn configure(settings: &TlsSettings, tokens: bool) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let chain = pem::certificates("certificate", &settings.certificate)?;
    let key = pem::key("key", &settings.key)?;
    let verifier = client_verifier(settings, tokens, &provider)?;
    let unusable = |source| match source {
        rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => TlsError::KeyDoesNotFit {
            certificate: settings.certificate.clone(),
            key: settings.key.clone(),
        },
        source => TlsError::Unusable {
            certificate: settings.certificate.clone(),
            key: settings.key.clone(),
            source,
        },
    };
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(unusable)?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .map_err(unusable)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    // No sessions are resumed: a resumed one would not look at the client's certificate again, and
    // so would outlive its expiry. gRPC keeps its connections, so there is little to gain.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

fn client_verifier(
    settings: &TlsSettings,
    tokens: bool,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let Some(path) = settings.client_ca.as_deref() else {
        return match settings.client_certificates {
            Some(ClientCertificates::Required) => Err(TlsError::NoAuthority),
            _ => Ok(WebPkiClientVerifier::no_client_auth()),
        };
    };
    let roots = Arc::new(authorities("client_ca", path)?);
    let builder = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(provider));
    let builder = match settings.client_certificates(tokens) {
        ClientCertificates::Required => builder,
        ClientCertificates::Optional => builder.allow_unauthenticated(),
    };
    builder.build().map_err(|cause| content("client_ca", path, cause.to_string()))
}

/// The authorities in a file, of which `what` says what it is for.
pub(crate) fn authorities(what: &'static str, path: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for (index, certificate) in pem::certificates(what, path)?.into_iter().enumerate() {
        roots.add(certificate).map_err(|cause| {
            content(what, path, format!("certificate {} in it cannot be used: {cause}", index + 1))
        })?;
    }
    Ok(roots)
}

fn content(what: &'static str, path: &Path, problem: String) -> TlsError {
    TlsError::Content { what, path: path.to_owned(), problem }
}
