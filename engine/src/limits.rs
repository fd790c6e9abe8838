//! Every bound of the engine, and how the bounds relate.

use tapstone_runtime::ALIGNMENT;

/// Plaintext bytes of a block (directory and packets) at which it is closed. A packet larger
/// than this has a block of its own.
pub(crate) const BLOCK_SIZE: usize = 256 << 10;

/// Bytes of the arena that a source fills before the shard takes it: the write unit, within which
/// packets are grouped by flow.
pub(crate) const UNIT_SIZE: usize = 16 << 20;

/// The largest step a capture file can need at once (a pcapng block), which an arena must hold
/// beyond the unit it is filled to.
pub(crate) const STEP_SIZE_MAX: usize = 16 << 20;

/// Packets that a block can hold: each takes sixteen bytes of its capture at least.
pub(crate) const BLOCK_PACKETS_MAX: usize = (UNIT_SIZE + STEP_SIZE_MAX) / 16;

/// Bytes of a segment at which it is sealed and the next one begun.
pub(crate) const SEGMENT_SIZE: u64 = 1 << 30;

/// Flows of a segment at which it is sealed: bounds the memory of the flow table and of the split
/// under a flood of one-packet flows.
pub(crate) const SEGMENT_FLOWS_MAX: usize = 1 << 19;

/// Plaintext bytes of a frame of a sealed region (a footer, a split).
pub(crate) const FRAME_SIZE: usize = 16 << 10;

/// Bytes of a segment's header and of its trailer.
pub(crate) const PAGE_SIZE: usize = 4096;

const _: () = assert!(PAGE_SIZE.is_multiple_of(ALIGNMENT), "header and trailer are direct writes");
const _: () = assert!(UNIT_SIZE as u64 * 4 <= SEGMENT_SIZE, "a segment holds several units");
const _: () = assert!(BLOCK_SIZE * 8 <= UNIT_SIZE, "grouping by flow needs many blocks a unit");
