//! What the write-ahead log of a shard says (docs/format/wal.md, "Records").

use zerocopy::IntoBytes;

use crate::id::SegmentId;
use crate::segment::format::{HeaderCopy, UNIT_END_LEN, UnitEnd};

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Record {
    /// A segment was begun, with this header.
    Begun(SegmentId, Box<HeaderCopy>),
    /// A unit of a segment is durable.
    Stored(StoredUnit),
    /// A segment is sealed, and its split and catalog row are to be made if they are missing.
    Sealed(SegmentId),
}

/// A unit that recovery must find: what stands behind its blocks, once more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredUnit {
    pub(crate) end: UnitEnd,
    /// Sealed, as behind the unit.
    pub(crate) description: Vec<u8>,
}

impl StoredUnit {
    pub(crate) fn segment(&self) -> SegmentId {
        SegmentId(self.end.segment)
    }
}

impl Record {
    pub(crate) fn encode(&self) -> Vec<u8> {
        match self {
            Record::Begun(segment, header) => [&[1][..], &segment.0, &header[..]].concat(),
            Record::Stored(unit) => {
                [&[2][..], &unit.end.segment, unit.end.as_bytes(), &unit.description].concat()
            }
            Record::Sealed(segment) => [&[3][..], &segment.0].concat(),
        }
    }

    /// Reads a record; `None` when a newer program wrote it, or it is none.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Record> {
        let (&kind, input) = bytes.split_first()?;
        let (segment, rest) = input.split_first_chunk()?;
        let segment = SegmentId(*segment);
        match kind {
            1 => Some(Record::Begun(segment, Box::new(rest.try_into().ok()?))),
            2 => {
                let end = UnitEnd::parse(rest).ok()?;
                let description = &rest[UNIT_END_LEN..];
                let whole = description.len() == end.description_length.get() as usize;
                let own = end.segment == segment.0;
                let unit = StoredUnit { end, description: description.to_vec() };
                (whole && own).then_some(Record::Stored(unit))
            }
            3 => rest.is_empty().then_some(Record::Sealed(segment)),
            _ => None,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use zerocopy::byteorder::little_endian::U32;

    use super::*;
    use crate::id::StoreId;
    use crate::segment::description::tests::sample;

    /// What the log says of a unit, its description aside.
    pub(crate) fn stored(segment: SegmentId, number: u32) -> StoredUnit {
        let mut end = UnitEnd::new(segment, number);
        end.packets = U32::new(sample(number).packets());
        end.description_length = U32::new(3);
        StoredUnit { end: end.finish(), description: vec![1, 2, 3] }
    }

    #[test]
    fn records_survive_their_encoding() {
        let segment = SegmentId::new(StoreId([3; 16]), 7, 8);
        let begun = Record::Begun(segment, Box::new([9; 196]));
        for record in [begun, Record::Stored(stored(segment, 2)), Record::Sealed(segment)] {
            let bytes = record.encode();
            assert_eq!(Record::decode(&bytes), Some(record));
            assert_eq!(Record::decode(&bytes[..bytes.len() - 1]), None);
        }
    }
}
