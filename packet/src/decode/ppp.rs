//! PPP, PPPoE and Cisco HDLC.

use super::{Decoder, Next, Walk};
use crate::flow::{KeyTag, PathTag, TunnelKind};
use crate::interface::LinkType;

impl Decoder {
    /// A PPPoE session packet (RFC 2516).
    pub(super) fn pppoe(&mut self, walk: &mut Walk<'_>) -> Next {
        let Some([_, _, high, low, _, _]) = walk.take() else { return Next::Opaque };
        let tunnel = [TunnelKind::Pppoe as u8, 0, 0, high, low];
        self.push_path(PathTag::TUNNEL, &tunnel);
        self.key.push(KeyTag::TUNNEL, &tunnel);
        Next::Ppp
    }

    /// PPP (RFC 1661): a protocol field of two bytes, or one when it is compressed, behind the
    /// HDLC address and control bytes where they are not left out.
    pub(super) fn ppp(&mut self, walk: &mut Walk<'_>) -> Next {
        if walk.rest.starts_with(&[0xff, 0x03]) {
            walk.advance(2);
        }
        let protocol = match walk.rest {
            [compressed, ..] if compressed & 1 != 0 => {
                walk.advance(1);
                u16::from(*compressed)
            }
            [high, low, ..] => {
                walk.advance(2);
                u16::from_be_bytes([*high, *low])
            }
            _ => return Next::Opaque,
        };
        let ether_type = match protocol {
            0x0021 => 0x0800u16,
            0x0057 => 0x86dd,
            0x0281 => 0x8847,
            0x0283 => 0x8848,
            _ => return Next::Done,
        };
        self.push_path(PathTag::ETHER_TYPE, &ether_type.to_be_bytes());
        Next::EtherType(ether_type)
    }

    /// Link types of the PPP family.
    pub(super) fn ppp_link(&mut self, link_type: LinkType, walk: &mut Walk<'_>) -> Next {
        match link_type {
            LinkType::PPP_ETHER => self.pppoe(walk),
            // Cisco HDLC has 0x0f or 0x8f where PPP has 0xff, and an EtherType behind.
            _ if matches!(walk.rest.first(), Some(0x0f | 0x8f)) => {
                let Some([_, _, high, low]) = walk.take() else { return Next::Opaque };
                let ether_type = u16::from_be_bytes([high, low]);
                self.push_path(PathTag::ETHER_TYPE, &ether_type.to_be_bytes());
                Next::EtherType(ether_type)
            }
            _ => self.ppp(walk),
        }
    }
}
