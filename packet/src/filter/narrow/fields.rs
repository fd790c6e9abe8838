//! Which field of a packet a load reads, and what its value says of the flow.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::super::instruction::{Size, Test};
use super::bits;
use crate::interface::LinkType;
use crate::predicate::{Net, PathTest, Predicate};

/// What a register holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Value {
    Unknown,
    /// Bytes at a fixed place, and the bits of them that are kept.
    Field {
        size: Size,
        offset: u32,
        mask: u32,
    },
    /// Bytes at a fixed distance behind an IPv4 header that begins at `header`.
    Behind {
        header: u32,
        size: Size,
        offset: u32,
        mask: u32,
    },
    /// The length of an IPv4 header that begins here.
    HeaderLength(u32),
}

impl Value {
    pub(super) fn field(size: Size, offset: u32) -> Value {
        Value::Field { size, offset, mask: bits(size) }
    }

    /// A load at an offset from this value.
    pub(super) fn indirect(self, size: Size, offset: u32) -> Value {
        match self {
            Value::HeaderLength(header) => match offset.checked_sub(header) {
                Some(offset) => Value::Behind { header, size, offset, mask: bits(size) },
                None => Value::Unknown,
            },
            _ => Value::Unknown,
        }
    }

    pub(super) fn masked(self, with: u32) -> Value {
        match self {
            Value::Field { size, offset, mask } => Value::Field { size, offset, mask: mask & with },
            Value::Behind { header, size, offset, mask } => {
                Value::Behind { header, size, offset, mask: mask & with }
            }
            _ => Value::Unknown,
        }
    }
}

