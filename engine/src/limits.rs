//! Every bound of the engine, and how the bounds relate.

use std::time::Duration;

use tapstone_runtime::ALIGNMENT;

/// How packets are cut up on their way in. The defaults are what was measured to serve best
/// (docs/architecture.md); tests use smaller ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Packet bytes of a block at which it is closed. A larger packet has a block of its own.
    pub block: usize,
    /// Bytes of the arena that a source fills before the shard takes it: the write unit, within
    /// which packets are grouped by flow. At most [`Sizes::UNIT_MAX`].
    pub unit: usize,
    /// Bytes of a segment at which it is sealed and the next one begun. It is sealed sooner on a
    /// small file system: at a thirty-second of it, divided by the shards, or at a unit where that
    /// is more.
    pub segment: u64,
    /// Flows of a segment at which it is sealed: bounds the memory of the flow table and of the
    /// split under a flood of one-packet flows.
    pub flows: usize,
    /// How old a segment is when it is sealed, whatever it holds: an old one is indexed, and can
    /// expire.
    pub age: Duration,
}

impl Sizes {
    /// The largest unit that readers expect.
    pub const UNIT_MAX: usize = 16 << 20;
    /// The usual age.
    pub const AGE: Duration = Duration::from_secs(600);

    /// Parts of a file system that a segment of each shard may be.
    const PARTS: u64 = 32;

    /// On a file system of so many bytes: a segment is small enough there that what is open, and
    /// what goes with the oldest, is a small part of what can be kept.
    pub(crate) fn on_disk_of(self, total: u64, shards: usize) -> Sizes {
        let most = total / Self::PARTS / shards.max(1) as u64;
        Sizes { segment: self.segment.min(most.max(self.unit as u64)), ..self }
    }

    /// What of it makes no sense.
    pub(crate) fn mistakes(&self) -> Vec<String> {
        let Sizes { block, unit, segment, flows, age } = *self;
        let checks = [
            (block == 0, format!("a block of {block} bytes holds nothing")),
            (unit < block, format!("a unit of {unit} bytes holds no block of {block}")),
            (
                unit > Self::UNIT_MAX,
                format!(
                    "readers expect no unit of more than {} bytes, and it is {unit}",
                    Self::UNIT_MAX
                ),
            ),
            (
                segment < unit as u64,
                format!("a segment of {segment} bytes holds no unit of {unit}"),
            ),
            (flows == 0, "a segment of 0 flows holds nothing".to_owned()),
            (age.is_zero(), "a segment of no age is sealed before anything is in it".to_owned()),
        ];
        checks.into_iter().filter_map(|(is_wrong, what)| is_wrong.then_some(what)).collect()
    }
}

impl Default for Sizes {
    fn default() -> Self {
        Sizes {
            block: 256 << 10,
            unit: Self::UNIT_MAX,
            segment: 1 << 30,
            flows: 1 << 19,
            age: Self::AGE,
        }
    }
}

/// The largest step a capture file can need at once (a pcapng block), which an arena must hold
/// beyond the unit it is filled to.
pub(crate) const STEP_SIZE_MAX: usize = 16 << 20;

/// Packets that a block can hold: each takes sixteen bytes of its capture at least.
pub(crate) const BLOCK_PACKETS_MAX: usize = (Sizes::UNIT_MAX + STEP_SIZE_MAX) / 16;

/// Plaintext bytes of a frame of a sealed region (a footer, a split).
pub(crate) const FRAME_SIZE: usize = 16 << 10;

/// Bytes of a segment's header and of its trailer.
pub(crate) const PAGE_SIZE: usize = 4096;

const _: () = assert!(PAGE_SIZE.is_multiple_of(ALIGNMENT), "header and trailer are direct writes");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_are_small_where_the_disk_is() {
        let segment = |total: u64, shards| Sizes::default().on_disk_of(total, shards).segment;
        assert_eq!(segment(1 << 40, 2), 1 << 30);
        assert_eq!(segment(16 << 30, 2), 256 << 20);
        assert_eq!(segment(1 << 20, 0), Sizes::default().unit as u64);
        let tiny = Sizes { segment: 5 << 20, unit: 1 << 20, ..Sizes::default() };
        assert_eq!(tiny.on_disk_of(1 << 40, 1), tiny, "it is never larger");
    }

    #[test]
    fn every_mistake_is_told() {
        assert_eq!(Sizes::default().mistakes(), Vec::<String>::new());
        let wrong = Sizes { block: 0, unit: 1 << 30, segment: 5, flows: 0, age: Duration::ZERO };
        assert_eq!(wrong.mistakes().len(), 5);
        let wrong = Sizes { block: 1 << 20, unit: 1 << 10, ..Sizes::default() };
        assert_eq!(wrong.mistakes(), ["a unit of 1024 bytes holds no block of 1048576"]);
    }
}
