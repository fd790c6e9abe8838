//! Matching packets on their way out: what a unit gave, and the packets in it.

use std::ops::Range;
use std::sync::Arc;

use tapstone_packet::interface::Interface;
use tapstone_packet::time::Timestamp;

use super::cursor::Cursor;
use crate::id::{SegmentId, StoreId};

/// The order of an answer: by time, ties in order of arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    pub(crate) time: Timestamp,
    pub(crate) segment: u32,
    pub(crate) unit: u32,
    pub(crate) rank: u32,
}

/// The matching packets of one unit, in order.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) store: StoreId,
    pub(crate) segment: SegmentId,
    pub(crate) unit: u32,
    pub(crate) interfaces: Arc<[Interface]>,
    pub(crate) arena: Vec<u8>,
    pub(crate) hits: Vec<Hit>,
}

/// One matching packet.
#[derive(Clone, Debug)]
pub(crate) struct Hit {
    pub(crate) time: Timestamp,
    pub(crate) rank: u32,
    pub(crate) interface: u32,
    pub(crate) flow: u32,
    pub(crate) original: u32,
    pub(crate) offset: u32,
    pub(crate) captured: u32,
    /// Where its encoded options are in the arena; empty when it has none.
    pub(crate) options: Range<u32>,
}

impl Found {
    pub(crate) fn position(&self, index: usize) -> Position {
        let hit = &self.hits[index];
        let (segment, unit) = (self.segment.sequence(), self.unit);
        Position { time: hit.time, segment, unit, rank: hit.rank }
    }
}

/// A packet of an answer.
///
/// It shares the buffer it was read into with its neighbours, so cloning is cheap, and keeping a
/// few packets keeps the matches of the units (16 MiB at most each) they came from.
#[derive(Clone, Debug)]
pub struct Packet {
    pub(crate) found: Arc<Found>,
    pub(crate) index: usize,
}

/// A stable reference to a flow: its segment, and its row there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowId {
    /// The segment that holds its packets.
    pub segment: SegmentId,
    /// Its number in that segment.
    pub row: u32,
}

impl std::fmt::Display for FlowId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.segment, self.row)
    }
}

impl Packet {
    /// When it was captured.
    #[must_use]
    pub fn time(&self) -> Timestamp {
        self.hit().time
    }

    /// Its captured bytes, from the link layer on.
    #[must_use]
    pub fn data(&self) -> &[u8] {
        let hit = self.hit();
        &self.found.arena[hit.offset as usize..][..hit.captured as usize]
    }

    /// Its length on the wire, in bytes.
    #[must_use]
    pub fn original_len(&self) -> u32 {
        self.hit().original
    }

    /// The interface it was captured on.
    #[must_use]
    pub fn interface(&self) -> &Interface {
        &self.found.interfaces[self.hit().interface as usize]
    }

    /// Its comments, direction flags and other options, encoded as
    /// [`tapstone_packet::capture_file::options`] says; empty when it has none.
    #[must_use]
    pub fn options(&self) -> &[u8] {
        let options = &self.hit().options;
        &self.found.arena[options.start as usize..options.end as usize]
    }

    /// The flow it belongs to.
    #[must_use]
    pub fn flow(&self) -> FlowId {
        FlowId { segment: self.found.segment, row: self.hit().flow }
    }

    /// The place behind it, from which the same question goes on.
    #[must_use]
    pub fn cursor(&self) -> Cursor {
        Cursor { store: self.found.store, position: self.found.position(self.index) }
    }

    fn hit(&self) -> &Hit {
        &self.found.hits[self.index]
    }
}
