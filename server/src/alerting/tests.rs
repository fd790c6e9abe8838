//! Posting through TLS, on loopback, and what comes of nobody who takes anything.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};
use serde_json::json;
use tapstone::effects::Urgency;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;

use super::alert::{Alert, Turn};
use super::deliver::deliver;
use super::webhook::{PostError, Webhook};

/// An authority, and a file with its certificate.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    file: PathBuf,
}

impl Authority {
    fn new(folder: &Path, name: &str) -> Authority {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let file = folder.join(name);
        std::fs::write(&file, issuer.pem()).unwrap();
        Authority { issuer, file }
    }

    /// What answers with a certificate for 127.0.0.1.
    fn acceptor(&self) -> TlsAcceptor {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![SanType::IpAddress([127, 0, 0, 1].into())];
        let certificate = params.signed_by(&key, &self.issuer).unwrap().der().clone();
        let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }
}

#[tokio::test]
async fn whoever_takes_alerts_through_tls_must_be_vouched_for() {
    let dir = tempfile::tempdir().unwrap();
    let [known, other] = ["known", "other"].map(|name| Authority::new(dir.path(), name));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("https://{}/x", listener.local_addr().unwrap());
    let acceptor = known.acceptor();
    let served = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut request = vec![0; 4096];
            let length = stream.read(&mut request).await.unwrap();
            stream.write_all(b"HTTP/1.1 202 So\r\nContent-Length: 0\r\n\r\n").await.unwrap();
            stream.shutdown().await.ok();
            request.truncate(length);
            return String::from_utf8(request).unwrap();
        }
    });
    let refused = Webhook::new(&address, Some(&other.file)).unwrap().post("{}".to_owned()).await;
    assert!(matches!(refused, Err(PostError::Connect(_))), "{refused:?}");
    Webhook::new(&address, Some(&known.file)).unwrap().post("{}".to_owned()).await.unwrap();
    let request = served.await.unwrap();
    assert!(request.starts_with("POST /x HTTP/1.1\r\n"), "{request}");
}

/// Time passes at once.
#[tokio::test(start_paused = true)]
async fn an_alert_that_nobody_takes_is_given_up_after_a_while_and_the_next_is_tried() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    let webhook = Webhook::new(&address, None).unwrap();
    let (queue, alerts) = mpsc::channel(2);
    for turn in [Turn::Raised, Turn::Ended] {
        let alert = Alert { turn, urgency: Urgency::Notice, body: json!({}) };
        queue.try_send(alert).unwrap();
    }
    drop(queue);
    let (waiting, began) = (Arc::new(AtomicUsize::new(2)), tokio::time::Instant::now());
    deliver(webhook, alerts, Arc::clone(&waiting)).await;
    assert_eq!(waiting.load(Ordering::Relaxed), 0);
    // Pauses of 1, 2, 4, 8 and 16 s, and what six attempts take.
    let took = began.elapsed() / 2;
    assert!((Duration::from_secs(31)..Duration::from_secs(62)).contains(&took), "{took:?}");
}
