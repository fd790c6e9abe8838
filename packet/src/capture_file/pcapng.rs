//! pcapng (<https://datatracker.ietf.org/doc/draft-ietf-opsawg-pcapng/>).

use super::error::Damage;
use super::options::{self, Holder};
use super::{Fields, PacketRecord, Step, captured_len_max, effective_snap_len};
use crate::interface::{ByteOrder, Interface, LinkType};
use crate::time::{TimeScale, Timestamp};

pub(super) const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const OBSOLETE_PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const ENHANCED_PACKET: u32 = 6;

const BYTE_ORDER_MAGIC: u32 = 0x1a2b_3c4d;
/// Type and total length before the body, total length behind it.
const BLOCK_OVERHEAD: usize = 12;
/// As libpcap: larger blocks are taken for damage.
const BLOCK_LENGTH_MAX: u32 = 16 << 20;

#[derive(Debug)]
pub(super) struct Reader {
    order: ByteOrder,
    /// Where the section's interfaces begin among all.
    first_interface: usize,
}

impl Reader {
    pub(super) fn new() -> Reader {
        Reader { order: ByteOrder::Little, first_interface: 0 }
    }

    #[inline]
    pub(super) fn step(
        &mut self,
        input: &[u8],
        end: bool,
        interfaces: &mut Vec<Interface>,
        skipped_blocks: &mut u64,
    ) -> Result<Step, Damage> {
        if input.is_empty() && end {
            return Ok(Step::End);
        }
        let short = |what, needed: usize| {
            if end {
                Err(Damage::cut_short(what, needed, input))
            } else {
                Ok(Step::More { needed })
            }
        };
        if input.len() < BLOCK_OVERHEAD {
            return short("a block header", BLOCK_OVERHEAD);
        }
        if input.starts_with(&SECTION_HEADER.to_le_bytes()) {
            self.order = section_order(input)?;
        }
        let mut head = Fields::new(input, self.order);
        let (Some(kind), Some(length)) = (head.u32(), head.u32()) else {
            return short("a block header", BLOCK_OVERHEAD);
        };
        check_length(kind, length)?;
        let consumed = length as usize;
        let Some(block) = input.get(..consumed) else { return short("a block", consumed) };
        let body = &block[8..consumed - 4];
        if Fields::new(&block[consumed - 4..], self.order).u32() != Some(length) {
            let why = "the length behind it is another";
            return Err(Damage::BlockLength { kind, length, why });
        }
        match kind {
            SECTION_HEADER => {
                self.first_interface = interfaces.len();
                check_version(body, self.order)?;
            }
            INTERFACE => interfaces.push(self.interface(body)?),
            ENHANCED_PACKET | OBSOLETE_PACKET => {
                let section = &interfaces[self.first_interface..];
                return self.packet(kind, body, section, consumed).map(Step::Packet);
            }
            SIMPLE_PACKET => {
                let section = &interfaces[self.first_interface..];
                return self.simple_packet(body, section, consumed).map(Step::Packet);
            }
            _ => *skipped_blocks += 1,
        }
        Ok(Step::Skipped { consumed })
    }

    fn interface(&self, body: &[u8]) -> Result<Interface, Damage> {
        let malformed = |why| Damage::Block { kind: INTERFACE, why };
        let mut fields = Fields::new(body, self.order);
        let fixed = (fields.u16(), fields.u16(), fields.u32());
        let (Some(link_type), Some(_), Some(snap_len)) = fixed else {
            return Err(malformed("it is too short"));
        };
        let all = options::normalise(fields.bytes, self.order, Holder::Interface);
        let mut scale = TimeScale::MICROS;
        let mut kept = Vec::new();
        for (code, value) in options::iter(&all) {
            match code {
                options::TIME_RESOLUTION => {
                    let [resolution] = *value else {
                        return Err(malformed("its time resolution is not one byte"));
                    };
                    scale.resolution = resolution;
                }
                options::TIME_OFFSET => {
                    let bytes = value.try_into();
                    let bytes = bytes.map_err(|_| malformed("its time offset is not 8 bytes"))?;
                    scale.offset_secs = i64::from_le_bytes(bytes);
                }
                _ => options::push(&mut kept, code, value),
            }
        }
        Ok(Interface {
            link_type: LinkType(link_type),
            snap_len,
            scale,
            byte_order: self.order,
            options: kept,
        })
    }

