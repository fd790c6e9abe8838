//! Letting callers in: a task for each socket, and one for each handshake.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_core::Stream;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::handshake::{HandshakeError, Handshakes, shake};
use super::unix::UnixDoor;
use super::{Connection, Counters, Listener, Tls};
use crate::access::Peer;

/// Connections that may wait to be served.
const WAITING_MAX: usize = 64;
/// How long to wait when nothing can be accepted, for want of descriptors or memory.
const PAUSE: Duration = Duration::from_millis(100);

/// Connections, as they come; it ends once it is closed ([`Closer`]). Dropped, it closes everything
/// that was not handed out.
#[derive(Debug)]
pub(crate) struct Incoming {
    connections: mpsc::Receiver<Connection>,
    close: Arc<watch::Sender<bool>>,
    _tasks: JoinSet<()>,
}

/// Closes the sockets, so that nobody new gets in while those who are in are served to their end.
#[derive(Clone, Debug)]
pub(crate) struct Closer(Arc<watch::Sender<bool>>);

impl Closer {
    /// Closes them.
    pub(crate) fn close(&self) {
        self.0.send_replace(true);
    }
}

impl Incoming {
    pub(super) fn start(listener: Listener) -> Incoming {
        let (sender, connections) = mpsc::channel(WAITING_MAX);
        let (close, closed) = watch::channel(false);
        let Listener { tcp, unix, tls, counters } = listener;
        let door = Door { sender, closed, counters };
        let handshakes = Handshakes::default();
        let mut tasks = JoinSet::new();
        for listener in tcp {
            match &tls {
                Some(tls) => {
                    tasks.spawn(accept_tls(listener, tls.clone(), handshakes.clone(), door.clone()))
                }
                None => tasks.spawn(accept_tcp(listener, door.clone())),
            };
        }
        if let Some(unix) = unix {
            tasks.spawn(accept_unix(unix, door));
        }
        Incoming { connections, close: Arc::new(close), _tasks: tasks }
    }

    /// What closes it, for when it is somebody else's.
    pub(crate) fn closer(&self) -> Closer {
        Closer(Arc::clone(&self.close))
    }

    /// The next connection.
    #[cfg(test)]
    pub(crate) async fn next(&mut self) -> Option<Connection> {
        std::future::poll_fn(|cx| self.connections.poll_recv(cx)).await
    }
}

impl Stream for Incoming {
    type Item = io::Result<Connection>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.connections.poll_recv(cx).map(|connection| connection.map(Ok))
    }
}

/// What an accepting task needs of the rest.
#[derive(Clone)]
struct Door {
    sender: mpsc::Sender<Connection>,
    closed: watch::Receiver<bool>,
    counters: Arc<Counters>,
}

impl Door {
    /// What was accepted; `None` when no more is wanted.
    async fn wait<T>(
        &mut self,
        accepting: impl Future<Output = io::Result<T>>,
    ) -> Option<Option<T>> {
        let accepted = tokio::select! {
            // An error means that nobody is left who could close it, nor serve it.
            _ = self.closed.wait_for(|closed| *closed) => return None,
            accepted = accepting => accepted,
        };
        match accepted {
            Ok(accepted) => Some(Some(accepted)),
            Err(error) => {
                self.pause_after(&error).await;
                Some(None)
            }
        }
    }

    /// Hands a connection over; `false` when nobody takes it any more.
    async fn pass(&self, connection: Connection) -> bool {
        let passed = self.sender.send(connection).await.is_ok();
        if passed {
            self.counters.count_accepted();
        }
        passed
    }

    async fn pause_after(&self, error: &io::Error) {
        use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
        if matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted) {
            tracing::debug!(%error, "a caller went before it was let in");
        } else {
            tracing::warn!(%error, "nobody can be let in; trying again");
            tokio::time::sleep(PAUSE).await;
        }
    }
}

async fn accept_unix(unix: UnixDoor, mut door: Door) {
    while let Some(accepted) = door.wait(unix.listener.accept()).await {
        let Some((stream, _)) = accepted else { continue };
        let connection = match Connection::unix(stream) {
            Ok(connection) => connection,
            Err(error) => {
                tracing::debug!(%error, "the kernel does not say who connected");
                continue;
            }
        };
        if !door.pass(connection).await {
            return;
        }
    }
}

async fn accept_tcp(listener: TcpListener, mut door: Door) {
    while let Some(accepted) = door.wait(listener.accept()).await {
        let Some((stream, address)) = accepted else { continue };
        answer_at_once(&stream);
        if !door.pass(Connection::tcp(stream, Peer::Tcp { address })).await {
            return;
        }
    }
}

async fn accept_tls(listener: TcpListener, tls: Tls, handshakes: Handshakes, mut door: Door) {
    let mut tasks = JoinSet::new();
    while let Some(accepted) = door.wait(listener.accept()).await {
        while tasks.try_join_next().is_some() {}
        let Some((stream, address)) = accepted else { continue };
        let Some(place) = handshakes.begin(address) else {
            door.counters.count_refused();
            tracing::debug!(%address, "too many handshakes are under way; closed");
            continue;
        };
        let (tls, door) = (tls.clone(), door.clone());
        tasks.spawn(async move {
            if let Some(connection) = handshake(&tls, stream, address, &door).await {
                door.pass(connection).await;
            }
            drop(place);
        });
    }
}

async fn handshake(
    tls: &Tls,
    stream: TcpStream,
    address: SocketAddr,
    door: &Door,
) -> Option<Connection> {
    answer_at_once(&stream);
    let cause = match shake(tls, stream, address).await {
        Ok(connection) => return Some(connection),
        Err(cause) => cause,
    };
    match cause {
        HandshakeError::TimedOut => door.counters.count_timed_out(),
        HandshakeError::Failed(_) | HandshakeError::Certificate(_) => door.counters.count_failed(),
    }
    tracing::debug!(%address, %cause, "the TLS handshake failed");
    None
}

/// Small answers are not held back to be joined. Where that cannot be had, they are only later.
fn answer_at_once(stream: &TcpStream) {
    stream.set_nodelay(true).ok();
}
