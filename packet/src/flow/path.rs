//! Paths: what surrounds a packet's addresses.

use zerocopy::{FromBytes, Immutable, KnownLayout};

use super::TunnelKind;
use crate::interface::LinkType;
use crate::predicate::PathTest;

/// Everything a packet shows around its addresses: link type, MAC addresses, EtherTypes, VLAN
/// tags, labels, protocols, tunnels. Both directions of a conversation usually share one.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Hash, FromBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Path([u8]);

/// One part of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathPart {
    /// The link type, always first.
    LinkType(LinkType),
    /// The MAC addresses of an Ethernet layer, smaller first.
    Macs([u8; 6], [u8; 6]),
    /// An EtherType; a VLAN tag's own among them.
    EtherType(u16),
    /// A VLAN tag's id.
    Vlan(u16),
    /// An MPLS label.
    Mpls(u32),
    /// An IP protocol or IPv6 next header.
    Protocol(u8),
    /// A tunnel and its id (0 when it has none).
    Tunnel(TunnelKind, u32),
    /// The packet could not be decoded cleanly: a filter may see anything in it.
    Opaque,
}

/// The tag bytes of [`Path`]'s parts.
pub(crate) struct PathTag;

impl PathTag {
    pub(crate) const LINK_TYPE: u8 = 1;
    pub(crate) const MACS: u8 = 2;
    pub(crate) const ETHER_TYPE: u8 = 3;
    pub(crate) const VLAN: u8 = 4;
    pub(crate) const MPLS: u8 = 5;
    pub(crate) const PROTOCOL: u8 = 6;
    pub(crate) const TUNNEL: u8 = 7;
    pub(crate) const OPAQUE: u8 = 8;
}

impl Path {
    /// Takes bytes that [`as_bytes`](Self::as_bytes) gave; any others are a path without parts
    /// from where they stop making sense.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> &Path {
        Path::ref_from_bytes(bytes).expect("any bytes are a path's")
    }

    /// The canonical form.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The parts, outermost first.
    pub fn parts(&self) -> impl Iterator<Item = PathPart> {
        let mut rest = &self.0;
        std::iter::from_fn(move || take_part(&mut rest))
    }

    /// Whether the path passes a test.
    #[must_use]
    pub fn test(&self, test: &PathTest) -> bool {
        self.parts().any(|part| match (test, part) {
            (PathTest::LinkType(wanted), PathPart::LinkType(found)) => *wanted == found,
            (PathTest::EtherType(wanted), PathPart::EtherType(found))
            | (PathTest::Vlan(wanted), PathPart::Vlan(found)) => *wanted == found,
            (PathTest::Protocol(wanted), PathPart::Protocol(found)) => *wanted == found,
            (PathTest::Mac(wanted), PathPart::Macs(a, b)) => *wanted == a || *wanted == b,
            (PathTest::Mpls(wanted), PathPart::Mpls(found)) => *wanted == found,
            (PathTest::TunnelId(wanted), PathPart::Tunnel(_, found)) => *wanted == found,
            (PathTest::Tunnel(wanted), PathPart::Tunnel(found, _)) => *wanted == found,
            (PathTest::Opaque, PathPart::Opaque) => true,
            _ => false,
        })
    }
}

fn take_part(rest: &mut &[u8]) -> Option<PathPart> {
    let (&tag, mut body) = rest.split_first()?;
    let part = match tag {
        PathTag::LINK_TYPE => PathPart::LinkType(LinkType(u16::from_be_bytes(take(&mut body)?))),
        PathTag::MACS => PathPart::Macs(take(&mut body)?, take(&mut body)?),
        PathTag::ETHER_TYPE => PathPart::EtherType(u16::from_be_bytes(take(&mut body)?)),
        PathTag::VLAN => PathPart::Vlan(u16::from_be_bytes(take(&mut body)?)),
        PathTag::MPLS => PathPart::Mpls(u32::from_be_bytes(take(&mut body)?)),
        PathTag::PROTOCOL => PathPart::Protocol(take::<1>(&mut body)?[0]),
        PathTag::TUNNEL => {
            let kind = TunnelKind::from_byte(take::<1>(&mut body)?[0])?;
            PathPart::Tunnel(kind, u32::from_be_bytes(take(&mut body)?))
        }
        PathTag::OPAQUE => PathPart::Opaque,
        _ => return None,
    };
    *rest = body;
    Some(part)
}

fn take<const N: usize>(body: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = body.split_first_chunk::<N>()?;
    *body = rest;
    Some(*taken)
}
