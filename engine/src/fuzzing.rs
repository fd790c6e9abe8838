//! The readers of what stands on the disk, for fuzzing: they must be total.

use tapstone_packet::time::Timestamp;

use crate::audit;
use crate::journal::Record;
use crate::ledger;
use crate::segment::block;
use crate::segment::description::Unit;
use crate::segment::directory::Directory;
use crate::segment::footer::SegmentMap;
use crate::segment::format::{SegmentHeader, SegmentTrailer, UnitEnd};
use crate::state::Transition;

/// Reads bytes as the part of a segment, a log, the audit log or the ledger that the first byte
/// chooses.
pub fn parse_for_fuzzing(bytes: &[u8]) {
    let Some((&kind, bytes)) = bytes.split_first() else { return };
    match kind % 6 {
        0 => read_directory(bytes),
        1 => {
            if let Some(map) = SegmentMap::decode(bytes) {
                assert_eq!(SegmentMap::decode(&map.encode()), Some(map));
            }
            Unit::decode(&mut &bytes[..]);
        }
        2 => {
            if let Some(record) = Record::decode(bytes) {
                assert_eq!(Record::decode(&record.encode()), Some(record));
            }
            if let Some(transition) = Transition::decode(bytes) {
                assert_eq!(Transition::decode(&transition.encode()), Some(transition));
            }
        }
        3 => {
            SegmentHeader::parse(bytes).ok();
            SegmentTrailer::parse(bytes).ok();
            UnitEnd::parse(bytes).ok();
            block::verify(bytes).ok();
        }
        4 => audit::parse_for_fuzzing(bytes),
        _ => ledger::parse_for_fuzzing(bytes),
    }
}

fn read_directory(bytes: &[u8]) {
    let Some(directory) = Directory::parse(bytes, Timestamp::EPOCH) else { return };
    let mut index = 0usize;
    for (_, packets) in directory.runs() {
        for at in index..index.saturating_add(packets).min(directory.len()) {
            let numbers = (directory.rank(at), directory.captured(at), directory.original(at));
            std::hint::black_box((directory.time(at), numbers, directory.interface(at)));
        }
        index = index.saturating_add(packets);
    }
    std::hint::black_box(directory.annotations().count());
}
