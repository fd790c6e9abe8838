//! Writing a segment, unit by unit, on a shard.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tapstone_packet::interface::Interface;
use tapstone_packet::time::Timestamp;
use tapstone_runtime::appender::Appender;
use tapstone_runtime::file::{DirectFile, FileError};
use tapstone_runtime::{aside, blocking, random_bytes, yield_if_needed};
use zerocopy::IntoBytes;
use zerocopy::byteorder::little_endian::{U32, U64};

use super::at_disk::AtDisk;
use super::block::{BlockSealer, Owner};
use super::description::{BlockPlace, Checkpoint, Unit};
use super::directory::{self, Entry, TimeSpan};
use super::footer::SegmentMap;
use super::format::{BlockHeader, HeaderCopy, SegmentHeader, SegmentTrailer, UnitEnd};
use super::reader::{Opened, Segment};
use super::region::{self, RegionKind};
use crate::capture::loss::Loss;
use crate::id::{SegmentId, StoreId};
use crate::journal::StoredUnit;
use crate::keys::{FileKey, KeyError, KeyRing, Secret, Stream};
use crate::limits::PAGE_SIZE;

/// Why a segment cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The file refused.
    #[error("segment: {0}")]
    File(#[from] FileError),
    /// A key cannot be had.
    #[error(transparent)]
    Key(#[from] KeyError),
}

/// A segment that is being written.
#[derive(Debug)]
pub(crate) struct SegmentWriter {
    pub(crate) owner: Owner,
    path: PathBuf,
    opened: Arc<Opened>,
    appender: Appender,
    map: SegmentMap,
    /// Where the last unit ends.
    end: u64,
    next_block: u32,
    interfaces: HashMap<Interface, u32>,
    sealer: BlockSealer,
    block_size: usize,
    /// Told while this waits for the disk.
    pub(crate) at_disk: Arc<AtDisk>,
}

/// The packets of a unit in the order in which they are stored: by flow.
pub(crate) struct UnitPackets<'a> {
    pub(crate) arena: &'a [u8],
    /// One entry a packet; interfaces are numbered as the segment does.
    pub(crate) entries: &'a [Entry],
    /// Where each packet's bytes begin in the arena.
    pub(crate) offsets: &'a [u32],
    /// Options of each packet that has some, by index into `entries`, ascending.
    pub(crate) options: &'a [(u32, &'a [u8])],
    /// Power of ten, in attoseconds, that all times are whole multiples of above any of them.
    pub(crate) time_unit: u8,
    /// Interfaces that [`SegmentWriter::interface`] numbered for this unit.
    pub(crate) new_interfaces: Vec<Interface>,
    pub(crate) source: &'a str,
    pub(crate) checkpoint: Option<Checkpoint>,
    pub(crate) losses: &'a [Loss],
}

impl SegmentWriter {
    /// Begins a segment in a file that does not exist yet.
    pub(crate) async fn create(
        folder: &Path,
        keys: &KeyRing,
        store: StoreId,
        shard: u16,
        sequence: u32,
        now_nanos: u64,
        block_size: usize,
    ) -> Result<SegmentWriter, WriteError> {
        let segment = SegmentId::new(store, sequence, now_nanos / 1_000_000);
        let owner = Owner { store, segment };
        let bucket = keys.bucket_of_day(segment.day())?;
        let (secret, salt) = (Secret::random(), random_bytes());
        let key = FileKey::derive(&secret, &salt);
        let wrapped = keys.wrap_segment_key(*bucket, segment, &secret)?;
        let header = SegmentHeader::new(store, segment, shard, now_nanos);
        let commitment = *key.commitment();
        let header = header.with_keys(*bucket, wrapped, salt, commitment);

        let path = folder.join(format!("{segment}.open"));
        let file = DirectFile::create_new(&path).await?;
        let begun = begin(file, &header, folder).await;
        // More of them would come as long as the disk is full.
        let appender = begun.inspect_err(|_| drop(blocking::remove(&path)))?;
        Ok(SegmentWriter {
            owner,
            path,
            opened: Arc::new(Opened {
                owner,
                shard,
                created_nanos: now_nanos,
                bucket,
                secret,
                key,
                header: header.copy(),
            }),
            appender,
            map: SegmentMap::default(),
            end: PAGE_SIZE as u64,
            next_block: 0,
            interfaces: HashMap::new(),
            sealer: BlockSealer::default(),
            block_size,
            at_disk: Arc::default(),
        })
    }

