//! INIT: what can be made ready before the first packet is.

use std::time::Duration;

use tapstone_runtime::clock;

use super::Site;
use super::resources::batches_size;
use crate::state::{Init, State, WarmUp};

/// The most recent splits that are opened: what is asked about most is the last hour.
const SPLITS: usize = 8;
/// The size of a page, or less: so that each is touched.
const PAGE_SIZE: usize = 4096;
/// How often it is looked whether recovery is done.
const LOOK: Duration = Duration::from_millis(100);

/// The memory that live packets' batches grow into is there: as much is taken at once, touched, and
/// given back. The rings themselves were allocated when their interfaces were opened.
pub(super) fn buffer_prealloc(site: &Site) -> Result<(), String> {
    let rings = site.store.live_rings().len() as u64;
    let size = (rings * batches_size(site.store.inner.sizes.unit)) as usize;
    let mut pages: Vec<u8> = Vec::new();
    let refused = |error| format!("{size} bytes for batches of packets cannot be had: {error}");
    pages.try_reserve_exact(size).map_err(refused)?;
    pages.resize(size, 0);
    pages.iter_mut().step_by(PAGE_SIZE).for_each(|byte| *byte = std::hint::black_box(1));
    std::hint::black_box(&pages);
    Ok(())
}

/// Opens the most recent splits, so that the first question finds them open. Of one that is damaged
/// every answer tells that it touches; here it only counts when none can be opened.
pub(super) fn index_prep(site: &Site) -> Result<(), String> {
    let rows = site.store.inner.catalog.segments().map_err(|error| error.to_string())?;
    let mut recent: Vec<_> = rows.rows.iter().map(|(id, row)| (row.created_nanos, *id)).collect();
    recent.sort_unstable_by(|a, b| b.cmp(a));
    recent.truncate(SPLITS);
    let opened = recent.iter().map(|(_, id)| site.store.split(*id).map(drop));
    let (opened, failed): (Vec<_>, Vec<_>) = opened.partition(Result::is_ok);
    for error in failed.iter().filter_map(|it| it.as_ref().err()) {
        tracing::warn!(%error, "a split cannot be opened; run: tapstone check");
    }
    match failed.into_iter().find_map(Result::err) {
        Some(error) if opened.is_empty() => Err(format!("no split can be opened: {error}")),
        _ => Ok(()),
    }
}

/// Waits until what a crash left is finished and indexed, as long as anybody wants to know.
pub(super) fn ready_state(site: &Site) -> Result<(), String> {
    const THIS: State = State::Init(Init::WarmUp(WarmUp::ReadyState));
    while site.wanted.has(THIS) && site.store.inner.unindexed.in_work().1 > 0 {
        clock::wait(LOOK);
    }
    Ok(())
}
