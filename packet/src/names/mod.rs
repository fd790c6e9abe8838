//! Host names that conversations carry: DNS, TLS, HTTP, QUIC.
//!
//! A shard keeps a [`NameState`] for each flow that may still say something, and feeds it the
//! payload of each packet. What it finds is added to [`Findings`]. All of it is the sender's word:
//! every length, count and buffer is bounded.

mod dns;
mod fragments;
mod http;
mod quic;
mod stream;
mod tls;

use std::net::IpAddr;

pub use fragments::FragmentJoiner;
use stream::Stream;

use crate::decode::Transport;

/// Where a name was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum NameKind {
    /// A DNS question or an answer's owner (mDNS and LLMNR too).
    Dns = 1,
    /// TLS Server Name Indication, also in QUIC.
    Sni = 2,
    /// A protocol offered by ALPN.
    Alpn = 3,
    /// HTTP/1 Host.
    Http = 4,
}

impl NameKind {
    /// Every kind, with the word for it in queries.
    pub const ALL: [(NameKind, &'static str); 4] = [
        (NameKind::Dns, "dns"),
        (NameKind::Sni, "sni"),
        (NameKind::Alpn, "alpn"),
        (NameKind::Http, "http"),
    ];
}

/// One name a flow carries. Names are bytes from the wire: ASCII is lower-cased, everything else
/// is kept and escaped at output.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name {
    /// Where it was seen.
    pub kind: NameKind,
    /// The name: no trailing dot; the DNS root is the empty name.
    pub name: Vec<u8>,
}

/// An address that DNS gave for a name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Answer {
    /// The name that was asked for, or an alias on the way to the address.
    pub name: Vec<u8>,
    /// The address.
    pub address: IpAddr,
}

/// What was found, until the caller takes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Names, as often as they were seen.
    pub names: Vec<Name>,
    /// DNS answers.
    pub answers: Vec<Answer>,
}

/// What one flow has said so far, and what it may still say.
#[derive(Debug, Default)]
pub struct NameState {
    streams: [Stream; 2],
    quic: Option<Box<quic::Connection>>,
    /// Datagrams that were nothing known.
    misses: u8,
    done: bool,
}

/// Datagrams or segments without anything known in them after which a flow is left alone.
const MISSES_MAX: u8 = 5;

impl NameState {
    /// Looks at the payload of one packet. `from_first_end` is its direction.
    pub fn feed(&mut self, transport: &Transport<'_>, from_first_end: bool, found: &mut Findings) {
        match transport.protocol {
            6 => {
                let Some(header) = transport.tcp else { return };
                let port = transport.source_port.min(transport.destination_port);
                let dns = port == 53 || transport.source_port == 53;
                let dns = dns || transport.destination_port == 53;
                let stream = &mut self.streams[usize::from(!from_first_end)];
                stream.segment(header, transport.payload, dns, found);
                let [there, back] = &self.streams;
                // Whoever has said a server's name has said what there is to say.
                let told = there.has_told() || back.has_told();
                let silent = there.misses().saturating_add(back.misses()) >= MISSES_MAX;
                self.done = !dns && (told || silent);
            }
            17 => self.datagram(transport, found),
            _ => http::sctp(transport.payload, found),
        }
    }

    /// Whether nothing more will be looked for: the flow need not be fed again.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.done
    }

    /// Bytes held of incomplete messages.
    #[must_use]
    pub fn buffered(&self) -> usize {
        let quic = self.quic.as_ref().map_or(0, |connection| connection.buffered());
        self.streams.iter().map(Stream::buffered).sum::<usize>() + quic
    }

    /// Gives up what is incomplete, to free its memory.
    pub fn forget(&mut self) {
        *self = NameState { done: true, ..NameState::default() };
    }

    fn datagram(&mut self, transport: &Transport<'_>, found: &mut Findings) {
        const DNS_PORTS: [u16; 3] = [53, 5353, 5355];
        let (source, destination) = (transport.source_port, transport.destination_port);
        let expected = DNS_PORTS.contains(&source) || DNS_PORTS.contains(&destination);
        if dns::message(transport.payload, expected, found) || expected {
            self.misses = 0;
            return;
        }
        if http::starts(transport.payload) {
            // SSDP and the like are HTTP in single datagrams.
            http::request(transport.payload, found);
            return;
        }
        match quic::initial(transport.payload, &mut self.quic, found) {
            quic::Outcome::Complete => self.done = true,
            quic::Outcome::More => {}
            quic::Outcome::NotQuic => {
                self.misses = self.misses.saturating_add(1);
                self.done = self.misses >= MISSES_MAX;
            }
        }
    }
}

impl Findings {
    /// Empties the lists and keeps their memory.
    pub fn clear(&mut self) {
        self.names.clear();
        self.answers.clear();
    }

    fn add(&mut self, kind: NameKind, name: &[u8]) {
        self.names.push(Name { kind, name: name.to_ascii_lowercase() });
    }
}

/// A name as it is shown: printable ASCII as it is, a backslash as two, every other byte as a
/// backslash and three octal digits.
#[must_use]
pub fn display(name: &[u8]) -> String {
    let mut text = String::with_capacity(name.len());
    for &byte in name {
        match byte {
            b'\\' => text.push_str("\\\\"),
            0x21..=0x7e => text.push(char::from(byte)),
            _ => text.push_str(&format!("\\{byte:03o}")),
        }
    }
    text
}

/// A name with its labels in reverse order, each followed by a zero byte: `www.example.com` is
/// `com\0example\0www\0`. A domain's form is a prefix of the form of everything below it and of
/// nothing else.
#[must_use]
pub fn reversed_labels(name: &[u8]) -> Vec<u8> {
    let mut reversed = Vec::with_capacity(name.len() + 1);
    if !name.is_empty() {
        for label in name.rsplit(|&byte| byte == b'.') {
            reversed.extend_from_slice(label);
            reversed.push(0);
        }
    }
    reversed
}

#[cfg(test)]
mod tests;
