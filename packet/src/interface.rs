//! Where packets come from: link types and interface descriptions.

use crate::time::TimeScale;

/// A link-layer header type as capture files number it (`LINKTYPE_*`,
/// <https://www.tcpdump.org/linktypes.html>), not as the running system does (`DLT_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkType(pub u16);

impl LinkType {
    /// BSD loopback: a 4-byte address family in the capturing host's byte order.
    pub const NULL: LinkType = LinkType(0);
    /// Ethernet.
    pub const ETHERNET: LinkType = LinkType(1);
    /// As [`LinkType::RAW`], by the number that some systems write.
    pub const RAW_BSD: LinkType = LinkType(12);
    /// ARCNET as BSD systems write it.
    pub const ARCNET_BSD: LinkType = LinkType(7);
    /// ARCNET as Linux writes it: two bytes more.
    pub const ARCNET_LINUX: LinkType = LinkType(129);
    /// PPP.
    pub const PPP: LinkType = LinkType(9);
    /// PPP in HDLC-like framing, or Cisco HDLC.
    pub const PPP_HDLC: LinkType = LinkType(50);
    /// PPPoE session packets without their Ethernet header.
    pub const PPP_ETHER: LinkType = LinkType(51);
    /// Bare IPv4 or IPv6, told apart by the version nibble.
    pub const RAW: LinkType = LinkType(101);
    /// Cisco HDLC.
    pub const C_HDLC: LinkType = LinkType(104);
    /// 802.11 without a radio header.
    pub const IEEE802_11: LinkType = LinkType(105);
    /// OpenBSD loopback: as [`LinkType::NULL`], in network byte order.
    pub const LOOP: LinkType = LinkType(108);
    /// Linux cooked capture, version 1.
    pub const LINUX_SLL: LinkType = LinkType(113);
    /// 802.11 behind a radiotap header.
    pub const IEEE802_11_RADIOTAP: LinkType = LinkType(127);
    /// 802.11 or others behind a PPI header.
    pub const PPI: LinkType = LinkType(192);
    /// Bare IPv4.
    pub const IPV4: LinkType = LinkType(228);
    /// Bare IPv6.
    pub const IPV6: LinkType = LinkType(229);
    /// Linux netfilter log.
    pub const NFLOG: LinkType = LinkType(239);
    /// Linux cooked capture, version 2.
    pub const LINUX_SLL2: LinkType = LinkType(276);
    /// OpenBSD packet filter log.
    const PFLOG: LinkType = LinkType(117);
    /// Linux USB, as usbmon gives it.
    const USB_LINUX: LinkType = LinkType(189);
    /// Linux USB, as usbmon gives it in mapped memory.
    const USB_LINUX_MMAPPED: LinkType = LinkType(220);
    /// IPsec decapsulation on BSD.
    const ENC: LinkType = LinkType(109);

    /// Whether headers of its packets are in the byte order of the host that captured them, which
    /// readers take from the file. (libpcap: `swap_pseudo_headers` and the loopback cases of
    /// its filter compiler; SLL for CAN frames.)
    #[must_use]
    pub fn is_host_ordered(self) -> bool {
        matches!(
            self,
            LinkType::NULL
                | LinkType::ENC
                | LinkType::LINUX_SLL
                | LinkType::PFLOG
                | LinkType::USB_LINUX
                | LinkType::USB_LINUX_MMAPPED
                | LinkType::NFLOG
        )
    }
}

/// The byte order of the file, or the section of a file, that an interface was described in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ByteOrder {
    /// Least significant byte first.
    Little,
    /// Most significant byte first.
    Big,
}

impl ByteOrder {
    /// A number's bytes.
    #[must_use]
    pub fn u16(self, number: u16) -> [u8; 2] {
        match self {
            ByteOrder::Little => number.to_le_bytes(),
            ByteOrder::Big => number.to_be_bytes(),
        }
    }

    /// A number's bytes.
    #[must_use]
    pub fn u32(self, number: u32) -> [u8; 4] {
        match self {
            ByteOrder::Little => number.to_le_bytes(),
            ByteOrder::Big => number.to_be_bytes(),
        }
    }
}

/// One capture interface as its file described it. A classic pcap file has exactly one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Interface {
    /// What the first byte of its packets means.
    pub link_type: LinkType,
    /// The largest number of bytes kept of a packet; 0 when there was no limit.
    pub snap_len: u32,
    /// How its times were written.
    pub scale: TimeScale,
    /// The byte order it was described in; libpcap reads the pseudo-headers of some link types
    /// (NULL among them) in this order.
    pub byte_order: ByteOrder,
    /// Every other option of its pcapng description (name, description, filter, hardware, ...),
    /// as [`crate::capture_file::options`] encodes them; empty for classic pcap. `if_tsresol` and
    /// `if_tsoffset` are not repeated here.
    pub options: Vec<u8>,
}

/// Bytes that are not an encoded interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an interface description")]
pub struct InterfaceError;

impl Interface {
    const FIXED_LEN: usize = 17;

    /// An interface of which only the link type is known; times are in nanoseconds.
    #[must_use]
    pub fn new(link_type: LinkType) -> Interface {
        Interface {
            link_type,
            snap_len: 0,
            scale: TimeScale::NANOS,
            byte_order: ByteOrder::Little,
            options: Vec::new(),
        }
    }

    /// The description as it is stored, little-endian: link type (2 bytes), byte order (1; 0
    /// little, 1 big), time resolution (1), time offset (8), snapshot length (4), a zero byte,
    /// then the options.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(Self::FIXED_LEN + self.options.len());
        bytes.extend_from_slice(&self.link_type.0.to_le_bytes());
        bytes.push(u8::from(self.byte_order == ByteOrder::Big));
        bytes.push(self.scale.resolution);
        bytes.extend_from_slice(&self.scale.offset_secs.to_le_bytes());
        bytes.extend_from_slice(&self.snap_len.to_le_bytes());
        bytes.push(0);
        bytes.extend_from_slice(&self.options);
        bytes
    }

    /// Reads what [`encode`](Self::encode) wrote.
    ///
    /// # Errors
    ///
    /// When it is something else.
    pub fn decode(bytes: &[u8]) -> Result<Interface, InterfaceError> {
        let (fixed, options) =
            bytes.split_first_chunk::<{ Self::FIXED_LEN }>().ok_or(InterfaceError)?;
        let [l0, l1, order, resolution, offset @ .., s0, s1, s2, s3, 0] = *fixed else {
            return Err(InterfaceError);
        };
        Ok(Interface {
            link_type: LinkType(u16::from_le_bytes([l0, l1])),
            snap_len: u32::from_le_bytes([s0, s1, s2, s3]),
            scale: TimeScale { resolution, offset_secs: i64::from_le_bytes(offset) },
            byte_order: match order {
                0 => ByteOrder::Little,
                1 => ByteOrder::Big,
                _ => return Err(InterfaceError),
            },
            options: options.to_vec(),
        })
    }
}
