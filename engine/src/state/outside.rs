//! INIT, AWS_LIFECYCLE and MAINTENANCE: where something else than the load leads.

use std::time::Duration;

use super::change::{Ignored, Move};
use super::edge::Edge;
use super::event::Occasion;
use super::machine::Machine;
use super::pressed::measures;
use super::reading::{Level, PressureSource};
use super::states::{AwsLifecycle, Init, Maintenance, ResourceCheck, State, Task, TopState};

/// How often the time between two attempts at a phase of INIT is doubled.
const DOUBLINGS_MAX: u32 = 6;

impl Machine {
    /// Where it starts.
    pub(super) const FIRST: State = State::Init(Init::ResourceCheck(ResourceCheck::NVMeValidation));

    /// INIT begins with its first phase. What is in force stays so until NORMAL.
    pub(super) fn enter_init(&self, edge: Edge, why: String) -> Move {
        let mut active = self.lasting();
        active.insert(Machine::FIRST);
        Move::along(edge, Machine::FIRST, active, why)
    }

    /// A phase that failed is tried again.
    pub(super) fn init(&self) -> Option<Move> {
        let failed = !self.active.contains(&self.state);
        if !failed || !self.has_passed(self.pause(), self.failed) {
            return self.relieve();
        }
        let mut active = self.active.clone();
        active.insert(self.state);
        let why = format!("{} is tried again, for the {}. time", self.state.name(), self.failures);
        Some(Move::within(self.state, active, why))
    }

    /// How long after it failed a phase is tried again.
    pub(super) fn pause(&self) -> Duration {
        let doublings = self.failures.saturating_sub(1).min(DOUBLINGS_MAX);
        self.thresholds.dwell.saturating_mul(1 << doublings)
    }

    /// An instance that is about to go is an emergency; otherwise the machine waits until what is
    /// under way is over, though not for long.
    pub(super) fn aws_lifecycle(&self) -> Option<Move> {
        if let Some(ending) = self.said.iter().find(|said| said.is_ending()) {
            let why = format!("the cloud says {}", State::AwsLifecycle(*ending).name());
            return Some(self.enter_critical(Edge::InstanceStop, why));
        }
        let is_under_way = self.said.iter().any(|said| said.is_under_way());
        let wait = if is_under_way { self.thresholds.sustained } else { self.thresholds.dwell };
        if self.has_passed(wait, self.since) {
            let why = format!("the cloud has said nothing more for {wait:?}");
            return Some(self.enter_init(Edge::InstanceStart, why));
        }
        self.relieve()
    }

    /// A task gives way to pressure that came while it ran, unless it is what helps.
    pub(super) fn maintenance(&self, step: Maintenance) -> Option<Move> {
        let helps = |source: &PressureSource| match step.task() {
            Task::Cleanup => *source == PressureSource::Storage,
            Task::Backup | Task::Recovery | Task::ComplianceOps => false,
        };
        let came = |source: &PressureSource| {
            self.watch(*source).at_least(Level::High).is_some_and(|since| since > self.entered)
        };
        let mut pressed = self.pressed();
        pressed.retain(|source| came(source) && !helps(source));
        if pressed.is_empty() {
            return self.relieve();
        }
        let why = format!("{} gives way to pressure; {}", step.task(), self.told(&pressed));
        Some(self.enter_init(Edge::TasksComplete, why))
    }

    /// Ends the measures against sources that have recovered; with the last of them, everything is
    /// kept again.
    fn relieve(&self) -> Option<Move> {
        let (sources, mut active) = self.recovered();
        if sources.is_empty() {
            return None;
        }
        if measures(&active).next().is_none() {
            active.retain(|state| state.top() != TopState::Degraded);
        }
        Some(Move::within(self.state, active, self.told_recovered(&sources)))
    }

    /// The cloud said something: the latest of each kind holds.
    pub(super) fn cloud(&mut self, said: AwsLifecycle) -> Result<Move, Ignored> {
        let to = State::AwsLifecycle(said);
        if self.said.contains(&said) {
            return Err(Ignored::SaidBefore(said));
        }
        self.said.retain(|before| !before.is_of_kind(said));
        self.said.insert(said);
        let mut active = self.lasting();
        active.extend(self.said.iter().copied().map(State::AwsLifecycle));
        let is_inside = self.state.top() == TopState::AwsLifecycle;
        let edge = (!is_inside).then_some(Edge::CloudEvent);
        Ok(Move { edge, to, active, why: format!("the cloud says {}", to.name()) })
    }

    /// A task is due.
    pub(super) fn maintain(&self, task: Task, occasion: Occasion) -> Result<Move, Ignored> {
        if let State::Maintenance(step) = self.state {
            return Err(Ignored::UnderWay(step.task()));
        }
        let to = State::Maintenance(task.first());
        let mut active = self.lasting();
        active.insert(to);
        Ok(Move::along(Edge::TaskDue, to, active, format!("{task}: {occasion}")))
    }
}
