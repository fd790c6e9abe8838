//! What another process may start from, in a file that anybody can read.

use serde::Serialize;
use tapstone_runtime::{blocking, clock};

use super::Site;
use crate::id::SegmentId;
use crate::segment::reader::Segment;
use crate::state::{Readings, State};

/// What is written (docs/state-machine.md, "The state dump").
#[derive(Serialize)]
struct Dump {
    version: u32,
    store: String,
    written_nanos: u64,
    state: Option<State>,
    why: String,
    active: Vec<State>,
    readings: Option<Readings>,
    history: Vec<Went>,
    /// The number of the last transition that is in the ledger.
    recorded: Option<u64>,
    sealed_segments: u64,
    packets: u64,
    packet_bytes: u64,
    /// Segments that the catalog does not know: open, or not indexed yet.
    segments_without_split: Vec<Without>,
    holds: u64,
    holds_in_doubt: bool,
    captures: Vec<Captured>,
    damage: Vec<String>,
}

#[derive(Serialize)]
struct Went {
    sequence: u64,
    unix_nanos: u64,
    from: Option<State>,
    to: State,
    event: String,
    why: String,
}

#[derive(Serialize)]
struct Without {
    segment: String,
    file: String,
    /// Units of it that are durable, and where the last of them ends in the file.
    durable_units: u64,
    durable_bytes: u64,
    packets: u64,
}

#[derive(Serialize)]
struct Captured {
    interface: String,
    received: u64,
    stored: u64,
    lost: u64,
}

/// Writes it, whole or not at all, and durably.
pub(super) fn write(site: &Site) -> Result<(), String> {
    let path = site.store.inner.layout.state_dump();
    let text = serde_json::to_vec_pretty(&dump(site)?).expect("it holds texts and numbers");
    blocking::replace_file(&path, &text).map_err(|error| error.to_string())?;
    tracing::info!("what another process may start from is in {}", path.display());
    Ok(())
}

fn dump(site: &Site) -> Result<Dump, String> {
    let store = &site.store;
    // The catalog is asked last: what leaves the others is there then.
    let without = store.segments_without_row();
    let segments = store.inner.catalog.segments().map_err(|error| error.to_string())?;
    let rows = &segments.rows;
    let without = without.iter().filter(|segment| !rows.contains_key(&segment.id()));
    let ledger = store.inner.ledger.state();
    let report = store.inner.board.report();
    let active = report.iter().flat_map(|it| &it.active).copied();
    let history = store.inner.board.history().into_iter().map(|it| Went {
        sequence: it.sequence,
        unix_nanos: it.unix_nanos,
        from: it.from,
        to: it.to,
        event: it.event.to_string(),
        why: it.why,
    });
    Ok(Dump {
        version: 1,
        store: store.id().to_string(),
        written_nanos: clock::unix_nanos(),
        state: report.as_ref().map(|it| it.state),
        why: report.as_ref().map(|it| it.why.clone()).unwrap_or_default(),
        active: active.collect(),
        readings: report.and_then(|it| it.readings),
        history: history.collect(),
        recorded: ledger.transitions.back().map(|it| it.sequence),
        sealed_segments: rows.len() as u64,
        packets: rows.values().map(|row| row.packets).sum(),
        packet_bytes: rows.values().map(|row| row.packet_bytes).sum(),
        segments_without_split: without.map(|it| of_segment(it.id(), it)).collect(),
        holds: ledger.holds.len() as u64,
        holds_in_doubt: ledger.in_doubt,
        captures: store.captures().into_iter().map(of_capture).collect(),
        damage: store.damage(),
    })
}

fn of_segment(id: SegmentId, segment: &Segment) -> Without {
    let units = &segment.map.units;
    let end = units.last().map_or(0, |unit| unit.offset + unit.blocks_length());
    Without {
        segment: id.to_string(),
        file: segment.path.display().to_string(),
        durable_units: units.len() as u64,
        durable_bytes: end,
        packets: units.iter().map(|unit| u64::from(unit.packets())).sum(),
    }
}

fn of_capture(counts: crate::capture::CaptureCounts) -> Captured {
    let lost = counts.lost();
    let crate::capture::CaptureCounts { interface, received, stored, .. } = counts;
    Captured { interface, received, stored, lost }
}
