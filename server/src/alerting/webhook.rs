//! Where alerts are sent: one POST over HTTP/1.1 each.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::header::{CONTENT_TYPE, HOST, USER_AGENT};
use http::uri::Scheme;
use http::{Request, StatusCode, Uri};
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{InvalidDnsNameError, ServerName};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore};

use crate::listen::{TlsError, authorities};

/// One that has not answered after so long does not answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why alerts cannot be sent there. Of an address only scheme, host and port are told: what is behind
/// them is often a secret.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WebhookError {
    /// The address is none.
    #[error("state.webhook: {0}; give https://HOST/PATH, or http://HOST:PORT/PATH")]
    Address(String),
    /// An authority for nothing.
    #[error("state.webhook_ca is set, and state.webhook is no https:// address; leave it out")]
    NoTls,
    /// The authorities cannot be used.
    #[error("state.webhook_ca: {0}")]
    Authorities(#[from] TlsError),
    /// The system knows none.
    #[error(
        "state.webhook: this system has no certificates of authorities to believe ({0}); install \
         them (ca-certificates), or name a file of them as state.webhook_ca"
    )]
    NobodyToBelieve(String),
    /// The host's name cannot be in a certificate.
    #[error("state.webhook: no certificate can be for {host}: {source}")]
    Name {
        /// The host.
        host: String,
        /// Why.
        source: InvalidDnsNameError,
    },
    /// TLS cannot be set up.
    #[error("state.webhook: {0}")]
    Tls(#[from] rustls::Error),
}

/// Why an alert was not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum PostError {
    #[error("it cannot be reached: {0}")]
    Connect(io::Error),
    #[error("it did not answer within {PATIENCE:?}")]
    Silent,
    #[error("it does not speak HTTP: {0}")]
    Http(#[from] hyper::Error),
    #[error("it answered {0}")]
    Answered(StatusCode),
}

/// Where alerts are sent.
#[derive(Clone)]
pub(crate) struct Webhook {
    uri: Uri,
    host: String,
    port: u16,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

impl Webhook {
    /// An address, and a file of the authorities that are believed there; the system's where there is
    /// none.
    ///
    /// # Errors
    ///
    /// What is wrong with either.
    pub(crate) fn new(address: &str, ca: Option<&Path>) -> Result<Webhook, WebhookError> {
        let wrong = |problem: &str| WebhookError::Address(problem.to_owned());
        let uri: Uri = address.parse().map_err(|error| wrong(&format!("{error}")))?;
        let authority = uri.authority().ok_or_else(|| wrong("there is no host in it"))?;
        if authority.as_str().contains('@') {
            return Err(wrong("a user's name and password in it are not sent"));
        }
        let is_tls = uri.scheme() == Some(&Scheme::HTTPS);
        if !is_tls && uri.scheme() != Some(&Scheme::HTTP) {
            return Err(wrong("it is neither https nor http"));
        }
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        let port = authority.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let tls = match is_tls {
            true => {
                let name = ServerName::try_from(host.clone());
                let name =
                    name.map_err(|source| WebhookError::Name { host: host.clone(), source })?;
                Some((connector(ca)?, name))
            }
            false if ca.is_some() => return Err(WebhookError::NoTls),
            false => None,
        };
        Ok(Webhook { uri, host, port, tls })
    }

    /// Scheme, host and port.
    pub(super) fn origin(&self) -> String {
        let authority = self.uri.authority().expect("it was looked at above");
        format!("{}://{authority}", self.uri.scheme_str().unwrap_or("http"))
    }

    /// Sends JSON; returns when it was taken.
    pub(super) async fn post(&self, body: String) -> Result<(), PostError> {
        let posted = tokio::time::timeout(PATIENCE, self.connect_and_ask(body)).await;
        match posted.unwrap_or(Err(PostError::Silent))? {
            status if status.is_success() => Ok(()),
            status => Err(PostError::Answered(status)),
        }
    }

