//! The store tries itself.

use std::sync::Arc;
use std::time::Duration;

use tapstone_runtime::{probe, random_bytes};

use super::Site;
use crate::segment::block;
use crate::segment::description::BlockPlace;
use crate::segment::reader::Segment;

/// A shard answers between two blocks; one that has not after so long hangs.
const ANSWERS_WITHIN: Duration = Duration::from_secs(10);

/// A file comes back as it was written, so does a block that was stored, and all shards answer.
pub(super) fn check(site: &Site) -> Result<(), String> {
    let inner = &site.store.inner;
    probe::disk(&inner.layout.probe(), 1).map_err(|error| error.to_string())?;
    if let Some(segment) = newest(site)? {
        check_a_block(site, &segment)?;
    }
    site.store.ask_shards(ANSWERS_WITHIN).map_err(|silent| silent.to_string())
}

/// The segment that was sealed last.
fn newest(site: &Site) -> Result<Option<Arc<Segment>>, String> {
    let rows = || site.store.inner.catalog.segments().map_err(|error| error.to_string());
    let known = rows()?;
    let Some(newest) = known.rows.iter().max_by_key(|(_, row)| row.created_nanos) else {
        return Ok(None);
    };
    match site.store.segment(*newest.0) {
        Ok(segment) => Ok(Some(segment)),
        // It expired meanwhile.
        Err(_) if !rows()?.rows.contains_key(newest.0) => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}

/// Reads one of its blocks, drawn by lot, and opens it.
fn check_a_block(site: &Site, segment: &Segment) -> Result<(), String> {
    let numbered =
        segment.map.units.iter().flat_map(|unit| unit.blocks.iter().zip(unit.first_block..));
    let blocks: Vec<(&BlockPlace, u32)> = numbered.collect();
    if blocks.is_empty() {
        return Ok(());
    }
    let drawn = u64::from_le_bytes(random_bytes()) % blocks.len() as u64;
    let (place, number) = blocks[drawn as usize];
    let read = segment.read_file().and_then(|it| it.read_at(place.offset, place.length as usize));
    let stored = match read {
        // It expired meanwhile.
        Err(error) if error.is_not_found() => return Ok(()),
        read => read.map_err(|error| error.to_string())?,
    };
    let (owner, key) = (segment.opened.owner, &segment.opened.key);
    let opened = block::open(owner, key, number, &stored, &mut Vec::new(), &mut Vec::new());
    let (path, offset) = (segment.path.display(), place.offset);
    match opened {
        Err(_) if site.store.is_gone(segment.id()) => Ok(()),
        opened => opened
            .map(drop)
            .map_err(|error| format!("{path} at offset {offset}: {error}; run: tapstone check")),
    }
}
