//! The rows of a split: everything of a flow that is not a term.
//!
//! Rows come in groups of [`GROUP`], each compressed by itself; the last bytes of the member say
//! where each group begins. A row is: key, flags, start, duration, packets, bytes, blocks, and
//! then, as the flags say, more paths, ports and names. Times are whole nanoseconds.

use tapstone_packet::flow::FlowKey;
use tapstone_packet::names::{Name, NameKind};
use tapstone_packet::time::{ATTOS_PER_NANO, Timestamp};

use crate::builder::FlowEntry;
use crate::codec::{
    push_prefixed, push_varint, take_prefixed, take_u32, take_varint, unzigzag, zigzag,
};

/// Rows that are compressed together.
pub(crate) const GROUP: u32 = 512;

const FIRST_END_STARTED: u8 = 1;
const MORE_PATHS: u8 = 2;
const EXTRA_PORTS: u8 = 4;
const NAMES: u8 = 8;

/// A flow, as its split knows it.
#[derive(Clone, Debug, PartialEq)]
pub struct FlowRow {
    /// Its number in the segment.
    pub row: u32,
    /// Its key, in canonical form.
    pub key: Vec<u8>,
    /// Whether the key's first end sent the first packet.
    pub first_end_started: bool,
    /// Numbers of the paths that its packets took.
    pub paths: Vec<u32>,
    /// Ports beyond the key's.
    pub extra_ports: Vec<u16>,
    /// Names it carries.
    pub names: Vec<Name>,
    /// Time of its earliest packet, to the nanosecond.
    pub first: Timestamp,
    /// Time of its latest packet, to the nanosecond.
    pub last: Timestamp,
    /// Packets stored.
    pub packets: u64,
    /// Captured bytes stored.
    pub bytes: u64,
    /// Blocks that hold its packets, ascending.
    pub blocks: Vec<u32>,
}

impl FlowRow {
    /// The key, ready to be read.
    #[must_use]
    pub fn flow_key(&self) -> &FlowKey {
        FlowKey::from_bytes(&self.key)
    }

    /// Nanoseconds between the earliest and the latest packet.
    #[must_use]
    pub fn duration_nanos(&self) -> u64 {
        u64::try_from(nanos(self.last) - nanos(self.first)).unwrap_or(u64::MAX)
    }
}

/// Collects rows.
#[derive(Debug, Default)]
pub(crate) struct RowsWriter {
    out: Vec<u8>,
    group: Vec<u8>,
    compressed: Vec<u8>,
    starts: Vec<u32>,
    rows: u32,
    before: Before,
}

/// What rows are told by their difference to.
#[derive(Clone, Copy, Debug, Default)]
struct Before {
    first: i128,
    block: u32,
}

impl RowsWriter {
    pub(crate) fn push(&mut self, entry: &FlowEntry<'_>) {
        let out = &mut self.group;
        let has = |present: bool, flag: u8| if present { flag } else { 0 };
        let more_paths = entry.paths.get(1..).unwrap_or(&[]);
        push_prefixed(out, entry.key.as_bytes());
        out.push(
            has(entry.first_end_started, FIRST_END_STARTED)
                | has(!more_paths.is_empty(), MORE_PATHS)
                | has(!entry.extra_ports.is_empty(), EXTRA_PORTS)
                | has(!entry.names.is_empty(), NAMES),
        );
        let first = nanos(entry.first);
        push_varint(out, zigzag(first - self.before.first));
        push_varint(out, zigzag(nanos(entry.last) - first));
        push_varint(out, u128::from(entry.packets));
        push_varint(out, u128::from(entry.bytes));
        push_varint(out, entry.blocks.len() as u128);
        let mut block = self.before.block;
        for &next in entry.blocks {
            push_varint(out, zigzag(i128::from(next) - i128::from(block)));
            block = next;
        }
        self.before = Before { first, block: entry.blocks.first().copied().unwrap_or(0) };
        if !more_paths.is_empty() {
            push_varint(out, more_paths.len() as u128);
            more_paths.iter().for_each(|path| push_varint(out, u128::from(*path)));
        }
        if !entry.extra_ports.is_empty() {
            push_varint(out, entry.extra_ports.len() as u128);
            entry.extra_ports.iter().for_each(|port| push_varint(out, u128::from(*port)));
        }
        if !entry.names.is_empty() {
            push_varint(out, entry.names.len() as u128);
            for name in entry.names {
                out.push(name.kind as u8);
                push_prefixed(out, &name.name);
            }
        }
        self.rows += 1;
        if self.rows.is_multiple_of(GROUP) {
            self.end_group();
        }
    }