    /// Enhanced and obsolete packet blocks differ in how wide the interface's number is.
    fn packet(
        &self,
        kind: u32,
        body: &[u8],
        section: &[Interface],
        consumed: usize,
    ) -> Result<PacketRecord, Damage> {
        let malformed = |why| Damage::Block { kind, why };
        let mut fields = Fields::new(body, self.order);
        let number = if kind == ENHANCED_PACKET {
            fields.u32()
        } else {
            let number = fields.u16().map(u32::from);
            fields.u16().and(number)
        };
        let times = (fields.u32(), fields.u32());
        let lengths = (fields.u32(), fields.u32());
        let (Some(number), (Some(high), Some(low)), (Some(captured), Some(original_len))) =
            (number, times, lengths)
        else {
            return Err(malformed("it is too short"));
        };
        let interface = find(section, number)?;
        check_captured(captured, interface)?;
        let captured = captured as usize;
        if fields.bytes.len() < captured {
            return Err(malformed("its packet does not fit in it"));
        }
        let ticks = u64::from(high) << 32 | u64::from(low);
        let raw = fields.bytes.get(captured.next_multiple_of(4)..).unwrap_or(&[]);
        let mut options = if raw.is_empty() {
            Vec::new()
        } else {
            options::normalise(raw, self.order, Holder::Packet)
        };
        if !interface.scale.is_exact() {
            options::push(&mut options, options::RAW_TICKS, &ticks.to_le_bytes());
        }
        let start = 8 + body.len() - fields.bytes.len();
        Ok(PacketRecord {
            consumed,
            data: start..start + captured,
            original_len,
            time: interface.scale.to_time(ticks),
            interface: self.first_interface as u32 + number,
            options: (!options.is_empty()).then_some(options),
        })
    }

    /// Simple packets belong to the section's first interface, have no time, and are as long as
    /// its snapshot length allows.
    fn simple_packet(
        &self,
        body: &[u8],
        section: &[Interface],
        consumed: usize,
    ) -> Result<PacketRecord, Damage> {
        let malformed = |why| Damage::Block { kind: SIMPLE_PACKET, why };
        let mut fields = Fields::new(body, self.order);
        let original_len = fields.u32().ok_or_else(|| malformed("it is too short"))?;
        let interface = find(section, 0)?;
        let snap_len = effective_snap_len(interface.link_type.0, interface.snap_len);
        let captured = original_len.min(snap_len);
        check_captured(captured, interface)?;
        if fields.bytes.len() < captured as usize {
            return Err(malformed("its packet does not fit in it"));
        }
        Ok(PacketRecord {
            consumed,
            data: 12..12 + captured as usize,
            original_len,
            time: Timestamp::EPOCH,
            interface: self.first_interface as u32,
            options: None,
        })
    }
}

/// A section header's byte order, which its first fields tell.
fn section_order(input: &[u8]) -> Result<ByteOrder, Damage> {
    let magic = input.get(8..12).unwrap_or(&[]);
    if magic == BYTE_ORDER_MAGIC.to_le_bytes() {
        Ok(ByteOrder::Little)
    } else if magic == BYTE_ORDER_MAGIC.to_be_bytes() {
        Ok(ByteOrder::Big)
    } else {
        Err(Damage::ByteOrder)
    }
}

fn check_length(kind: u32, length: u32) -> Result<(), Damage> {
    let smallest = if kind == SECTION_HEADER { 28 } else { BLOCK_OVERHEAD as u32 };
    let why = if length < smallest {
        "that is less than it must have"
    } else if length > BLOCK_LENGTH_MAX {
        "that is more than the 16 MiB there can be"
    } else if !length.is_multiple_of(4) {
        "that is no multiple of four"
    } else {
        return Ok(());
    };
    Err(Damage::BlockLength { kind, length, why })
}

fn check_version(body: &[u8], order: ByteOrder) -> Result<(), Damage> {
    let mut fields = Fields::new(body, order);
    match (fields.u32(), fields.u16(), fields.u16()) {
        (Some(_), Some(1), Some(0 | 2)) => Ok(()),
        (_, major, minor) => Err(Damage::Version {
            format: "pcapng",
            major: major.unwrap_or(0),
            minor: minor.unwrap_or(0),
        }),
    }
}

fn find(section: &[Interface], number: u32) -> Result<&Interface, Damage> {
    section
        .get(number as usize)
        .ok_or(Damage::Interface { interface: number, described: section.len() as u32 })
}

fn check_captured(captured: u32, interface: &Interface) -> Result<(), Damage> {
    let limit = captured_len_max(interface.link_type.0);
    if captured > limit { Err(Damage::CapturedLength { captured, limit }) } else { Ok(()) }
}
