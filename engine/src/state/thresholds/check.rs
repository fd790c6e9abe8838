//! Thresholds that make no sense.

use std::time::Duration;

use super::super::reading::Percent;
use super::{Bounds, Thresholds};

/// Why thresholds make no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ThresholdError {
    /// Two bounds are the wrong way round, or the same.
    #[error(
        "{bounds}: {lower} ({}) must be below {upper} ({}): {why}",
        Percent(values.0),
        Percent(values.1)
    )]
    Order {
        /// Whose.
        bounds: &'static str,
        /// The one that must be lower.
        lower: &'static str,
        /// The one that must be higher.
        upper: &'static str,
        /// Both, in thousandths.
        values: (u16, u16),
        /// What would become of it.
        why: &'static str,
    },
    /// Nothing is below nothing.
    #[error("{bounds}: low is 0: pressure would never be over; set what is usual")]
    NoLow {
        /// Whose.
        bounds: &'static str,
    },
    /// More than there is.
    #[error("{bounds}: exhausted ({}) is more than there is: set 100 % at most", Percent(*.exhausted))]
    BeyondAll {
        /// Whose.
        bounds: &'static str,
        /// In thousandths.
        exhausted: u16,
    },
    /// No time at all.
    #[error("{time} is 0: {why}")]
    NoTime {
        /// Which.
        time: &'static str,
        /// What would become of it.
        why: &'static str,
    },
    /// Pressure would count as sustained before everything against it was tried.
    #[error(
        "sustained ({sustained:?}) is less than {what} ({least:?}): not everything would be kept \
         before all was tried that keeps it"
    )]
    Hasty {
        /// What is set.
        sustained: Duration,
        /// What it is compared to.
        what: &'static str,
        /// What that takes.
        least: Duration,
    },
}

impl Thresholds {
    /// Whether they make sense.
    ///
    /// # Errors
    ///
    /// All that does not.
    pub fn check(&self) -> Result<(), Vec<ThresholdError>> {
        let mut errors = Vec::new();
        check_bounds("memory", self.memory, &mut errors);
        check_bounds("space", self.space, &mut errors);
        check_bounds("backlog", self.backlog, &mut errors);
        check_bounds("pipeline", self.pipeline, &mut errors);
        let times = [
            ("dwell", self.dwell, "a load at a threshold would move the machine at every reading"),
            ("step", self.step, "all measures would be taken at once"),
            ("sustained", self.sustained, "no pressure could be answered by measures alone"),
        ];
        let zero = times.into_iter().filter(|(_, it, _)| it.is_zero());
        errors.extend(zero.map(|(time, _, why)| ThresholdError::NoTime { time, why }));
        let measures = self.step.saturating_mul(2);
        for (what, least) in [("two steps", measures), ("the dwell time", self.dwell)] {
            if self.sustained < least && !self.sustained.is_zero() {
                errors.push(ThresholdError::Hasty { sustained: self.sustained, what, least });
            }
        }
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }
}

fn check_bounds(bounds: &'static str, it: Bounds, errors: &mut Vec<ThresholdError>) {
    const PAIRS: [(&str, &str, &str); 3] = [
        ("low", "high", "a load at either would come and go all the time"),
        ("high", "relieved", "a source would be exhausted that is not under pressure"),
        ("relieved", "exhausted", "a load at either would run out and recover all the time"),
    ];
    let values = [it.low, it.high, it.relieved, it.exhausted];
    for ((lower, upper, why), pair) in PAIRS.into_iter().zip(values.windows(2)) {
        if pair[0] >= pair[1] {
            let values = (pair[0], pair[1]);
            errors.push(ThresholdError::Order { bounds, lower, upper, values, why });
        }
    }
    if it.low == 0 {
        errors.push(ThresholdError::NoLow { bounds });
    }
    if it.exhausted > 1000 {
        errors.push(ThresholdError::BeyondAll { bounds, exhausted: it.exhausted });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mistakes(change: impl FnOnce(&mut Thresholds)) -> Vec<String> {
        let mut thresholds = Thresholds::default();
        change(&mut thresholds);
        let errors = thresholds.check().err().unwrap_or_default();
        errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_defaults_make_sense() {
        assert_eq!(mistakes(|_| ()), Vec::<String>::new());
    }

    #[test]
    fn nonsense_is_refused_with_a_word_why() {
        let low_above_high = mistakes(|it| it.memory.low = 900);
        let expected = "memory: low (90.0 %) must be below high (85.0 %): a load at either would \
                        come and go all the time";
        assert_eq!(low_above_high, [expected]);
        assert_eq!(mistakes(|it| it.space.low = 300).len(), 1, "the same is no hysteresis");
        assert_eq!(mistakes(|it| it.space.low = 0).len(), 1);
        assert_eq!(mistakes(|it| it.pipeline.relieved = 600).len(), 1);
        assert_eq!(mistakes(|it| it.backlog.exhausted = 850).len(), 1);
        assert_eq!(mistakes(|it| it.backlog.exhausted = 1001).len(), 1);
        assert_eq!(mistakes(|it| it.step = Duration::ZERO).len(), 1);
        assert_eq!(mistakes(|it| it.sustained = Duration::ZERO).len(), 1);
        let no_dwell = mistakes(|it| it.dwell = Duration::ZERO);
        let expected = "dwell is 0: a load at a threshold would move the machine at every reading";
        assert_eq!(no_dwell, [expected]);
        let hasty = mistakes(|it| it.sustained = Duration::from_secs(19));
        let expected = "sustained (19s) is less than two steps (20s): not everything would be kept \
                        before all was tried that keeps it";
        assert_eq!(hasty, [expected]);
    }

    #[test]
    fn all_mistakes_are_told_at_once() {
        let mistakes = mistakes(|it| {
            it.memory = Bounds { low: 0, high: 0, relieved: 0, exhausted: 2000 };
            it.dwell = Duration::from_secs(120);
        });
        assert_eq!(mistakes.len(), 5, "{mistakes:#?}");
    }
}
