//! What of a ring that is read can be measured from outside.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tapstone_runtime::packet_ring::RingGauge;

use super::counts::Counters;
use super::fill::Filler;
use crate::store::Store;

/// A ring that is read, watched. It does not keep the ring.
#[derive(Clone, Debug)]
pub(crate) struct LiveRing {
    /// The interface's name.
    pub(crate) interface: Arc<str>,
    /// The shard that stores its packets.
    pub(crate) shard: usize,
    gauge: Option<RingGauge>,
    counters: Arc<Counters>,
}

impl LiveRing {
    pub(super) fn of(filler: &Filler, shard: usize) -> LiveRing {
        LiveRing {
            interface: Arc::clone(&filler.source),
            shard,
            gauge: filler.ring.gauge(),
            counters: Arc::clone(&filler.counters),
        }
    }

    /// Whether its packets come from one network interface, and not from what libpcap knows besides.
    pub(crate) fn is_of_an_interface(&self) -> bool {
        self.gauge.is_some()
    }

    /// Blocks that wait to be read, of all there are; `None` when the ring is read no more, or nobody
    /// knows.
    pub(crate) fn filled(&self) -> Option<(u64, u64)> {
        self.gauge.as_ref()?.read()
    }

    /// Captured bytes that its shard has, and that are not durable.
    pub(crate) fn waiting_bytes(&self) -> u64 {
        self.counters.waiting_bytes.load(Ordering::Relaxed)
    }

    /// Whether what comes must wait in the ring until its shard has done something.
    pub(crate) fn is_stuck(&self) -> bool {
        self.counters.stuck.load(Ordering::Relaxed)
    }

    /// How often the kernel has said how many packets came to it.
    pub(crate) fn counted(&self) -> u64 {
        self.counters.counted.load(Ordering::Relaxed)
    }
}

impl Store {
    /// The rings that are read now.
    pub(crate) fn live_rings(&self) -> Vec<LiveRing> {
        let captures = self.inner.captures.lock().expect("no holder of the lock panics");
        let all = captures.iter().flat_map(|it| it.live.iter().zip(&it.flushes));
        // Whoever reads a ring no more can be asked nothing.
        let read = all.filter(|(_, flush)| !flush.is_closed());
        read.map(|(ring, _)| ring.clone()).collect()
    }
}
