//! What is an alert, and when: pure.

use jiff::Timestamp;
use serde_json::{Value, json};
use tapstone::effects::{Outlook, Report, Urgency};
use tapstone::state::{PressureSource, Reading, TopState};
use tapstone::{StateReport, Store};

/// Whether it begins, gets worse, or is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// It is more urgent than what was told.
    Raised,
    /// It is over.
    Ended,
}

/// What somebody should look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Situation {
    urgency: Urgency,
    since: Timestamp,
    /// What is scarce, and where that leads, where the load is the reason.
    scarce: Option<(PressureSource, Reading, Outlook)>,
}

/// Who tells of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sender {
    store: String,
    host: String,
}

/// What is told.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Alert {
    pub(super) turn: Turn,
    pub(super) urgency: Urgency,
    /// All of it, as it is sent.
    pub(super) body: Value,
}

impl Sender {
    pub(super) fn of(store: &Store) -> Sender {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        Sender { store: store.id().to_string(), host: host.trim().to_owned() }
    }
}

/// What somebody should look at in a store that is in this state; `None` when all goes its way.
/// What is scarce is as urgent as its outlook says, and a store in CRITICAL is an alarm in any case.
pub(super) fn situation(
    state: &StateReport,
    report: Option<&Report>,
    now: Timestamp,
) -> Option<Situation> {
    let told = report.and_then(|report| Some((report, report.urgency?)));
    let is_critical = state.state.top() == TopState::Critical;
    let urgency = told.map(|(_, urgency)| urgency).max(is_critical.then_some(Urgency::Alarm))?;
    let since = match told {
        Some((report, _)) => now - report.degraded_for,
        None => Timestamp::from_nanosecond(state.since_nanos.into()).unwrap_or(now),
    };
    let scarce = told.map(|(it, _)| (it.source, it.reading, it.outlook.unwrap_or_default()));
    Some(Situation { urgency, since, scarce })
}

/// Remembers what was told.
#[derive(Debug, Default)]
pub(super) struct Follower {
    /// The most urgent of it, and since when, until it is over.
    told: Option<(Urgency, Timestamp)>,
}

impl Follower {
    /// What is to be told now.
    pub(super) fn follow(
        &mut self,
        state: &StateReport,
        situation: Option<Situation>,
        now: Timestamp,
        sender: &Sender,
    ) -> Option<Alert> {
        let Some(situation) = situation else {
            let (urgency, since) = self.told.take()?;
            let over = Situation { urgency, since, scarce: None };
            return Some(alert(Turn::Ended, state, &over, now, sender));
        };
        if self.told.is_some_and(|(told, _)| situation.urgency <= told) {
            return None;
        }
        let since = self.told.map_or(situation.since, |(_, since)| since);
        self.told = Some((situation.urgency, since));
        Some(alert(Turn::Raised, state, &Situation { since, ..situation }, now, sender))
    }
}

fn alert(
    turn: Turn,
    state: &StateReport,
    situation: &Situation,
    now: Timestamp,
    sender: &Sender,
) -> Alert {
    let Situation { urgency, since, scarce } = situation;
    let time = |time: &Timestamp| format!("{time:.3}");
    let body = json!({
        "version": 1,
        "event": turn.name(),
        "urgency": urgency.name(),
        "state": state.state.to_string(),
        "why": state.why,
        "since": time(since),
        "at": time(&now),
        "source": scarce.map(|(source, ..)| source.name()),
        "reading": scarce.map(|(_, it, _)| json!({ "used": f64::from(it.used) / 1e3, "text": it.to_string() })),
        "estimate": scarce.map(|(.., outlook)| estimate(outlook)),
        "store": sender.store,
        "host": sender.host,
    });
    Alert { turn, urgency: *urgency, body }
}

/// Where it leads.
fn estimate(outlook: Outlook) -> Value {
    let (kind, time) = match outlook {
        Outlook::Unknown => ("unknown", None),
        Outlook::Steady => ("steady", None),
        Outlook::Recovers(time) => ("recovers", Some(time)),
        Outlook::RunsOut(time) => ("runs-out", Some(time)),
    };
    json!({ "outlook": kind, "seconds": time.map(|it| it.as_secs()), "text": outlook.to_string() })
}

impl Turn {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Turn::Raised => "raised",
            Turn::Ended => "ended",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use tapstone::state::{Gauge, Level};

    use super::*;

