//! RecoveryPlanning: from how a resource was used over the last minutes to where that leads.

use std::fmt;
use std::time::Duration;

use crate::state::Bounds;

/// Fewer samples, or samples of less time, say nothing.
const SAMPLES_MIN: usize = 5;
const SPAN_MIN: Duration = Duration::from_secs(10);
/// What changes by less than a hundredth in all this time stays as it is.
const CHANGE_MIN: f64 = 10.0;
/// Nobody knows what will be later.
const AHEAD_MAX: Duration = Duration::from_secs(24 * 3600);

/// How much of a resource was used at some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// By the clock of [`Moment::since_start`](crate::state::Moment).
    pub at: Duration,
    /// In thousandths.
    pub used: u16,
}

/// Where it leads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Outlook {
    /// Too little is known.
    #[default]
    Unknown,
    /// It stays as it is.
    Steady,
    /// It is below its low threshold in so much time.
    Recovers(Duration),
    /// It is at the threshold where nothing is left in so much time.
    RunsOut(Duration),
}

impl fmt::Display for Outlook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outlook::Unknown => f.write_str("it is too early to say where that leads"),
            Outlook::Steady => f.write_str("it stays as it is"),
            Outlook::Recovers(time) => {
                write!(f, "it will have recovered in about {} s", time.as_secs())
            }
            Outlook::RunsOut(time) => write!(f, "it runs out in about {} s", time.as_secs()),
        }
    }
}

/// Where the samples of a resource lead, the earliest first: along the straight line that is
/// nearest to them.
#[must_use]
pub fn outlook(samples: &[Sample], bounds: Bounds) -> Outlook {
    let (Some(first), Some(last)) = (samples.first(), samples.last()) else {
        return Outlook::Unknown;
    };
    let span = last.at.saturating_sub(first.at);
    if samples.len() < SAMPLES_MIN || span < SPAN_MIN {
        return Outlook::Unknown;
    }
    let (now, slope) = line(samples);
    if slope.abs() * span.as_secs_f64() < CHANGE_MIN {
        return Outlook::Steady;
    }
    let goal = f64::from(if slope > 0.0 { bounds.exhausted } else { bounds.low });
    // What is there already has no time left.
    let ahead = ((goal - now) / slope).max(0.0);
    if ahead > AHEAD_MAX.as_secs_f64() {
        return Outlook::Steady;
    }
    let ahead = Duration::from_secs_f64(ahead);
    if slope > 0.0 { Outlook::RunsOut(ahead) } else { Outlook::Recovers(ahead) }
}

/// The line with the least squares: its value at the last sample, and its slope a second.
fn line(samples: &[Sample]) -> (f64, f64) {
    let last = samples.last().map_or(Duration::ZERO, |sample| sample.at);
    // Times are counted back from the last, so that no digits are lost.
    let points =
        samples.iter().map(|it| (-last.saturating_sub(it.at).as_secs_f64(), f64::from(it.used)));
    let count = samples.len() as f64;
    let (time, used) = points.clone().fold((0.0, 0.0), |sum, it| (sum.0 + it.0, sum.1 + it.1));
    let (time, used) = (time / count, used / count);
    let (above, below) = points.fold((0.0, 0.0), |(above, below), it| {
        (above + (it.0 - time) * (it.1 - used), below + (it.0 - time).powi(2))
    });
    let slope = if below > 0.0 { above / below } else { 0.0 };
    (used - slope * time, slope)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Outlook::{Recovers, RunsOut, Steady, Unknown};
    use super::*;

    const BOUNDS: Bounds = Bounds { low: 400, high: 700, relieved: 850, exhausted: 970 };

    fn of(used: impl IntoIterator<Item = u16>) -> Outlook {
        let sample =
            |(at, used): (u64, u16)| Sample { at: Duration::from_secs(1000 + 2 * at), used };
        let samples: Vec<_> = (0..).zip(used).map(sample).collect();
        outlook(&samples, BOUNDS)
    }

    #[test]
    fn a_line_is_followed_to_its_end() {
        // Five thousandths a second.
        let RunsOut(time) = of((0..20).map(|it| 700 + 10 * it)) else { panic!() };
        assert_eq!(time.as_secs(), (970 - 890) / 5);
        let Recovers(time) = of((0..20).map(|it| 900 - 10 * it)) else { panic!() };
        assert_eq!(time.as_secs(), (710 - 400) / 5);
        assert_eq!(of([990; 20]), Steady);
        assert_eq!(of((0..20).map(|it| 980 + it)), RunsOut(Duration::ZERO), "it has");
        assert_eq!(of((0..20).map(|it| 300 - 5 * it)), Recovers(Duration::ZERO), "it has");
    }

    #[test]
    fn what_jitters_is_steady_and_what_is_short_is_unknown() {
        assert_eq!(of((0..100).map(|it| 700 + it % 2 * 100)), Steady);
        assert_eq!(of([700, 750, 800]), Unknown);
        assert_eq!(of([]), Unknown);
        let at_once = [Sample { at: Duration::ZERO, used: 700 }; 20];
        assert_eq!(outlook(&at_once, BOUNDS), Unknown);
        // Twelve thousandths in half an hour: nobody knows what will be in eleven hours, but this.
        let RunsOut(time) = of((0..1000).map(|it| 700 + it / 80)) else { panic!() };
        assert!((30_000..50_000).contains(&time.as_secs()), "{time:?}");
    }

    proptest! {
        /// Whatever comes, something is said; what rises runs out sooner when it rises faster.
        #[test]
        fn the_steeper_the_sooner(start in 0u16..800, step in 1u16..4, more in 1u16..4) {
            let rising = |step| of((0..30u16).map(|it| start + it * step));
            let (slow, fast) = (rising(step), rising(step + more));
            let (RunsOut(slow), RunsOut(fast)) = (slow, fast) else { panic!("{slow} {fast}") };
            prop_assert!(fast <= slow, "{fast:?} {slow:?}");
        }

        #[test]
        fn nothing_panics(samples in proptest::collection::vec((0u64..5000, 0u16..=1000), 0..50)) {
            let sample = |&(at, used): &(u64, u16)| Sample { at: Duration::from_millis(at), used };
            let samples: Vec<_> = samples.iter().map(sample).collect();
            let said = outlook(&samples, BOUNDS);
            prop_assert!(!said.to_string().is_empty());
        }
    }
}