/// What has been learned of the packet's layout on the way to an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Context {
    link: Link,
    /// Where the field is that tells the network protocol, behind the VLAN tags passed so far.
    type_at: u32,
    /// Where the network header begins.
    network_at: u32,
    tags: u8,
    network: Network,
    /// The protocol is known to have ports where TCP has them.
    ports: bool,
    /// IPv6: the next header is known to be a fragment header.
    fragment: bool,
    /// The part of an IPv6 address compared so far: where it begins, its words, their value.
    address: (u32, u8, u128),
    /// The low half of a MAC address compared last: where the address begins, and the value.
    mac: (u32, u32),
    /// The bounds that the port compared last is known to keep.
    port: (Value, u16, u16),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Link {
    Ethernet,
    /// The protocol is an EtherType, but there are no MAC addresses and no VLAN tags to speak of.
    Cooked,
    Loopback,
    Raw,
    Other,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Network {
    Unknown,
    Ipv4,
    Ipv6,
    Arp,
    Other,
}

const NO_PORT: (Value, u16, u16) = (Value::Unknown, 0, u16::MAX);
const NO_ADDRESS: (u32, u8, u128) = (0, 0, 0);

impl Context {
    pub(super) fn start(link_type: LinkType) -> Context {
        let (link, type_at, network_at, network) = match link_type {
            LinkType::ETHERNET => (Link::Ethernet, 12, 14, Network::Unknown),
            LinkType::LINUX_SLL => (Link::Cooked, 14, 16, Network::Unknown),
            LinkType::LINUX_SLL2 => (Link::Cooked, 0, 20, Network::Unknown),
            LinkType::NULL | LinkType::LOOP => (Link::Loopback, 0, 4, Network::Unknown),
            LinkType::RAW | LinkType::RAW_BSD => (Link::Raw, 0, 0, Network::Unknown),
            LinkType::IPV4 => (Link::Other, 0, 0, Network::Ipv4),
            LinkType::IPV6 => (Link::Other, 0, 0, Network::Ipv6),
            _ => (Link::Other, 0, 0, Network::Other),
        };
        Context {
            link,
            type_at,
            network_at,
            tags: 0,
            network,
            ports: false,
            fragment: false,
            address: NO_ADDRESS,
            mac: (0, 0),
            port: NO_PORT,
        }
    }

    /// Takes note of a test's outcome, and gives what it says of the flow.
    pub(super) fn learn(
        &mut self,
        value: Value,
        test: Test,
        constant: u32,
        passed: bool,
    ) -> Predicate {
        if let Some(port) = self.learn_port(value, test, constant, passed) {
            return port;
        }
        // libpcap turns a comparison of masked bits with zero into a test for any of them.
        let (value, constant) = match (test, passed) {
            (Test::Equal, true) => (value, constant),
            (Test::AnyBit, false) => (value.masked(constant), 0),
            _ => return Predicate::All,
        };
        match value {
            Value::Field { size, offset, mask } => self
                .learn_network(size, offset, mask, constant)
                .or_else(|| self.learn_tag(size, offset, mask, constant))
                .or_else(|| self.learn_mac(size, offset, mask, constant))
                .or_else(|| self.learn_field(size, offset, mask, constant))
                .unwrap_or(Predicate::All),
            _ => Predicate::All,
        }
    }

    /// The field that tells the network protocol.
    fn learn_network(
        &mut self,
        size: Size,
        offset: u32,
        mask: u32,
        value: u32,
    ) -> Option<Predicate> {
        if self.network != Network::Unknown || offset != self.type_at {
            return None;
        }
        let whole = mask == bits(size);
        let ether_type = match (self.link, size) {
            (Link::Ethernet | Link::Cooked, Size::Half) if whole && value > 1500 => value as u16,
            (Link::Loopback, Size::Word) if whole => {
                let family = if value < 0x100 { value } else { value.swap_bytes() };
                match family {
                    2 => 0x0800,
                    24 | 28 | 30 => 0x86dd,
                    _ => return None,
                }
            }
            (Link::Raw, Size::Byte) if mask == 0xf0 && value == 0x40 => 0x0800,
            (Link::Raw, Size::Byte) if mask == 0xf0 && value == 0x60 => 0x86dd,
            _ => return None,
        };
        match ether_type {
            0x0800 => self.network = Network::Ipv4,
            0x86dd => self.network = Network::Ipv6,
            0x0806 | 0x8035 => self.network = Network::Arp,
            0x8100 | 0x88a8 | 0x9100 if self.link == Link::Ethernet => {
                self.tags += 1;
                self.type_at += 4;
                self.network_at += 4;
            }
            _ => self.network = Network::Other,
        }
        Some(Predicate::Path(PathTest::EtherType(ether_type)))
    }

    /// The id in the VLAN tag passed last.
    fn learn_tag(&self, size: Size, offset: u32, mask: u32, value: u32) -> Option<Predicate> {
        let here = self.tags > 0 && size == Size::Half && offset + 2 == self.type_at;
        (here && mask == 0x0fff).then_some(Predicate::Path(PathTest::Vlan(value as u16)))
    }

    /// MAC addresses are compared in two parts, the last four bytes first.
    fn learn_mac(&mut self, size: Size, offset: u32, mask: u32, value: u32) -> Option<Predicate> {
        if self.link != Link::Ethernet || mask != bits(size) {
            return None;
        }
        match (size, offset) {
            (Size::Word, 2 | 8) => {
                self.mac = (offset - 2, value);
                Some(Predicate::All)
            }
            (Size::Half, 0 | 6) if self.mac.0 == offset && self.mac != (0, 0) => {
                let mut mac = [0; 6];
                mac[..2].copy_from_slice(&(value as u16).to_be_bytes());
                mac[2..].copy_from_slice(&self.mac.1.to_be_bytes());
                Some(Predicate::Path(PathTest::Mac(mac)))
            }
            _ => None,
        }
    }

    /// Fields of the network header.
    fn learn_field(&mut self, size: Size, offset: u32, mask: u32, value: u32) -> Option<Predicate> {
        let at = offset.checked_sub(self.network_at)?;
        match (self.network, size, at) {
            (Network::Ipv4, Size::Byte, 9) if mask == 0xff => Some(self.protocol(value)),
            (Network::Ipv4, Size::Word, 12 | 16) | (Network::Arp, Size::Word, 14 | 24) => {
                let prefix = mask.leading_ones();
                (mask.count_ones() == prefix).then(|| {
                    let address = IpAddr::V4(Ipv4Addr::from(value));
                    Predicate::Net(Net { address, prefix: prefix as u8 })
                })
            }
            (Network::Ipv6, Size::Byte, 6) if mask == 0xff => {
                self.fragment = value == 44;
                Some(self.protocol(value))
            }
            (Network::Ipv6, Size::Byte, 40) if mask == 0xff && self.fragment => {
                Some(Predicate::Path(PathTest::Protocol(value as u8)))
            }
            (Network::Ipv6, Size::Word, 8..=20) => self.address_word(8, at, mask, value),
            (Network::Ipv6, Size::Word, 24..=36) => self.address_word(24, at, mask, value),
            _ => None,
        }
    }

    fn protocol(&mut self, value: u32) -> Predicate {
        self.ports = matches!(value, 6 | 17 | 132);
        Predicate::Path(PathTest::Protocol(value as u8))
    }

    /// One 32-bit word of an IPv6 address; words count from the first without a gap.
    fn address_word(&mut self, start: u32, at: u32, mask: u32, value: u32) -> Option<Predicate> {
        let index = (at - start) / 4;
        if !(at - start).is_multiple_of(4) || mask.count_ones() != mask.leading_ones() {
            return None;
        }
        let (before, words, high) = self.address;
        let high = match (index, before == start && u32::from(words) == index) {
            (0, _) => 0,
            (_, true) => high,
            (_, false) => return None,
        };
        let address = high | u128::from(value) << (96 - 32 * index);
        let words = if mask == u32::MAX { index as u8 + 1 } else { 0 };
        self.address = (start, words, address);
        let prefix = 32 * index + mask.leading_ones();
        let address = IpAddr::V6(Ipv6Addr::from(address));
        Some(Predicate::Net(Net { address, prefix: prefix as u8 }))
    }

    /// Ports, whose ranges are tested from both sides; `None` when the value is not a port.
    fn learn_port(
        &mut self,
        value: Value,
        test: Test,
        constant: u32,
        passed: bool,
    ) -> Option<Predicate> {
        let at = self.network_at;
        let is_port = match (self.network, value) {
            (Network::Ipv4, Value::Behind { header, size: Size::Half, offset: 0 | 2, mask }) => {
                header == at && mask == 0xffff
            }
            (Network::Ipv6, Value::Field { size: Size::Half, offset, mask: 0xffff }) => {
                offset == at + 40 || offset == at + 42
            }
            _ => false,
        };
        if !is_port || !self.ports {
            return None;
        }
        let constant = u16::try_from(constant).ok()?;
        let (mut low, mut high) =
            if self.port.0 == value { (self.port.1, self.port.2) } else { (0, u16::MAX) };
        match (test, passed) {
            (Test::Equal, true) => (low, high) = (constant, constant),
            (Test::GreaterEqual, true) => low = low.max(constant),
            (Test::GreaterEqual, false) => high = high.min(constant.checked_sub(1)?),
            (Test::Greater, true) => low = low.max(constant.checked_add(1)?),
            (Test::Greater, false) => high = high.min(constant),
            _ => return Some(Predicate::All),
        }
        self.port = (value, low, high);
        if low > high {
            return Some(Predicate::None);
        }
        Some(Predicate::Port(low..=high))
    }
}
