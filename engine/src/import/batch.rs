//! A batch: what one source hands a shard at once, packets still lying where they were read.

use std::sync::Arc;

use tapstone_packet::interface::Interface;
use tapstone_packet::time::Timestamp;

use crate::account::Account;
use crate::capture::loss::{Loss, LossCause};
use crate::segment::description::Checkpoint;

/// Packets of one source, in order of arrival. It becomes one write unit. Buffers are kept from
/// use to use.
#[derive(Debug)]
pub(crate) struct Batch {
    /// The source's bytes; records point into it.
    pub(crate) arena: Vec<u8>,
    pub(crate) records: Vec<Record>,
    /// Options of the records that have some: index of the record, encoded options.
    pub(crate) options: Vec<(u32, Vec<u8>)>,
    /// The source's interfaces, as the records number them.
    pub(crate) interfaces: Arc<[Interface]>,
    pub(crate) source: Arc<str>,
    pub(crate) checkpoint: Option<Checkpoint>,
    /// Packets that came to the source meanwhile, and could not be stored.
    pub(crate) losses: Vec<Loss>,
    /// Where it is booked what becomes of the packets.
    pub(crate) account: Option<Account>,
}

/// One packet of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) time: Timestamp,
    /// Where its bytes begin in the arena.
    pub(crate) offset: u32,
    pub(crate) captured: u32,
    pub(crate) original: u32,
    pub(crate) interface: u32,
}

impl Batch {
    pub(crate) fn empty() -> Batch {
        Batch {
            arena: Vec::new(),
            records: Vec::new(),
            options: Vec::new(),
            interfaces: Arc::new([]),
            source: "".into(),
            checkpoint: None,
            losses: Vec::new(),
            account: None,
        }
    }

    pub(crate) fn data(&self, record: &Record) -> &[u8] {
        &self.arena[record.offset as usize..][..record.captured as usize]
    }

    /// Captured bytes of its packets.
    pub(crate) fn packet_bytes(&self) -> u64 {
        self.records.iter().map(|record| u64::from(record.captured)).sum()
    }

    /// Times of its earliest and its latest packet.
    pub(crate) fn times(&self) -> (Timestamp, Timestamp) {
        self.records.iter().fold((Timestamp::MAX, Timestamp::MIN), |(min, max), record| {
            (min.min(record.time), max.max(record.time))
        })
    }

    /// Books a packet that is left out because that was asked for.
    pub(crate) fn leave_out(&mut self, cause: LossCause, time: Timestamp) {
        match self.losses.iter_mut().find(|loss| loss.cause == cause) {
            Some(loss) => {
                loss.packets += 1;
                (loss.first, loss.last) = (loss.first.min(time), loss.last.max(time));
            }
            None => self.losses.push(Loss { cause, packets: 1, first: time, last: time }),
        }
    }

    pub(crate) fn clear(&mut self) {
        self.records.clear();
        self.options.clear();
        self.checkpoint = None;
        self.losses.clear();
    }
}
