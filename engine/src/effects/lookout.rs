//! ResourceTracking: how each resource was used over the last minutes, and what is to be told of
//! it while the store is degraded.

use std::collections::VecDeque;
use std::time::Duration;

use super::Effects;
use super::outlook::{Outlook, Sample, outlook};
use super::urgency::{Urgency, urgency};
use crate::state::{Gauge, PressureSource, Reading, Readings, Thresholds};

/// How far back a trend goes.
const WINDOW: Duration = Duration::from_secs(300);
/// Samples are no nearer to each other: bounds their number.
const APART: Duration = Duration::from_secs(1);
/// What is as urgent as before is told again after this time.
const TOLD_AGAIN: Duration = Duration::from_secs(600);

/// What is known of the scarcest resource while the store is degraded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// The resource.
    pub source: PressureSource,
    /// How much of it is used.
    pub reading: Reading,
    /// For how long not everything was kept.
    pub degraded_for: Duration,
    /// Where that leads; `None` while that is not estimated.
    pub outlook: Option<Outlook>,
    /// How urgent it is; `None` while nobody is told.
    pub urgency: Option<Urgency>,
    /// Whether it is to be told now: it is more urgent than what was told, or that is long ago.
    pub is_due: bool,
}

impl Report {
    /// Tells the log, when it is to be told.
    pub fn tell(&self) {
        let Some(urgency) = self.urgency.filter(|_| self.is_due) else { return };
        let (source, reading) = (self.source, self.reading);
        let (outlook, secs) = (self.outlook.unwrap_or_default(), self.degraded_for.as_secs());
        // The events differ only in their level, which must be known when this is compiled.
        match urgency {
            Urgency::Notice => {
                tracing::info!(%source, "degraded for {secs} s: {reading}; {outlook}");
            }
            Urgency::Warning => {
                tracing::warn!(%source, "degraded for {secs} s: {reading}; {outlook}");
            }
            Urgency::Alarm => {
                tracing::error!(%source, "degraded for {secs} s: {reading}; {outlook}");
            }
        }
    }
}

/// Follows the gauges, so that their trend is known as soon as somebody asks for it.
#[derive(Clone, Debug, Default)]
pub struct Lookout {
    trends: [Trend; PressureSource::ALL.len()],
    /// Since when trends are asked for.
    degraded: Option<Duration>,
    /// What was told last, and when.
    told: Option<(Urgency, Duration)>,
}

impl Lookout {
    /// Takes readings in, all of them, whatever the state; gives what is to be said of them while
    /// the effects ask for that. `now` is the clock of
    /// [`Moment::since_start`](crate::state::Moment).
    pub fn look(
        &mut self,
        now: Duration,
        readings: &Readings,
        thresholds: &Thresholds,
        effects: &Effects,
    ) -> Option<Report> {
        for (source, trend) in PressureSource::ALL.into_iter().zip(&mut self.trends) {
            trend.follow(now, readings.of(source));
        }
        if !effects.tracking {
            (self.degraded, self.told) = (None, None);
            return None;
        }
        let degraded_for = now.saturating_sub(*self.degraded.get_or_insert(now));
        let source = scarcest(readings);
        let reading = readings.of(source);
        let samples = self.trends[source as usize].samples.make_contiguous();
        let outlook = effects.planning.then(|| outlook(samples, thresholds.of(reading.gauge)));
        let urgency = effects.alerting.then(|| urgency(degraded_for, outlook.unwrap_or_default()));
        let is_due = urgency.is_some_and(|urgency| self.is_due(urgency, now));
        Some(Report { source, reading, degraded_for, outlook, urgency, is_due })
    }

    /// Whether this is to be told; it counts as told then.
    fn is_due(&mut self, urgency: Urgency, now: Duration) -> bool {
        let is_due = self
            .told
            .is_none_or(|(told, at)| urgency > told || now.saturating_sub(at) >= TOLD_AGAIN);
        if is_due {
            self.told = Some((urgency, now));
        }
        is_due
    }
}

/// How a pressure source was used.
#[derive(Clone, Debug, Default)]
struct Trend {
    /// The gauge that showed it: another one begins another trend.
    gauge: Option<Gauge>,
    samples: VecDeque<Sample>,
}

impl Trend {
    fn follow(&mut self, now: Duration, reading: Reading) {
        if self.gauge.replace(reading.gauge) != Some(reading.gauge) {
            self.samples.clear();
        }
        let since = |sample: &Sample| now.saturating_sub(sample.at);
        if self.samples.back().is_some_and(|last| since(last) < APART) {
            return;
        }
        while self.samples.front().is_some_and(|first| since(first) > WINDOW) {
            self.samples.pop_front();
        }
        self.samples.push_back(Sample { at: now, used: reading.used });
    }
}

