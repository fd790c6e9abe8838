//! IntegrityVerify: everything is read and verified, segment by segment. What it is at is kept in the
//! store, so that a pass that takes days goes on after whatever came between.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tapstone_runtime::blocking;
use tapstone_runtime::clock::{self, Stopwatch};

use super::{RecoveryError, RecoveryReport};
use crate::check::{CheckReport, Damage};
use crate::id::SegmentId;
use crate::pace::{GivenUp, Pace};
use crate::store::Store;

/// How often it is kept where the scrub is, and said how far it got.
const KEPT: Duration = Duration::from_secs(30);
/// So much of what was found is kept from one task to the next.
const DAMAGE_KEPT: usize = 1000;

/// How far a pass over all segments got.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::maintenance) struct ScrubPlace {
    begun_nanos: u64,
    /// The last segment that was verified.
    last: String,
    segments: u64,
    blocks: u64,
    packets: u64,
    flows: u64,
    damage: Vec<Damage>,
}

pub(super) fn verify(
    store: &Store,
    pace: &mut Pace<'_>,
    report: &mut RecoveryReport,
) -> Result<(), RecoveryError> {
    let place = store.kept_record().scrub;
    let mut found = place.as_ref().map(ScrubPlace::found).unwrap_or_default();
    // What was found before may be mended since, or let go.
    let is_mended = |it: &Damage| report.mended.iter().any(|mended| mended.path == it.path);
    let is_there = |it: &Damage| blocking::file_len(&it.path).is_ok_and(|length| length.is_some());
    found.damage.retain(|it| !is_mended(it) && is_there(it));
    report.resumed = place.is_some();
    let mut last = place.as_ref().and_then(|place| place.last.parse().ok());
    let begun_nanos = place.map_or_else(clock::unix_nanos, |place| place.begun_nanos);
    let scrubbed = scrub(store, pace, &mut last, &mut found, |last, found| {
        let place = ScrubPlace::new(begun_nanos, last, found);
        store.keep_record(|record| record.scrub = Some(place));
    });
    let told = found.damage.iter().map(ToString::to_string);
    store.inner.unindexed.tell(told);
    match scrubbed {
        Ok(()) => store.keep_record(|record| record.scrub = None),
        Err(GivenUp) => {
            if let Some(last) = last {
                let place = ScrubPlace::new(begun_nanos, last, &found);
                store.keep_record(|record| record.scrub = Some(place));
            }
        }
    }
    report.check.extend(found);
    Ok(scrubbed?)
}

/// Verifies the segments behind `last`, and then all else.
fn scrub(
    store: &Store,
    pace: &mut Pace<'_>,
    last: &mut Option<SegmentId>,
    found: &mut CheckReport,
    keep: impl Fn(SegmentId, &CheckReport),
) -> Result<(), GivenUp> {
    let mut since_kept = Stopwatch::start();
    let rows = store.check_catalog(found);
    let (count, mut done) = (rows.rows.len(), 0);
    for (id, row) in &rows.rows {
        done += 1;
        if last.is_some_and(|last| *id <= last) {
            continue;
        }
        let mut own = CheckReport::default();
        let checked = store.checker().check_sealed(*id, row, pace, &mut own);
        // What is half read is read again by the next one.
        checked?;
        // It may have been let go meanwhile.
        if own.damage.is_empty() || !store.is_gone(*id) {
            found.extend(own);
        }
        *last = Some(*id);
        if since_kept.elapsed() >= KEPT {
            since_kept = Stopwatch::start();
            keep(*id, found);
            tracing::info!(
                "scrub: {done} of {count} segments, {} damaged places",
                found.damage.len()
            );
        }
    }
    // Segments that came meanwhile are looked at by the next pass.
    let mut own = CheckReport::default();
    store.check_others(pace, &mut own)?;
    found.extend(own);
    Ok(())
}

impl ScrubPlace {
    fn new(begun_nanos: u64, last: SegmentId, found: &CheckReport) -> ScrubPlace {
        ScrubPlace {
            begun_nanos,
            last: last.to_string(),
            segments: found.segments,
            blocks: found.blocks,
            packets: found.packets,
            flows: found.flows,
            damage: found.damage.iter().take(DAMAGE_KEPT).cloned().collect(),
        }
    }

    fn found(&self) -> CheckReport {
        CheckReport {
            segments: self.segments,
            blocks: self.blocks,
            packets: self.packets,
            flows: self.flows,
            audit_records: 0,
            damage: self.damage.clone(),
        }
    }
}
