//! Steps of the wall clock while packets come. Packets keep the order and the times that the kernel
//! gave them; that the clock was set is told beside them.

use std::sync::Mutex;
use std::time::Duration;

use tapstone_packet::time::Timestamp;
use tapstone_runtime::clock::{self, Stopwatch};

/// What the two clocks may differ by between two looks: they are not read at one moment.
const TOLERANCE: Duration = Duration::from_millis(50);
/// A clock that is set right slowly runs faster or slower by less than a tenth.
const SLOWLY: u32 = 10;
/// Within so long both clocks must have been read.
const AT_ONCE: Duration = Duration::from_millis(5);

/// The wall clock was set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockStep {
    /// What it said when that was seen.
    pub at: Timestamp,
    /// How far it went, beyond the time that passed; less than zero when it was set back.
    pub by_nanos: i64,
}

/// Both clocks, read at once.
#[derive(Clone, Copy, Debug)]
struct Reading {
    /// The wall clock, in nanoseconds.
    wall: u64,
    /// The clock that nobody sets.
    since: Duration,
}

/// How far the wall clock was set between two readings, if it was.
fn step_between(before: Reading, now: Reading) -> Option<i64> {
    let passed = now.since.saturating_sub(before.since);
    let by = i128::from(now.wall) - i128::from(before.wall) - passed.as_nanos() as i128;
    let by = i64::try_from(by).unwrap_or(if by < 0 { i64::MIN } else { i64::MAX });
    let tolerated = TOLERANCE + passed / SLOWLY;
    (u128::from(by.unsigned_abs()) > tolerated.as_nanos()).then_some(by)
}

/// Sees the steps of the clock while an interface is captured from.
#[derive(Debug)]
pub(crate) struct ClockWatch {
    began: Stopwatch,
    seen: Mutex<Seen>,
}

#[derive(Debug)]
struct Seen {
    before: Option<Reading>,
    steps: u64,
    last: Option<ClockStep>,
}

impl ClockWatch {
    pub(super) fn new() -> ClockWatch {
        let seen = Seen { before: None, steps: 0, last: None };
        ClockWatch { began: Stopwatch::start(), seen: Mutex::new(seen) }
    }

    /// Looks at the clock; the next look is compared with this one.
    pub(super) fn look(&self, interface: &str) {
        let before = self.began.elapsed();
        let wall = clock::unix_nanos();
        let since = self.began.elapsed();
        // Whoever was interrupted in between would see a step that nobody made.
        if since - before <= AT_ONCE {
            self.compare(interface, Reading { wall, since });
        }
    }

    fn compare(&self, interface: &str, now: Reading) {
        let mut seen = self.seen.lock().expect("no holder of the lock panics");
        // Another shard may have looked later, and had the lock earlier.
        if seen.before.is_some_and(|before| before.since > now.since) {
            return;
        }
        let step = seen.before.and_then(|before| step_between(before, now));
        seen.before = Some(now);
        let Some(by_nanos) = step else { return };
        let at = Timestamp::from_nanos(i64::try_from(now.wall).unwrap_or(i64::MAX));
        seen.steps += 1;
        seen.last = Some(ClockStep { at, by_nanos });
        let (secs, way) = (by_nanos as f64 / 1e9, if by_nanos < 0 { "back" } else { "forth" });
        tracing::warn!(
            "the clock that gives the packets of {interface} their times went {way} by {:.3} s, to \
             {at}: they are stored with the times they have",
            secs.abs()
        );
    }

    /// How many steps there were, and the last one.
    pub(super) fn steps(&self) -> (u64, Option<ClockStep>) {
        let seen = self.seen.lock().expect("no holder of the lock panics");
        (seen.steps, seen.last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;

    fn at(wall_millis: u64, since_millis: u64) -> Reading {
        Reading { wall: wall_millis * 1_000_000, since: Duration::from_millis(since_millis) }
    }

    #[test]
    fn a_step_is_told_from_time_that_passes() {
        for ((wall, since), expected) in [
            ((100, 100), None),
            ((0, 0), None),
            // Between two looks a process may stand still.
            ((60_000, 60_000), None),
            ((159, 100), None),
            ((41, 100), None),
            ((200, 100), Some(SECOND / 10)),
            ((0, 100), Some(-SECOND / 10)),
            ((3_600_100, 100), Some(3600 * SECOND)),
        ] {
            let (before, now) = (at(10_000_000, 5_000), at(10_000_000 + wall, 5_000 + since));
            assert_eq!(step_between(before, now), expected, "{wall} ms in {since} ms");
        }
        assert_eq!(step_between(at(7_200_000, 0), at(100, 100)), Some(-7200 * SECOND));
        assert_eq!(step_between(at(0, 0), Reading { wall: u64::MAX, ..at(0, 1) }), Some(i64::MAX));
    }

    /// NTP makes a clock run a twentieth of a percent faster or slower, chrony a twelfth of it.
    #[test]
    fn a_clock_that_is_set_right_slowly_makes_no_step() {
        for parts in [500i64, -500, 83_333, -83_333] {
            let watch = ClockWatch::new();
            for look in 0..10_000u64 {
                let since = look * 100_000_000;
                let drift = since as i64 / 1_000_000 * parts;
                let wall = (1_700_000_000 * SECOND as u64 + since).saturating_add_signed(drift);
                watch.compare("eth0", Reading { wall, since: Duration::from_nanos(since) });
            }
            assert_eq!(watch.steps(), (0, None), "{parts} parts of a million");
        }
    }

    #[test]
    fn steps_are_counted_and_the_last_is_known() {
        let watch = ClockWatch::new();
        for (wall, since) in [(1000, 0), (1100, 100), (4100, 200), (4200, 300), (1300, 400)] {
            watch.compare("eth0", at(wall, since));
        }
        // One that was overtaken says nothing.
        watch.compare("eth0", at(9_000, 350));
        let last = ClockStep { at: Timestamp::from_nanos(1_300_000_000), by_nanos: -3 * SECOND };
        assert_eq!(watch.steps(), (2, Some(last)));
    }

    #[test]
    fn the_clock_of_this_machine_is_not_seen_to_step() {
        let watch = ClockWatch::new();
        for _ in 0..20 {
            watch.look("eth0");
            clock::wait(Duration::from_millis(2));
        }
        assert_eq!(watch.steps(), (0, None));
    }
}
