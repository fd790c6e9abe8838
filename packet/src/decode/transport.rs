//! TCP, UDP, SCTP and ICMP.

use etherparse::TcpHeaderSlice;

use super::keys::Extra;
use super::{Decoder, Next, TcpHeader, Transport, Walk};
use crate::flow::TunnelKind;

impl Decoder {
    /// Filters read each port by itself, whatever else of the header was captured.
    pub(super) fn ports(&mut self, protocol: u8, walk: &mut Walk<'_>) -> Next {
        let Some(&[s0, s1, d0, d1]) = walk.rest.first_chunk::<4>() else {
            return if walk.rest.len() < 2 { Next::Done } else { Next::Opaque };
        };
        let (source_port, destination_port) =
            (u16::from_be_bytes([s0, s1]), u16::from_be_bytes([d0, d1]));
        self.innermost().ports = Some((source_port, destination_port));
        let captured = &walk.rest[..walk.bounded.min(walk.rest.len())];
        let mut transport =
            Transport { protocol, source_port, destination_port, tcp: None, payload: &[] };
        match protocol {
            6 => {
                if let Ok(header) = TcpHeaderSlice::from_slice(walk.rest) {
                    transport.tcp = Some(TcpHeader {
                        sequence: header.sequence_number(),
                        syn: header.syn(),
                        closing: header.fin() || header.rst(),
                        flags: walk.rest.get(13).copied().unwrap_or(0),
                    });
                    transport.payload = captured.get(header.slice().len()..).unwrap_or(&[]);
                }
            }
            17 => transport.payload = captured.get(8..).unwrap_or(&[]),
            _ => transport.payload = captured.get(12..).unwrap_or(&[]),
        }
        walk.decoded.transport = Some(transport);
        if protocol != 17 {
            return Next::Done;
        }
        let kind = match (source_port, destination_port) {
            (_, 4789 | 8472) | (4789 | 8472, _) => TunnelKind::Vxlan,
            (_, 6081) | (6081, _) => TunnelKind::Geneve,
            (2152, _) | (_, 2152) => TunnelKind::Gtp,
            (3544, _) | (_, 3544) => TunnelKind::Teredo,
            _ => return Next::Done,
        };
        if walk.decoded.fragment.is_some() {
            return Next::Done;
        }
        walk.advance(8);
        Next::Tunnel(kind)
    }

    /// ICMP errors quote the packet they are about: what it says is added, as for a tunnel.
    pub(super) fn icmp(&mut self, protocol: u8, walk: &mut Walk<'_>) -> Next {
        let Some(&[kind, code]) = walk.rest.first_chunk::<2>() else { return Next::Done };
        let id = walk.rest.get(4..6).map_or(0, |id| u16::from_be_bytes([id[0], id[1]]));
        self.innermost().extra = Extra::Icmp { kind, code, id };
        let is_error = match protocol {
            1 => matches!(kind, 3 | 4 | 5 | 11 | 12),
            _ => (1..=4).contains(&kind),
        };
        if !is_error || self.quoted || walk.advance(8).is_none() {
            return Next::Done;
        }
        self.quoted = true;
        self.tunnels += 1;
        Next::Ip
    }

    fn innermost(&mut self) -> &mut super::keys::RawLayer {
        let last = self.layer_count.saturating_sub(1);
        &mut self.layers[last]
    }
}
