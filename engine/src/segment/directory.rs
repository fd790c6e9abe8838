//! The directory of a block: what it holds of each packet besides its bytes.
//!
//! ```text
//! varint packets
//! byte   time unit: times are in steps of 10^unit attoseconds above the block's earliest
//! bytes  widths in bits: time (low 64 bits), time (high), rank, captured, difference, interface
//! runs   varint count, then per run: zigzag varint step of the flow number, varint packets - 1
//! columns in the order of the widths, one value a packet
//! varint annotated packets, then per packet: varint step of its index, varint length, bytes
//! ```
//!
//! Packets of one flow stand together, so a flow number costs a few bits a packet. The *rank*
//! orders packets of one unit that share a time: times alone lose the order of arrival when
//! packets are grouped by flow. *Difference* is original minus captured length, zigzag-coded
//! (some files claim less than they hold).

use tapstone_packet::time::Timestamp;

use crate::bits::{BitColumn, BitWriter, push_varint, take_bytes, take_varint, width_of};
use crate::limits::BLOCK_PACKETS_MAX;

/// One packet of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) flow: u32,
    pub(crate) time: Timestamp,
    /// Order of arrival among the unit's packets of the same time.
    pub(crate) rank: u32,
    pub(crate) interface: u32,
    pub(crate) captured: u32,
    pub(crate) original: u32,
}

/// The times of a block's packets: first and last, and the step that all of them are whole
/// multiples of above the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimeSpan {
    pub(crate) min: Timestamp,
    pub(crate) max: Timestamp,
    /// Power of ten, in attoseconds.
    pub(crate) unit: u8,
}

/// Appends the directory of `entries`. `annotations` are indices into `entries`, ascending, and
/// the encoded options of those packets.
pub(crate) fn encode(
    entries: &[Entry],
    span: TimeSpan,
    annotations: &[(u32, &[u8])],
    out: &mut Vec<u8>,
) {
    let step = 10u128.pow(u32::from(span.unit));
    let above = |entry: &Entry| steps_between(span.min, entry.time, step);
    let time_max = steps_between(span.min, span.max, step);
    let (mut rank, mut captured, mut difference, mut interface) = (0, 0, 0, 0);
    for entry in entries {
        rank |= u64::from(entry.rank);
        captured |= u64::from(entry.captured);
        difference |= difference_of(entry);
        interface |= u64::from(entry.interface);
    }
    let widths = [
        width_of(if time_max > u128::from(u64::MAX) { u64::MAX } else { time_max as u64 }),
        width_of((time_max >> 64) as u64),
        width_of(rank),
        width_of(captured),
        width_of(difference),
        width_of(interface),
    ];

    push_varint(out, entries.len() as u64);
    out.push(span.unit);
    out.extend(widths.map(|width| width as u8));
    encode_runs(entries, out);
    let columns: [&dyn Fn(&Entry) -> u64; 6] = [
        &|entry| above(entry) as u64,
        &|entry| (above(entry) >> 64) as u64,
        &|entry| u64::from(entry.rank),
        &|entry| u64::from(entry.captured),
        &difference_of,
        &|entry| u64::from(entry.interface),
    ];
    for (value, width) in columns.into_iter().zip(widths) {
        if width > 0 {
            let mut writer = BitWriter::new(out);
            entries.iter().for_each(|entry| writer.push(value(entry), width));
            writer.finish();
        }
    }
    push_varint(out, annotations.len() as u64);
    let mut before = 0;
    for (index, bytes) in annotations {
        push_varint(out, u64::from(index - before));
        push_varint(out, bytes.len() as u64);
        out.extend_from_slice(bytes);
        before = *index;
    }
}

fn encode_runs(entries: &[Entry], out: &mut Vec<u8>) {
    let runs = || entries.chunk_by(|a, b| a.flow == b.flow);
    push_varint(out, runs().count() as u64);
    let mut before = 0i64;
    for run in runs() {
        let flow = i64::from(run[0].flow);
        push_varint(out, zigzag(flow - before));
        push_varint(out, run.len() as u64 - 1);
        before = flow;
    }
}

/// A directory read back. Every accessor is total: values that make no sense in a damaged block
/// cannot get here, since a block is opened (and so authenticated) before it is parsed.
#[derive(Debug)]
pub(crate) struct Directory<'a> {
    packets: usize,
    base: Timestamp,
    step: u128,
    runs: &'a [u8],
    run_count: u64,
    columns: [BitColumn<'a>; 6],
    annotations: &'a [u8],
    annotation_count: u64,
    /// The packets' bytes, one behind the other.
    pub(crate) data: &'a [u8],
}

