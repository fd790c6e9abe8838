//! IPv4 and IPv6, with fragments and extension headers.

use etherparse::{Ipv4HeaderSlice, Ipv6HeaderSlice};

use super::keys::{Extra, LayerKind, RawLayer};
use super::{DatagramId, Decoder, Fragment, Next, Walk};
use crate::flow::{PathTag, TunnelKind};

impl Decoder {
    pub(super) fn ip(&mut self, walk: &mut Walk<'_>) -> Next {
        match walk.rest.first().map(|byte| byte >> 4) {
            Some(4) => {
                self.push_path(PathTag::ETHER_TYPE, &0x0800u16.to_be_bytes());
                self.ipv4(walk)
            }
            Some(6) => {
                self.push_path(PathTag::ETHER_TYPE, &0x86ddu16.to_be_bytes());
                self.ipv6(walk)
            }
            _ => Next::Opaque,
        }
    }

    pub(super) fn ipv4(&mut self, walk: &mut Walk<'_>) -> Next {
        let Ok(header) = Ipv4HeaderSlice::from_slice(walk.rest) else { return Next::Opaque };
        let protocol = header.protocol().0;
        let mut layer = RawLayer { kind: LayerKind::Ipv4, protocol, ..RawLayer::default() };
        layer.source[..4].copy_from_slice(&header.source());
        layer.destination[..4].copy_from_slice(&header.destination());
        self.push_path(PathTag::PROTOCOL, &[protocol]);

        let header_length = header.slice().len();
        let total = usize::from(header.total_len());
        // Segmentation offload leaves the length zero.
        walk.bounded = if total < header_length { walk.rest.len() } else { total };
        let (offset, more) = (header.fragments_offset().value(), header.more_fragments());
        let identification = u32::from(header.identification());
        walk.advance(header_length);
        if offset > 0 || more {
            let offset = u32::from(offset) * 8;
            self.note_fragment(&layer, identification, offset, more, walk);
        }
        if offset > 0 {
            layer.extra = Extra::Fragment(identification);
            return self.end_with(layer);
        }
        if self.push_layer(layer) { Next::Protocol(protocol) } else { Next::Opaque }
    }

    pub(super) fn ipv6(&mut self, walk: &mut Walk<'_>) -> Next {
        let Ok(header) = Ipv6HeaderSlice::from_slice(walk.rest) else { return Next::Opaque };
        let mut layer = RawLayer {
            kind: LayerKind::Ipv6,
            source: header.source(),
            destination: header.destination(),
            ..RawLayer::default()
        };
        let length = usize::from(header.payload_length());
        let mut protocol = header.next_header().0;
        walk.advance(40);
        walk.bounded = if length == 0 { walk.rest.len() } else { length };
        self.push_path(PathTag::PROTOCOL, &[protocol]);
        // Each header has at least eight bytes, and the path has room for so many.
        while is_extension(protocol) {
            let Some([next, units, offset_high, offset_low, identification @ ..]) =
                walk.rest.first_chunk::<8>().copied()
            else {
                // Filters look at the first byte of a fragment header alone.
                return Next::Opaque;
            };
            let header_length = match protocol {
                44 => 8,
                51 => (usize::from(units) + 2) * 4,
                _ => (usize::from(units) + 1) * 8,
            };
            let fragment = (protocol == 44).then(|| u16::from_be_bytes([offset_high, offset_low]));
            protocol = next;
            self.push_path(PathTag::PROTOCOL, &[protocol]);
            if walk.advance(header_length).is_none() {
                layer.protocol = protocol;
                return self.end_with(layer);
            }
            if let Some(field) = fragment
                && field & !6 != 0
            {
                let identification = u32::from_be_bytes(identification);
                let (offset, more) = (u32::from(field & !7), field & 1 != 0);
                layer.protocol = protocol;
                self.note_fragment(&layer, identification, offset, more, walk);
                if offset > 0 {
                    layer.extra = Extra::Fragment(identification);
                    return self.end_with(layer);
                }
            }
            if self.opaque {
                break;
            }
        }
        layer.protocol = protocol;
        if self.push_layer(layer) { Next::Protocol(protocol) } else { Next::Opaque }
    }

    fn end_with(&mut self, layer: RawLayer) -> Next {
        if self.push_layer(layer) { Next::Done } else { Next::Opaque }
    }

    fn note_fragment(
        &self,
        layer: &RawLayer,
        identification: u32,
        offset: u32,
        more: bool,
        walk: &mut Walk<'_>,
    ) {
        if walk.decoded.fragment.is_some() || self.quoted {
            return;
        }
        let payload = &walk.rest[..walk.bounded.min(walk.rest.len())];
        let datagram = DatagramId {
            source: layer.source,
            destination: layer.destination,
            protocol: layer.protocol,
            identification,
        };
        walk.decoded.fragment = Some(Fragment { datagram, offset, more, payload });
    }

    /// An authentication header (RFC 4302) behind IPv4.
    fn authenticated(&mut self, walk: &mut Walk<'_>) -> Next {
        let Some(&[next, units]) = walk.rest.first_chunk::<2>() else { return Next::Done };
        if walk.advance((usize::from(units) + 2) * 4).is_none() {
            return Next::Done;
        }
        self.push_path(PathTag::PROTOCOL, &[next]);
        self.tunnels += 1;
        Next::Protocol(next)
    }

    /// IPComp (RFC 3173): what did not shrink is carried as it is.
    fn compressed(&mut self, walk: &mut Walk<'_>) -> Next {
        let Some([next, _, _, _]) = walk.take() else { return Next::Done };
        self.push_path(PathTag::PROTOCOL, &[next]);
        self.tunnels += 1;
        Next::Protocol(next)
    }

    /// IP in IP is a tunnel; everything else is a transport.
    pub(super) fn protocol(&mut self, protocol: u8, walk: &mut Walk<'_>) -> Next {
        match protocol {
            4 | 41 => {
                self.enter_tunnel(TunnelKind::IpInIp, 0);
                Next::Ip
            }
            47 => self.gre(walk),
            137 => {
                // MPLS in IP (RFC 4023).
                self.enter_tunnel(TunnelKind::MplsEthernet, 0);
                Next::EtherType(0x8847)
            }
            51 => self.authenticated(walk),
            108 => self.compressed(walk),
            1 | 58 => self.icmp(protocol, walk),
            6 | 17 | 132 => self.ports(protocol, walk),
            _ => Next::Done,
        }
    }
}

/// Hop-by-hop, routing, fragment, authentication, destination options, mobility, HIP, Shim6.
fn is_extension(protocol: u8) -> bool {
    matches!(protocol, 0 | 43 | 44 | 51 | 60 | 135 | 139 | 140)
}
