//! What a report is about.

use std::ops::Range;

use tapstone_packet::time::Timestamp;

const HOUR_SECS: i128 = 3600;

/// A time, from an instant on and up to before another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period {
    /// From here on,
    pub since: Timestamp,
    /// and before this.
    pub until: Timestamp,
}

impl Period {
    /// Whether an instant lies in it.
    #[must_use]
    pub fn contains(&self, time: Timestamp) -> bool {
        self.since <= time && time < self.until
    }

    /// Whether nothing can lie in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.until <= self.since
    }

    /// Whether anything between these instants does, both included.
    pub(super) fn overlaps(&self, first: Timestamp, last: Timestamp) -> bool {
        first < self.until && self.since <= last
    }

    /// The hours since the epoch that it touches.
    pub(super) fn hours(&self) -> Range<u64> {
        let hour = |secs: i128| u64::try_from(secs.max(0) / HOUR_SECS).unwrap_or(u64::MAX);
        let (until, nanos) = self.until.secs_nanos();
        let last = until + i128::from(nanos > 0) + HOUR_SECS - 1;
        hour(self.since.secs_nanos().0)..hour(last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: i64, nanos: u32) -> Timestamp {
        Timestamp::from_secs_nanos(secs, nanos)
    }

    #[test]
    fn it_begins_with_its_first_instant_and_ends_before_its_last() {
        let period = Period { since: at(10, 0), until: at(20, 0) };
        let inside = [(9, false), (10, true), (19, true), (20, false)];
        assert!(inside.iter().all(|(second, is_in)| period.contains(at(*second, 0)) == *is_in));
        assert!(period.overlaps(at(0, 0), at(10, 0)) && period.overlaps(at(19, 0), at(30, 0)));
        assert!(!period.overlaps(at(0, 0), at(9, 0)) && !period.overlaps(at(20, 0), at(30, 0)));
    }

    #[test]
    fn it_touches_hours_that_it_begins_or_ends_in() {
        let hours = |since, until| Period { since, until }.hours();
        assert_eq!(hours(at(3600, 0), at(7200, 0)), 1..2);
        assert_eq!(hours(at(3599, 0), at(7200, 1)), 0..3);
        assert_eq!(hours(at(-50, 0), at(1, 0)), 0..1);
        assert!(hours(Timestamp::MIN, Timestamp::MAX).contains(&500_000));
    }
}