impl<'a> Directory<'a> {
    /// Reads the directory at the front of a block's plaintext; `None` when it is not one.
    pub(crate) fn parse(plain: &'a [u8], base: Timestamp) -> Option<Self> {
        let mut input = plain;
        let packets = usize::try_from(take_varint(&mut input)?).ok()?;
        if packets > BLOCK_PACKETS_MAX {
            return None;
        }
        let (&unit, rest) = input.split_first()?;
        let (&widths, rest) = rest.split_first_chunk::<6>()?;
        input = rest;
        let step = 10u128.checked_pow(u32::from(unit))?;
        let run_count = take_varint(&mut input)?;
        let runs = input;
        for _ in 0..run_count {
            take_varint(&mut input)?;
            take_varint(&mut input)?;
        }
        let mut column = |width: u8| BitColumn::take(&mut input, packets, u32::from(width));
        let columns = [
            column(widths[0])?,
            column(widths[1])?,
            column(widths[2])?,
            column(widths[3])?,
            column(widths[4])?,
            column(widths[5])?,
        ];
        let annotation_count = take_varint(&mut input)?;
        let annotations = input;
        for _ in 0..annotation_count {
            take_varint(&mut input)?;
            let length = usize::try_from(take_varint(&mut input)?).ok()?;
            take_bytes(&mut input, length)?;
        }
        Some(Directory {
            packets,
            base,
            step,
            runs,
            run_count,
            columns,
            annotations,
            annotation_count,
            data: input,
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.packets
    }

    /// The runs of packets of one flow, in order: flow number and packets.
    pub(crate) fn runs(&self) -> impl Iterator<Item = (u32, usize)> + '_ {
        let mut input = self.runs;
        let mut flow = 0i64;
        (0..self.run_count).map_while(move |_| {
            flow = flow.checked_add(unzigzag(take_varint(&mut input)?))?;
            let packets = usize::try_from(take_varint(&mut input)?).ok()?.checked_add(1)?;
            Some((u32::try_from(flow).ok()?, packets))
        })
    }

    pub(crate) fn time(&self, index: usize) -> Timestamp {
        let low = u128::from(self.columns[0].get(index));
        let high = u128::from(self.columns[1].get(index));
        let steps = (high << 64 | low).wrapping_mul(self.step);
        Timestamp::from_attos(self.base.attos().wrapping_add(steps as i128))
    }

    pub(crate) fn rank(&self, index: usize) -> u32 {
        self.columns[2].get(index) as u32
    }

    pub(crate) fn captured(&self, index: usize) -> u32 {
        self.columns[3].get(index) as u32
    }

    pub(crate) fn original(&self, index: usize) -> u32 {
        let difference = unzigzag(self.columns[4].get(index));
        i64::from(self.captured(index)).wrapping_add(difference) as u32
    }

    pub(crate) fn interface(&self, index: usize) -> u32 {
        self.columns[5].get(index) as u32
    }

    /// The annotated packets, ascending: index in the block, encoded options.
    pub(crate) fn annotations(&self) -> impl Iterator<Item = (usize, &'a [u8])> + '_ {
        let mut input = self.annotations;
        let mut index = 0usize;
        (0..self.annotation_count).map_while(move |_| {
            index = index.checked_add(usize::try_from(take_varint(&mut input)?).ok()?)?;
            let length = usize::try_from(take_varint(&mut input)?).ok()?;
            Some((index, take_bytes(&mut input, length)?))
        })
    }
}

#[inline]
fn steps_between(base: Timestamp, time: Timestamp, step: u128) -> u128 {
    let attos = time.attos().wrapping_sub(base.attos()) as u128;
    // Blocks that span less than 18 seconds, nearly all, avoid the 128-bit division.
    match (u64::try_from(attos), u64::try_from(step)) {
        (Ok(attos), Ok(step)) => u128::from(attos / step),
        _ => attos / step,
    }
}

fn difference_of(entry: &Entry) -> u64 {
    zigzag(i64::from(entry.original) - i64::from(entry.captured))
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entries() -> impl Strategy<Value = Vec<Entry>> {
        let times = prop_oneof![
            Just(0i128),
            (0i128..2_000_000_000).prop_map(|us| us * 1_000_000_000_000),
            any::<u64>().prop_map(|us| i128::from(us) * 1_000_000_000_000),
        ];
        let entry = (0u32..9, times, 0u32..40_000, 0u32..3, 0u32..2000, 0u32..70_000).prop_map(
            |(flow, attos, rank, interface, captured, original)| Entry {
                flow,
                time: Timestamp::from_attos(attos),
                rank,
                interface,
                captured,
                original,
            },
        );
        proptest::collection::vec(entry, 1..60)
    }

    fn span(entries: &[Entry]) -> TimeSpan {
        let times = || entries.iter().map(|entry| entry.time);
        TimeSpan { min: times().min().unwrap(), max: times().max().unwrap(), unit: 12 }
    }

    proptest! {
        #[test]
        fn a_directory_gives_back_its_entries(entries in entries(), note: Vec<u8>) {
            let span = span(&entries);
            let last = entries.len() as u32 - 1;
            let mut plain = Vec::new();
            encode(&entries, span, &[(0, &note), (last, b"end")], &mut plain);
            plain.extend_from_slice(b"data");
            let directory = Directory::parse(&plain, span.min).unwrap();
            prop_assert_eq!(directory.data, b"data");
            let mut index = 0;
            for (flow, packets) in directory.runs() {
                for _ in 0..packets {
                    let read = Entry {
                        flow,
                        time: directory.time(index),
                        rank: directory.rank(index),
                        interface: directory.interface(index),
                        captured: directory.captured(index),
                        original: directory.original(index),
                    };
                    prop_assert_eq!(read, entries[index]);
                    index += 1;
                }
            }
            prop_assert_eq!(index, entries.len());
            let notes: Vec<_> = directory.annotations().collect();
            prop_assert_eq!(notes, vec![(0, &note[..]), (last as usize, b"end")]);
        }

        /// Found by fuzzing: bits of that many packets overflowed.
        #[test]
        fn no_block_has_more_packets_than_a_unit_can_hold(packets in BLOCK_PACKETS_MAX as u64 + 1..) {
            let mut bytes = Vec::new();
            push_varint(&mut bytes, packets);
            bytes.resize(bytes.len() + 100, 9);
            prop_assert!(Directory::parse(&bytes, Timestamp::EPOCH).is_none());
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            if let Some(directory) = Directory::parse(&bytes, Timestamp::EPOCH) {
                let _ = directory.runs().count();
                let _ = directory.annotations().count();
                let _ = (directory.time(3), directory.original(3));
            }
        }
    }
}
