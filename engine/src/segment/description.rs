//! What is known of a unit: its blocks, the interfaces first seen in it, and how far into its
//! source it reaches. Written sealed behind each unit, and again for all units in the footer.

use tapstone_packet::interface::Interface;
use tapstone_packet::time::Timestamp;

use crate::bits::{push_varint, push_varint_wide, take_bytes, take_varint, take_varint_wide};
use crate::capture::loss::{Loss, LossCause};

/// What may stand behind a unit's description: how far its source was read,
const HAS_CHECKPOINT: u8 = 1;
/// and what of it was lost.
const HAS_LOSSES: u8 = 2;

/// One write unit: what one shard took from one source before it wrote, grouped by flow.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Unit {
    pub(crate) number: u32,
    /// Where its first block begins in the file.
    pub(crate) offset: u64,
    pub(crate) first_block: u32,
    pub(crate) packet_bytes: u64,
    pub(crate) blocks: Vec<BlockPlace>,
    /// Interfaces first seen in this unit; they are numbered through the segment.
    pub(crate) interfaces: Vec<Interface>,
    /// What the source is called: a file's name, or a stream's.
    pub(crate) source: String,
    /// How far into its source this unit reaches, for sources that can be asked again.
    pub(crate) checkpoint: Option<Checkpoint>,
    /// Packets that came to its source meanwhile, and could not be stored.
    pub(crate) losses: Vec<Loss>,
}

/// Where a block is, and what it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BlockPlace {
    pub(crate) offset: u64,
    /// Bytes on disk: header, sealed bytes, tag.
    pub(crate) length: u32,
    pub(crate) packets: u32,
    pub(crate) time_min: Timestamp,
    pub(crate) time_max: Timestamp,
    pub(crate) crc: u32,
}

/// A statement about a stream of bytes: all packets of its first `offset` bytes, which have this
/// hash, are stored. A source whose bytes agree goes on from there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Checkpoint {
    pub(crate) offset: u64,
    /// XXH3-128 of the stream's first `offset` bytes.
    pub(crate) hash: u128,
    /// Packets in those bytes.
    pub(crate) packets: u64,
}

impl Unit {
    /// Where a block of it is, by its ordinal in the segment.
    pub(crate) fn place(&self, number: u32) -> BlockPlace {
        self.blocks[(number - self.first_block) as usize]
    }

    pub(crate) fn packets(&self) -> u32 {
        self.blocks.iter().map(|block| block.packets).sum()
    }

    pub(crate) fn blocks_length(&self) -> u64 {
        self.blocks.iter().map(|block| u64::from(block.length)).sum()
    }

    /// Times of its earliest and its latest packet, those that were lost among them.
    pub(crate) fn times(&self) -> (Timestamp, Timestamp) {
        let blocks = self.blocks.iter().map(|block| (block.time_min, block.time_max));
        let times = || blocks.clone().chain(self.losses.iter().map(|loss| (loss.first, loss.last)));
        let (min, max) = (times().map(|it| it.0).min(), times().map(|it| it.1).max());
        (min.unwrap_or(Timestamp::MAX), max.unwrap_or(Timestamp::MIN))
    }

    pub(crate) fn blocks_crc(&self) -> u32 {
        self.blocks
            .iter()
            .fold(0, |crc, block| crc32c::crc32c_append(crc, &block.crc.to_le_bytes()))
    }

