//! What follows from the states that hold, in words: pure.

use std::collections::BTreeSet;

use crate::effects;
use crate::state::{AwsLifecycle, InstanceStates, State};

/// What follows for whoever uses the store from the state that is shown, whose work may be over, and
/// those that hold; nothing where all is as it should be.
pub(super) fn consequences(shown: State, active: &BTreeSet<State>) -> Vec<String> {
    let told: BTreeSet<String> = active.iter().chain([&shown]).filter_map(|it| of(*it)).collect();
    told.into_iter().collect()
}

fn of(state: State) -> Option<String> {
    match state {
        State::Init(_) => Some(
            "packets are stored and found meanwhile; no measures are taken before NORMAL"
                .to_owned(),
        ),
        State::Critical(_) => {
            Some("what has come is made safe, so that another process can go on from it".to_owned())
        }
        State::AwsLifecycle(AwsLifecycle::InstanceStates(
            InstanceStates::Stopping | InstanceStates::Terminated,
        )) => Some("this machine is about to go: take what you need from it now".to_owned()),
        State::Pressure(_) | State::Degraded(_) => effects::consequence(state).map(str::to_owned),
        State::Normal(_) | State::AwsLifecycle(_) | State::Maintenance(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::TopState;

    #[test]
    fn normal_has_no_consequences_and_each_is_told_once() {
        let of_top = |top: TopState| {
            let states = State::all().into_iter().filter(|state| state.top() == top);
            let states: BTreeSet<State> = states.collect();
            consequences(*states.first().unwrap(), &states).len()
        };
        assert_eq!(of_top(TopState::Normal), 0);
        assert_eq!((of_top(TopState::Init), of_top(TopState::Critical)), (1, 1));
        assert_eq!(of_top(TopState::AwsLifecycle), 1);
        let critical = State::all().into_iter().find(|state| state.top() == TopState::Critical);
        assert_eq!(consequences(critical.unwrap(), &BTreeSet::new()).len(), 1, "its work is over");
    }
}
