//! What verifies of a segment that was left open. A scan changes nothing.

use tapstone_runtime::blocking::ReadFile;
use tapstone_runtime::file::FileError;

use super::block;
use super::description::Unit;
use super::footer::SegmentMap;
use super::format::{BLOCK_HEADER_LEN, BlockHeader, UNIT_END_LEN, UnitEnd};
use super::reader::Opened;
use crate::journal::StoredUnit;
use crate::keys::{Stream, TAG_LEN};
use crate::limits::PAGE_SIZE;

/// The units that verify, from the front, and where the first byte behind them is.
#[derive(Debug)]
pub(crate) struct Scanned {
    pub(crate) map: SegmentMap,
    pub(crate) end: u64,
    /// Where what the log does not vouch for begins: it can be read, but nobody knows whether it
    /// would survive a power cut.
    pub(crate) doubtful: u64,
}

/// Takes the units that are vouched for, whatever became of their blocks; then reads on until one
/// does not verify: every block's checksum, the unit's end, and its description, which must open
/// and agree with what was found.
pub(crate) fn scan_units(
    file: &ReadFile,
    opened: &Opened,
    vouched: &[StoredUnit],
) -> Result<Scanned, FileError> {
    let length = file.length()?;
    let start = PAGE_SIZE as u64;
    let mut scanned = Scanned { map: SegmentMap::default(), end: start, doubtful: start };
    loop {
        let number = scanned.map.units.len();
        let stored = vouched.iter().find(|unit| unit.end.unit.get() as usize == number);
        let vouched = stored.and_then(|unit| take_vouched(opened, &scanned, unit));
        let is_vouched = vouched.is_some() && scanned.doubtful == scanned.end;
        let next = match vouched {
            Some(taken) => Some(taken),
            None => next_unit(file, opened, &scanned, length)?,
        };
        let Some((unit, end)) = next else { return Ok(scanned) };
        scanned.map.units.push(unit);
        scanned.end = end;
        if is_vouched {
            scanned.doubtful = end;
        }
    }
}

/// A unit as the log knows it, when it comes next.
fn take_vouched(opened: &Opened, before: &Scanned, stored: &StoredUnit) -> Option<(Unit, u64)> {
    let end = &stored.end;
    let number = before.map.units.len() as u32;
    let next = end.offset.get() == before.end;
    let unit =
        next.then(|| open_description(opened, number, end, &stored.description)).flatten()?;
    let fits = unit.offset == before.end && unit.first_block == before.map.block_count();
    let length = end.blocks_length.get() + (UNIT_END_LEN + stored.description.len()) as u64;
    fits.then(|| (unit, (before.end + length).next_multiple_of(PAGE_SIZE as u64)))
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

/// What is wrong behind the blocks of a unit that the footer knows: its end, its description, and
/// the zeros behind them must be as they were written.
pub(crate) fn check_unit_end(
    file: &ReadFile,
    opened: &Opened,
    unit: &Unit,
) -> Result<Option<&'static str>, FileError> {
    let at = unit.offset + unit.blocks_length();
    let Ok(end) = UnitEnd::parse(&file.read_at(at, UNIT_END_LEN)?) else {
        return Ok(Some("the unit's end is damaged"));
    };
    let start = at + UNIT_END_LEN as u64;
    let length = u64::from(end.description_length.get());
    let behind = (start + length).next_multiple_of(PAGE_SIZE as u64);
    if end.segment != opened.owner.segment.0 || behind > file.length()? {
        return Ok(Some("the unit's end is another's"));
    }
    let mut bytes = file.read_at(start, (behind - start) as usize)?;
    if bytes.split_off(length as usize).iter().any(|&byte| byte != 0) {
        return Ok(Some("the padding behind the unit is not zero"));
    }
    let described = open_description(opened, unit.number, &end, &bytes);
    Ok((described.as_ref() != Some(unit)).then_some("the unit's description is damaged"))
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
