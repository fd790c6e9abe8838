//! Sockets: where callers connect, and how each connection says who is at its other end.
//!
//! [`Listener::bind`] opens everything or says why not; [`Listener::incoming`] is the stream of
//! [`Connection`]s that tonic serves. A TLS handshake never holds up another caller: handshakes run
//! beside the accepting, bounded in number and time. [`Tls::reload`] exchanges certificates under
//! way.

mod connection;
mod counters;
mod error;
mod handshake;
mod incoming;
mod listener;
mod pem;
mod settings;
#[cfg(test)]
mod tests;
mod tls;
mod unix;

pub(crate) use connection::Connection;
pub(crate) use counters::Counters;
pub(crate) use error::{ListenError, TlsError};
pub(crate) use incoming::Incoming;
pub(crate) use listener::Listener;
pub(crate) use settings::{ClientCertificates, ListenSettings, TlsSettings};
pub(crate) use tls::{Tls, authorities};
