//! Which conversation a packet is part of, and over which path it came.
//!
//! A [`FlowKey`] and a [`Path`] are built by [`crate::decode::Decoder`] for every packet, so both
//! are plain byte strings in a canonical form: comparing and hashing them is a `memcmp`, and they
//! are stored as they are. What they mean is read back by [`FlowKey::parts`] and [`Path::parts`],
//! which make sense of any bytes at all.
//!
//! Both are lists of parts: a tag byte, then as many bytes as the tag says, numbers big-endian.

mod key;
mod path;

pub use key::{Endpoint, FlowKey, KeyPart, Layer};
pub(crate) use key::{KeyTag, icmp_counterpart};
pub(crate) use path::PathTag;
pub use path::{Path, PathPart};

/// The most address layers (outer header, tunnelled header, ...) a flow key tells apart; what is
/// nested deeper belongs to the flow of what carries it.
pub const LAYERS_MAX: usize = 4;

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

impl TunnelKind {
    /// Every kind, with the word for it in queries.
    pub const ALL: [(TunnelKind, &'static str); 9] = [
        (TunnelKind::Gre, "gre"),
        (TunnelKind::Erspan, "erspan"),
        (TunnelKind::IpInIp, "ipip"),
        (TunnelKind::Vxlan, "vxlan"),
        (TunnelKind::Geneve, "geneve"),
        (TunnelKind::Gtp, "gtp"),
        (TunnelKind::Teredo, "teredo"),
        (TunnelKind::Pppoe, "pppoe"),
        (TunnelKind::MplsEthernet, "mpls"),
    ];

    fn from_byte(byte: u8) -> Option<TunnelKind> {
        Self::ALL.into_iter().map(|(kind, _)| kind).find(|kind| *kind as u8 == byte)
    }
}
