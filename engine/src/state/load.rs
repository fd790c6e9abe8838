//! NORMAL, PRESSURE, DEGRADED and CRITICAL: where the load leads.

use std::collections::BTreeSet;

use super::change::Move;
use super::edge::Edge;
use super::machine::Machine;
use super::pressed::{furthest, measures};
use super::reading::{Level, PressureSource};
use super::states::{
    Critical, Degraded, DegradedMonitoring, EmergencyMode, MonitoringActive, Normal, OptimalFlow,
    PartialCapture, Pressure, State, TopState, ZeroCopyActive,
};
use super::tree::Tree;

impl Machine {
    /// NORMAL begins with the first part of a packet's way, and all of the monitoring.
    pub(super) fn enter_normal(edge: Edge, why: String) -> Move {
        let flow = OptimalFlow::ZeroCopyActive(ZeroCopyActive::DirectMemory);
        let to = State::Normal(Normal::OptimalFlow(flow));
        let monitoring = MonitoringActive::all().into_iter().map(Normal::MonitoringActive);
        let mut active: BTreeSet<State> = monitoring.map(State::Normal).collect();
        active.insert(to);
        Move::along(edge, to, active, why)
    }

    /// DEGRADED begins with the first part of keeping less, and all of the monitoring. The
    /// measures of PRESSURE stay in force.
    fn enter_degraded(&self, edge: Edge, why: String) -> Move {
        let mut active = self.lasting();
        let monitoring = DegradedMonitoring::all().into_iter().map(Degraded::DegradedMonitoring);
        active.extend(monitoring.map(State::Degraded));
        active.insert(partial_capture(PartialCapture::EvaluateFlows));
        let to = partial_capture(self.kept().unwrap_or(PartialCapture::EvaluateFlows));
        Move::along(edge, to, active, why)
    }

    /// CRITICAL begins with the first thing that has to be done. What is in force stays so.
    pub(super) fn enter_critical(&self, edge: Edge, why: String) -> Move {
        let to = State::Critical(Critical::EmergencyMode(EmergencyMode::SaveState));
        let mut active = self.lasting();
        active.insert(to);
        Move::along(edge, to, active, why)
    }

    pub(super) fn normal(&self) -> Option<Move> {
        let pressed = self.pressed();
        let worst = self.worst(pressed.iter().copied()).filter(|_| self.has_dwelt())?;
        let first = |source: &PressureSource| State::Pressure(Pressure::first(*source));
        let active = pressed.iter().map(first).collect();
        Some(Move::along(Edge::SourceThreshold, first(&worst), active, self.told(&pressed)))
    }

    pub(super) fn pressure(&self) -> Option<Move> {
        if self.has_dwelt() {
            if let Some(source) = self.exhausted() {
                let why = format!("{}; nothing was left for the dwell time", self.told(&[source]));
                return Some(self.enter_degraded(Edge::SustainedPressure, why));
            }
            if let Some(source) = self.sustained() {
                let sustained = self.thresholds.sustained;
                let why = format!("{}; it went on for {sustained:?}", self.told(&[source]));
                return Some(self.enter_degraded(Edge::SustainedPressure, why));
            }
            if self.have_all_been_below(Level::Easing) {
                let why = self.told_recovered(&PressureSource::ALL);
                return Some(Machine::enter_normal(Edge::ResourceRecovery, why));
            }
        }
        self.further(None).or_else(|| self.less())
    }

    pub(super) fn degraded(&self) -> Option<Move> {
        if self.has_dwelt() {
            if let Some(source) = self.exhausted().filter(|_| self.is_least_kept()) {
                let why = format!("{}; nothing was left for the dwell time", self.told(&[source]));
                return Some(self.enter_critical(Edge::ResourceExhaustion, why));
            }
            if self.have_all_been_below(Level::High) {
                return self.back_to_pressure();
            }
        }
        self.further(self.next_kept())
    }

    pub(super) fn critical(&self) -> Option<Move> {
        let is_ending = self.said.iter().any(|said| said.is_ending());
        if self.has_dwelt() && !is_ending && self.have_all_been_below(Level::Exhausted) {
            let why = format!("nothing is exhausted any more: {}", self.readings);
            return Some(self.enter_degraded(Edge::EmergencyRecovery, why));
        }
        self.further(None)
    }

    /// The measures of PRESSURE stay in force until their sources have recovered; everything is
    /// kept again.
    fn back_to_pressure(&self) -> Option<Move> {
        let mut active: BTreeSet<State> = measures(&self.active).map(State::Pressure).collect();
        let worst = self.worst(PressureSource::ALL.into_iter())?;
        let shown = State::Pressure(furthest(&active).unwrap_or(Pressure::first(worst)));
        active.insert(shown);
        let why = format!("no source is at its high threshold any more: {}", self.readings);
        Some(Move::along(Edge::PartialRecovery, shown, active, why))
    }

    /// Takes the measures that are due. In PRESSURE the worst source's is shown.
    fn further(&self, kept: Option<State>) -> Option<Move> {
        let due = self.due();
        let pressed = self.pressed();
        let worst = self.worst(due.iter().map(|measure| measure.source()));
        let measure = due.iter().find(|measure| Some(measure.source()) == worst);
        let is_pressure = self.state.top() == TopState::Pressure;
        let shown = if is_pressure { measure.copied().map(State::Pressure) } else { kept };
        let begun: Vec<State> = due.iter().copied().map(State::Pressure).chain(kept).collect();
        if begun.is_empty() {
            return None;
        }
        let names: Vec<&str> = begun.iter().map(|state| state.name()).collect();
        let why = format!("{}: {}", self.told(&pressed), names.join(", "));
        let mut active = self.active.clone();
        active.extend(begun);
        Some(Move::within(shown.unwrap_or(self.state), active, why))
    }

    /// Ends the measures against sources that have recovered, while there are others.
    fn less(&self) -> Option<Move> {
        let (sources, active) = self.recovered();
        let furthest = furthest(&active).filter(|_| !sources.is_empty())?;
        let is_shown = active.contains(&self.state);
        let shown = if is_shown { self.state } else { State::Pressure(furthest) };
        Some(Move::within(shown, active, self.told_recovered(&sources)))
    }

    /// How far keeping less has gone.
    fn kept(&self) -> Option<PartialCapture> {
        let holds = |it: &PartialCapture| self.active.contains(&partial_capture(*it));
        PartialCapture::all().into_iter().rev().find(holds)
    }

    /// How far it has to go now: on when pressure goes on, and without a pause where nothing is left.
    fn next_kept(&self) -> Option<State> {
        let worst = self.pressed().into_iter().map(|source| self.watch(source).reading.level).max();
        let goes_on = self.has_passed(self.thresholds.step, self.shed);
        let exhausted = worst == Some(Level::Exhausted) && self.clock > self.shed;
        let due = worst.is_some() && (goes_on || exhausted);
        self.kept().filter(|_| due)?.next().map(partial_capture)
    }

    /// Whether no less can be kept, and that has had time to help.
    fn is_least_kept(&self) -> bool {
        let is_last = self.kept().is_some_and(|it| it.next().is_none());
        is_last && self.has_passed(self.thresholds.dwell, self.shed)
    }
}

fn partial_capture(it: PartialCapture) -> State {
    State::Degraded(Degraded::PartialCapture(it))
}
