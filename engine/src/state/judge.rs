//! What the gauges mean: a pure function.

use super::gauges::Gauges;
use super::reading::{PressureSource, Reading, Readings};
use super::thresholds::Thresholds;

/// Judges the gauges. What they meant the last time counts: pressure is over only where all gauges
/// of a source are below their low thresholds.
#[must_use]
pub fn judge(thresholds: &Thresholds, before: &Readings, gauges: &Gauges) -> Readings {
    let worst = |source: PressureSource| {
        let before = before.of(source);
        let readings = gauges.of(source).into_iter().map(|(gauge, part)| {
            let used = part.thousandths();
            Reading { level: thresholds.of(gauge).level(before.level, used), gauge, used }
        });
        readings.max_by_key(|it| (it.level, it.used)).unwrap_or(before)
    };
    Readings {
        memory: worst(PressureSource::Memory),
        storage: worst(PressureSource::Storage),
        pipeline: worst(PressureSource::Pipeline),
    }
}

#[cfg(test)]
mod tests {
    use super::super::gauges::{MemoryGauge, Part, PipelineGauge, StorageGauge};
    use super::super::reading::{Gauge, Level};
    use super::*;

    fn storage(free: u64, backlog: u64) -> Gauges {
        let backlog = Part { used: backlog, of: 1000 };
        let storage = StorageGauge { free, total: 10_000, keep_free: 1000, backlog };
        Gauges { storage, ..Gauges::default() }
    }

    #[test]
    fn the_worst_gauge_of_a_source_counts() {
        let thresholds = Thresholds::default();
        let judge = |gauges| judge(&thresholds, &Readings::default(), &gauges);
        let expected = Reading { level: Level::High, gauge: Gauge::Backlog, used: 700 };
        assert_eq!(judge(storage(990, 700)).storage, expected);
        let expected = Reading { level: Level::Exhausted, gauge: Gauge::Space, used: 900 };
        assert_eq!(judge(storage(100, 700)).storage, expected);
        let ring = Part { used: 97, of: 100 };
        let pipeline = PipelineGauge { ring, ..PipelineGauge::default() };
        let expected = Reading { level: Level::Exhausted, gauge: Gauge::Ring, used: 970 };
        assert_eq!(judge(Gauges { pipeline, ..Gauges::default() }).pipeline, expected);
    }

    #[test]
    fn pressure_is_over_when_all_gauges_of_the_source_are_low() {
        let thresholds = Thresholds::default();
        let high = judge(&thresholds, &Readings::default(), &storage(0, 0));
        let easing = judge(&thresholds, &high, &storage(1000, 500));
        let expected = Reading { level: Level::Easing, gauge: Gauge::Backlog, used: 500 };
        assert_eq!(easing.storage, expected);
        assert_eq!(judge(&thresholds, &easing, &storage(1000, 399)).storage.level, Level::Calm);
    }

    #[test]
    fn a_small_machine_and_a_large_one_are_judged_alike() {
        for gib in [4u64, 256] {
            let memory = MemoryGauge { used: (gib << 30) / 100 * 86, limit: gib << 30 };
            let gauges = Gauges { memory, ..Gauges::default() };
            let readings = judge(&Thresholds::default(), &Readings::default(), &gauges);
            assert_eq!(readings.memory.to_string(), "85.9 % of the memory is used");
            assert_eq!(readings.memory.level, Level::High);
        }
    }
}
