//! What verifies of a segment that was left open. A scan changes nothing.

use tapstone_runtime::blocking::ReadFile;
use tapstone_runtime::file::FileError;

use super::block;
use super::description::Unit;
use super::footer::SegmentMap;
use super::format::{BLOCK_HEADER_LEN, BlockHeader, UNIT_END_LEN, UnitEnd};
use super::reader::Opened;
use crate::keys::{Stream, TAG_LEN};
use crate::limits::PAGE_SIZE;

/// The units that verify, from the front, and where the first byte behind them is.
#[derive(Debug)]
pub(crate) struct Scanned {
    pub(crate) map: SegmentMap,
    pub(crate) end: u64,
}

/// Reads units until one does not verify: every block's checksum, the unit's end, and its
/// description, which must open and agree with what was found.
pub(crate) fn scan_units(file: &ReadFile, opened: &Opened) -> Result<Scanned, FileError> {
    let length = file.length()?;
    let mut scanned = Scanned { map: SegmentMap::default(), end: PAGE_SIZE as u64 };
    while let Some((unit, end)) = next_unit(file, opened, &scanned, length)? {
        scanned.map.units.push(unit);
        scanned.end = end;
    }
    Ok(scanned)
}

fn next_unit(
    file: &ReadFile,
    opened: &Opened,
    before: &Scanned,
    length: u64,
) -> Result<Option<(Unit, u64)>, FileError> {
    let start = before.end;
    let mut at = start;
    let mut crcs = Vec::new();
    loop {
        if at + UNIT_END_LEN as u64 > length {
            return Ok(None);
        }
        let head = file.read_at(at, BLOCK_HEADER_LEN)?;
        if UnitEnd::is_at(&head) {
            break;
        }
        let Ok(header) = BlockHeader::parse(&head) else { return Ok(None) };
        let stored = BLOCK_HEADER_LEN as u64 + u64::from(header.stored_length.get());
        if at + stored > length {
            return Ok(None);
        }
        let bytes = file.read_at(at, stored as usize)?;
        let Ok(header) = block::verify(&bytes) else { return Ok(None) };
        crcs.push(header.crc.get());
        at += stored;
    }
    let Ok(end) = UnitEnd::parse(&file.read_at(at, UNIT_END_LEN)?) else { return Ok(None) };
    let number = before.map.units.len() as u32;
    let expected = end.segment == opened.owner.segment.0
        && end.unit.get() == number
        && end.offset.get() == start
        && end.blocks_length.get() == at - start;
    let description_length = u64::from(end.description_length.get());
    let behind = at + UNIT_END_LEN as u64 + description_length;
    if !expected || behind > length {
        return Ok(None);
    }
    let sealed = file.read_at(at + UNIT_END_LEN as u64, description_length as usize)?;
    let unit = open_description(opened, number, &end, &sealed);
    let unit = unit.filter(|unit| {
        unit.offset == start
            && unit.first_block == before.map.block_count()
            && unit.blocks.iter().map(|block| block.crc).eq(crcs)
    });
    Ok(unit.map(|unit| (unit, behind.next_multiple_of(PAGE_SIZE as u64))))
}

fn open_description(opened: &Opened, number: u32, end: &UnitEnd, sealed: &[u8]) -> Option<Unit> {
    if crc32c::crc32c(sealed) != end.description_crc.get() {
        return None;
    }
    let (data, tag) = sealed.split_last_chunk::<TAG_LEN>()?;
    let mut plain = data.to_vec();
    let aad = [&opened.owner.store.0[..], &opened.owner.segment.0];
    if !opened.key.open(Stream::Units, u64::from(number), &aad, &mut plain, *tag) {
        return None;
    }
    let mut input = &plain[..];
    Unit::decode(&mut input).filter(|_| input.is_empty())
}
