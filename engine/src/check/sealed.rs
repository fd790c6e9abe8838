//! Checking a sealed segment: its fixed parts, its blocks, its split.

use tapstone_index::Split;

use super::{CheckReport, Checker};
use crate::catalog::SegmentRow;
use crate::id::SegmentId;
use crate::pace::{GivenUp, Pace};
use crate::segment::block;
use crate::segment::directory::Directory;
use crate::segment::reader::{self, Segment};
use crate::segment::scan::check_unit_end;
use crate::segment::split_file;

impl Checker<'_> {
    /// All that there is of a segment that the catalog has.
    pub(crate) fn check_sealed(
        &self,
        id: SegmentId,
        row: &SegmentRow,
        pace: &mut Pace<'_>,
        report: &mut CheckReport,
    ) -> Result<(), GivenUp> {
        let path = self.layout.segment(id);
        let segment = match reader::open_sealed(&path, self.keys, self.store) {
            Ok(segment) => segment,
            Err(error) => {
                report.add(path, None, error);
                return Ok(());
            }
        };
        report.segments += 1;
        for (offset, what) in &segment.damage {
            report.add(path.clone(), Some(*offset), what);
        }
        let counted = segment.map.totals(row.flows);
        let same = segment.totals.as_ref().is_none_or(|said| {
            (said.packets, said.packet_bytes, said.blocks, said.flows)
                == (counted.packets, counted.packet_bytes, counted.blocks, counted.flows)
        });
        if !same {
            report.add(path.clone(), None, "its trailer and its footer count differently");
        }
        if !is_row_of(row, &segment) {
            let what = "the catalog and the segment count differently; run: tapstone rebuild";
            report.add(path.clone(), None, what);
        }
        self.check_blocks(&segment, row.flows, pace, report)?;
        self.check_split(id, row, &segment, report);
        pace.rest()
    }

    /// Every block, and what stands behind each unit.
    pub(crate) fn check_blocks(
        &self,
        segment: &Segment,
        flows: u32,
        pace: &mut Pace<'_>,
        report: &mut CheckReport,
    ) -> Result<(), GivenUp> {
        let file = match segment.read_file() {
            Ok(file) => file,
            Err(error) => {
                report.add(segment.path.clone(), None, error);
                return Ok(());
            }
        };
        // What the system has in memory says nothing of the disk.
        file.forget_cached();
        let (mut scratch, mut plain) = (Vec::new(), Vec::new());
        for unit in &segment.map.units {
            for (place, number) in unit.blocks.iter().zip(unit.first_block..) {
                pace.rest()?;
                let at = Some(place.offset);
                let stored = match file.read_at(place.offset, place.length as usize) {
                    Ok(stored) => stored,
                    Err(error) => {
                        report.add(segment.path.clone(), at, error);
                        continue;
                    }
                };
                let (owner, key) = (segment.opened.owner, &segment.opened.key);
                let header = block::open(owner, key, number, &stored, &mut scratch, &mut plain);
                match header {
                    Ok(header) => {
                        report.blocks += 1;
                        let times = header.times();
                        let wrong = check_directory(&plain, times.0, place.packets, flows)
                            .or((header.crc.get() != place.crc).then_some("it is another block"));
                        match wrong {
                            Some(what) => report.add(segment.path.clone(), at, what),
                            None => report.packets += u64::from(place.packets),
                        }
                    }
                    Err(error) => report.add(segment.path.clone(), at, error),
                }
            }
            let at = Some(unit.offset + unit.blocks_length());
            match check_unit_end(&file, &segment.opened, unit) {
                Ok(None) => {}
                Ok(Some(what)) => report.add(segment.path.clone(), at, what),
                Err(error) => report.add(segment.path.clone(), at, error),
            }
        }
        // Nobody reads it from there.
        file.forget_cached();
        Ok(())
    }

    /// A split, by itself and against its segment; gives whether it can be read.
    pub(crate) fn check_split(
        &self,
        id: SegmentId,
        row: &SegmentRow,
        segment: &Segment,
        report: &mut CheckReport,
    ) -> bool {
        let path = self.layout.split(id);
        let source = match split_file::open(&path, self.keys, self.store, id) {
            Ok(source) => source,
            Err(error) => {
                report.add(path, None, error);
                return false;
            }
        };
        let checked = Split::verify_bytes(source.clone()).and_then(|()| {
            let split = Split::open(source)?;
            split.verify()?;
            Ok(split)
        });
        let split = match checked {
            Ok(split) => split,
            Err(error) => {
                report.add(path, None, error);
                return false;
            }
        };
        report.flows += u64::from(split.flow_count());
        if split.flow_count() != row.flows {
            report.add(path.clone(), None, "it has another number of flows than its segment");
        }
        let blocks = segment.map.block_count();
        let mut packets = 0;
        for flow in 0..split.flow_count() {
            if let Ok(row) = split.row(flow) {
                packets += row.packets;
                if row.blocks.iter().any(|block| *block >= blocks) {
                    report.add(
                        path.clone(),
                        None,
                        format!("flow {flow} names a block that is not there"),
                    );
                }
            }
        }
        if packets != row.packets {
            report.add(path, None, "its flows have another number of packets than its segment");
        }
        true
    }
}

/// Whether a row of the catalog is about what a segment has.
pub(crate) fn is_row_of(row: &SegmentRow, segment: &Segment) -> bool {
    let counted = segment.map.totals(row.flows);
    (row.packets, row.packet_bytes, row.blocks)
        == (counted.packets, counted.packet_bytes, counted.blocks)
}

/// What is wrong with a block's directory.
fn check_directory(
    plain: &[u8],
    base: tapstone_packet::time::Timestamp,
    packets: u32,
    flows: u32,
) -> Option<&'static str> {
    let Some(directory) = Directory::parse(plain, base) else {
        return Some("its directory makes no sense");
    };
    let (mut counted, mut bytes) = (0, 0);
    for (flow, packets) in directory.runs() {
        if flow >= flows {
            return Some("it names a flow that is not there");
        }
        bytes += (counted..counted + packets)
            .map(|index| directory.captured(index) as usize)
            .sum::<usize>();
        counted += packets;
    }
    if counted != packets as usize || directory.len() != counted {
        return Some("it has another number of packets than it says");
    }
    (bytes != directory.data.len()).then_some("its packets do not fill it")
}
