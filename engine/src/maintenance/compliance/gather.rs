//! What a report says, asked of an open store.

use serde_json::Value;

use super::expired::Expiry;
use super::losses::by_day;
use super::period::Period;
use super::report::{Audit, Cause, Held, HoldInForce, Interface, Kept, Lost, Report, instant};
use super::signature::KeyFingerprint;
use super::states;
use crate::audit::AuditReport;
use crate::capture::CaptureCounts;
use crate::capture::loss::{Loss, LossCause};
use crate::catalog::CatalogError;
use crate::store::Store;

const VERSION: u32 = 1;

/// All that a report says.
pub(super) fn gather(
    store: &Store,
    period: Period,
    audit: &AuditReport,
    read: Option<Value>,
    key: KeyFingerprint,
) -> Result<Report, CatalogError> {
    let now = super::now();
    let info = store.info()?;
    let held = store.holds().into_iter().map(|it| {
        let added_in_period = period.contains(it.added);
        HoldInForce::of(it, added_in_period)
    });
    Ok(Report {
        report: "tapstone compliance",
        version: VERSION,
        store: info.store.to_string(),
        program: env!("CARGO_PKG_VERSION"),
        since: instant(period.since),
        until: instant(period.until),
        made: instant(now),
        key: key.to_string(),
        held: Held {
            in_doubt: store.holds_in_doubt(),
            in_force: held.collect(),
            held_back_segments: info.held_back.segments,
            held_back_bytes: info.held_back.bytes,
        },
        expired: expired(store, &period)?,
        lost: Lost {
            in_period: by_day(losses(store)?.into_iter(), &period),
            interfaces: info.captures.iter().map(interface).collect(),
        },
        read,
        states: states::of_period(&store.state_history(), &period, now),
        damage: info.damage,
        audit: Audit::of(audit),
        kept: Kept {
            segments: info.segments,
            packets: info.packets,
            packet_bytes: info.packet_bytes,
            stored_bytes: info.stored_bytes,
            index_bytes: info.index_bytes,
            first: info.first.map(instant),
            last: info.last.map(instant),
        },
    })
}

fn expired(store: &Store, period: &Period) -> Result<Expiry, CatalogError> {
    let catalog = &store.inner.catalog;
    // First what is in it all: what expires meanwhile is told as more, and never as undated.
    let ever = catalog.expired()?;
    let hours = catalog.expired_within(0..u64::MAX)?;
    let touched = period.hours();
    let in_period = hours.iter().filter(|(hour, _)| touched.contains(hour)).map(|(_, it)| *it);
    Ok(Expiry::of(in_period, hours.iter().map(|(_, it)| *it), &ever))
}

/// What was lost, as segments tell it, and what no segment tells yet.
fn losses(store: &Store) -> Result<Vec<Loss>, CatalogError> {
    let mut losses = store.pending_losses();
    let without_row = store.segments_without_row();
    let segments = store.inner.catalog.segments()?;
    losses.extend(segments.rows.values().flat_map(|row| &row.losses));
    for segment in without_row.iter().filter(|it| !segments.rows.contains_key(&it.id())) {
        losses.extend(segment.map.units.iter().flat_map(|unit| &unit.losses));
    }
    Ok(losses)
}

fn interface(counts: &CaptureCounts) -> Interface {
    let causes = LossCause::ALL.into_iter().zip(counts.lost).filter(|(_, packets)| *packets > 0);
    let lost = causes.map(|(cause, packets)| Cause { cause: cause.name(), packets });
    Interface {
        name: counts.interface.clone(),
        received: counts.received,
        stored: counts.stored,
        stored_bytes: counts.stored_bytes,
        filtered: counts.filtered,
        lost: lost.collect(),
    }
}