/// The source of which the least is left; the first of those that are equally bad.
fn scarcest(readings: &Readings) -> PressureSource {
    let key = |source: &PressureSource| {
        let reading = readings.of(*source);
        (reading.level, reading.used)
    };
    let sources = PressureSource::ALL.into_iter().rev();
    sources.max_by_key(key).expect("there are sources")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::{Gauge, Level};

    fn readings(memory: u16, storage: u16) -> Readings {
        let reading = |gauge, used| Reading { level: Level::High, gauge, used };
        Readings {
            memory: reading(Gauge::Memory, memory),
            storage: reading(Gauge::Backlog, storage),
            ..Readings::default()
        }
    }

    fn degraded() -> Effects {
        Effects { tracking: true, planning: true, alerting: true, ..Effects::default() }
    }

    /// Looks every second; gives the reports that are to be told, each with its second.
    fn told(
        lookout: &mut Lookout,
        secs: std::ops::Range<u64>,
        effects: &Effects,
        used: impl Fn(u64) -> (u16, u16),
    ) -> Vec<(u64, Report)> {
        let look = |sec: u64| {
            let (memory, storage) = used(sec);
            let (now, readings) = (Duration::from_secs(sec), readings(memory, storage));
            let report = lookout.look(now, &readings, &Thresholds::default(), effects)?;
            report.is_due.then_some((sec, report))
        };
        secs.filter_map(look).collect()
    }

    #[test]
    fn alerts_rise_as_the_end_comes_nearer() {
        let mut lookout = Lookout::default();
        // One thousandth a second from 700 on: the backlog's end is at 970.
        let used = |sec: u64| (100, 700 + (sec as u16).min(270));
        assert_eq!(told(&mut lookout, 0..100, &Effects::default(), used), []);
        let told = told(&mut lookout, 100..271, &degraded(), used);
        let found: Vec<_> = told.iter().map(|(sec, it)| (*sec, it.urgency.unwrap())).collect();
        assert_eq!(found, [(100, Urgency::Warning), (210, Urgency::Alarm)]);
        let report = told[0].1;
        assert_eq!((report.source, report.degraded_for), (PressureSource::Storage, Duration::ZERO));
        let Some(Outlook::RunsOut(time)) = report.outlook else { panic!("{report:?}") };
        assert!((168..=172).contains(&time.as_secs()), "the trend before is known: {time:?}");
    }

    #[test]
    fn what_stays_is_told_seldom_and_what_is_over_is_forgotten() {
        let mut lookout = Lookout::default();
        let seconds = |told: Vec<(u64, Report)>| -> Vec<_> {
            told.into_iter().map(|(sec, it)| (sec, it.urgency.unwrap())).collect()
        };
        use Urgency::{Alarm, Notice, Warning};
        let found = seconds(told(&mut lookout, 0..3700, &degraded(), |_| (900, 100)));
        let expected = [
            (0, Notice),
            (300, Warning),
            (900, Warning),
            (1500, Warning),
            (1800, Alarm),
            (2400, Alarm),
            (3000, Alarm),
            (3600, Alarm),
        ];
        assert_eq!(found, expected);
        assert_eq!(told(&mut lookout, 3700..3800, &Effects::default(), |_| (900, 100)), []);
        let found = seconds(told(&mut lookout, 3800..3900, &degraded(), |_| (900, 100)));
        assert_eq!(found, [(3800, Notice)]);
    }

    #[test]
    fn what_is_not_asked_for_is_not_said() {
        let mut lookout = Lookout::default();
        let tracking = Effects { tracking: true, ..Effects::default() };
        let thresholds = Thresholds::default();
        let report = lookout.look(Duration::ZERO, &readings(900, 100), &thresholds, &tracking);
        let Report { outlook, urgency, is_due, .. } = report.unwrap();
        assert_eq!((outlook, urgency, is_due), (None, None, false));
    }

    #[test]
    fn a_trend_is_bounded_and_of_one_gauge() {
        let reading = |gauge| Reading { level: Level::Calm, gauge, used: 1 };
        let mut trend = Trend::default();
        for millis in (0..2_000_000).step_by(100) {
            trend.follow(Duration::from_millis(millis), reading(Gauge::Space));
            assert!(trend.samples.len() <= 301);
        }
        assert_eq!(trend.samples.len(), 301);
        trend.follow(Duration::from_secs(2000), reading(Gauge::Backlog));
        assert_eq!(trend.samples.len(), 1);
    }
}
