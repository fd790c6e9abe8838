//! AlertEscalation: how urgent it is that somebody looks.

use std::time::Duration;

use super::outlook::Outlook;

/// How urgent it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Urgency {
    /// Somebody may want to know.
    Notice,
    /// Somebody should look, today.
    Warning,
    /// Somebody must act, now.
    Alarm,
}

impl Urgency {
    /// As it is written.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Urgency::Notice => "notice",
            Urgency::Warning => "warning",
            Urgency::Alarm => "alarm",
        }
    }
}

/// Not everything was kept for so long: it will not go by itself.
const WARNED_AFTER: Duration = Duration::from_secs(5 * 60);
const ALARMED_AFTER: Duration = Duration::from_secs(30 * 60);
/// It will have run out before anybody has looked twice, or before anybody has looked.
const WARNED_BEFORE: Duration = Duration::from_secs(10 * 60);
const ALARMED_BEFORE: Duration = Duration::from_secs(60);
/// It is worth waiting for what recovers so soon.
const RECOVERS_SOON: Duration = Duration::from_secs(5 * 60);

/// How urgent it is, when not everything was kept for so long and this is the outlook.
#[must_use]
pub fn urgency(degraded_for: Duration, outlook: Outlook) -> Urgency {
    let by_time = match degraded_for {
        it if it >= ALARMED_AFTER => Urgency::Alarm,
        it if it >= WARNED_AFTER => Urgency::Warning,
        _ => Urgency::Notice,
    };
    match outlook {
        Outlook::Unknown | Outlook::Steady => by_time,
        Outlook::Recovers(soon) if soon <= RECOVERS_SOON => by_time.min(Urgency::Warning),
        Outlook::Recovers(_) => by_time,
        Outlook::RunsOut(soon) if soon <= ALARMED_BEFORE => Urgency::Alarm,
        Outlook::RunsOut(soon) if soon <= WARNED_BEFORE => by_time.max(Urgency::Warning),
        Outlook::RunsOut(_) => by_time,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMES: [u64; 9] = [0, 1, 59, 60, 299, 300, 1799, 1800, 90_000];

    #[test]
    fn it_rises_with_time_and_the_nearer_the_end_is() {
        let minutes = |it: u64| Duration::from_secs(60 * it);
        assert_eq!(urgency(minutes(0), Outlook::Unknown), Urgency::Notice);
        assert_eq!(urgency(minutes(0), Outlook::RunsOut(minutes(9))), Urgency::Warning);
        assert_eq!(urgency(minutes(0), Outlook::RunsOut(minutes(1))), Urgency::Alarm);
        assert_eq!(urgency(minutes(6), Outlook::Steady), Urgency::Warning);
        assert_eq!(urgency(minutes(40), Outlook::Steady), Urgency::Alarm);
        assert_eq!(urgency(minutes(40), Outlook::Recovers(minutes(2))), Urgency::Warning);
        assert_eq!(urgency(minutes(40), Outlook::Recovers(minutes(20))), Urgency::Alarm);
    }

    #[test]
    fn it_never_falls_while_time_passes_or_the_outlook_gets_worse() {
        let times = TIMES.map(Duration::from_secs);
        let recovers = times.iter().map(|it| Outlook::Recovers(*it));
        let runs_out = times.iter().rev().map(|it| Outlook::RunsOut(*it));
        // From what is best to what is worst.
        let outlooks: Vec<_> = recovers.chain([Outlook::Steady]).chain(runs_out).collect();
        for pair in outlooks.windows(2) {
            for time in times {
                assert!(urgency(time, pair[0]) <= urgency(time, pair[1]), "{time:?} {pair:?}");
            }
        }
        for pair in times.windows(2) {
            for outlook in &outlooks {
                assert!(urgency(pair[0], *outlook) <= urgency(pair[1], *outlook), "{outlook:?}");
            }
        }
    }
}
