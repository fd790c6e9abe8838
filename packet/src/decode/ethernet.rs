//! Ethernet and what rides directly on it: VLAN tags, LLC, MPLS, ARP.

use super::keys::{Extra, LayerKind, RawLayer};
use super::{Decoder, LAYERS_MAX, Next, Walk};
use crate::flow::{KeyTag, PathTag, TunnelKind};

impl Decoder {
    pub(super) fn ethernet(&mut self, walk: &mut Walk<'_>) -> Next {
        let Some(header) = walk.take::<14>() else { return Next::Opaque };
        let (macs, ether_type) = header.split_at(12);
        let (destination, source) = macs.split_at(6);
        let (first, second) =
            if source <= destination { (source, destination) } else { (destination, source) };
        let mut pair = [0; 12];
        pair[..6].copy_from_slice(first);
        pair[6..].copy_from_slice(second);
        self.push_path(PathTag::MACS, &pair);
        let ether_type = u16::from_be_bytes([ether_type[0], ether_type[1]]);
        let next = self.length_or_type(ether_type);
        if self.tunnels == 0 && !is_network(ether_type) {
            self.key.push(KeyTag::MACS, &pair);
        }
        next
    }

    /// What a length/type field leads to: up to 1,500 it is the length of an LLC frame.
    fn length_or_type(&mut self, ether_type: u16) -> Next {
        if ether_type <= 1500 {
            return Next::Llc;
        }
        self.push_path(PathTag::ETHER_TYPE, &ether_type.to_be_bytes());
        Next::EtherType(ether_type)
    }

    pub(super) fn ether_type(&mut self, ether_type: u16, walk: &mut Walk<'_>) -> Next {
        match ether_type {
            0x0800 => self.ipv4(walk),
            0x86dd => self.ipv6(walk),
            0x0806 | 0x8035 => self.arp(walk),
            0x8100 | 0x88a8 | 0x9100 => self.vlan(walk),
            0x8847 | 0x8848 => self.mpls(walk),
            0x8864 => self.pppoe(walk),
            0x6558 => self.ethernet(walk),
            other => {
                if self.layer_count == 0 {
                    self.key.push(KeyTag::ETHER_TYPE, &other.to_be_bytes());
                }
                Next::Done
            }
        }
    }

    fn vlan(&mut self, walk: &mut Walk<'_>) -> Next {
        let Some([tag_high, tag_low, type_high, type_low]) = walk.take() else {
            return Next::Opaque;
        };
        let id = (u16::from_be_bytes([tag_high, tag_low]) & 0x0fff).to_be_bytes();
        self.push_path(PathTag::VLAN, &id);
        self.key.push(KeyTag::VLAN, &id);
        self.length_or_type(u16::from_be_bytes([type_high, type_low]))
    }

    /// LLC (IEEE 802.2), with SNAP behind it where there is one.
    pub(super) fn llc(&mut self, walk: &mut Walk<'_>) -> Next {
        if let Some([0xaa, 0xaa, 0x03, 0, 0, _, high, low]) = walk.rest.first_chunk::<8>() {
            let ether_type = u16::from_be_bytes([*high, *low]);
            walk.advance(8);
            self.push_path(PathTag::ETHER_TYPE, &ether_type.to_be_bytes());
            return Next::EtherType(ether_type);
        }
        if let Some(saps) = walk.rest.first_chunk::<2>() {
            self.key.push(KeyTag::ETHER_TYPE, saps);
        }
        Next::Done
    }

    /// A label stack (RFC 3032). What is under it is not said: IP by its version, or Ethernet
    /// behind a control word (RFC 4448).
    fn mpls(&mut self, walk: &mut Walk<'_>) -> Next {
        loop {
            let Some(entry) = walk.take::<4>() else { return Next::Opaque };
            let entry = u32::from_be_bytes(entry);
            self.push_path(PathTag::MPLS, &(entry >> 12).to_be_bytes());
            if entry & 0x100 != 0 {
                break;
            }
        }
        match walk.rest.first().map(|byte| byte >> 4) {
            Some(4 | 6) => Next::Ip,
            Some(0) if walk.rest.len() > 18 => {
                walk.advance(4);
                self.enter_tunnel(TunnelKind::MplsEthernet, 0);
                self.ethernet(walk)
            }
            _ => Next::Done,
        }
    }

    /// Filters read the addresses where they are for Ethernet and IPv4, whatever the header says.
    fn arp(&mut self, walk: &mut Walk<'_>) -> Next {
        let Some(packet) = walk.rest.first_chunk::<28>() else { return Next::Opaque };
        let mut layer = RawLayer { kind: LayerKind::Arp, ..RawLayer::default() };
        layer.source[..4].copy_from_slice(&packet[14..18]);
        layer.destination[..4].copy_from_slice(&packet[24..28]);
        layer.extra = Extra::None;
        if !self.push_layer(layer) {
            return Next::Opaque;
        }
        Next::Done
    }

    /// Adds an address layer; `false` when there are too many.
    pub(super) fn push_layer(&mut self, layer: RawLayer) -> bool {
        if self.layer_count == LAYERS_MAX {
            return false;
        }
        self.layers[self.layer_count] = layer;
        self.layer_count += 1;
        true
    }
}

/// Whether addresses identify such packets, so that MAC addresses need not.
fn is_network(ether_type: u16) -> bool {
    matches!(
        ether_type,
        0x0800 | 0x86dd | 0x0806 | 0x8035 | 0x8100 | 0x88a8 | 0x9100 | 0x8847 | 0x8848 | 0x8864
    )
}
