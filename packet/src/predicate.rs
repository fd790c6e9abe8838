//! What a flow must be to hold what a query asks for: the common language of pcap-filter
//! narrowing and metadata queries, evaluated on a split by `index` and on one flow by
//! [`Predicate::matches`], with equal results.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use crate::flow::{FlowKey, Path};
use crate::interface::LinkType;
use crate::names::Name;

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

/// What a predicate can see of one flow.
#[derive(Clone, Copy, Debug)]
pub struct FlowView<'a> {
    /// Its key.
    pub key: &'a FlowKey,
    /// The paths that its packets took.
    pub paths: &'a [&'a Path],
    /// Ports beyond the key's: of the datagrams that later fragments belong to.
    pub extra_ports: &'a [u16],
    /// The names it carries.
    pub names: &'a [Name],
    /// Packets stored.
    pub packets: u64,
    /// Captured bytes stored.
    pub bytes: u64,
    /// Nanoseconds between first and last packet.
    pub duration_nanos: u64,
}

impl Predicate {
    /// Whether a flow satisfies the condition.
    #[must_use]
    pub fn matches(&self, flow: &FlowView<'_>) -> bool {
        match self {
            Predicate::All => true,
            Predicate::None => false,
            Predicate::And(parts) => parts.iter().all(|part| part.matches(flow)),
            Predicate::Or(parts) => parts.iter().any(|part| part.matches(flow)),
            Predicate::Not(part) => !part.matches(flow),
            Predicate::Net(net) => flow.key.addresses().any(|address| net.contains(address)),
            Predicate::Port(range) => flow
                .key
                .ports()
                .chain(flow.extra_ports.iter().copied())
                .any(|it| range.contains(&it)),
            Predicate::Path(test) => flow.paths.iter().any(|path| path.test(test)),
            Predicate::Name(test) => flow.names.iter().any(|name| test.matches(name)),
            Predicate::CommunityId(id) => flow.key.community_id().is_some_and(|found| found == *id),
            Predicate::Number(number, range) => range.contains(&match number {
                Number::Packets => flow.packets,
                Number::Bytes => flow.bytes,
                Number::DurationNanos => flow.duration_nanos,
            }),
        }
    }

    /// Both conditions, simplified.
    #[must_use]
    pub fn and(self, other: Predicate) -> Predicate {
        match (self, other) {
            (Predicate::None, _) | (_, Predicate::None) => Predicate::None,
            (Predicate::All, other) | (other, Predicate::All) => other,
            (a, b) if a == b => a,
            (Predicate::And(mut parts), Predicate::And(others)) => {
                parts.extend(others);
                Predicate::And(parts)
            }
            (Predicate::And(mut parts), part) | (part, Predicate::And(mut parts)) => {
                if !parts.contains(&part) {
                    parts.push(part);
                }
                Predicate::And(parts)
            }
            (a, b) => Predicate::And(vec![a, b]),
        }
    }

    /// Either condition, simplified.
    #[must_use]
    pub fn or(self, other: Predicate) -> Predicate {
        match (self, other) {
            (Predicate::All, _) | (_, Predicate::All) => Predicate::All,
            (Predicate::None, other) | (other, Predicate::None) => other,
            (a, b) if a == b => a,
            (Predicate::Or(mut parts), Predicate::Or(others)) => {
                for part in others {
                    if !parts.contains(&part) {
                        parts.push(part);
                    }
                }
                Predicate::Or(parts)
            }
            (Predicate::Or(mut parts), part) | (part, Predicate::Or(mut parts)) => {
                if !parts.contains(&part) {
                    parts.push(part);
                }
                Predicate::Or(parts)
            }
            (a, b) => Predicate::Or(vec![a, b]),
        }
    }
}

impl Net {
    /// Whether an address lies in the network; IPv4 addresses are never in an IPv6 one.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(net), IpAddr::V4(address)) => {
                let differing = net.to_bits() ^ address.to_bits();
                differing.leading_zeros() >= u32::from(self.prefix)
            }
            (IpAddr::V6(net), IpAddr::V6(address)) => {
                let differing = net.to_bits() ^ address.to_bits();
                differing.leading_zeros() >= u32::from(self.prefix)
            }
            _ => false,
        }
    }
}

impl NameTest {
    /// Whether a name passes the test.
    #[must_use]
    pub fn matches(&self, name: &Name) -> bool {
        let kind = self.kinds.is_empty() || self.kinds.contains(&name.kind);
        kind && match &self.pattern {
            NamePattern::Any => true,
            NamePattern::Exact(wanted) => name.name.eq_ignore_ascii_case(wanted.as_bytes()),
            NamePattern::Domain(domain) => {
                let domain = domain.as_bytes();
                let Some(below) = name.name.len().checked_sub(domain.len()) else { return false };
                let (above, tail) = name.name.split_at(below);
                tail.eq_ignore_ascii_case(domain)
                    && (above.is_empty() || above.ends_with(b".") || domain.is_empty())
            }
        }
    }
}
