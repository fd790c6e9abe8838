//! The packets of a block, as `linux/if_packet.h` lays them out (`tpacket_block_desc`,
//! `tpacket3_hdr`). Nothing in it is taken on trust: what does not fit ends the block.

use zerocopy::{FromBytes, Immutable, KnownLayout};

/// The packet's tag was taken off, and is told beside it.
const HAS_VLAN: u32 = 1 << 4;
/// So is the tag's kind.
const HAS_VLAN_TPID: u32 = 1 << 6;
/// The kind of a tag for which none is told: 802.1Q.
const USUAL_TPID: u16 = 0x8100;

/// What a block begins with.
#[derive(FromBytes, Immutable, KnownLayout)]
#[repr(C)]
struct BlockHeader {
    _version: u32,
    _private: u32,
    _status: u32,
    packets: u32,
    first: u32,
    _length: u32,
    _sequence: u64,
}

/// What a packet begins with.
#[derive(FromBytes, Immutable, KnownLayout)]
#[repr(C)]
struct PacketHeader {
    /// Bytes from this header to the next.
    next: u32,
    secs: u32,
    nanos: u32,
    captured: u32,
    original: u32,
    status: u32,
    /// Where the packet's bytes begin, from this header.
    start: u16,
    _network: u16,
    _hash: u32,
    vlan_tci: u32,
    vlan_tpid: u16,
    _padding: u16,
}

/// A packet in the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingPacket<'b> {
    /// When it came: seconds since the epoch.
    pub secs: u32,
    /// And nanoseconds.
    pub nanos: u32,
    /// Its bytes, without the tag that was taken off.
    pub data: &'b [u8],
    /// How long it was on the wire, without that tag.
    pub original: u32,
    /// The outermost VLAN tag, when the interface or the kernel took it off.
    pub vlan: Option<VlanTag>,
}

/// An 802.1Q or 802.1ad tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VlanTag {
    /// What kind of tag it is: 0x8100, 0x88a8, ...
    pub tpid: u16,
    /// Priority, drop eligibility, and number.
    pub tci: u16,
}

impl VlanTag {
    /// The tag's four bytes, as they stood behind the addresses.
    #[must_use]
    pub fn bytes(self) -> [u8; 4] {
        let ([a, b], [c, d]) = (self.tpid.to_be_bytes(), self.tci.to_be_bytes());
        [a, b, c, d]
    }
}

/// Goes through a block's packets.
#[derive(Clone, Debug)]
pub struct Packets<'b> {
    block: &'b [u8],
    left: u32,
    at: usize,
}

impl<'b> Packets<'b> {
    pub(super) fn new(block: &'b [u8]) -> Packets<'b> {
        let header = BlockHeader::read_from_prefix(block).map(|(header, _)| header);
        let (left, at) = header.map_or((0, 0), |header| (header.packets, header.first as usize));
        Packets { block, left, at }
    }
}

impl<'b> Iterator for Packets<'b> {
    type Item = RingPacket<'b>;

    fn next(&mut self) -> Option<RingPacket<'b>> {
        self.left = self.left.checked_sub(1)?;
        let bytes = self.block.get(self.at..)?;
        let (header, _) = PacketHeader::ref_from_prefix(bytes).ok()?;
        let start = usize::from(header.start);
        let data = bytes.get(start..start + header.captured as usize)?;
        self.at += header.next as usize;
        let tpid = if header.status & HAS_VLAN_TPID != 0 { header.vlan_tpid } else { USUAL_TPID };
        let vlan = VlanTag { tpid, tci: header.vlan_tci as u16 };
        Some(RingPacket {
            secs: header.secs,
            nanos: header.nanos,
            data,
            original: header.original,
            vlan: (header.status & HAS_VLAN != 0).then_some(vlan),
        })
    }
}

#[cfg(test)]
mod tests {
    use zerocopy::IntoBytes;

    use super::*;

    /// A block as the kernel writes it: data and status of each packet.
    fn block(packets: &[(&[u8], u32)]) -> Vec<u8> {
        let mut words = [0u32; 12];
        (words[3], words[4]) = (packets.len() as u32, 48);
        let mut bytes = words.as_bytes().to_vec();
        for (data, status) in packets {
            let captured = data.len() as u32;
            let next = (48 + captured).next_multiple_of(8);
            let [start, hash, tci, tpid] = [48, 0, 0x6005, 0x88a8];
            let header =
                [next, 7, 9, captured, captured + 5, *status, start, hash, tci, tpid, 0, 0];
            bytes.extend(header.as_bytes());
            bytes.extend_from_slice(data);
            bytes.resize(bytes.len().next_multiple_of(8), 0);
        }
        bytes
    }

    #[test]
    fn packets_come_in_order_with_the_tags_that_were_taken_off() {
        let bytes =
            block(&[(b"first", 1), (b"second", 1 | HAS_VLAN), (b"", 1 | HAS_VLAN | HAS_VLAN_TPID)]);
        let packets: Vec<_> = Packets::new(&bytes).collect();
        let data: Vec<_> = packets.iter().map(|it| (it.data, it.original)).collect();
        assert_eq!(data, [(&b"first"[..], 10), (b"second", 11), (b"", 5)]);
        assert_eq!((packets[0].secs, packets[0].nanos), (7, 9));
        let tags: Vec<_> = packets.iter().map(|it| it.vlan.map(VlanTag::bytes)).collect();
        let expected = [None, Some([0x81, 0, 0x60, 5]), Some([0x88, 0xa8, 0x60, 5])];
        assert_eq!(tags, expected);
    }

    #[test]
    fn what_does_not_fit_ends_the_block() {
        let whole = block(&[(b"first", 1), (b"second", 1), (b"third", 1)]);
        for length in 0..whole.len() {
            let count = Packets::new(&whole[..length]).count();
            assert!(count <= 3, "{count} packets in {length} bytes");
        }
        for (at, _) in whole.iter().enumerate() {
            let mut bytes = whole.clone();
            bytes[at] = 0xff;
            assert!(Packets::new(&bytes).take(10).count() <= 10);
        }
    }
}
