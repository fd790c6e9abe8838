//! What the machine answers.

use std::collections::BTreeSet;

use super::edge::Edge;
use super::states::{AwsLifecycle, State, Task};
use super::transition::Transition;

/// What an event led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A transition.
    Changed(Change),
    /// Nothing: all is as it was.
    Stayed,
    /// Nothing, since the event makes no sense here.
    Ignored(Ignored),
}

/// A transition, and what follows from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// To be recorded before anything is done.
    pub transition: Transition,
    /// To be done then, in this order.
    pub actions: Vec<Action>,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// Stop doing what this state is there for, or give it up.
    End(State),
    /// Do what this state is there for.
    Begin(State),
}

/// Why an event makes no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Ignored {
    /// Nobody waits for it.
    #[error("nobody waits for `{0}` to be done")]
    NotAtWork(State),
    /// It is known, and nothing follows from it.
    #[error("`{0}` is known to be at work")]
    NothingFollows(State),
    /// It has been said before.
    #[error("the cloud said `{}` before", State::AwsLifecycle(*.0).name())]
    SaidBefore(AwsLifecycle),
    /// One task at a time.
    #[error("{0} is under way; ask again when it is done")]
    UnderWay(Task),
}

/// What has been decided.
#[derive(Debug)]
pub(super) struct Move {
    /// The edge that is gone along; none within an outermost state.
    pub(super) edge: Option<Edge>,
    /// The state that is shown from then on.
    pub(super) to: State,
    /// All that hold from then on.
    pub(super) active: BTreeSet<State>,
    /// Why, with what was measured.
    pub(super) why: String,
}

impl Move {
    /// Goes to another outermost state.
    pub(super) fn along(edge: Edge, to: State, active: BTreeSet<State>, why: String) -> Move {
        Move { edge: Some(edge), to, active, why }
    }

    /// Stays in the same one.
    pub(super) fn within(to: State, active: BTreeSet<State>, why: String) -> Move {
        Move { edge: None, to, active, why }
    }
}

/// What leads from the states that held to those that hold.
pub(super) fn actions(before: &BTreeSet<State>, after: &BTreeSet<State>) -> Vec<Action> {
    let ended = before.difference(after).copied().map(Action::End);
    let begun = after.difference(before).copied().map(Action::Begin);
    ended.chain(begun).collect()
}
