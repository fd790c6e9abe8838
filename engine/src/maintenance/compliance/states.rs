//! How long a store was in each of its states: pure.

use serde::Serialize;
use tapstone_packet::time::Timestamp;

use super::period::Period;
use super::report::instant;
use crate::state::{TopState, Transition};

/// The states of a period.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct States {
    /// From when on they are known: the last transitions are kept, and none is where nobody kept the
    /// store. None when nothing of the period is known.
    pub(super) known_since: Option<String>,
    /// Whether there were transitions before that are kept no more.
    pub(super) older_are_forgotten: bool,
    /// How long it was in each outermost state from then on.
    pub(super) time: Vec<Time>,
    /// When it went from one outermost state to another.
    pub(super) transitions: Vec<Went>,
}

/// A time spent in a state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Time {
    pub(super) state: &'static str,
    pub(super) seconds: u64,
}

/// One transition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Went {
    pub(super) number: u64,
    pub(super) at: String,
    /// None at a start.
    pub(super) from: Option<String>,
    pub(super) to: String,
    pub(super) why: String,
}

/// What is known of a period: a state holds until the next transition, the last one until now.
pub(super) fn of_period(transitions: &[Transition], period: &Period, now: Timestamp) -> States {
    let end = period.until.min(now);
    let mut nanos = [0u128; TopState::ALL.len()];
    let ends = transitions.iter().skip(1).map(time).chain([end]);
    for (transition, ended) in transitions.iter().zip(ends) {
        let (from, to) = (time(transition).max(period.since), ended.min(end));
        let place = TopState::ALL.iter().position(|it| *it == transition.to.top());
        nanos[place.expect("all there are")] += span(from, to);
    }
    let spent = TopState::ALL.iter().zip(nanos).filter(|(_, nanos)| *nanos > 0);
    let spent = spent.map(|(state, nanos)| Time {
        state: state.name(),
        seconds: u64::try_from(nanos / 1_000_000_000).unwrap_or(u64::MAX),
    });
    let first = transitions.first().map(|first| time(first).max(period.since));
    let is_edge = |it: &&Transition| it.from.is_none_or(|from| from.top() != it.to.top());
    let went = transitions.iter().filter(|it| period.contains(time(it))).filter(is_edge);
    States {
        known_since: first.filter(|first| *first < end).map(instant),
        older_are_forgotten: transitions
            .first()
            .is_some_and(|first| first.sequence > 1 && time(first) > period.since),
        time: spent.collect(),
        transitions: went.map(Went::of).collect(),
    }
}

impl Went {
    fn of(it: &Transition) -> Went {
        Went {
            number: it.sequence,
            at: instant(time(it)),
            from: it.from.map(|from| from.to_string()),
            to: it.to.to_string(),
            why: it.why.clone(),
        }
    }
}

/// The clock may be set back: that counts as no time.
fn span(from: Timestamp, to: Timestamp) -> u128 {
    let attos = to.attos().saturating_sub(from.attos()).max(0);
    attos.unsigned_abs() / 1_000_000_000
}

fn time(transition: &Transition) -> Timestamp {
    Timestamp::from_nanos(i64::try_from(transition.unix_nanos).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::{EventKind, State};

    const NORMAL: &str = "NORMAL / OptimalFlow / IndexActive";
    const COMPRESS: &str = "NORMAL / OptimalFlow / CompressActive";
    const MAINTENANCE: &str = "MAINTENANCE / ComplianceOps / AuditPrep";

    fn at(second: i64) -> Timestamp {
        Timestamp::from_secs_nanos(second, 0)
    }

    /// From `first` on, each at its second.
    fn history(first: u64, path: &[(u64, &str)]) -> Vec<Transition> {
        let state = |text: &str| text.parse::<State>().unwrap();
        let before = |place: usize| place.checked_sub(1).map(|before| state(path[before].1));
        let transition = |(place, (second, to)): (usize, &(u64, &str))| Transition {
            sequence: first + place as u64,
            unix_nanos: second * 1_000_000_000,
            from: before(place),
            to: state(to),
            event: EventKind::Done,
            why: "so".into(),
        };
        path.iter().enumerate().map(transition).collect()
    }

    fn seconds(states: &States) -> Vec<(&'static str, u64)> {
        states.time.iter().map(|it| (it.state, it.seconds)).collect()
    }

    #[test]
    fn a_state_holds_until_the_next_transition_within_the_period() {
        let history = history(1, &[(10, COMPRESS), (15, NORMAL), (40, MAINTENANCE), (50, NORMAL)]);
        let of = |since, until| {
            of_period(&history, &Period { since: at(since), until: at(until) }, at(100))
        };
        let all = of(0, 1000);
        assert_eq!(seconds(&all), [("NORMAL", 80), ("MAINTENANCE", 10)]);
        assert_eq!(all.known_since.as_deref(), Some("1970-01-01T00:00:10.000000000Z"));
        assert!(!all.older_are_forgotten, "nobody kept it before");
        let numbers: Vec<u64> = all.transitions.iter().map(|it| it.number).collect();
        assert_eq!(numbers, [1, 3, 4]);
        let part = of(20, 45);
        assert_eq!(seconds(&part), [("NORMAL", 20), ("MAINTENANCE", 5)]);
        assert_eq!(part.known_since, Some(instant(at(20))));
        assert_eq!(part.transitions.len(), 1);
        let before = of(0, 10);
        assert_eq!((seconds(&before), before.known_since), (vec![], None));
    }

    #[test]
    fn what_is_known_no_more_is_said() {
        let history = history(300, &[(10, NORMAL)]);
        let of = |since| of_period(&history, &Period { since: at(since), until: at(30) }, at(100));
        assert!(of(0).older_are_forgotten);
        assert!(!of(20).older_are_forgotten);
        let nothing = of_period(&[], &Period { since: at(0), until: at(30) }, at(100));
        assert_eq!((nothing.known_since, nothing.time.len()), (None, 0));
    }

    #[test]
    fn a_clock_that_was_set_back_takes_no_time_away() {
        let history = history(1, &[(50, NORMAL), (20, MAINTENANCE), (30, NORMAL)]);
        let states = of_period(&history, &Period { since: at(0), until: at(60) }, at(100));
        assert_eq!(seconds(&states), [("NORMAL", 30), ("MAINTENANCE", 10)]);
    }
}