    fn state(path: &str) -> StateReport {
        StateReport {
            is_kept: true,
            state: path.parse().unwrap(),
            since_nanos: 5_000_000_000,
            why: "storage: 95.0 %".to_owned(),
            sequence: 7,
            active: BTreeSet::new(),
            readings: None,
            consequences: Vec::new(),
            unrecorded: 0,
            troubles: Vec::new(),
        }
    }

    fn report(urgency: Option<Urgency>, outlook: Outlook) -> Report {
        Report {
            source: PressureSource::Storage,
            reading: Reading { level: Level::High, gauge: Gauge::Space, used: 950 },
            degraded_for: Duration::from_secs(20),
            outlook: Some(outlook),
            urgency,
            is_due: false,
        }
    }

    const DEGRADED: &str = "DEGRADED / PartialCapture / SuspendNonCritical";
    const CRITICAL: &str = "CRITICAL / EmergencyMode / SaveState";
    const NORMAL: &str = "NORMAL / OptimalFlow / IndexActive";

    fn second(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// What is told of urgencies, one a second; each with the second.
    fn told(urgencies: &[Option<Urgency>]) -> Vec<(i64, Turn, Urgency)> {
        let (state, mut follower) = (state(DEGRADED), Follower::default());
        let follow = |(at, urgency): (i64, &Option<Urgency>)| {
            let report = urgency.map(|it| report(Some(it), Outlook::Steady));
            let situation = situation(&state, report.as_ref(), second(at));
            let alert = follower.follow(&state, situation, second(at), &Sender::default())?;
            Some((at, alert.turn, alert.urgency))
        };
        (0..).zip(urgencies).filter_map(follow).collect()
    }

    #[test]
    fn what_gets_more_urgent_is_told_once_and_the_end_of_it_too() {
        use Urgency::{Alarm, Notice, Warning};
        let urgencies = [
            None,
            Some(Notice),
            Some(Notice),
            Some(Alarm),
            Some(Warning),
            Some(Alarm),
            None,
            None,
            Some(Notice),
        ];
        let expected = [
            (1, Turn::Raised, Notice),
            (3, Turn::Raised, Alarm),
            (6, Turn::Ended, Alarm),
            (8, Turn::Raised, Notice),
        ];
        assert_eq!(told(&urgencies), expected);
    }

    #[test]
    fn an_alert_says_what_is_scarce_where_that_leads_and_since_when() {
        let (state, mut follower) = (state(DEGRADED), Follower::default());
        let report = report(Some(Urgency::Warning), Outlook::RunsOut(Duration::from_secs(130)));
        let sender = Sender { store: "cafe".into(), host: "sensor-1".into() };
        let situation = situation(&state, Some(&report), second(100));
        let body = follower.follow(&state, situation, second(100), &sender).unwrap().body;
        let expected = json!({
            "version": 1,
            "event": "raised",
            "urgency": "warning",
            "state": DEGRADED,
            "why": "storage: 95.0 %",
            "since": "1970-01-01T00:01:20.000Z",
            "at": "1970-01-01T00:01:40.000Z",
            "source": "storage",
            "reading": {
                "used": 0.95,
                "text": "95.0 % of the room that should stay free is used",
            },
            "estimate": {
                "outlook": "runs-out",
                "seconds": 130,
                "text": "it runs out in about 130 s",
            },
            "store": "cafe",
            "host": "sensor-1",
        });
        assert_eq!(body, expected);
        let body = follower.follow(&state, None, second(200), &sender).unwrap().body;
        assert_eq!((&body["event"], &body["since"]), (&"ended".into(), &expected["since"]));
        assert_eq!((&body["source"], &body["estimate"]), (&Value::Null, &Value::Null));
    }

    #[test]
    fn a_store_in_critical_is_an_alarm_whatever_the_outlook() {
        let urgency = |path: &str, report: Option<Report>| {
            situation(&state(path), report.as_ref(), second(9)).map(|it| it.urgency)
        };
        let notice = report(Some(Urgency::Notice), Outlook::Unknown);
        assert_eq!(urgency(CRITICAL, None), Some(Urgency::Alarm));
        assert_eq!(urgency(CRITICAL, Some(notice)), Some(Urgency::Alarm));
        assert_eq!(urgency(DEGRADED, Some(notice)), Some(Urgency::Notice));
        assert_eq!(urgency(DEGRADED, Some(report(None, Outlook::Unknown))), None);
        assert_eq!(urgency(NORMAL, None), None);
        let since = situation(&state(CRITICAL), None, second(9)).unwrap().since;
        assert_eq!(since, second(5), "since it was entered");
    }
}
