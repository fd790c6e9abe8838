//! Flow keys.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ring::digest;
use zerocopy::{FromBytes, Immutable, KnownLayout};

/// What identifies a flow, whichever way a packet of it went.
///
/// VLAN ids and tunnels that both directions share, then every address layer from the outermost
/// in, the two ends of each in one order that the innermost layer decides.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Hash, FromBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct FlowKey([u8]);

/// One network layer of a flow, endpoints in canonical order (not in the order of any packet).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Layer {
    /// The two ends.
    pub ends: [Endpoint; 2],
    /// IP protocol (the last next-header for IPv6); `None` for ARP and RARP.
    pub protocol: Option<u8>,
}

/// An address and, where the transport has them and the packet shows them, its port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    /// IPv4 or IPv6 address.
    pub address: IpAddr,
    /// TCP, UDP or SCTP port.
    pub port: Option<u16>,
}

/// One part of a flow key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyPart {
    /// A VLAN tag's id.
    Vlan(u16),
    /// A tunnel's kind and the id that both directions share (0 when there is none).
    Tunnel(u8, u32),
    /// An address layer.
    Layer(Layer),
    /// ICMP or ICMPv6: the type as the first end would send it, the code, and the identifier of
    /// requests and their answers. Types that nothing answers have 1 in its place when the second
    /// end sent them.
    Icmp(u8, u8, u16),
    /// Later fragments whose first was not seen: the fragments' identification.
    FragmentId(u32),
    /// Packets without a network layer: the MAC addresses, smaller first.
    Macs([u8; 6], [u8; 6]),
    /// Packets without a network layer: their EtherType, or the SAPs of LLC.
    EtherType(u16),
    /// Packets of which no more is known than their link type.
    LinkType(u16),
    /// Packets that could not be decoded cleanly.
    Opaque,
}

/// The tag bytes of [`FlowKey`]'s parts.
pub(crate) struct KeyTag;

impl KeyTag {
    pub(crate) const OPAQUE: u8 = 0x01;
    pub(crate) const LINK_TYPE: u8 = 0x02;
    pub(crate) const VLAN: u8 = 0x10;
    pub(crate) const TUNNEL: u8 = 0x20;
    pub(crate) const MACS: u8 = 0x30;
    pub(crate) const ETHER_TYPE: u8 = 0x31;
    pub(crate) const IPV4: u8 = 0x40;
    pub(crate) const IPV4_PORTS: u8 = 0x41;
    pub(crate) const ARP: u8 = 0x42;
    pub(crate) const ICMP: u8 = 0x50;
    pub(crate) const FRAGMENT: u8 = 0x52;
    pub(crate) const IPV6: u8 = 0x60;
    pub(crate) const IPV6_PORTS: u8 = 0x61;
}

impl FlowKey {
    /// Takes bytes that [`as_bytes`](Self::as_bytes) gave; any others are a key without parts
    /// from where they stop making sense.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> &FlowKey {
        FlowKey::ref_from_bytes(bytes).expect("any bytes are a key's")
    }

    /// The canonical form.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The parts, outermost first.
    pub fn parts(&self) -> impl Iterator<Item = KeyPart> {
        let mut rest = &self.0;
        std::iter::from_fn(move || take_part(&mut rest))
    }

    /// The address layers, outermost first.
    pub fn layers(&self) -> impl Iterator<Item = Layer> {
        self.parts().filter_map(|part| match part {
            KeyPart::Layer(layer) => Some(layer),
            _ => None,
        })
    }

    /// The innermost address layer: the conversation itself. What an ICMP error quotes is not
    /// part of it.
    #[must_use]
    pub fn innermost(&self) -> Option<Layer> {
        let own = self.parts().take_while(|part| !matches!(part, KeyPart::Icmp(..)));
        let layers = own.filter_map(|part| match part {
            KeyPart::Layer(layer) => Some(layer),
            _ => None,
        });
        layers.last()
    }

    /// Every address of every layer.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.layers().flat_map(|layer| layer.ends.map(|end| end.address))
    }

    /// Every port of every layer.
    pub fn ports(&self) -> impl Iterator<Item = u16> {
        self.layers().flat_map(|layer| layer.ends.map(|end| end.port)).flatten()
    }

    /// The key of a flow of which nothing is known: every filter may match its packets.
    #[must_use]
    pub fn opaque() -> &'static FlowKey {
        FlowKey::from_bytes(&[KeyTag::OPAQUE])
    }

    /// Whether its packets could not be decoded cleanly.
    #[must_use]
    pub fn is_opaque(&self) -> bool {
        self.parts().any(|part| part == KeyPart::Opaque)
    }

    /// The Community ID of the innermost conversation (version 1, seed 0;
    /// <https://github.com/corelight/community-id-spec>); `None` where the specification gives
    /// none.
    #[must_use]
    pub fn community_id(&self) -> Option<String> {
        let layer = self.innermost()?;
        let protocol = layer.protocol?;
        let icmp = self.parts().find_map(|part| match part {
            KeyPart::Icmp(kind, code, extra) => Some((kind, code, extra)),
            _ => None,
        });
        // The key's order of ends, by address and then port, is the specification's.
        let [mut first, mut second] = layer.ends.map(|end| octets(end.address));
        let mut ports = layer.ends[0].port.zip(layer.ends[1].port);
        if let Some((kind, code, extra)) = icmp {
            let counterpart = icmp_counterpart(protocol, kind);
            ports = Some((kind.into(), counterpart.unwrap_or(code).into()));
            if counterpart.is_none() && extra == 1 {
                // Without a counterpart, the direction is part of the identity.
                std::mem::swap(&mut first, &mut second);
            }
        }
        let mut input = vec![0, 0];
        input.extend_from_slice(&first);
        input.extend_from_slice(&second);
        input.extend_from_slice(&[protocol, 0]);
        if let Some((first, second)) = ports {
            input.extend_from_slice(&first.to_be_bytes());
            input.extend_from_slice(&second.to_be_bytes());
        }
        let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &input);
        Some(format!("1:{}", base64(hash.as_ref())))
    }
}

