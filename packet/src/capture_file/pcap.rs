//! Classic pcap (<https://datatracker.ietf.org/doc/draft-ietf-opsawg-pcap/>), with what libpcap
//! reads beyond it: nanoseconds, the format of Alexey Kuznetzov's patches, and the swapped lengths
//! of versions before 2.4.

use super::error::Damage;
use super::{Fields, PacketRecord, Step, captured_len_max, effective_snap_len};
use crate::interface::{ByteOrder, Interface, LinkType};
use crate::time::{TimeScale, Timestamp};

pub(super) const HEADER_LEN: usize = 24;

const MAGIC_MICROS: u32 = 0xa1b2_c3d4;
const MAGIC_NANOS: u32 = 0xa1b2_3c4d;
const MAGIC_MODIFIED: u32 = 0xa1b2_cd34;

/// Which of a record's two length fields comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lengths {
    CapturedFirst,
    OriginalFirst,
    /// Written both ways: whichever makes sense.
    Either,
}

#[derive(Debug)]
pub(super) struct Reader {
    order: ByteOrder,
    record_header_len: usize,
    nanos_per_unit: u32,
    lengths: Lengths,
    snap_len: u32,
    captured_max: u32,
}

impl Reader {
    /// Reads the file header; `None` when it is not all there.
    pub(super) fn open(input: &[u8]) -> Result<Option<(Reader, Interface)>, Damage> {
        let magic = input.first_chunk::<4>().expect("the caller looked at the magic");
        let (order, magic) = recognise(*magic).ok_or_else(|| Damage::NotACapture(guess(input)))?;
        let Some(header) = input.get(4..HEADER_LEN) else { return Ok(None) };
        let mut fields = Fields::new(header, order);
        let mut word = || fields.u32().expect("the header has 24 bytes");
        let version = word();
        let (_zone, _accuracy) = (word(), word());
        let (claimed_snap_len, network) = (word(), word());
        // The version is two 16-bit fields, major first, whatever the byte order.
        let (major, minor) = match order {
            ByteOrder::Little => (version as u16, (version >> 16) as u16),
            ByteOrder::Big => ((version >> 16) as u16, version as u16),
        };
        let lengths = match (major, minor) {
            (2, 0..=2) | (543, 0) => Lengths::OriginalFirst,
            (2, 3) => Lengths::Either,
            (2, 4) => Lengths::CapturedFirst,
            _ => return Err(Damage::Version { format: "pcap", major, minor }),
        };
        // The upper six bits tell about frame check sequences; those below are reserved.
        let link_type =
            u16::try_from(network & 0x03ff_ffff).map_err(|_| Damage::LinkType(network))?;
        let nanos = magic == MAGIC_NANOS;
        let reader = Reader {
            order,
            record_header_len: if magic == MAGIC_MODIFIED { 24 } else { 16 },
            nanos_per_unit: if nanos { 1 } else { 1000 },
            lengths,
            snap_len: effective_snap_len(link_type, claimed_snap_len),
            captured_max: captured_len_max(link_type),
        };
        let interface = Interface {
            link_type: LinkType(link_type),
            snap_len: claimed_snap_len,
            scale: if nanos { TimeScale::NANOS } else { TimeScale::MICROS },
            byte_order: order,
            options: Vec::new(),
        };
        Ok(Some((reader, interface)))
    }

    #[inline]
    pub(super) fn step(
        &mut self,
        input: &[u8],
        end: bool,
        cut_packets: &mut u64,
    ) -> Result<Step, Damage> {
        if input.is_empty() && end {
            return Ok(Step::End);
        }
        let needed = self.record_header_len;
        let Some(header) = input.get(..needed) else {
            return if end {
                Err(Damage::cut_short("a record header", needed, input))
            } else {
                Ok(Step::More { needed })
            };
        };
        let mut fields = Fields::new(header, self.order);
        let mut word = || fields.u32().expect("a record header has 16 bytes");
        let (secs, fraction, first, second) = (word(), word(), word(), word());
        let (stored, original_len) = match self.lengths {
            Lengths::CapturedFirst => (first, second),
            Lengths::OriginalFirst => (second, first),
            Lengths::Either => (first.min(second), first.max(second)),
        };
        if stored > self.captured_max {
            return Err(Damage::CapturedLength { captured: stored, limit: self.captured_max });
        }
        let consumed = needed + stored as usize;
        if input.len() < consumed {
            return if end {
                Err(Damage::cut_short("a packet", consumed, input))
            } else {
                Ok(Step::More { needed: consumed })
            };
        }
        let captured = stored.min(self.snap_len);
        *cut_packets += u64::from(captured < stored);
        Ok(Step::Packet(PacketRecord {
            consumed,
            data: needed..needed + captured as usize,
            original_len,
            time: self.time(secs, fraction),
            interface: 0,
            options: None,
        }))
    }

    /// Fractions of a second or more are carried into the seconds.
    fn time(&self, secs: u32, fraction: u32) -> Timestamp {
        let nanos = u64::from(fraction) * u64::from(self.nanos_per_unit);
        let total = u64::from(secs) * 1_000_000_000 + nanos;
        Timestamp::from_nanos(i64::try_from(total).expect("32-bit seconds in ns fit 63 bits"))
    }
}

fn recognise(magic: [u8; 4]) -> Option<(ByteOrder, u32)> {
    let known = [MAGIC_MICROS, MAGIC_NANOS, MAGIC_MODIFIED];
    let (little, big) = (u32::from_le_bytes(magic), u32::from_be_bytes(magic));
    if known.contains(&little) {
        Some((ByteOrder::Little, little))
    } else if known.contains(&big) {
        Some((ByteOrder::Big, big))
    } else {
        None
    }
}

/// What a file that is no capture may be instead, for the error.
fn guess(input: &[u8]) -> &'static str {
    const KNOWN: [(&[u8], &str); 7] = [
        (b"\x1f\x8b", "it is gzip-compressed"),
        (b"\x28\xb5\x2f\xfd", "it is zstd-compressed"),
        (b"BZh", "it is bzip2-compressed; unpack it first"),
        (b"\xfd7zXZ", "it is xz-compressed; unpack it first"),
        (b"snoop\0", "it is a snoop capture; convert it with editcap -F pcapng"),
        (b"GMBU", "it is a Network Monitor capture; convert it with editcap -F pcapng"),
        (b"PK\x03\x04", "it is a zip archive; unpack it first"),
    ];
    KNOWN
        .iter()
        .find(|(magic, _)| input.starts_with(magic))
        .map_or("its first bytes are no capture's", |(_, what)| what)
}
