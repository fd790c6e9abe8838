//! What to do about what was found: a pure function.

use std::path::PathBuf;

use super::gather::{Facts, SegmentFile};
use crate::id::SegmentId;

/// One step; doing it twice is doing it once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Cut an open segment behind what verifies, seal it, and index it.
    Finish(SegmentId),
    /// Index a sealed segment.
    Index(SegmentId),
    /// Remove a file that means nothing.
    Remove(PathBuf),
    /// Tell that something is gone for good.
    Report(String),
}

pub(crate) fn plan(facts: &Facts) -> Vec<Step> {
    let mut steps = Vec::new();
    for log in &facts.logs {
        steps.extend(losses(facts, log).map(Step::Report));
    }
    for (id, file) in &facts.segments {
        match file {
            SegmentFile::Open { scanned, path, .. } if scanned.map.units.is_empty() => {
                steps.push(Step::Remove(path.clone()));
            }
            SegmentFile::Open { .. } => steps.push(Step::Finish(*id)),
            SegmentFile::Sealed => {
                if !facts.catalogued.contains(id) || !facts.split.contains(id) {
                    steps.push(Step::Index(*id));
                }
            }
            SegmentFile::Unreadable { path, why } => {
                let acknowledged =
                    facts.logs.iter().any(|log| log.stored.iter().any(|unit| unit.segment == *id));
                if acknowledged {
                    steps.push(Step::Report(format!("{}: {why}", path.display())));
                } else {
                    steps.push(Step::Remove(path.clone()));
                }
            }
        }
    }
    for id in facts.catalogued.iter().filter(|id| !facts.segments.contains_key(id)) {
        steps.push(Step::Report(format!(
            "segment {id} is in the catalog, but its file is gone; put it back, or run: \
             tapstone rebuild"
        )));
    }
    // Logs go last: until everything that they speak of is in its place, they are needed.
    steps.extend(facts.logs.iter().map(|log| Step::Remove(log.path.clone())));
    steps.extend(facts.leftovers.iter().cloned().map(Step::Remove));
    steps
}

/// Acknowledged units that are not there.
fn losses<'f>(facts: &'f Facts, log: &'f super::gather::Log) -> impl Iterator<Item = String> + 'f {
    let damaged = log.damaged_at.map(|offset| {
        format!(
            "{}: damaged at offset {offset} after it had been written; what it vouched for from \
             there on cannot be checked",
            log.path.display()
        )
    });
    let lost = log.stored.iter().filter_map(|unit| {
        let there = match facts.segments.get(&unit.segment)? {
            SegmentFile::Sealed => true,
            SegmentFile::Unreadable { .. } => false,
            SegmentFile::Open { scanned, .. } => {
                scanned.map.units.get(unit.unit as usize).is_some_and(|found| {
                    found.offset == unit.offset && found.blocks_crc() == unit.blocks_crc
                })
            }
        };
        (!there).then(|| {
            format!(
                "segment {}: {} acknowledged packets between {} and {} are damaged or gone (unit \
                 {} at offset {})",
                unit.segment, unit.packets, unit.time_min, unit.time_max, unit.unit, unit.offset
            )
        })
    });
    damaged.into_iter().chain(lost)
}

#[cfg(test)]
mod tests {
    use super::super::gather::Log;
    use super::*;
    use crate::id::StoreId;
    use crate::journal::StoredUnit;
    use crate::segment::description::tests::sample;

    fn id(sequence: u32) -> SegmentId {
        SegmentId::new(StoreId([1; 16]), sequence, 0)
    }

    #[test]
    fn a_store_in_order_needs_nothing() {
        let mut facts = Facts::default();
        facts.segments.insert(id(1), SegmentFile::Sealed);
        facts.catalogued.insert(id(1));
        facts.split.insert(id(1));
        assert_eq!(plan(&facts), []);
    }

    #[test]
    fn a_sealed_segment_that_is_not_known_is_indexed_before_its_log_goes() {
        let mut facts = Facts::default();
        facts.segments.insert(id(1), SegmentFile::Sealed);
        facts.split.insert(id(1));
        let path = PathBuf::from("wal-1.log");
        facts.logs.push(Log {
            path: path.clone(),
            segment: Some(id(1)),
            stored: vec![StoredUnit::new(id(1), &sample(0))],
            damaged_at: None,
        });
        assert_eq!(plan(&facts), [Step::Index(id(1)), Step::Remove(path)]);
    }

    #[test]
    fn acknowledged_packets_that_are_gone_are_told() {
        let mut facts = Facts::default();
        let unreadable = SegmentFile::Unreadable { path: "s.open".into(), why: "gone".into() };
        facts.segments.insert(id(2), unreadable);
        facts.logs.push(Log {
            path: "wal-2.log".into(),
            segment: Some(id(2)),
            stored: vec![StoredUnit::new(id(2), &sample(0))],
            damaged_at: None,
        });
        let steps = plan(&facts);
        let told =
            |step: &&Step| matches!(step, Step::Report(text) if text.contains("10 acknowledged"));
        assert_eq!(steps.iter().filter(told).count(), 1, "{steps:?}");
        assert!(!steps.contains(&Step::Remove("s.open".into())));
    }
}
