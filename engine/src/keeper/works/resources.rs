//! INIT: is there what is needed, and does the configuration make sense?

use std::time::Duration;

use tapstone_runtime::clock::{self, Stopwatch};
use tapstone_runtime::{packet_ring, probe};

use super::super::measure;
use super::Site;
use crate::capture::{BATCHES, LiveRing};

/// Pieces of a mebibyte that the disk is tried with: enough for a figure that means something.
const PIECES: usize = 8;
/// The kernel is asked ten times a second how many packets came; an interface that has not answered
/// after so long does not.
const ANSWERS_WITHIN: Duration = Duration::from_secs(2);
/// Bytes of the chunks that a segment's file is written in, for each shard.
const CHUNKS_SIZE: u64 = 5 << 20;

/// Writes a file past the page cache, aligned as the file system says, makes it durable, reads it
/// back and compares.
pub(super) fn nvme_validation(site: &Site) -> Result<(), String> {
    let layout = &site.store.inner.layout;
    let probed = probe::disk(&layout.probe(), PIECES).map_err(|error| error.to_string())?;
    *site.disk_is_direct.lock().expect("no holder of the lock panics") = Some(probed.is_direct);
    let seconds = (probed.writing + probed.syncing).as_secs_f64().max(1e-9);
    tracing::info!(
        "the disk takes {:.0} MB/s, and syncs them in {:.1} ms{}",
        probed.bytes as f64 / seconds / 1e6,
        probed.syncing.as_secs_f64() * 1e3,
        if probed.is_direct { "" } else { ", by way of the page cache" },
    );
    Ok(())
}

/// What batches and chunks may take must fit into what is left.
pub(super) fn memory_allocation(site: &Site) -> Result<(), String> {
    let inner = &site.store.inner;
    let rings = site.store.live_rings().len() as u64;
    let batches = rings * batches_size(inner.sizes.unit);
    let needed = batches + inner.shards.count() as u64 * CHUNKS_SIZE;
    let memory = measure::memory();
    if memory.limit == 0 || needed <= memory.limit.saturating_sub(memory.used) {
        return Ok(());
    }
    Err(format!(
        "{needed} bytes are needed for packets on their way to the disk, and {} of {} are used: \
         give it more memory (MemoryMax= in the service's unit), or capture with fewer shards or \
         from fewer interfaces",
        memory.used, memory.limit
    ))
}

/// What a ring's batches take.
pub(super) fn batches_size(unit: usize) -> u64 {
    (BATCHES * unit) as u64
}

/// Every interface that is captured from is there, and the kernel says how many packets came.
pub(super) fn network_init(site: &Site) -> Result<(), String> {
    let rings = site.store.live_rings();
    for ring in rings.iter().filter(|ring| ring.is_of_an_interface()) {
        match packet_ring::is_there(&ring.interface) {
            Ok(true) => {}
            Ok(false) => return Err(format!("{} is gone: bring it back", ring.interface)),
            Err(error) => return Err(format!("{} cannot be looked for: {error}", ring.interface)),
        }
    }
    let before: Vec<u64> = rings.iter().map(LiveRing::counted).collect();
    let waited = Stopwatch::start();
    let silent = || rings.iter().zip(&before).find(|(ring, before)| ring.counted() == **before);
    while let Some((ring, _)) = silent() {
        if waited.elapsed() > ANSWERS_WITHIN {
            let interface = &ring.interface;
            return Err(format!(
                "nobody has read how many packets came from {interface} for {ANSWERS_WITHIN:?}"
            ));
        }
        clock::wait(Duration::from_millis(10));
    }
    Ok(())
}

/// All mistakes at once.
pub(super) fn config_validation(site: &Site) -> Result<(), String> {
    let thresholds = site.options.thresholds.check().err().unwrap_or_default();
    let thresholds = thresholds.iter().map(ToString::to_string);
    let mistakes: Vec<String> = thresholds.chain(site.store.inner.sizes.mistakes()).collect();
    if mistakes.is_empty() { Ok(()) } else { Err(mistakes.join("; ")) }
}
