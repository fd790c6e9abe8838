//! Reading the gauges. What they mean is decided by [`judge`](crate::state::judge).

mod memory;

use tapstone_runtime::blocking;

use crate::builders;
use crate::capture::{BATCHES, LiveRing};
use crate::effects::Effects;
use crate::limits::Sizes;
use crate::retention::Free;
use crate::state::{Gauges, Part, PipelineGauge, StorageGauge};
use crate::store::Store;

/// Reads the gauges. What passes quickly is looked at more often than it is judged: a queue that
/// happens to be full when it is looked at says little.
#[derive(Debug, Default)]
pub(super) struct Meter {
    samples: Vec<Sample>,
}

/// What passes quickly.
#[derive(Clone, Copy, Debug)]
struct Sample {
    backlog: Part,
    queue: Part,
    ring: Part,
}

impl Meter {
    /// Looks at what passes quickly.
    pub(super) fn sample(&mut self, store: &Store) {
        let rings = store.live_rings();
        self.samples.push(Sample {
            backlog: worst(rings.iter().map(|ring| backlog(store, ring))),
            queue: worst(rings.iter().map(|ring| queue(store, ring))),
            ring: worst(rings.iter().filter_map(filled)),
        });
    }

    /// Reads all of them. What the system does not say is nothing, which presses nobody. A ring
    /// that was full for a moment may have lost packets in it, so the worst moment counts; what
    /// waits behind it only takes longer, so there the mean does.
    pub(super) fn read(&mut self, store: &Store, keep_free: Option<Free>) -> Gauges {
        self.sample(store);
        let samples = std::mem::take(&mut self.samples);
        let queue = mean(samples.iter().map(|it| it.queue));
        let ring = worst(samples.iter().map(|it| it.ring));
        Gauges {
            memory: memory::read(),
            storage: storage(store, keep_free, mean(samples.iter().map(|it| it.backlog))),
            pipeline: PipelineGauge { queue, ring, index: index(store) },
        }
    }
}

pub(super) use memory::read as memory;

fn storage(store: &Store, keep_free: Option<Free>, backlog: Part) -> StorageGauge {
    match blocking::space(store.inner.layout.root()) {
        Some(space) => StorageGauge {
            free: space.free,
            total: space.total,
            keep_free: keep_free.map_or(0, |free| free.of(space.total)),
            backlog,
        },
        None => StorageGauge { backlog, ..StorageGauge::default() },
    }
}

/// What of a ring's packets waits for the disk: its batches are with the shard, or their units are
/// written and not durable yet. Where writes take long and syncs do not, the last is never much:
/// while no batch is left on the disk's account, no more may wait.
fn backlog(store: &Store, ring: &LiveRing) -> Part {
    let of = backlog_max(&store.inner.sizes);
    let is_all = ring.is_stuck() && store.is_at_disk(ring.shard);
    Part { used: if is_all { of } else { ring.waiting_bytes() }, of }
}

/// So many bytes of a ring wait for the disk at most, in NORMAL.
pub(super) fn backlog_max(sizes: &Sizes) -> u64 {
    ((BATCHES + Effects::normal(sizes).units_per_commit) * sizes.unit) as u64
}

/// What waits for a ring's shard, an import's batches too. An import waits where it is full, and is
/// asked again: where no live packets come, nobody is pressed.
fn queue(store: &Store, ring: &LiveRing) -> Part {
    let commands = store.commands_of(ring.shard);
    Part { used: commands.len() as u64, of: commands.capacity().unwrap_or(0) as u64 }
}

fn filled(ring: &LiveRing) -> Option<Part> {
    ring.filled().map(|(used, of)| Part { used, of })
}

/// Sealed segments whose split is not made. With one that is built, one that waits for the builder,
/// and one with each shard that waits for that, nothing more can be sealed, and no packets are
/// taken.
fn index(store: &Store) -> Part {
    if store.live_rings().is_empty() {
        return Part::default();
    }
    let of = 1 + builders::QUEUE + store.inner.shards.count();
    Part { used: store.inner.unindexed.in_work().0 as u64, of: of as u64 }
}

/// The one of which the least is left: one ring that is full loses packets, whatever is left in
/// others.
pub(super) fn worst(parts: impl IntoIterator<Item = Part>) -> Part {
    parts.into_iter().max_by_key(|part| part.thousandths()).unwrap_or_default()
}

/// In thousandths.
fn mean(parts: impl Iterator<Item = Part>) -> Part {
    let (count, sum) =
        parts.fold((0, 0), |(count, sum), part| (count + 1, sum + u64::from(part.thousandths())));
    Part { used: u64::checked_div(sum, count).unwrap_or(0), of: 1000 }
}

#[cfg(test)]
mod tests {
    use tapstone_runtime::clock::Stopwatch;

    use super::*;
    use crate::store::OpenOptions;

    #[test]
    fn the_worst_of_several_counts() {
        let part = |used, of| Part { used, of };
        assert_eq!(worst([part(900, 1000), part(1, 1), part(0, 5)]), part(1, 1));
        assert_eq!(worst([]).thousandths(), 0);
        assert_eq!(worst([part(5, 0), part(1, 100)]), part(1, 100), "nothing is known of one");
    }

    #[test]
    fn what_is_full_for_a_moment_counts_for_that_moment() {
        let part = |used| Part { used, of: 4 };
        let queue = [4, 0, 0, 0, 0, 1, 0, 0, 0, 0].map(part);
        assert_eq!(mean(queue.into_iter()).thousandths(), 125);
        assert_eq!(mean([].into_iter()).thousandths(), 0);
        assert_eq!(mean([part(4); 3].into_iter()).thousandths(), 1000);
    }

    #[test]
    fn a_reading_takes_far_less_than_a_hundredth_of_a_core() {
        let dir = tempfile::tempdir().unwrap();
        let options = OpenOptions { create: true, ..OpenOptions::default() };
        let store = Store::open(dir.path(), options).unwrap();
        let (count, began) = (200, Stopwatch::start());
        let mut meter = Meter::default();
        for _ in 0..count {
            (1..10).for_each(|_| meter.sample(&store));
            let gauges = meter.read(&store, Some(Free::Percent(10)));
            assert!(gauges.memory.limit > gauges.memory.used && gauges.memory.used > 0);
            assert!(gauges.storage.total >= gauges.storage.free && gauges.storage.total > 0);
        }
        let each = began.elapsed() / count;
        println!("a reading takes {each:?}, once a second");
        // Ten milliseconds a second are a hundredth; a machine that is busy otherwise is slower.
        assert!(each.as_millis() < 5, "{each:?}");
    }
}
