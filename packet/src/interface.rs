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
}

/// The byte order of the file, or the section of a file, that an interface was described in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ByteOrder {
    /// Least significant byte first.
    Little,
    /// Most significant byte first.
    Big,
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
