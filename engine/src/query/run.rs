//! Running a job on a shard: reading blocks, opening them, judging packets.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tapstone_packet::time::Timestamp;
use tapstone_runtime::file::{DirectFile, FileError, ReadBuf};
use tapstone_runtime::{spawn_local, yield_if_needed};

use super::found::{Found, Hit, Position};
use super::histogram::{Bars, Tally};
use super::plan::{Job, Target};
use super::turns::Patience;
use crate::effects::Way;
use crate::segment::block::{self, BlockError};
use crate::segment::description::{BlockPlace, Unit};
use crate::segment::directory::Directory;

/// Whether matching packets are wanted, or only their number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Want {
    Packets,
    Count,
    Histogram(Bars),
}

impl Want {
    /// An empty tally, when packets are to be counted over time.
    fn tally(self) -> Option<Tally> {
        match self {
            Want::Histogram(bars) => Some(Tally::new(bars)),
            Want::Packets | Want::Count => None,
        }
    }
}

/// What a job gave.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) found: Found,
    pub(crate) count: u64,
    /// Captured bytes of the packets counted.
    pub(crate) bytes: u64,
    /// Blocks that could not be read, and why.
    pub(crate) damaged: Vec<(BlockPlace, String)>,
    /// What was counted when that was wanted.
    pub(crate) tally: Option<Tally>,
}

/// Reads the job's blocks; must run on a shard. `arena` is memory for what is found. Once `unwanted`
/// is set, nobody waits for the outcome, and no more is read.
pub(crate) async fn run(
    job: Job,
    want: Want,
    mut arena: Vec<u8>,
    unwanted: Arc<AtomicBool>,
    (way, patience): (Way, Patience),
) -> Outcome {
    let segment = &job.target.segment;
    let unit = &segment.map.units[job.unit];
    arena.clear();
    let mut judge = Judge {
        target: &job.target,
        range: job.range,
        after: job.after,
        want,
        unwanted,
        way,
        of_block: want.tally(),
        scratch: Vec::new(),
        plain: Vec::new(),
        outcome: Outcome {
            found: Found {
                store: segment.opened.owner.store,
                segment: segment.id(),
                unit: unit.number,
                interfaces: Arc::clone(&segment.interfaces),
                arena,
                hits: Vec::new(),
            },
            count: 0,
            bytes: 0,
            damaged: Vec::new(),
            tally: want.tally(),
        },
    };
    match segment.direct_file().await {
        Ok(file) => {
            // It is only read from: there is nothing that closing it could lose, so nobody waits
            // for that.
            judge.read_all(&file, unit, &job.blocks, &patience).await;
        }
        Err(error) => {
            let places = job.blocks.iter().map(|number| unit.place(*number));
            judge.outcome.damaged.extend(places.map(|place| (place, error.to_string())));
        }
    }
    let mut outcome = judge.outcome;
    outcome.found.hits.sort_unstable_by_key(|hit| (hit.time, hit.rank));
    outcome
}

struct Judge<'t> {
    target: &'t Target,
    range: (Timestamp, Timestamp),
    after: Option<Position>,
    want: Want,
    unwanted: Arc<AtomicBool>,
    way: Way,
    /// What the current block gave to be counted: it counts when the block was read to its end.
    of_block: Option<Tally>,
    scratch: Vec<u8>,
    plain: Vec<u8>,
    outcome: Outcome,
}