    async fn connect_and_ask(&self, body: String) -> Result<StatusCode, PostError> {
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await;
        let stream = stream.map_err(PostError::Connect)?;
        match &self.tls {
            None => self.ask(stream, body).await,
            Some((connector, name)) => {
                let stream = connector.connect(name.clone(), stream).await;
                self.ask(stream.map_err(PostError::Connect)?, body).await
            }
        }
    }

    async fn ask(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        body: String,
    ) -> Result<StatusCode, PostError> {
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let answer = sender.send_request(self.request(body));
        tokio::pin!(answer, connection);
        // The connection may be over as soon as the answer is there.
        let answer = tokio::select! {
            biased;
            answer = &mut answer => answer,
            _ = &mut connection => answer.await,
        };
        Ok(answer?.status())
    }

    fn request(&self, body: String) -> Request<Full<bytes::Bytes>> {
        let path = self.uri.path_and_query().map_or("/", |path| path.as_str());
        let authority = self.uri.authority().expect("it was looked at when this was made");
        Request::post(path)
            .header(HOST, authority.as_str())
            .header(USER_AGENT, concat!("tapstone/", env!("CARGO_PKG_VERSION")))
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(body.into()))
            .expect("each part of it is of an address, or written above")
    }
}

/// What speaks TLS to those that the authorities vouch for.
fn connector(ca: Option<&Path>) -> Result<TlsConnector, WebhookError> {
    let roots = match ca {
        Some(path) => authorities("webhook_ca", path)?,
        None => system_authorities()?,
    };
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&TLS13, &TLS12])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

fn system_authorities() -> Result<RootCertStore, WebhookError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // A system may have some that are not understood here.
    let (known, _) = roots.add_parsable_certificates(found.certs);
    if known == 0 {
        let errors: Vec<String> = found.errors.iter().map(ToString::to_string).collect();
        return Err(WebhookError::NobodyToBelieve(errors.join("; ")));
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn an_address_is_understood_and_its_secret_is_not_told() {
        for (address, host, port, origin) in [
            ("http://127.0.0.1:8080/a?b=c", "127.0.0.1", 8080, "http://127.0.0.1:8080"),
            ("http://[::1]/x", "::1", 80, "http://[::1]"),
            ("http://alerts.example", "alerts.example", 80, "http://alerts.example"),
        ] {
            let webhook = Webhook::new(address, None).unwrap();
            assert_eq!((webhook.host.as_str(), webhook.port), (host, port));
            assert_eq!(webhook.origin(), origin);
        }
        let request = Webhook::new("http://h:1/a?b=c", None).unwrap().request("{}".to_owned());
        assert_eq!(
            (request.uri().to_string(), &request.headers()[HOST]),
            ("/a?b=c".to_owned(), &HeaderValue::from_static("h:1"))
        );
    }

    #[test]
    fn what_is_no_address_is_refused_without_telling_its_secret() {
        for (address, reason) in [
            ("", "state.webhook: "),
            ("/secret", "no host"),
            ("alerts.example/secret", "state.webhook: "),
            ("ftp://alerts.example/secret", "neither https nor http"),
            ("http://user:secret@alerts.example/", "not sent"),
        ] {
            let Err(error) = Webhook::new(address, None) else { panic!("{address}") };
            let error = error.to_string();
            assert!(error.contains(reason) && !error.contains("secret"), "{error}");
        }
        let path = Path::new("/none/ca.pem");
        let Err(error) = Webhook::new("http://h/", Some(path)) else { panic!() };
        assert!(matches!(error, WebhookError::NoTls));
        let Err(error) = Webhook::new("https://h/", Some(path)) else { panic!() };
        assert!(error.to_string().contains("webhook_ca /none/ca.pem"), "{error}");
    }

    #[tokio::test]
    async fn nobody_who_listens_is_told_of() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}/", listener.local_addr().unwrap());
        drop(listener);
        let error = Webhook::new(&address, None).unwrap().post("{}".to_owned()).await.unwrap_err();
        assert!(matches!(error, PostError::Connect(_)), "{error}");
    }
}
