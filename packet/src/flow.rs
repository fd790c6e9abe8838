//! Which conversation a packet is part of, and over which path it came.
//!
//! A [`FlowKey`] and a [`Path`] are built by [`crate::decode::Decoder`] for every packet, so both
//! are plain byte strings in a canonical form: comparing and hashing them is a `memcmp`, and they
//! are stored as they are. What they mean is read back by [`FlowKey::layers`] and
//! [`Path::parts`].

use std::net::IpAddr;

/// The most address layers (outer header, tunnelled header, ...) a flow key tells apart.
pub const LAYERS_MAX: usize = 4;

/// One network layer of a flow, endpoints in canonical order (not in the order of any packet).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Layer {
    /// The two ends: the smaller (address, port) first.
    pub ends: [Endpoint; 2],
    /// IP protocol (the last next-header for IPv6); `None` for ARP and RARP.
    pub protocol: Option<u8>,
}

/// An address and, where the transport has them and the packet shows them, its port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    /// IPv4 or IPv6 address.
    pub address: IpAddr,
    /// TCP, UDP or SCTP port; ICMP echo identifiers are not ports.
    pub port: Option<u16>,
}

/// How packets are carried inside others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum TunnelKind {
    /// GRE (RFC 2784, 2890; PPTP's version 1 too).
    Gre = 1,
    /// ERSPAN types I to III inside GRE.
    Erspan = 2,
    /// IPv4 or IPv6 directly in IP (IP-in-IP, 6in4, 4in6).
    IpInIp = 3,
    /// VXLAN.
    Vxlan = 4,
    /// GENEVE.
    Geneve = 5,
    /// GTP-U.
    Gtp = 6,
    /// Teredo.
    Teredo = 7,
    /// PPPoE session.
    Pppoe = 8,
    /// Ethernet over MPLS.
    MplsEthernet = 9,
}