    /// The segment's number for an interface; it is added to `new` when it was not known.
    pub(crate) fn interface(&mut self, interface: &Interface, new: &mut Vec<Interface>) -> u32 {
        if let Some(number) = self.interfaces.get(interface) {
            return *number;
        }
        let number = self.interfaces.len() as u32;
        self.interfaces.insert(interface.clone(), number);
        new.push(interface.clone());
        number
    }

    /// Bytes of the file so far.
    pub(crate) fn size(&self) -> u64 {
        self.appender.position()
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn map(&self) -> &SegmentMap {
        &self.map
    }

    /// What can be read of the segment while it is being written: its first `units` units.
    pub(crate) fn durable_part(&self, units: usize) -> Segment {
        let map = SegmentMap { units: self.map.units[..units].to_vec() };
        Segment::unsealed(self.path.clone(), Arc::clone(&self.opened), map)
    }

    /// What the segment's header says.
    pub(crate) fn header(&self) -> &HeaderCopy {
        &self.opened.header
    }

    /// Writes a unit and waits until all of it has been written; it is durable after the next
    /// [`sync`](Self::sync). `on_run` is told of every run of packets of one flow within a block:
    /// flow, block, packets.
    pub(crate) async fn write_unit(
        &mut self,
        packets: UnitPackets<'_>,
        mut on_run: impl FnMut(u32, u32),
    ) -> Result<StoredUnit, WriteError> {
        let mut unit = Unit {
            number: self.map.units.len() as u32,
            offset: self.appender.position(),
            first_block: self.next_block,
            packet_bytes: 0,
            blocks: Vec::new(),
            interfaces: packets.new_interfaces.clone(),
            source: packets.source.to_owned(),
            checkpoint: packets.checkpoint,
            losses: packets.losses.to_vec(),
        };
        let mut start = 0;
        let mut bytes = 0;
        for (index, entry) in packets.entries.iter().enumerate() {
            let captured = entry.captured as usize;
            if bytes + captured > self.block_size && index > start {
                self.write_block(&packets, start..index, &mut unit).await?;
                yield_if_needed().await;
                (start, bytes) = (index, 0);
            }
            let block = self.next_block;
            if index == start || packets.entries[index - 1].flow != entry.flow {
                on_run(entry.flow, block);
            }
            bytes += captured;
            unit.packet_bytes += captured as u64;
        }
        if start < packets.entries.len() {
            self.write_block(&packets, start..packets.entries.len(), &mut unit).await?;
        }
        let stored = self.end_unit(&unit).await?;
        self.end = self.appender.position();
        self.map.units.push(unit);
        Ok(stored)
    }

    async fn write_block(
        &mut self,
        packets: &UnitPackets<'_>,
        range: std::ops::Range<usize>,
        unit: &mut Unit,
    ) -> Result<(), WriteError> {
        let entries = &packets.entries[range.clone()];
        let (mut min, mut max) = (Timestamp::MAX, Timestamp::MIN);
        for entry in entries {
            min = min.min(entry.time);
            max = max.max(entry.time);
        }
        let from = packets.options.partition_point(|(index, _)| (*index as usize) < range.start);
        let to = packets.options.partition_point(|(index, _)| (*index as usize) < range.end);
        let options: Vec<(u32, &[u8])> = packets.options[from..to]
            .iter()
            .map(|(index, options)| (index - range.start as u32, *options))
            .collect();
        let plain = self.sealer.begin();
        let span = TimeSpan { min, max, unit: packets.time_unit };
        directory::encode(entries, span, &options, plain);
        for (entry, offset) in entries.iter().zip(&packets.offsets[range]) {
            let data = &packets.arena[*offset as usize..][..entry.captured as usize];
            plain.extend_from_slice(data);
        }

        let header =
            BlockHeader::new(self.next_block, unit.number, entries.len() as u32, (min, max));
        let (stored, crc) = self.sealer.seal(self.owner, &self.opened.key, header);
        unit.blocks.push(BlockPlace {
            offset: self.appender.position(),
            length: stored.len() as u32,
            packets: entries.len() as u32,
            time_min: min,
            time_max: max,
            crc,
        });
        self.at_disk.during(self.appender.append(stored)).await?;
        self.next_block += 1;
        Ok(())
    }

    async fn end_unit(&mut self, unit: &Unit) -> Result<StoredUnit, WriteError> {
        let mut description = Vec::new();
        unit.encode(&mut description);
        let (time_min, time_max) = unit.times();
        let mut end = UnitEnd::new(self.owner.segment, unit.number);
        end.first_block = U32::new(unit.first_block);
        end.blocks = U32::new(unit.blocks.len() as u32);
        end.packets = U32::new(unit.packets());
        end.packet_bytes = U64::new(unit.packet_bytes);
        end.offset = U64::new(unit.offset);
        end.blocks_length = U64::new(unit.blocks_length());
        end.blocks_crc = U32::new(unit.blocks_crc());
        end.time_min.set(time_min.attos());
        end.time_max.set(time_max.attos());
        let aad = [&self.owner.store.0[..], &self.owner.segment.0];
        let position = u64::from(unit.number);
        let tag = self.opened.key.seal(Stream::Units, position, &aad, &mut description);
        description.extend_from_slice(&tag);
        end.description_length = U32::new(description.len() as u32);
        end.description_crc = U32::new(crc32c::crc32c(&description));
        let end = end.finish();
        let appender = &mut self.appender;
        let written = async {
            appender.append(end.as_bytes()).await?;
            appender.append(&description).await?;
            appender.pad().await?;
            appender.flush().await
        };
        self.at_disk.during(written).await?;
        Ok(StoredUnit { end, description })
    }

    /// Makes everything written so far durable.
    pub(crate) async fn sync(&self) -> Result<(), WriteError> {
        Ok(self.at_disk.during(self.appender.file().sync_data()).await?)
    }

    /// Ends a segment that could not be written on. What stands behind its first `units` units is cut
    /// off, so that nothing of it is ever found.
    pub(crate) async fn give_up(self, units: usize) -> Result<(), FileError> {
        let end = self.map.units.get(units).map_or(self.end, |next| next.offset);
        self.appender.give_up().await;
        blocking::cut(&self.path, end)
    }

    /// Writes footer and trailer, makes all of it durable, and gives the file its final name. Gives
    /// the segment and its bytes.
    pub(crate) async fn finish(mut self, flows: u32) -> Result<(Segment, u64), WriteError> {
        let totals = self.map.totals(flows);
        let footer = self.map.encode();
        let position = self.appender.position();
        let (place, sealed) =
            region::seal(self.owner, &self.opened.secret, RegionKind::Footer, position, &footer);
        self.appender.append(&sealed).await?;
        self.appender.pad().await?;
        let (owner, header) = (self.owner, self.opened.header);
        let trailer = SegmentTrailer::new(owner.store, owner.segment, place, &totals, header);
        self.appender.append(trailer.as_bytes()).await?;
        self.at_disk.during(self.appender.flush()).await?;
        self.at_disk.during(self.appender.file().sync_data()).await?;
        let stored_bytes = self.appender.position();
        self.appender.file().clone().close().await?;
        let path = self.path.clone();
        aside(move || blocking::rename(&path, &path.with_extension("seg"))).await?;
        Ok((Segment::unsealed(self.path, self.opened, self.map).sealed(flows), stored_bytes))
    }
}

/// Writes the header, durably.
async fn begin(
    file: DirectFile,
    header: &SegmentHeader,
    folder: &Path,
) -> Result<Appender, FileError> {
    let mut appender = Appender::new(file);
    appender.append(header.as_bytes()).await?;
    appender.flush().await?;
    appender.file().sync_data().await?;
    let folder = folder.to_owned();
    aside(move || blocking::sync_dir(&folder)).await?;
    Ok(appender)
}

/// The trailing pages of a segment that is finished from what verified of it.
pub(crate) fn footer_and_trailer(
    opened: &Opened,
    map: &SegmentMap,
    flows: u32,
    position: u64,
) -> Vec<u8> {
    let (owner, secret) = (opened.owner, &opened.secret);
    let (place, mut bytes) =
        region::seal(owner, secret, RegionKind::Footer, position, &map.encode());
    bytes.resize(bytes.len().next_multiple_of(PAGE_SIZE), 0);
    let (totals, header) = (map.totals(flows), opened.header);
    let trailer = SegmentTrailer::new(owner.store, owner.segment, place, &totals, header);
    bytes.extend_from_slice(trailer.as_bytes());
    bytes
}
