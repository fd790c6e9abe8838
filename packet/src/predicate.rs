//! What a flow must be to hold what a query asks for: the common language of pcap-filter
//! narrowing and metadata queries, evaluated on a split by `index` and on one flow by
//! [`Predicate::matches`], with equal results.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use crate::interface::LinkType;

/// A condition on a flow.
#[derive(Clone, Debug, PartialEq)]
pub enum Predicate {
    /// Every flow.
    All,
    /// No flow.
    None,
    /// Flows that satisfy every one; `And(vec![])` is `All`.
    And(Vec<Predicate>),
    /// Flows that satisfy at least one; `Or(vec![])` is `None`.
    Or(Vec<Predicate>),
    /// Flows that do not satisfy it. Never made from a pcap filter (there it would not be safe).
    Not(Box<Predicate>),
    /// Some address of some layer (or of ARP/RARP) lies in this network.
    Net(Net),
    /// Some port of some layer lies in this range.
    Port(RangeInclusive<u16>),
    /// Some path the flow's packets took passes this test.
    Path(PathTest),
    /// The flow carries a matching name.
    Name(NameTest),
    /// The flow's Community ID (version 1, seed 0) is this.
    CommunityId(String),
    /// A number of the flow lies in this range.
    Number(Number, RangeInclusive<u64>),
}

/// An IPv4 or IPv6 network: the first `prefix` bits of `address`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Net {
    /// Any address in it.
    pub address: IpAddr,
    /// Leading bits that count: 0 to 32, or 0 to 128.
    pub prefix: u8,
}

/// A test on a [`crate::flow::Path`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PathTest {
    /// The packets' link type.
    LinkType(LinkType),
    /// An EtherType seen at any layer (VLAN tags' own types included).
    EtherType(u16),
    /// An IP protocol or IPv6 next header seen at any layer, extension headers included.
    Protocol(u8),
    /// A VLAN id of any tag.
    Vlan(u16),
    /// A MAC address of either end, at any layer.
    Mac([u8; 6]),
    /// An MPLS label.
    Mpls(u32),
    /// A tunnel's id: VXLAN and GENEVE VNI, GTP TEID, GRE key, ERSPAN or PPPoE session id.
    TunnelId(u32),
    /// A tunnel of this kind.
    Tunnel(crate::flow::TunnelKind),
    /// Packets that could not be decoded cleanly; a pcap filter may see anything in them.
    Opaque,
}

/// A test on the names a flow carries.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NameTest {
    /// Which kinds of name count; empty means every kind.
    pub kinds: Vec<crate::names::NameKind>,
    /// What the name must be.
    pub pattern: NamePattern,
}

/// How a name must compare.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum NamePattern {
    /// There is one.
    Any,
    /// This domain or one below it (`example.com` finds `www.example.com`), case-insensitive.
    Domain(String),
    /// Exactly this name, case-insensitive.
    Exact(String),
}

/// The numbers a flow has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Number {
    /// Packets stored.
    Packets,
    /// Captured bytes stored.
    Bytes,
    /// Nanoseconds between first and last packet.
    DurationNanos,
}
