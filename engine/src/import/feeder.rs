//! From a stream of bytes to batches of packets.

use std::io::{self, Read};
use std::sync::Arc;

use tapstone_packet::capture_file::{CaptureError, CaptureReader, Step};
use xxhash_rust::xxh3::Xxh3;

use super::batch::{Batch, Record};
use super::known::Known;
use crate::catalog::CheckpointRow;
use crate::segment::description::Checkpoint;

/// Bytes that are read at once: they stay in the core's own cache until they are parsed.
const PIECE_SIZE: usize = 256 << 10;

/// Reads a capture and cuts it into batches, passing over what is stored already.
pub(crate) struct Feeder<'k, R> {
    input: R,
    reader: CaptureReader,
    /// Bytes of a batch's arena: at most, and as it is wanted now.
    unit_max: usize,
    unit: usize,
    known: &'k Known,
    source: Arc<str>,
    /// Of all bytes before `offset`.
    hasher: Xxh3,
    offset: u64,
    packets: u64,
    /// Bytes read but not consumed.
    carry: Vec<u8>,
    at_end: bool,
    /// Whether everything so far was stored already, so that the next bytes may be too.
    following: bool,
    interfaces: Arc<[tapstone_packet::interface::Interface]>,
    already: Already,
}

/// What of the stream was stored before this import.
#[derive(Clone, Debug, Default)]
pub(crate) struct Already {
    pub(crate) packets: u64,
    /// Where it was stored from: the last checkpoint that agreed.
    pub(crate) row: Option<CheckpointRow>,
    /// Whether that was the whole stream.
    pub(crate) whole: bool,
}

/// What [`Feeder::fill`] did.
#[derive(Debug)]
pub(crate) enum Filled {
    /// The batch holds packets to be stored, or at least a checkpoint.
    Batch,
    /// The stream is over.
    End,
    /// The batch holds what came before the stream's damage.
    Damaged(CaptureError),
}

/// Why a source cannot be read on.
#[derive(Debug)]
pub(crate) struct ReadError {
    pub(crate) offset: u64,
    pub(crate) source: io::Error,
}

impl<'k, R: Read> Feeder<'k, R> {
    pub(crate) fn new(input: R, source: Arc<str>, known: &'k Known, unit: usize) -> Self {
        Feeder {
            input,
            reader: CaptureReader::new(),
            unit_max: unit,
            unit,
            following: !known.is_empty(),
            known,
            source,
            hasher: Xxh3::new(),
            offset: 0,
            packets: 0,
            carry: Vec::new(),
            at_end: false,
            interfaces: Arc::new([]),
            already: Already::default(),
        }
    }

    /// Fills batches up to so many bytes from now on, at most as many as at first. What is stored
    /// already is followed in units as large as they were then.
    pub(crate) fn scale(&mut self, unit: usize) {
        self.unit = unit.clamp(1, self.unit_max);
    }

