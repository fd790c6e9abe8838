//! Bytes to headers, from the link layer to the innermost transport.
//!
//! The result is a [`FlowKey`] and a [`Path`] in the decoder's own buffers, and where the
//! transport's payload is. Decoding never fails and never decides what is stored.
//!
//! One rule carries the index: **for a packet that is not opaque, whatever libpcap's compiled
//! filters read at their places is in key or path.** Filters read addresses, protocols and ports
//! from the captured bytes and believe no length field, so this does too; lengths only bound the
//! payload. Where a filter would read something from a packet that makes no sense here (another
//! version nibble, a header cut in the middle), the packet is opaque, and always a candidate.
//! What is inside tunnels is added; failing to make sense of an inside is no harm.

mod cooked;
mod ethernet;
mod ip;
mod keys;
mod ppp;
mod transport;
mod tunnel;
mod wifi;

#[cfg(test)]
mod tests;

use crate::flow::{FlowKey, LAYERS_MAX, Path, PathTag, TunnelKind};
use crate::interface::{ByteOrder, LinkType};

/// Layers of any kind (tags, labels, extension headers, tunnels) that are followed.
const STEPS_MAX: usize = 40;
const PATH_LEN_MAX: usize = 192;

/// What a packet is, beside the key and path that the decoder holds.
#[derive(Debug, Default)]
pub struct Decoded<'p> {
    /// Whether the innermost sender is the first end of the flow key.
    pub from_first_end: bool,
    /// The innermost transport, when its ports are there.
    pub transport: Option<Transport<'p>>,
    /// The outermost fragment, when the packet is one.
    pub fragment: Option<Fragment<'p>>,
    /// Whether it could not be decoded cleanly.
    pub opaque: bool,
}

/// A transport header that was reached, and what it carries.
#[derive(Clone, Copy, Debug)]
pub struct Transport<'p> {
    /// IP protocol: 6 (TCP), 17 (UDP) or 132 (SCTP).
    pub protocol: u8,
    /// Port of the sender.
    pub source_port: u16,
    /// Port of the receiver.
    pub destination_port: u16,
    /// What a TCP header says besides; `None` for the others, and when the header is cut.
    pub tcp: Option<TcpHeader>,
    /// Captured payload, without what the IP length excludes.
    pub payload: &'p [u8],
}

/// The fields of a TCP header that reassembly needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpHeader {
    /// Sequence number of the first payload byte (of the SYN, where it is set).
    pub sequence: u32,
    /// The SYN flag.
    pub syn: bool,
    /// The FIN or RST flag.
    pub closing: bool,
    /// All eight flags, as in the header: CWR is the highest bit, FIN the lowest.
    pub flags: u8,
}

/// One piece of an IP datagram.
#[derive(Clone, Copy, Debug)]
pub struct Fragment<'p> {
    /// Which datagram.
    pub datagram: DatagramId,
    /// Where the piece begins in the datagram's payload, in bytes.
    pub offset: u32,
    /// Whether more follow.
    pub more: bool,
    /// The piece.
    pub payload: &'p [u8],
}

/// What identifies the fragments of one datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DatagramId {
    source: [u8; 16],
    destination: [u8; 16],
    protocol: u8,
    identification: u32,
}

/// Decodes packets, one at a time, without allocating.
#[derive(Debug)]
pub struct Decoder {
    key: keys::KeyBuffer,
    path: [u8; PATH_LEN_MAX],
    path_len: usize,
    layers: [keys::RawLayer; LAYERS_MAX],
    layer_count: usize,
    /// Tunnels entered so far: what is wrong inside one is not held against the packet.
    tunnels: usize,
    /// Inside a packet that an ICMP error quotes.
    quoted: bool,
    opaque: bool,
}

/// What comes next in a packet.
#[derive(Clone, Copy, Debug)]
enum Next {
    Link(LinkType),
    EtherType(u16),
    Llc,
    /// IPv4 or IPv6, told apart by the version nibble.
    Ip,
    Ppp,
    Protocol(u8),
    Wifi,
    Tunnel(TunnelKind),
    Done,
    /// A filter may see what cannot be told here.
    Opaque,
}

