//! Opening the sockets.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;

use super::unix::UnixDoor;
use super::{Counters, Incoming, ListenError, ListenSettings, Tls};

/// Open sockets that nobody is let in through yet.
#[derive(Debug)]
pub(crate) struct Listener {
    pub(super) tcp: Vec<TcpListener>,
    pub(super) unix: Option<UnixDoor>,
    pub(super) tls: Option<Tls>,
    pub(super) counters: Arc<Counters>,
}

impl Listener {
    /// Opens every socket, or none. `tokens` tells whether any identity has a token
    /// ([`Policy::has_tokens`](crate::access::Policy::has_tokens)).
    pub(crate) async fn bind(
        settings: &ListenSettings,
        tokens: bool,
    ) -> Result<Listener, ListenError> {
        if settings.addresses.is_empty() && settings.socket.is_none() {
            return Err(ListenError::Nowhere);
        }
        let tls = Listener::check(settings, tokens)?;
        let mut tcp = Vec::new();
        for &address in &settings.addresses {
            let listener = TcpListener::bind(address).await;
            tcp.push(listener.map_err(|source| ListenError::Tcp { address, source })?);
        }
        let unix = match &settings.socket {
            Some(path) => Some(UnixDoor::open(path, settings.socket_mode).await?),
            None => None,
        };
        Ok(Listener { tcp, unix, tls, counters: Arc::default() })
    }

    /// Finds what is wrong before anything is opened; gives the certificates.
    pub(crate) fn check(
        settings: &ListenSettings,
        tokens: bool,
    ) -> Result<Option<Tls>, ListenError> {
        check_plaintext(settings)?;
        Ok(settings.tls.as_ref().map(|tls| Tls::load(tls, tokens)).transpose()?)
    }

    /// The TCP addresses, with the ports that the system chose where 0 was given.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.tcp.iter().filter_map(|listener| listener.local_addr().ok()).collect()
    }

    /// The certificates in force, to be exchanged.
    pub(crate) fn tls(&self) -> Option<Tls> {
        self.tls.clone()
    }

    /// What became of connections.
    pub(crate) fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.counters)
    }

    /// Lets callers in. Within a tokio runtime.
    pub(crate) fn incoming(self) -> Incoming {
        Incoming::start(self)
    }
}

fn check_plaintext(settings: &ListenSettings) -> Result<(), ListenError> {
    if settings.tls.is_some() {
        return if settings.plaintext { Err(ListenError::PlaintextAndTls) } else { Ok(()) };
    }
    for address in &settings.addresses {
        if address.ip().to_canonical().is_loopback() {
            continue;
        }
        if !settings.plaintext {
            return Err(ListenError::Plaintext(*address));
        }
        tracing::warn!(
            %address,
            "other machines reach this address, and there is no TLS: whoever is on the way reads \
             tokens and packets along"
        );
    }
    Ok(())
}
