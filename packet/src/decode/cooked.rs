//! Link layers without addresses of their own worth the name: cooked captures, loopback, raw IP,
//! netfilter logs.

use super::{Decoder, Next, Walk};
use crate::flow::{KeyTag, PathTag};
use crate::interface::{ByteOrder, LinkType};

impl Decoder {
    pub(super) fn link(&mut self, link_type: LinkType, walk: &mut Walk<'_>) -> Next {
        match link_type {
            LinkType::ETHERNET => self.ethernet(walk),
            LinkType::RAW | LinkType::RAW_BSD => self.ip(walk),
            // Filters take the version for granted here, so another one is opaque.
            LinkType::IPV4 => self.network(0x0800),
            LinkType::IPV6 => self.network(0x86dd),
            LinkType::NULL | LinkType::LOOP => self.loopback(walk),
            LinkType::LINUX_SLL => self.cooked(walk, 16, 14),
            LinkType::LINUX_SLL2 => self.cooked(walk, 20, 0),
            LinkType::PPP | LinkType::PPP_HDLC | LinkType::PPP_ETHER | LinkType::C_HDLC => {
                self.ppp_link(link_type, walk)
            }
            LinkType::NFLOG => self.nflog(walk),
            LinkType::ARCNET_BSD => self.arcnet(walk, 2),
            LinkType::ARCNET_LINUX => self.arcnet(walk, 4),
            LinkType::IEEE802_11 => Next::Wifi,
            LinkType::IEEE802_11_RADIOTAP => self.radiotap(walk),
            LinkType::PPI => self.ppi(walk),
            _ => Next::Opaque,
        }
    }

    /// The address family comes in the byte order of the capturing machine, which need not be the
    /// file's: a number of a few bits is taken either way.
    fn loopback(&mut self, walk: &mut Walk<'_>) -> Next {
        let Some(family) = walk.take::<4>() else { return Next::Opaque };
        if let [0x0f | 0x8f, 0, high, low] = family {
            // Some loopbacks write Cisco HDLC's header under this link type.
            return self.network(u16::from_be_bytes([high, low]));
        }
        let little = u32::from_le_bytes(family);
        let family = if little < 0x100 { little } else { u32::from_be_bytes(family) };
        match family {
            2 => self.network(0x0800),
            10 | 24 | 28 | 30 => self.network(0x86dd),
            _ => {
                self.key.push(KeyTag::ETHER_TYPE, &(family as u16).to_be_bytes());
                Next::Done
            }
        }
    }

    fn network(&mut self, ether_type: u16) -> Next {
        self.push_path(PathTag::ETHER_TYPE, &ether_type.to_be_bytes());
        Next::EtherType(ether_type)
    }

    /// Linux cooked captures: a header with the protocol in it.
    fn cooked(&mut self, walk: &mut Walk<'_>, length: usize, protocol_at: usize) -> Next {
        let Some(header) = walk.advance(length) else { return Next::Opaque };
        let protocol = u16::from_be_bytes([header[protocol_at], header[protocol_at + 1]]);
        match protocol {
            // Frames of the kernel's own kinds, LLC among them.
            4 => Next::Llc,
            0..=0x05dc => {
                self.key.push(KeyTag::ETHER_TYPE, &protocol.to_be_bytes());
                Next::Done
            }
            _ => {
                self.push_path(PathTag::ETHER_TYPE, &protocol.to_be_bytes());
                Next::EtherType(protocol)
            }
        }
    }

    /// ARCNET with RFC 1201 framing: addresses, type, flag and sequence.
    fn arcnet(&mut self, walk: &mut Walk<'_>, addresses: usize) -> Next {
        if walk.advance(addresses).is_none() {
            return Next::Opaque;
        }
        let Some([kind, flag, _, _]) = walk.take() else { return Next::Opaque };
        if flag == 0xff && walk.advance(4).is_none() {
            return Next::Opaque;
        }
        match kind {
            0xd4 => self.network(0x0800),
            0xc4 => self.network(0x86dd),
            0xd5 => self.network(0x0806),
            _ => Next::Done,
        }
    }

    /// Netfilter logs: a list of attributes, one of which is the packet.
    fn nflog(&mut self, walk: &mut Walk<'_>) -> Next {
        const PAYLOAD: u16 = 9;
        if walk.advance(4).is_none() {
            return Next::Opaque;
        }
        let order = walk.byte_order;
        let number = |bytes: [u8; 2]| match order {
            ByteOrder::Little => u16::from_le_bytes(bytes),
            ByteOrder::Big => u16::from_be_bytes(bytes),
        };
        while let Some(&[l0, l1, t0, t1]) = walk.rest.first_chunk::<4>() {
            let length = usize::from(number([l0, l1]));
            if number([t0, t1]) == PAYLOAD {
                walk.advance(4);
                return Next::Ip;
            }
            if length < 4 || walk.advance(length.next_multiple_of(4)).is_none() {
                break;
            }
        }
        Next::Opaque
    }
}
