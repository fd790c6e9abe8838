//! The log of everything that a block device was asked to write, as QEMU's `blklogwrites` keeps
//! it (the format of the kernel's dm-log-writes).

use std::ops::Range;

const MAGIC: u64 = 0x006a_7366_7773_6872;
const VERSION: u64 = 1;
const FLUSH: u64 = 1;
const FUA: u64 = 2;
const DISCARD: u64 = 4;
const MARK: u64 = 8;
/// Sectors of the device, whatever the log's own are.
const SECTOR: u64 = 512;

/// Bytes that are not such a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// It does not begin as one.
    #[error("not a block log: magic {0:#x}, version {1}")]
    Header(u64, u64),
    /// It ends within this entry.
    #[error("the block log ends within entry {0}")]
    Short(usize),
}

/// One request that the device was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where on the device, in bytes.
    pub offset: u64,
    /// Where in the log its bytes are; empty for a flush.
    pub data: Range<usize>,
    /// Whether everything before it is durable once it is done.
    pub flush: bool,
    /// Whether it is durable itself once it is done.
    pub fua: bool,
}

/// Reads a log. Discards and marks keep their places and write nothing.
///
/// # Errors
///
/// When the bytes are no log, or a log that was cut off.
pub fn parse(bytes: &[u8]) -> Result<Vec<Entry>, LogError> {
    let (magic, version) = (number(bytes, 0), number(bytes, 8));
    if (magic, version) != (Some(MAGIC), Some(VERSION)) {
        return Err(LogError::Header(magic.unwrap_or(0), version.unwrap_or(0)));
    }
    let count = number(bytes, 16).unwrap_or(0);
    // The sector size is a number of 32 bits, and zeros follow it.
    let sector = number(bytes, 24).unwrap_or(SECTOR) as u32 as usize;
    let mut at = sector;
    let mut entries = Vec::new();
    for index in 0..count as usize {
        let field = |place| number(bytes, at + place).ok_or(LogError::Short(index));
        let (start, sectors, flags) = (field(0)?, field(8)?, field(16)?);
        let has_data = flags & (DISCARD | MARK) == 0;
        let length = if has_data { (sectors * SECTOR) as usize } else { 0 };
        let data = at + sector..at + sector + length;
        if bytes.len() < data.end {
            return Err(LogError::Short(index));
        }
        at = data.end.next_multiple_of(sector);
        let (flush, fua) = (flags & FLUSH != 0, flags & FUA != 0);
        entries.push(Entry { offset: start * SECTOR, data, flush, fua });
    }
    Ok(entries)
}

fn number(bytes: &[u8], at: usize) -> Option<u64> {
    let bytes = bytes.get(at..at + 8)?;
    Some(u64::from_le_bytes(bytes.try_into().ok()?))
}

/// Bytes that acknowledgement number `step` writes to its block; `run` tells runs apart.
#[must_use]
pub fn acknowledgement(run: u64, step: u64) -> [u8; 32] {
    let mut bytes = *b"TAPSTONE-ACKNOWL................";
    bytes[16..24].copy_from_slice(&run.to_le_bytes());
    bytes[24..].copy_from_slice(&step.to_le_bytes());
    bytes
}

/// Which entries are acknowledgements of this run: the entry's index and the step's number, in
/// order.
#[must_use]
pub fn acknowledgements(bytes: &[u8], entries: &[Entry], run: u64) -> Vec<(usize, u64)> {
    let start = acknowledgement(run, 0);
    let mut found = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        for block in bytes[entry.data.clone()].chunks(SECTOR as usize) {
            if block.starts_with(&start[..24])
                && let Some(step) = number(block, 24)
            {
                found.push((index, step));
            }
        }
    }
    found
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A log of these entries: sector, flags, bytes.
    pub(crate) fn sample(entries: &[(u64, u64, &[u8])]) -> Vec<u8> {
        let mut log = Vec::new();
        for number in [MAGIC, VERSION, entries.len() as u64, SECTOR] {
            log.extend_from_slice(&number.to_le_bytes());
        }
        log.resize(SECTOR as usize, 0);
        for (start, flags, data) in entries {
            let at = log.len();
            for number in [*start, data.len() as u64 / SECTOR, *flags, 0] {
                log.extend_from_slice(&number.to_le_bytes());
            }
            log.resize(at + SECTOR as usize, 0);
            if flags & DISCARD == 0 {
                log.extend_from_slice(data);
            }
        }
        log
    }

    #[test]
    fn entries_are_found_one_behind_the_other() {
        let log = sample(&[(8, 0, &[1; 1024]), (0, FLUSH, &[]), (3, FUA, &[2; 512])]);
        let entries = parse(&log).unwrap();
        let told: Vec<_> = entries
            .iter()
            .map(|it| (it.offset, log[it.data.clone()].to_vec(), it.flush, it.fua))
            .collect();
        assert_eq!(
            told,
            [
                (4096, vec![1; 1024], false, false),
                (0, vec![], true, false),
                (1536, vec![2; 512], false, true),
            ]
        );
    }

    #[test]
    fn a_discard_has_no_bytes_behind_it() {
        let log = sample(&[(8, DISCARD, &[9; 4096]), (1, 0, &[3; 512])]);
        let entries = parse(&log).unwrap();
        assert!(entries[0].data.is_empty());
        assert_eq!(log[entries[1].data.clone()], [3; 512]);
    }

    #[test]
    fn what_is_no_log_or_ends_early_is_refused() {
        assert_eq!(parse(&[0; 600]), Err(LogError::Header(0, 0)));
        assert_eq!(parse(&[]), Err(LogError::Header(0, 0)));
        let log = sample(&[(0, 0, &[1; 512]), (0, 0, &[1; 512])]);
        assert_eq!(parse(&log[..log.len() - 1]), Err(LogError::Short(1)));
    }

    #[test]
    fn acknowledgements_of_this_run_are_found_in_order() {
        let block = |run, step| {
            let mut block = acknowledgement(run, step).to_vec();
            block.resize(4096, 0);
            block
        };
        let (old, first, second) = (block(1, 7), block(2, 0), block(2, 1));
        let log = sample(&[(0, 0, &old), (0, 0, &first), (0, FLUSH, &[]), (8, 0, &second)]);
        let entries = parse(&log).unwrap();
        assert_eq!(acknowledgements(&log, &entries, 2), [(1, 0), (3, 1)]);
    }
}
