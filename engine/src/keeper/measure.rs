//! Reading the gauges. What they mean is decided by [`judge`](crate::state::judge).

mod memory;

use tapstone_runtime::blocking;

use crate::capture::{BATCHES, LiveRing};
use crate::retention::Free;
use crate::shard::UNITS_PER_COMMIT;
use crate::state::{Gauges, Part, PipelineGauge, StorageGauge};
use crate::store::{BUILDER_QUEUE, Store};

/// Reads all of them. What the system does not say is nothing, which presses nobody.
pub(super) fn gauges(store: &Store, keep_free: Option<Free>) -> Gauges {
    let rings = store.live_rings();
    Gauges {
        memory: memory::read(),
        storage: storage(store, keep_free, &rings),
        pipeline: pipeline(store, &rings),
    }
}

pub(super) use memory::read as memory;

fn storage(store: &Store, keep_free: Option<Free>, rings: &[LiveRing]) -> StorageGauge {
    let backlog = worst(rings.iter().map(|ring| backlog(ring, store.inner.sizes.unit)));
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
/// written and not durable yet.
fn backlog(ring: &LiveRing, unit: usize) -> Part {
    Part { used: ring.waiting_bytes(), of: ((BATCHES + UNITS_PER_COMMIT) * unit) as u64 }
}

/// The queues that live packets pass. An import waits where they are full, and is asked again: it
/// presses nobody, whatever it fills.
fn pipeline(store: &Store, rings: &[LiveRing]) -> PipelineGauge {
    if rings.is_empty() {
        return PipelineGauge::default();
    }
    let queue = |ring: &LiveRing| {
        let commands = store.commands_of(ring.shard);
        Part { used: commands.len() as u64, of: commands.capacity().unwrap_or(0) as u64 }
    };
    let filled = |ring: &LiveRing| ring.filled().map(|(used, of)| Part { used, of });
    PipelineGauge {
        queue: worst(rings.iter().map(queue)),
        ring: worst(rings.iter().filter_map(filled)),
        index: index(store),
    }
}

/// Sealed segments whose split is not made. With one that is built, one that waits for the builder,
/// and one with each shard that waits for that, nothing more can be sealed, and no packets are
/// taken.
fn index(store: &Store) -> Part {
    let of = 1 + BUILDER_QUEUE + store.inner.shards.count();
    Part { used: store.inner.unindexed.in_work().0 as u64, of: of as u64 }
}

/// The one of which the least is left: one ring that is full loses packets, whatever is left in
/// others.
pub(super) fn worst(parts: impl IntoIterator<Item = Part>) -> Part {
    parts.into_iter().max_by_key(|part| part.thousandths()).unwrap_or_default()
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
    fn a_reading_takes_far_less_than_a_hundredth_of_a_core() {
        let dir = tempfile::tempdir().unwrap();
        let options = OpenOptions { create: true, ..OpenOptions::default() };
        let store = Store::open(dir.path(), options).unwrap();
        let (count, began) = (200, Stopwatch::start());
        for _ in 0..count {
            let gauges = gauges(&store, Some(Free::Percent(10)));
            assert!(gauges.memory.limit > gauges.memory.used && gauges.memory.used > 0);
            assert!(gauges.storage.total >= gauges.storage.free && gauges.storage.total > 0);
        }
        let each = began.elapsed() / count;
        println!("a reading takes {each:?}, once a second");
        // Ten milliseconds a second are a hundredth; a machine that is busy otherwise is slower.
        assert!(each.as_millis() < 5, "{each:?}");
    }
}
