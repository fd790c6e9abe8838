//! Following a segment's flows again, from its packets alone: to make a split that is missing.

use std::collections::BTreeSet;

use tapstone_packet::names::Answer;
use tapstone_packet::time::Timestamp;
use tapstone_runtime::blocking::ReadFile;
use tapstone_runtime::file::FileError;

use crate::flows::table::FlowTable;
use crate::flows::tracker::Tracker;
use crate::pace::{GivenUp, Pace};
use crate::segment::block;
use crate::segment::description::Unit;
use crate::segment::directory::Directory;
use crate::segment::reader::Segment;

/// Why a segment's flows cannot be followed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The file cannot be opened.
    #[error("segment: {0}")]
    File(#[from] FileError),
    /// Something came that matters more.
    #[error(transparent)]
    GivenUp(#[from] GivenUp),
}

/// What following a segment gave.
#[derive(Debug)]
pub(crate) struct Replayed {
    pub(crate) table: FlowTable,
    pub(crate) answers: Vec<Answer>,
    /// Where blocks could not be read, and why; their packets are in no row.
    pub(crate) damaged: Vec<(u64, String)>,
}

/// A packet of a unit, where it lies in the unit's plaintexts.
struct Place {
    time: Timestamp,
    rank: u32,
    flow: u32,
    interface: u32,
    start: usize,
    length: usize,
    block: u32,
}

/// Reads every packet in order of arrival.
pub(crate) fn replay(segment: &Segment, pace: &mut Pace<'_>) -> Result<Replayed, ReplayError> {
    let file = segment.read_file()?;
    let mut tracker = Tracker::default();
    let mut damaged = Vec::new();
    for unit in &segment.map.units {
        let (bytes, mut places) = read_unit(&file, segment, unit, pace, &mut damaged)?;
        sort_by_arrival(&mut places);
        tracker.table.begin_unit();
        let mut runs = BTreeSet::new();
        for place in &places {
            let Some(interface) = segment.interfaces.get(place.interface as usize) else {
                continue;
            };
            let data = &bytes[place.start..place.start + place.length];
            // The blocks say which flow each packet belongs to. What the decoder makes of it may
            // differ, where a damaged block held the packets before or another version wrote this.
            tracker.table.expect(place.flow, place.time);
            let found = tracker.packet(interface, data);
            let times = (place.time, place.time);
            tracker.table.count(found.flow, times, 1, place.length as u64);
            runs.insert((place.block, found.flow));
        }
        for (block, flow) in runs {
            tracker.table.add_block(flow, block);
        }
    }
    let (table, answers) = tracker.end_segment();
    Ok(Replayed { table, answers, damaged })
}

fn read_unit(
    file: &ReadFile,
    segment: &Segment,
    unit: &Unit,
    pace: &mut Pace<'_>,
    damaged: &mut Vec<(u64, String)>,
) -> Result<(Vec<u8>, Vec<Place>), GivenUp> {
    let (mut all, mut places) = (Vec::new(), Vec::new());
    let (mut scratch, mut plain) = (Vec::new(), Vec::new());
    let (owner, key) = (segment.opened.owner, &segment.opened.key);
    for (place, number) in unit.blocks.iter().zip(unit.first_block..) {
        pace.rest()?;
        let read = file.read_at(place.offset, place.length as usize);
        let opened = read.map_err(|error| error.to_string()).and_then(|stored| {
            let opened = block::open(owner, key, number, &stored, &mut scratch, &mut plain);
            opened.map_err(|error| error.to_string())
        });
        let parsed = opened.and_then(|header| {
            Directory::parse(&plain, header.times().0)
                .ok_or_else(|| "its directory makes no sense".to_owned())
        });
        match parsed {
            Ok(directory) => add_places(&directory, number, &mut all, &mut places),
            Err(error) => damaged.push((place.offset, error)),
        }
    }
    Ok((all, places))
}

fn add_places(directory: &Directory<'_>, block: u32, all: &mut Vec<u8>, places: &mut Vec<Place>) {
    let base = all.len();
    all.extend_from_slice(directory.data);
    let (mut index, mut start) = (0, base);
    for (flow, packets) in directory.runs() {
        for _ in 0..packets {
            let length = directory.captured(index) as usize;
            if start + length > all.len() {
                return;
            }
            places.push(Place {
                time: directory.time(index),
                rank: directory.rank(index),
                flow,
                interface: directory.interface(index),
                start,
                length,
                block,
            });
            start += length;
            index += 1;
        }
    }
}

/// Ranks number all packets of a unit whose times went back, and those of equal time elsewhere.
fn sort_by_arrival(places: &mut [Place]) {
    places.sort_unstable_by_key(|place| place.rank);
    let numbered = places.iter().zip(0..).all(|(place, number)| place.rank == number);
    if !numbered {
        places.sort_by_key(|place| (place.time, place.rank));
    }
}
