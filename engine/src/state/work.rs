//! What follows when a state has done what it is there for, or cannot.

use std::collections::BTreeSet;

use super::change::{Ignored, Move};
use super::edge::Edge;
use super::machine::Machine;
use super::states::{Normal, State};
use super::tree::Tree;

impl Machine {
    /// It is done: the next begins.
    pub(super) fn done(&self, state: State) -> Result<Move, Ignored> {
        self.is_at_work(state)?;
        let why = format!("{} is done", state.name());
        match state {
            State::Init(phase) => Ok(match phase.next() {
                Some(next) => self.instead(State::Init(next), why),
                None => Machine::enter_normal(Edge::SystemReady, why),
            }),
            State::Normal(Normal::OptimalFlow(flow)) => {
                let next = flow.next().ok_or(Ignored::NothingFollows(state))?;
                let next = State::Normal(Normal::OptimalFlow(next));
                Ok(Move::within(next, self.with(next), format!("{} is at work", state.name())))
            }
            State::Critical(work) => Ok(match work.next() {
                Some(next) => self.instead(State::Critical(next), why),
                None => Move::within(state, self.without(state), why),
            }),
            State::Maintenance(step) => Ok(match step.next_step() {
                Some(next) => self.instead(State::Maintenance(next), why),
                None => self.enter_init(Edge::TasksComplete, format!("{}: {why}", step.task())),
            }),
            State::Normal(Normal::MonitoringActive(_))
            | State::Pressure(_)
            | State::Degraded(_)
            | State::AwsLifecycle(_) => Err(Ignored::NotAtWork(state)),
        }
    }

    /// It cannot be done. INIT waits and tries again; NORMAL and CRITICAL go on without it; a task
    /// is over.
    pub(super) fn fail(&mut self, state: State, why: &str) -> Result<Move, Ignored> {
        self.is_at_work(state)?;
        let why = format!("{} failed: {why}", state.name());
        match state {
            State::Init(_) => {
                self.failures = self.failures.saturating_add(1);
                self.failed = self.clock;
                let why = format!("{why}; tried again in {:?}", self.pause());
                Ok(Move::within(state, self.without(state), why))
            }
            State::Normal(Normal::OptimalFlow(flow)) => Ok(match flow.next() {
                Some(next) => self.instead(State::Normal(Normal::OptimalFlow(next)), why),
                None => Move::within(state, self.without(state), why),
            }),
            State::Critical(work) => Ok(match work.next() {
                Some(next) => self.instead(State::Critical(next), why),
                None => Move::within(state, self.without(state), why),
            }),
            State::Maintenance(step) => {
                Ok(self.enter_init(Edge::TasksComplete, format!("{}: {why}", step.task())))
            }
            State::Normal(Normal::MonitoringActive(_))
            | State::Pressure(_)
            | State::Degraded(_)
            | State::AwsLifecycle(_) => Err(Ignored::NotAtWork(state)),
        }
    }

    /// Only the state that is shown is waited for, once.
    fn is_at_work(&self, state: State) -> Result<(), Ignored> {
        let is_at_work = state == self.state && self.active.contains(&state);
        if is_at_work { Ok(()) } else { Err(Ignored::NotAtWork(state)) }
    }

    /// Goes on to another state in place of the one that is shown.
    fn instead(&self, next: State, why: String) -> Move {
        let mut active = self.without(self.state);
        active.insert(next);
        Move::within(next, active, why)
    }

    fn with(&self, state: State) -> BTreeSet<State> {
        let mut active = self.active.clone();
        active.insert(state);
        active
    }

    fn without(&self, state: State) -> BTreeSet<State> {
        let mut active = self.active.clone();
        active.remove(&state);
        active
    }
}