    pub(crate) fn finish(mut self) -> Vec<u8> {
        if !self.group.is_empty() {
            self.end_group();
        }
        for start in &self.starts {
            self.out.extend_from_slice(&start.to_le_bytes());
        }
        self.out
    }

    fn end_group(&mut self) {
        self.starts.push(self.out.len() as u32);
        push_varint(&mut self.out, self.group.len() as u128);
        let room = lz4_flex::block::get_maximum_output_size(self.group.len());
        self.compressed.resize(room, 0);
        let length = lz4_flex::block::compress_into(&self.group, &mut self.compressed)
            .expect("the room is LZ4's own maximum");
        self.out.extend_from_slice(&self.compressed[..length]);
        self.group.clear();
        self.before = Before::default();
    }
}

/// Groups in a member of so many rows.
pub(crate) fn group_count(rows: u32) -> u32 {
    rows.div_ceil(GROUP)
}

/// Reads the rows of one group; `None` when it is not one. `path_of` gives each row's first path.
pub(crate) fn read_group(
    mut bytes: &[u8],
    first_row: u32,
    rows: u32,
    path_of: impl Fn(u32) -> u32,
) -> Option<Vec<FlowRow>> {
    let length = usize::try_from(take_varint(&mut bytes)?).ok().filter(|it| *it <= 256 << 20)?;
    let plain = lz4_flex::block::decompress(bytes, length).ok()?;
    let mut input = &plain[..];
    let mut before = Before::default();
    let rows = (first_row..first_row + rows)
        .map(|row| read_row(&mut input, row, &mut before, path_of(row)))
        .collect::<Option<Vec<_>>>()?;
    input.is_empty().then_some(rows)
}

fn read_row(input: &mut &[u8], row: u32, before: &mut Before, path: u32) -> Option<FlowRow> {
    let key = take_prefixed(input)?.to_vec();
    let (&flags, rest) = input.split_first()?;
    *input = rest;
    let first = before.first.checked_add(unzigzag(take_varint(input)?))?;
    let last = first.checked_add(unzigzag(take_varint(input)?))?;
    let packets = u64::try_from(take_varint(input)?).ok()?;
    let bytes = u64::try_from(take_varint(input)?).ok()?;
    let count = take_u32(input)?;
    let mut blocks = Vec::new();
    let mut block = before.block;
    for _ in 0..count {
        let next = i128::from(block).checked_add(unzigzag(take_varint(input)?))?;
        block = u32::try_from(next).ok()?;
        blocks.push(block);
    }
    *before = Before { first, block: blocks.first().copied().unwrap_or(0) };
    let mut paths = vec![path];
    if flags & MORE_PATHS != 0 {
        for _ in 0..take_u32(input)? {
            paths.push(take_u32(input)?);
        }
    }
    let mut extra_ports = Vec::new();
    if flags & EXTRA_PORTS != 0 {
        for _ in 0..take_u32(input)? {
            extra_ports.push(u16::try_from(take_varint(input)?).ok()?);
        }
    }
    let mut names = Vec::new();
    if flags & NAMES != 0 {
        for _ in 0..take_u32(input)? {
            let (&kind, rest) = input.split_first()?;
            *input = rest;
            let kind = NameKind::ALL.into_iter().map(|(it, _)| it).find(|it| *it as u8 == kind)?;
            names.push(Name { kind, name: take_prefixed(input)?.to_vec() });
        }
    }
    Some(FlowRow {
        row,
        key,
        first_end_started: flags & FIRST_END_STARTED != 0,
        paths,
        extra_ports,
        names,
        first: from_nanos(first)?,
        last: from_nanos(last)?,
        packets,
        bytes,
        blocks,
    })
}

fn nanos(time: Timestamp) -> i128 {
    time.attos().div_euclid(ATTOS_PER_NANO)
}

fn from_nanos(nanos: i128) -> Option<Timestamp> {
    nanos.checked_mul(ATTOS_PER_NANO).map(Timestamp::from_attos)
}
