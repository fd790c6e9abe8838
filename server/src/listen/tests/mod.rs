//! Connecting, on loopback.

mod pki;
mod sockets;
mod tls_files;
mod tls_handshakes;
mod unix_socket;

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;
use tonic::transport::server::Connected;

use super::{Connection, Incoming, ListenError, ListenSettings, Listener, TlsError, TlsSettings};
use crate::access::Peer;

/// Much longer than anything here takes, and short of the ten seconds of a handshake.
const SOON: Duration = Duration::from_secs(5);

fn loopback() -> Vec<SocketAddr> {
    vec![([127, 0, 0, 1], 0).into()]
}

/// The next connection, and who it is from.
async fn next(incoming: &mut Incoming) -> (Connection, Peer) {
    let connection = timeout(SOON, incoming.next()).await.unwrap().unwrap();
    let peer = connection.connect_info();
    (connection, peer)
}

/// Sends bytes both ways.
async fn talk(
    client: &mut (impl AsyncReadExt + AsyncWriteExt + Unpin),
    server: &mut (impl AsyncReadExt + AsyncWriteExt + Unpin),
) {
    let mut bytes = [0; 4];
    client.write_all(b"ping").await.unwrap();
    client.flush().await.unwrap();
    server.read_exact(&mut bytes).await.unwrap();
    assert_eq!(&bytes, b"ping");
    server.write_all(b"pong").await.unwrap();
    server.flush().await.unwrap();
    client.read_exact(&mut bytes).await.unwrap();
    assert_eq!(&bytes, b"pong");
}
