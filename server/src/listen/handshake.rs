//! TLS handshakes: beside the accepting, and bounded, since anyone can begin one and say no more.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::{Connection, Tls};
use crate::access::{CertificateError, ClientCertificate, Peer};

/// Longest that one may take.
pub(super) const TIMEOUT: Duration = Duration::from_secs(10);
/// Most that may be under way.
const TOTAL_MAX: usize = 512;
/// Most that may be under way with one host: what a silent one holds, others still have room.
const HOST_MAX: usize = 128;

/// Why a handshake failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum HandshakeError {
    #[error("it took longer than {} s", TIMEOUT.as_secs())]
    TimedOut,
    #[error("{0}")]
    Failed(#[from] io::Error),
    #[error(transparent)]
    Certificate(#[from] CertificateError),
}

/// Shakes hands.
pub(super) async fn shake(
    tls: &Tls,
    stream: TcpStream,
    address: SocketAddr,
) -> Result<Connection, HandshakeError> {
    let accepting = TlsAcceptor::from(tls.current()).accept(stream);
    let stream = timeout(TIMEOUT, accepting).await.map_err(|_| HandshakeError::TimedOut)??;
    let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let certificate = chain.first().map(|own| ClientCertificate::from_der(own)).transpose()?;
    let peer = Peer::Tls { address, certificate: certificate.map(Arc::new) };
    Ok(Connection::tls(stream, peer))
}

/// How many handshakes are under way, and with whom.
#[derive(Clone, Debug, Default)]
pub(super) struct Handshakes(Arc<Mutex<Underway>>);

#[derive(Debug, Default)]
struct Underway {
    total: usize,
    by_host: HashMap<IpAddr, usize>,
}

/// Room for one handshake, until dropped.
#[derive(Debug)]
pub(super) struct Place {
    handshakes: Handshakes,
    host: IpAddr,
}

impl Handshakes {
    /// Room for one more; `None` when there is none, in all or for this host.
    pub(super) fn begin(&self, address: SocketAddr) -> Option<Place> {
        let host = host(address.ip());
        let mut underway = self.lock();
        let of_host = underway.by_host.get(&host).copied().unwrap_or(0);
        if underway.total >= TOTAL_MAX || of_host >= HOST_MAX {
            return None;
        }
        underway.total += 1;
        underway.by_host.insert(host, of_host + 1);
        Some(Place { handshakes: self.clone(), host })
    }

    fn lock(&self) -> MutexGuard<'_, Underway> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut underway = self.handshakes.lock();
        underway.total -= 1;
        let left = underway.by_host.get_mut(&self.host).map_or(0, |of_host| {
            *of_host -= 1;
            *of_host
        });
        if left == 0 {
            underway.by_host.remove(&self.host);
        }
    }
}

/// What counts as one host: an IPv4 address, or the 64 bits of an IPv6 address that a network gives
/// to one customer's machine at least.
fn host(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from(u128::from(v6) >> 64 << 64)),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_host_cannot_take_all_the_room() {
        let handshakes = Handshakes::default();
        let at = |text: &str| -> SocketAddr { text.parse().unwrap() };
        let mut places: Vec<Place> =
            std::iter::from_fn(|| handshakes.begin(at("192.0.2.1:1"))).collect();
        assert_eq!(places.len(), HOST_MAX);
        assert!(handshakes.begin(at("[::ffff:192.0.2.1]:2")).is_none());
        let own = handshakes.begin(at("[2001:db8::1]:1")).unwrap();
        assert_eq!(own.host, host("2001:db8::2".parse().unwrap()));
        places.pop();
        places.extend(handshakes.begin(at("192.0.2.1:3")));
        assert_eq!(places.len(), HOST_MAX);

        let others =
            (0..).map_while(|n| handshakes.begin(at(&format!("198.51.100.{}:1", n % 200))));
        let others: Vec<Place> = others.collect();
        assert_eq!(others.len(), TOTAL_MAX - HOST_MAX - 1);
        drop((places, own, others));
        let underway = handshakes.lock();
        assert_eq!((underway.total, underway.by_host.len()), (0, 0));
    }
}