/// A packet on its way through the layers.
struct Walk<'p> {
    /// From the current layer on.
    rest: &'p [u8],
    /// Bytes of `rest` that the innermost IP length vouches for.
    bounded: usize,
    byte_order: ByteOrder,
    decoded: Decoded<'p>,
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Decoder {
    /// A decoder; keep it, its buffers are reused.
    #[must_use]
    pub fn new() -> Self {
        Decoder {
            key: keys::KeyBuffer::default(),
            path: [0; PATH_LEN_MAX],
            path_len: 0,
            layers: [keys::RawLayer::default(); LAYERS_MAX],
            layer_count: 0,
            tunnels: 0,
            quoted: false,
            opaque: false,
        }
    }

    /// Decodes the captured bytes of a packet.
    pub fn decode<'p>(
        &mut self,
        link_type: LinkType,
        byte_order: ByteOrder,
        data: &'p [u8],
    ) -> Decoded<'p> {
        self.key.clear();
        self.path_len = 0;
        self.layer_count = 0;
        self.tunnels = 0;
        self.quoted = false;
        self.opaque = false;
        self.push_path(PathTag::LINK_TYPE, &link_type.0.to_be_bytes());
        let mut walk =
            Walk { rest: data, bounded: data.len(), byte_order, decoded: Decoded::default() };
        let end = self.follow(Next::Link(link_type), &mut walk);
        if !matches!(end, Next::Done) && self.tunnels == 0 {
            self.opaque = true;
        }
        if self.opaque {
            self.push_path(PathTag::OPAQUE, &[]);
        }
        walk.decoded.opaque = self.opaque;
        walk.decoded.from_first_end =
            self.key.finish(&self.layers[..self.layer_count], link_type, self.opaque);
        walk.decoded
    }

    /// Goes on behind the headers of the fragment that was decoded last, with its datagram put
    /// together: key and path become those of the whole packet.
    pub fn reassembled<'p>(
        &mut self,
        link_type: LinkType,
        datagram: &DatagramId,
        payload: &'p [u8],
    ) -> Decoded<'p> {
        self.key.unfinish();
        if let Some(last) = self.layers[..self.layer_count].last_mut() {
            last.extra = keys::Extra::None;
        }
        let (bounded, byte_order) = (payload.len(), ByteOrder::Big);
        let decoded = Decoded::default();
        let mut walk = Walk { rest: payload, bounded, byte_order, decoded };
        self.follow(Next::Protocol(datagram.protocol), &mut walk);
        walk.decoded.from_first_end =
            self.key.finish(&self.layers[..self.layer_count], link_type, self.opaque);
        walk.decoded
    }

    /// The flow key of the packet decoded last.
    #[must_use]
    pub fn key(&self) -> &FlowKey {
        FlowKey::from_bytes(self.key.as_bytes())
    }

    /// The path of the packet decoded last.
    #[must_use]
    pub fn path(&self) -> &Path {
        Path::from_bytes(&self.path[..self.path_len])
    }

    /// Goes through the layers until there is nothing more to tell.
    fn follow(&mut self, mut next: Next, walk: &mut Walk<'_>) -> Next {
        for _ in 0..STEPS_MAX {
            next = match next {
                Next::Link(link_type) => self.link(link_type, walk),
                Next::EtherType(ether_type) => self.ether_type(ether_type, walk),
                Next::Llc => self.llc(walk),
                Next::Ip => self.ip(walk),
                Next::Ppp => self.ppp(walk),
                Next::Protocol(protocol) => self.protocol(protocol, walk),
                Next::Wifi => self.wifi(walk),
                Next::Tunnel(kind) => self.tunnel(kind, walk),
                Next::Done | Next::Opaque => break,
            };
        }
        next
    }

    fn push_path(&mut self, tag: u8, value: &[u8]) {
        // Room for the opaque mark is kept: a path that does not fit must say so.
        let room = if tag == PathTag::OPAQUE { PATH_LEN_MAX } else { PATH_LEN_MAX - 1 };
        let end = self.path_len + 1 + value.len();
        if end > room {
            self.opaque = true;
            return;
        }
        self.path[self.path_len] = tag;
        self.path[self.path_len + 1..end].copy_from_slice(value);
        self.path_len = end;
    }

    fn enter_tunnel(&mut self, kind: TunnelKind, id: u32) {
        self.tunnels += 1;
        let mut value = [kind as u8; 5];
        value[1..].copy_from_slice(&id.to_be_bytes());
        self.push_path(PathTag::TUNNEL, &value);
    }
}

impl<'p> Walk<'p> {
    /// Goes on behind `length` bytes of the current layer; `None` when there are not as many.
    fn advance(&mut self, length: usize) -> Option<&'p [u8]> {
        let (passed, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        self.bounded = self.bounded.saturating_sub(length);
        Some(passed)
    }

    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.advance(N)?.first_chunk().copied()
    }
}