/// The type of the answer to an ICMP (protocol 1) or ICMPv6 (58) request, and the other way
/// around.
pub(crate) fn icmp_counterpart(protocol: u8, kind: u8) -> Option<u8> {
    const ICMP: [(u8, u8); 6] = [(8, 0), (13, 14), (15, 16), (17, 18), (10, 9), (37, 38)];
    const ICMPV6: [(u8, u8); 6] =
        [(128, 129), (133, 134), (135, 136), (130, 131), (139, 140), (144, 145)];
    let pairs = match protocol {
        1 => ICMP,
        58 => ICMPV6,
        _ => return None,
    };
    pairs.into_iter().find_map(|(request, answer)| match kind {
        _ if kind == request => Some(answer),
        _ if kind == answer => Some(request),
        _ => None,
    })
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

fn take_part(rest: &mut &[u8]) -> Option<KeyPart> {
    let (&tag, mut body) = rest.split_first()?;
    let part = match tag {
        KeyTag::OPAQUE => KeyPart::Opaque,
        KeyTag::LINK_TYPE => KeyPart::LinkType(u16::from_be_bytes(take(&mut body)?)),
        KeyTag::VLAN => KeyPart::Vlan(u16::from_be_bytes(take(&mut body)?)),
        KeyTag::TUNNEL => {
            let [kind] = take(&mut body)?;
            KeyPart::Tunnel(kind, u32::from_be_bytes(take(&mut body)?))
        }
        KeyTag::MACS => KeyPart::Macs(take(&mut body)?, take(&mut body)?),
        KeyTag::ETHER_TYPE => KeyPart::EtherType(u16::from_be_bytes(take(&mut body)?)),
        KeyTag::ICMP => {
            let [kind, code] = take(&mut body)?;
            KeyPart::Icmp(kind, code, u16::from_be_bytes(take(&mut body)?))
        }
        KeyTag::FRAGMENT => KeyPart::FragmentId(u32::from_be_bytes(take(&mut body)?)),
        _ => KeyPart::Layer(take_layer(tag, &mut body)?),
    };
    *rest = body;
    Some(part)
}

fn take_layer(tag: u8, body: &mut &[u8]) -> Option<Layer> {
    let protocol = match tag {
        KeyTag::ARP => None,
        KeyTag::IPV4 | KeyTag::IPV4_PORTS | KeyTag::IPV6 | KeyTag::IPV6_PORTS => {
            Some(take::<1>(body)?[0])
        }
        _ => return None,
    };
    let address = |body: &mut &[u8]| {
        Some(if tag & 0xf0 == KeyTag::IPV6 {
            IpAddr::V6(Ipv6Addr::from(take::<16>(body)?))
        } else {
            IpAddr::V4(Ipv4Addr::from(take::<4>(body)?))
        })
    };
    let addresses = [address(body)?, address(body)?];
    let ports = if matches!(tag, KeyTag::IPV4_PORTS | KeyTag::IPV6_PORTS) {
        [Some(u16::from_be_bytes(take(body)?)), Some(u16::from_be_bytes(take(body)?))]
    } else {
        [None, None]
    };
    let end = |index: usize| Endpoint { address: addresses[index], port: ports[index] };
    Some(Layer { ends: [end(0), end(1)], protocol })
}

fn take<const N: usize>(body: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = body.split_first_chunk::<N>()?;
    *body = rest;
    Some(*taken)
}

/// Base64 with padding (RFC 4648, section 4).
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let group = chunk.iter().fold(0u32, |group, byte| group << 8 | u32::from(*byte))
            << (8 * (3 - chunk.len()));
        for digit in 0..4 {
            let index = (group >> (18 - 6 * digit) & 63) as usize;
            text.push(if digit <= chunk.len() { char::from(DIGITS[index]) } else { '=' });
        }
    }
    text
}
