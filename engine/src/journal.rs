//! What the write-ahead log of a shard says (docs/format/wal.md, "Records").

use tapstone_packet::time::Timestamp;

use crate::bits::{push_varint, take_bytes, take_varint};
use crate::id::SegmentId;
use crate::segment::description::Unit;

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Record {
    /// A segment was begun.
    Begun(SegmentId),
    /// A unit of a segment is durable.
    Stored(StoredUnit),
    /// A segment is sealed, and its split and catalog row are to be made if they are missing.
    Sealed(SegmentId),
}

/// A unit that recovery must find.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredUnit {
    pub(crate) segment: SegmentId,
    pub(crate) unit: u32,
    pub(crate) offset: u64,
    pub(crate) length: u64,
    /// CRC32C over the checksums of its blocks.
    pub(crate) blocks_crc: u32,
    pub(crate) packets: u32,
    pub(crate) time_min: Timestamp,
    pub(crate) time_max: Timestamp,
}

impl StoredUnit {
    pub(crate) fn new(segment: SegmentId, unit: &Unit) -> StoredUnit {
        let (time_min, time_max) = unit.times();
        StoredUnit {
            segment,
            unit: unit.number,
            offset: unit.offset,
            length: unit.blocks_length(),
            blocks_crc: unit.blocks_crc(),
            packets: unit.packets(),
            time_min,
            time_max,
        }
    }
}

impl Record {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(80);
        match self {
            Record::Begun(segment) => {
                out.push(1);
                out.extend_from_slice(&segment.0);
            }
            Record::Stored(unit) => {
                out.push(2);
                out.extend_from_slice(&unit.segment.0);
                push_varint(&mut out, u64::from(unit.unit));
                push_varint(&mut out, unit.offset);
                push_varint(&mut out, unit.length);
                push_varint(&mut out, u64::from(unit.packets));
                out.extend_from_slice(&unit.blocks_crc.to_le_bytes());
                out.extend_from_slice(&unit.time_min.attos().to_le_bytes());
                out.extend_from_slice(&unit.time_max.attos().to_le_bytes());
            }
            Record::Sealed(segment) => {
                out.push(3);
                out.extend_from_slice(&segment.0);
            }
        }
        out
    }

    /// Reads a record; `None` when a newer program wrote it, or it is none.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Record> {
        let (&kind, mut input) = bytes.split_first()?;
        let segment = SegmentId(take_bytes(&mut input, 16)?.try_into().ok()?);
        let record = match kind {
            1 => Record::Begun(segment),
            2 => {
                let unit = u32::try_from(take_varint(&mut input)?).ok()?;
                let offset = take_varint(&mut input)?;
                let length = take_varint(&mut input)?;
                let packets = u32::try_from(take_varint(&mut input)?).ok()?;
                let blocks_crc = u32::from_le_bytes(take_bytes(&mut input, 4)?.try_into().ok()?);
                let mut time = || {
                    let bytes = take_bytes(&mut input, 16)?.try_into().ok()?;
                    Some(Timestamp::from_attos(i128::from_le_bytes(bytes)))
                };
                let (time_min, time_max) = (time()?, time()?);
                Record::Stored(StoredUnit {
                    segment,
                    unit,
                    offset,
                    length,
                    blocks_crc,
                    packets,
                    time_min,
                    time_max,
                })
            }
            3 => Record::Sealed(segment),
            _ => return None,
        };
        input.is_empty().then_some(record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::StoreId;
    use crate::segment::description::tests::sample;

    #[test]
    fn records_survive_their_encoding() {
        let segment = SegmentId::new(StoreId([3; 16]), 7, 8);
        let unit = StoredUnit::new(segment, &sample(2));
        for record in [Record::Begun(segment), Record::Stored(unit), Record::Sealed(segment)] {
            let bytes = record.encode();
            assert_eq!(Record::decode(&bytes), Some(record));
            assert_eq!(Record::decode(&bytes[..bytes.len() - 1]), None);
        }
    }
}