    /// Bytes of the stream consumed so far.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    pub(crate) fn reader(&self) -> &CaptureReader {
        &self.reader
    }

    pub(crate) fn already(&self) -> &Already {
        &self.already
    }

    /// Fills `batch` with the next packets that are not stored yet.
    pub(crate) fn fill(&mut self, batch: &mut Batch) -> Result<Filled, ReadError> {
        loop {
            let filled = self.fill_unchecked(batch)?;
            match filled {
                Filled::Batch if batch.records.is_empty() && batch.checkpoint.is_none() => {}
                filled => return Ok(filled),
            }
        }
    }

    /// As [`fill`](Self::fill), but the batch may come back empty.
    fn fill_unchecked(&mut self, batch: &mut Batch) -> Result<Filled, ReadError> {
        batch.clear();
        let unit = if self.following { self.unit_max } else { self.unit };
        let mut filled = self.carry.len();
        let length = unit.max(filled);
        if batch.arena.len() < length {
            batch.arena.resize(length, 0);
        } else if batch.arena.capacity() > 2 * length {
            // From before units became smaller.
            batch.arena.truncate(length);
            batch.arena.shrink_to(length);
        }
        batch.arena[..filled].copy_from_slice(&self.carry);
        let stored = if self.following {
            filled = self.read_to(&mut batch.arena, filled, unit)?;
            self.stored_prefix(&batch.arena[..filled])
        } else {
            None
        };
        let (consumed, outcome) = self.parse(batch, unit, &mut filled, stored)?;

        self.offset += consumed as u64;
        self.packets += batch.records.len() as u64;
        self.carry.clear();
        self.carry.extend_from_slice(&batch.arena[consumed..filled]);
        if self.interfaces.len() != self.reader.interfaces().len() {
            self.interfaces = self.reader.interfaces().into();
        }
        batch.interfaces = Arc::clone(&self.interfaces);
        batch.source = Arc::clone(&self.source);
        if stored.is_some() {
            self.already.packets += batch.records.len() as u64;
            self.already.whole = self.at_end && consumed == filled;
            batch.clear();
        } else if consumed > 0 {
            self.already.whole = false;
            batch.checkpoint = Some(Checkpoint {
                offset: self.offset,
                hash: self.hasher.digest128(),
                packets: self.packets,
            });
        }
        Ok(outcome)
    }

    fn stored_prefix(&mut self, bytes: &[u8]) -> Option<usize> {
        if !self.following {
            return None;
        }
        let stored = self.known.stored_prefix(self.offset, bytes, &mut self.hasher);
        let Some(stored) = stored else {
            self.following = false;
            return None;
        };
        self.already.row = Some(stored.row.clone());
        Some(stored.length)
    }

    /// Steps through the stored prefix, or through the whole arena, into records. The arena is
    /// filled piece by piece on the way, so that what is read is parsed and hashed while it is
    /// near the core. Gives the bytes consumed.
    fn parse(
        &mut self,
        batch: &mut Batch,
        unit: usize,
        filled: &mut usize,
        stored: Option<usize>,
    ) -> Result<(usize, Filled), ReadError> {
        let (mut at, mut hashed) = (0, 0);
        let outcome = loop {
            let limit = stored.unwrap_or(*filled);
            let last = self.at_end && limit == *filled;
            let step = if at == limit && !last {
                Ok(Step::More { needed: 1 })
            } else {
                self.reader.step(&batch.arena[at..limit], last)
            };
            match step {
                Ok(Step::Packet(packet)) => {
                    if let Some(options) = packet.options {
                        batch.options.push((batch.records.len() as u32, options));
                    }
                    batch.records.push(Record {
                        time: packet.time,
                        offset: (at + packet.data.start) as u32,
                        captured: packet.data.len() as u32,
                        original: packet.original_len,
                        interface: packet.interface,
                    });
                    at += packet.consumed;
                }
                Ok(Step::Skipped { consumed }) => at += consumed,
                Ok(Step::End) => break Filled::End,
                Ok(Step::More { needed }) => {
                    let full = *filled >= unit && at > 0;
                    if stored.is_some() || full {
                        break Filled::Batch;
                    }
                    self.hasher.update(&batch.arena[hashed..at]);
                    hashed = at;
                    let piece = (*filled + PIECE_SIZE).min(unit);
                    // A single step may need more than the arena usually holds.
                    let target = piece.max(at + needed);
                    if batch.arena.len() < target {
                        batch.arena.resize(target, 0);
                    }
                    *filled = self.read_to(&mut batch.arena, *filled, target)?;
                }
                Err(error) => break Filled::Damaged(error),
            }
        };
        if stored.is_none() {
            self.hasher.update(&batch.arena[hashed..at]);
        }
        Ok((at, outcome))
    }

    /// Reads until `arena[..target]` is full or the stream ends; gives the bytes it then holds.
    fn read_to(
        &mut self,
        arena: &mut [u8],
        mut filled: usize,
        target: usize,
    ) -> Result<usize, ReadError> {
        while filled < target && !self.at_end {
            match self.input.read(&mut arena[filled..target]) {
                Ok(0) => self.at_end = true,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => {
                    return Err(ReadError { offset: self.offset + filled as u64, source });
                }
            }
        }
        Ok(filled)
    }
}