impl Judge<'_> {
    /// Reads piece by piece, the next one while the current is looked at.
    async fn read_all(
        &mut self,
        file: &DirectFile,
        unit: &Unit,
        blocks: &[u32],
        patience: &Patience,
    ) {
        let pieces = pieces(unit, blocks, patience.read_size());
        let start = |piece: &Piece| {
            let (file, bytes) = (file.clone(), piece.bytes.clone());
            let patience = patience.clone();
            spawn_local(async move {
                let _turn = patience.turn().await;
                file.read_at(bytes.start, (bytes.end - bytes.start) as usize).await
            })
        };
        let mut next = pieces.first().map(&start);
        for (index, piece) in pieces.iter().enumerate() {
            let Some(read) = next.take() else { break };
            if self.unwanted.load(Ordering::Relaxed) {
                break;
            }
            next = pieces.get(index + 1).map(&start);
            let read: Result<ReadBuf, FileError> = read.await;
            for number in &blocks[piece.blocks.clone()] {
                self.way.give().await;
                let place = unit.place(*number);
                let (at, length) =
                    ((place.offset - piece.bytes.start) as usize, place.length as usize);
                let looked = match &read {
                    Ok(bytes) => self.judge(*number, &bytes[at..at + length]),
                    // One bad sector must not cost the blocks that were read along with its own.
                    Err(_) => match file.read_at(place.offset, length).await {
                        Ok(bytes) => self.judge(*number, &bytes),
                        Err(error) => {
                            self.outcome.damaged.push((place, error.to_string()));
                            continue;
                        }
                    },
                };
                if let Err(error) = looked {
                    self.outcome.damaged.push((place, error.to_string()));
                }
                // A needle must not wait for a whole piece.
                yield_if_needed().await;
            }
        }
    }

    /// Judges a block's packets; all of them, or none where it cannot be read to its end.
    fn judge(&mut self, number: u32, stored: &[u8]) -> Result<(), BlockError> {
        let (count, bytes, hits) =
            (self.outcome.count, self.outcome.bytes, self.outcome.found.hits.len());
        let judged = self.look_at(number, stored);
        if judged.is_err() {
            (self.outcome.count, self.outcome.bytes) = (count, bytes);
            self.outcome.found.hits.truncate(hits);
            if let Some(of_block) = &mut self.of_block {
                of_block.clear();
            }
        } else if let (Some(all), Some(of_block)) = (&mut self.outcome.tally, &mut self.of_block) {
            all.merge(of_block);
        }
        judged
    }

    fn look_at(&mut self, number: u32, stored: &[u8]) -> Result<(), BlockError> {
        let opened = &self.target.segment.opened;
        let (scratch, plain) = (&mut self.scratch, &mut self.plain);
        let header = block::open(opened.owner, &opened.key, number, stored, scratch, plain)?;
        let directory = Directory::parse(&self.plain, header.times().0)
            .ok_or(BlockError::Content("its directory makes no sense"))?;
        let whole = header.times().0 >= self.range.0 && header.times().1 < self.range.1;
        let found = &mut self.outcome.found;
        let (segment, unit) = (found.segment.sequence(), found.unit);
        let place = |time, rank| Position { time, segment, unit, rank };
        let after = self.after.filter(|after| after.time >= header.times().0);
        let mut annotations = directory.annotations().peekable();
        let (mut index, mut start) = (0, 0);
        for (flow, packets) in directory.runs() {
            let wanted = self.target.flows.as_ref().is_none_or(|flows| flows.contains(flow));
            for index in index..index + packets {
                let captured = directory.captured(index);
                let at = start;
                start += captured as usize;
                if !wanted {
                    continue;
                }
                let data = directory
                    .data
                    .get(at..start)
                    .ok_or(BlockError::Content("its packets do not fit in it"))?;
                let time = directory.time(index);
                let in_range = whole || (self.range.0 <= time && time < self.range.1);
                if !in_range || after.is_some_and(|it| place(time, directory.rank(index)) <= it) {
                    continue;
                }
                let (interface, original) = (directory.interface(index), directory.original(index));
                let verdict = self.target.verdicts.get(interface as usize);
                let matches = verdict.is_some_and(|verdict| verdict.of(data, original));
                if !matches {
                    continue;
                }
                self.outcome.count += 1;
                self.outcome.bytes += u64::from(captured);
                if let Some(tally) = &mut self.of_block {
                    tally.add(time, interface, &found.interfaces[interface as usize], data);
                }
                if self.want != Want::Packets {
                    continue;
                }
                let offset = found.arena.len() as u32;
                found.arena.extend_from_slice(data);
                let options_start = found.arena.len() as u32;
                while annotations.next_if(|(annotated, _)| *annotated < index).is_some() {}
                if let Some((_, options)) = annotations.next_if(|(it, _)| *it == index) {
                    found.arena.extend_from_slice(options);
                }
                found.hits.push(Hit {
                    time,
                    rank: directory.rank(index),
                    interface,
                    flow,
                    original,
                    offset,
                    captured,
                    options: options_start..found.arena.len() as u32,
                });
            }
            index += packets;
        }
        if index != directory.len() {
            return Err(BlockError::Content("its directory makes no sense"));
        }
        Ok(())
    }
}

/// Blocks that are read together.
struct Piece {
    /// Indices into the job's blocks.
    blocks: Range<usize>,
    /// Where they are in the file.
    bytes: Range<u64>,
}

fn pieces(unit: &Unit, blocks: &[u32], read_size: u64) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = Vec::new();
    for (index, number) in blocks.iter().enumerate() {
        let place = unit.place(*number);
        let end = place.offset + u64::from(place.length);
        match pieces.last_mut() {
            Some(piece)
                if piece.bytes.end == place.offset && end - piece.bytes.start <= read_size =>
            {
                piece.blocks.end = index + 1;
                piece.bytes.end = end;
            }
            _ => pieces.push(Piece { blocks: index..index + 1, bytes: place.offset..end }),
        }
    }
    pieces
}
