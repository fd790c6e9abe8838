//! What the machine asks of its sources, and of the measures that are in force.

use std::collections::BTreeSet;
use std::time::Duration;

use super::machine::Machine;
use super::reading::{Level, Percent, PressureSource, Readings};
use super::states::{Pressure, State, TopState};
use super::thresholds::Bounds;
use super::watch::Watch;

impl Machine {
    pub(super) fn read(&mut self, readings: Readings) {
        self.readings = readings;
        for (source, watch) in PressureSource::ALL.into_iter().zip(&mut self.watches) {
            watch.read(readings.of(source), self.clock);
        }
    }

    pub(super) fn watch(&self, source: PressureSource) -> &Watch {
        &self.watches[source as usize]
    }

    /// Whether that long has passed since.
    pub(super) fn has_passed(&self, time: Duration, since: Duration) -> bool {
        self.clock.saturating_sub(since) >= time
    }

    /// Whether the load may lead to another outermost state.
    pub(super) fn has_dwelt(&self) -> bool {
        self.turned.is_none_or(|turned| self.has_passed(self.thresholds.dwell, turned))
    }

    /// The sources that something has to be done about.
    pub(super) fn pressed(&self) -> Vec<PressureSource> {
        let mut sources = PressureSource::ALL.to_vec();
        sources.retain(|source| self.watch(*source).reading.level >= Level::High);
        sources
    }

    /// The worst of them; the first of those that are equally bad.
    pub(super) fn worst(
        &self,
        sources: impl DoubleEndedIterator<Item = PressureSource>,
    ) -> Option<PressureSource> {
        sources.rev().max_by_key(|source| self.watch(*source).reading.level)
    }

    /// The source that has been exhausted for the dwell time.
    pub(super) fn exhausted(&self) -> Option<PressureSource> {
        let is_exhausted = |source: &PressureSource| {
            let since = self.watch(*source).at_least(Level::Exhausted);
            since.is_some_and(|since| self.has_passed(self.thresholds.dwell, since))
        };
        PressureSource::ALL.into_iter().find(is_exhausted)
    }

    /// The source whose pressure has gone on for too long, counted from when PRESSURE was entered.
    pub(super) fn sustained(&self) -> Option<PressureSource> {
        let is_sustained = |source: &PressureSource| {
            let since = self.watch(*source).at_least(Level::Easing);
            since.is_some_and(|since| {
                self.has_passed(self.thresholds.sustained, since.max(self.entered))
            })
        };
        self.pressed().into_iter().find(is_sustained)
    }

    /// Whether the source has been below a level for the dwell time.
    pub(super) fn has_been_below(&self, floor: Level, source: PressureSource) -> bool {
        let since = self.watch(source).below(floor);
        since.is_some_and(|since| self.has_passed(self.thresholds.dwell, since))
    }

    /// Whether all sources have.
    pub(super) fn have_all_been_below(&self, floor: Level) -> bool {
        PressureSource::ALL.into_iter().all(|source| self.has_been_below(floor, source))
    }

    /// The last measure that was taken against a source and is in force.
    fn measure(&self, source: PressureSource) -> Option<Pressure> {
        measures(&self.active).rfind(|it| it.source() == source)
    }

    /// The measures that have to be taken now: the first, or the next when pressure goes on, and
    /// without a pause where nothing is left.
    pub(super) fn due(&self) -> Vec<Pressure> {
        let due = |source: PressureSource| {
            let Some(measure) = self.measure(source) else { return Some(Pressure::first(source)) };
            let taken = self.taken[source as usize];
            let exhausted = self.watch(source).reading.level == Level::Exhausted;
            let goes_on = self.has_passed(self.thresholds.step, taken);
            let next = measure.next_measure();
            next.filter(|_| goes_on || (exhausted && self.clock > taken))
        };
        self.pressed().into_iter().filter_map(due).collect()
    }

    /// The sources that measures are in force against though they have recovered, and what holds
    /// without these measures.
    pub(super) fn recovered(&self) -> (Vec<PressureSource>, BTreeSet<State>) {
        let mut sources = PressureSource::ALL.to_vec();
        sources.retain(|source| {
            self.measure(*source).is_some() && self.has_been_below(Level::Easing, *source)
        });
        let mut active = self.active.clone();
        let ends = |measure: &Pressure| sources.contains(&measure.source());
        for measure in measures(&self.active).filter(ends) {
            active.remove(&State::Pressure(measure));
        }
        (sources, active)
    }

    /// What holds on, whatever the outermost state: the measures of PRESSURE and DEGRADED.
    pub(super) fn lasting(&self) -> BTreeSet<State> {
        let mut active = self.active.clone();
        active.retain(|state| [TopState::Pressure, TopState::Degraded].contains(&state.top()));
        active
    }

    /// What the readings of some sources say, against their high thresholds.
    pub(super) fn told(&self, sources: &[PressureSource]) -> String {
        self.told_against("high", |bounds| bounds.high, sources)
    }

    /// The same against their low thresholds.
    pub(super) fn told_recovered(&self, sources: &[PressureSource]) -> String {
        self.told_against("low", |bounds| bounds.low, sources)
    }

    fn told_against(
        &self,
        name: &str,
        bound: fn(Bounds) -> u16,
        sources: &[PressureSource],
    ) -> String {
        let one = |source: &PressureSource| {
            let reading = self.watch(*source).reading;
            let bound = Percent(bound(self.thresholds.of(reading.gauge)));
            format!("{source}: {reading}, {name} is {bound}")
        };
        sources.iter().map(one).collect::<Vec<_>>().join("; ")
    }
}

/// The measures of PRESSURE among these, source by source in the order in which they are taken.
pub(super) fn measures(active: &BTreeSet<State>) -> impl DoubleEndedIterator<Item = Pressure> {
    let measure = |state: &State| {
        if let State::Pressure(measure) = state { Some(*measure) } else { None }
    };
    active.iter().filter_map(measure)
}

/// The measure that goes furthest; the first of those that go equally far.
pub(super) fn furthest(active: &BTreeSet<State>) -> Option<Pressure> {
    measures(active).rev().max_by_key(|measure| measure.step())
}