    /// Appends the unit, in the form of docs/format/segment.md.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let base = self.times().0;
        push_varint(out, u64::from(self.number));
        push_varint(out, self.offset);
        push_varint(out, u64::from(self.first_block));
        push_varint(out, self.packet_bytes);
        out.extend_from_slice(&base.attos().to_le_bytes());
        push_varint(out, self.blocks.len() as u64);
        for block in &self.blocks {
            push_varint(out, u64::from(block.length));
            push_varint(out, u64::from(block.packets));
            push_varint_wide(out, above(base, block.time_min));
            push_varint_wide(out, above(block.time_min, block.time_max));
            out.extend_from_slice(&block.crc.to_le_bytes());
        }
        push_varint(out, self.interfaces.len() as u64);
        for interface in &self.interfaces {
            push_bytes(out, &interface.encode());
        }
        push_bytes(out, self.source.as_bytes());
        let losses = if self.losses.is_empty() { 0 } else { HAS_LOSSES };
        out.push(losses | if self.checkpoint.is_some() { HAS_CHECKPOINT } else { 0 });
        if let Some(checkpoint) = &self.checkpoint {
            push_varint(out, checkpoint.offset);
            out.extend_from_slice(&checkpoint.hash.to_le_bytes());
            push_varint(out, checkpoint.packets);
        }
        if !self.losses.is_empty() {
            push_varint(out, self.losses.len() as u64);
        }
        for loss in &self.losses {
            out.push(loss.cause.number());
            push_varint(out, loss.packets);
            push_varint_wide(out, above(base, loss.first));
            push_varint_wide(out, above(loss.first, loss.last));
        }
    }

    /// Takes a unit off the front of `input`; `None` when it is not one.
    pub(crate) fn decode(input: &mut &[u8]) -> Option<Unit> {
        let number = take_u32(input)?;
        let offset = take_varint(input)?;
        let first_block = take_u32(input)?;
        let packet_bytes = take_varint(input)?;
        let base = Timestamp::from_attos(i128::from_le_bytes(take_array(input)?));
        let blocks = decode_blocks(input, offset, base)?;
        let mut interfaces = Vec::new();
        for _ in 0..take_varint(input)? {
            interfaces.push(Interface::decode(take_length_prefixed(input)?).ok()?);
        }
        let source = String::from_utf8(take_length_prefixed(input)?.to_vec()).ok()?;
        let [parts] = take_array::<1>(input)?;
        if parts & !(HAS_CHECKPOINT | HAS_LOSSES) != 0 {
            return None;
        }
        let checkpoint = match parts & HAS_CHECKPOINT {
            0 => None,
            _ => Some(Checkpoint {
                offset: take_varint(input)?,
                hash: u128::from_le_bytes(take_array(input)?),
                packets: take_varint(input)?,
            }),
        };
        let mut losses = Vec::new();
        if parts & HAS_LOSSES != 0 {
            for _ in 0..take_varint(input)? {
                let cause = LossCause::of_number(take_array::<1>(input)?[0])?;
                let packets = take_varint(input)?;
                let first = below(base, take_varint_wide(input)?);
                let last = below(first, take_varint_wide(input)?);
                losses.push(Loss { cause, packets, first, last });
            }
        }
        Some(Unit {
            number,
            offset,
            first_block,
            packet_bytes,
            blocks,
            interfaces,
            source,
            checkpoint,
            losses,
        })
    }
}

fn decode_blocks(input: &mut &[u8], offset: u64, base: Timestamp) -> Option<Vec<BlockPlace>> {
    let count = take_varint(input)?;
    let mut blocks = Vec::new();
    let mut next = offset;
    for _ in 0..count {
        let length = take_u32(input)?;
        let packets = take_u32(input)?;
        let time_min = below(base, take_varint_wide(input)?);
        let time_max = below(time_min, take_varint_wide(input)?);
        let crc = u32::from_le_bytes(take_array(input)?);
        blocks.push(BlockPlace { offset: next, length, packets, time_min, time_max, crc });
        next = next.checked_add(u64::from(length))?;
    }
    Some(blocks)
}

fn above(base: Timestamp, time: Timestamp) -> u128 {
    time.attos().wrapping_sub(base.attos()) as u128
}

fn below(base: Timestamp, above: u128) -> Timestamp {
    Timestamp::from_attos(base.attos().wrapping_add(above as i128))
}

fn push_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    push_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn take_length_prefixed<'a>(input: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(take_varint(input)?).ok()?;
    take_bytes(input, length)
}

fn take_array<const N: usize>(input: &mut &[u8]) -> Option<[u8; N]> {
    take_bytes(input, N)?.try_into().ok()
}

fn take_u32(input: &mut &[u8]) -> Option<u32> {
    u32::try_from(take_varint(input)?).ok()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use tapstone_packet::interface::{ByteOrder, LinkType};
    use tapstone_packet::time::TimeScale;

    pub(crate) fn sample(number: u32) -> Unit {
        let time = |secs| Timestamp::from_secs_nanos(secs, 5);
        Unit {
            number,
            offset: 4096,
            first_block: number * 2,
            packet_bytes: 1234,
            blocks: [(4096, 500, 9), (4596, 70, 1)]
                .map(|(offset, length, packets)| BlockPlace {
                    offset,
                    length,
                    packets,
                    time_min: time(-3),
                    time_max: time(i64::from(length)),
                    crc: 0xdead_beef,
                })
                .to_vec(),
            interfaces: vec![Interface {
                link_type: LinkType::ETHERNET,
                snap_len: 65535,
                scale: TimeScale::NANOS,
                byte_order: ByteOrder::Big,
                options: Vec::new(),
            }],
            source: "a.pcap".into(),
            checkpoint: Some(Checkpoint { offset: 77, hash: u128::MAX - 5, packets: 10 }),
            losses: LossCause::ALL
                .map(|cause| Loss { cause, packets: 1 << 40, first: time(-9), last: time(12) })
                .to_vec(),
        }
    }

    #[test]
    fn a_unit_survives_its_encoding_and_no_prefix_of_it_does() {
        let unit = sample(3);
        let mut bytes = Vec::new();
        unit.encode(&mut bytes);
        let mut input = &bytes[..];
        assert_eq!(Unit::decode(&mut input).as_ref(), Some(&unit));
        assert!(input.is_empty());
        for length in 0..bytes.len() {
            assert_eq!(Unit::decode(&mut &bytes[..length]), None, "{length}");
        }
    }
}
