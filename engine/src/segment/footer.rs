//! The footer of a sealed segment: its units, one behind the other, as they described themselves.

use tapstone_packet::interface::Interface;
use tapstone_packet::time::Timestamp;

use super::description::Unit;
use super::format::Totals;
use crate::bits::{push_varint, take_varint};
use crate::capture::loss::Loss;

/// Where everything in a segment is.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct SegmentMap {
    pub(crate) units: Vec<Unit>,
}

impl SegmentMap {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        push_varint(&mut bytes, self.units.len() as u64);
        self.units.iter().for_each(|unit| unit.encode(&mut bytes));
        bytes
    }

    /// Reads a footer's content; `None` when it is not one: units and blocks must be numbered in
    /// order.
    pub(crate) fn decode(mut bytes: &[u8]) -> Option<SegmentMap> {
        let count = take_varint(&mut bytes)?;
        let mut map = SegmentMap::default();
        let mut blocks = 0u32;
        for number in 0..count {
            let unit = Unit::decode(&mut bytes)?;
            if u64::from(unit.number) != number || unit.first_block != blocks {
                return None;
            }
            blocks = blocks.checked_add(u32::try_from(unit.blocks.len()).ok()?)?;
            map.units.push(unit);
        }
        bytes.is_empty().then_some(map)
    }

    /// What the units add up to.
    pub(crate) fn totals(&self, flows: u32) -> Totals {
        let (time_min, time_max) = self.times();
        Totals {
            packets: self.packets(),
            packet_bytes: self.units.iter().map(|unit| unit.packet_bytes).sum(),
            time_min,
            time_max,
            units: self.units.len() as u32,
            blocks: self.block_count(),
            flows,
        }
    }

    /// The segment's interfaces, as packets' interface numbers index them.
    pub(crate) fn interfaces(&self) -> impl Iterator<Item = &Interface> {
        self.units.iter().flat_map(|unit| &unit.interfaces)
    }

    pub(crate) fn block_count(&self) -> u32 {
        self.units.iter().map(|unit| unit.blocks.len() as u32).sum()
    }

    pub(crate) fn packets(&self) -> u64 {
        self.units.iter().map(|unit| u64::from(unit.packets())).sum()
    }

    /// Packets that came while it was written and could not be stored.
    pub(crate) fn losses(&self) -> impl Iterator<Item = Loss> {
        self.units.iter().flat_map(|unit| &unit.losses).copied()
    }

    /// Times of the earliest and the latest packet.
    pub(crate) fn times(&self) -> (Timestamp, Timestamp) {
        let times = || self.units.iter().map(Unit::times);
        let min = times().map(|(min, _)| min).min();
        let max = times().map(|(_, max)| max).max();
        (min.unwrap_or(Timestamp::MAX), max.unwrap_or(Timestamp::MIN))
    }
}

#[cfg(test)]
mod tests {
    use super::super::description::tests::sample;
    use super::*;

    #[test]
    fn a_map_survives_its_encoding_and_gaps_are_noticed() {
        let map = SegmentMap { units: vec![sample(0), sample(1)] };
        assert_eq!(SegmentMap::decode(&map.encode()).as_ref(), Some(&map));
        let gap = SegmentMap { units: vec![sample(1)] };
        assert_eq!(SegmentMap::decode(&gap.encode()), None);
    }
}
