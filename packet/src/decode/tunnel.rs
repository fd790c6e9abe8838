//! Tunnels over GRE and UDP. What is inside is added to what is outside.

use super::{Decoder, Next, Walk};
use crate::flow::{KeyTag, TunnelKind};

impl Decoder {
    pub(super) fn tunnel(&mut self, kind: TunnelKind, walk: &mut Walk<'_>) -> Next {
        match kind {
            TunnelKind::Vxlan => self.vxlan(walk),
            TunnelKind::Geneve => self.geneve(walk),
            TunnelKind::Gtp => self.gtp(walk),
            TunnelKind::Teredo => self.teredo(walk),
            _ => None,
        }
        .unwrap_or(Next::Done)
    }

    /// GRE (RFC 2784, 2890); version 1 carries PPP (RFC 2637).
    pub(super) fn gre(&mut self, walk: &mut Walk<'_>) -> Next {
        self.gre_inside(walk).unwrap_or(Next::Done)
    }

    fn gre_inside(&mut self, walk: &mut Walk<'_>) -> Option<Next> {
        let [flags, version, high, low] = walk.take()?;
        let protocol = u16::from_be_bytes([high, low]);
        let has = |bit: u8| flags & bit != 0;
        // The routing fields were withdrawn, and nobody sends them.
        if has(0x40) {
            return None;
        }
        if has(0x80) {
            walk.advance(4)?;
        }
        let key = if has(0x20) { u32::from_be_bytes(walk.take()?) } else { 0 };
        if has(0x10) {
            walk.advance(4)?;
        }
        match version & 7 {
            0 => {
                self.enter_tunnel(TunnelKind::Gre, key);
                if matches!(protocol, 0x88be | 0x22eb) {
                    return self.erspan(protocol, has(0x10), walk);
                }
                self.push_path(crate::flow::PathTag::ETHER_TYPE, &protocol.to_be_bytes());
                Some(Next::EtherType(protocol))
            }
            1 if protocol == 0x880b => {
                if version & 0x80 != 0 {
                    walk.advance(4)?;
                }
                // The key is the payload's length and the receiver's call id.
                self.enter_tunnel(TunnelKind::Gre, key & 0xffff);
                Some(Next::Ppp)
            }
            _ => None,
        }
    }

    /// ERSPAN (draft-foschiano-erspan-03): type I has no header of its own, II has one of 8
    /// bytes, III one of 12 and perhaps a platform's 8 more.
    fn erspan(&mut self, protocol: u16, sequenced: bool, walk: &mut Walk<'_>) -> Option<Next> {
        let mut session = 0;
        if protocol == 0x22eb {
            let header: [u8; 12] = walk.take()?;
            session = u32::from(u16::from_be_bytes([header[2], header[3]]) & 0x3ff);
            if header[11] & 1 != 0 {
                walk.advance(8)?;
            }
        } else if sequenced {
            let header: [u8; 8] = walk.take()?;
            session = u32::from(u16::from_be_bytes([header[2], header[3]]) & 0x3ff);
        }
        self.enter_tunnel(TunnelKind::Erspan, session);
        Some(Next::EtherType(0x6558))
    }

    /// VXLAN (RFC 7348).
    fn vxlan(&mut self, walk: &mut Walk<'_>) -> Option<Next> {
        let [flags, _, _, _, v0, v1, v2, _] = walk.take()?;
        if flags & 0x08 == 0 {
            return None;
        }
        self.enter_shared(TunnelKind::Vxlan, u32::from_be_bytes([0, v0, v1, v2]));
        Some(Next::EtherType(0x6558))
    }

    /// GENEVE (RFC 8926).
    fn geneve(&mut self, walk: &mut Walk<'_>) -> Option<Next> {
        let [version, _, high, low, v0, v1, v2, _] = walk.take()?;
        if version >> 6 != 0 {
            return None;
        }
        walk.advance(usize::from(version & 0x3f) * 4)?;
        self.enter_shared(TunnelKind::Geneve, u32::from_be_bytes([0, v0, v1, v2]));
        let protocol = u16::from_be_bytes([high, low]);
        self.push_path(crate::flow::PathTag::ETHER_TYPE, &protocol.to_be_bytes());
        Some(Next::EtherType(protocol))
    }

    /// GTP-U version 1 (3GPP TS 29.281). Each direction has its own TEID.
    fn gtp(&mut self, walk: &mut Walk<'_>) -> Option<Next> {
        let [flags, kind, _, _, teid @ ..] = walk.take::<8>()?;
        // Version 1, protocol type GTP, and a message that carries a packet.
        if flags & 0xf0 != 0x30 || kind != 255 {
            return None;
        }
        if flags & 7 != 0 {
            let [.., mut extension] = walk.take::<4>()?;
            while extension != 0 {
                let units = usize::from(*walk.rest.first()?);
                let header = walk.advance((units * 4).max(4))?;
                extension = *header.last()?;
            }
        }
        self.enter_tunnel(TunnelKind::Gtp, u32::from_be_bytes(teid));
        Some(Next::Ip)
    }

    /// Teredo (RFC 4380): IPv6, perhaps behind authentication and origin indications.
    fn teredo(&mut self, walk: &mut Walk<'_>) -> Option<Next> {
        if let Some([0, 1, client, authentication]) = walk.rest.first_chunk::<4>() {
            let length = 4 + usize::from(*client) + usize::from(*authentication) + 9;
            walk.advance(length)?;
        }
        if walk.rest.starts_with(&[0, 0]) {
            walk.advance(8)?;
        }
        if walk.rest.first()? >> 4 != 6 {
            return None;
        }
        self.enter_tunnel(TunnelKind::Teredo, 0);
        Some(Next::Ip)
    }

    /// Enters a tunnel whose id both directions use: it tells conversations apart.
    fn enter_shared(&mut self, kind: TunnelKind, id: u32) {
        self.enter_tunnel(kind, id);
        let mut value = [kind as u8; 5];
        value[1..].copy_from_slice(&id.to_be_bytes());
        self.key.push(KeyTag::TUNNEL, &value);
    }
}
