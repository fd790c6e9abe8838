//! What each state changes, and that it changes nothing else.

use proptest::prelude::*;

use super::*;
use crate::state::{Action, TopState};

const NORMAL: Effects = Effects::normal(&SIZES);
const SIZES: Sizes =
    Sizes { block: 256 << 10, unit: 16 << 20, segment: 1 << 30, flows: 1 << 19, age: Sizes::AGE };

fn of(names: &[&str]) -> Effects {
    Effects::of(&named(names), &SIZES)
}

fn named(names: &[&str]) -> BTreeSet<State> {
    let states = State::all().into_iter().filter(|it| names.contains(&it.name()));
    let states: BTreeSet<State> = states.collect();
    assert_eq!(states.len(), names.len(), "{names:?}");
    states
}

/// The states that do something.
fn at_work() -> Vec<State> {
    let mut states = State::all();
    states.retain(|it| matches!(it.top(), TopState::Pressure | TopState::Degraded));
    states
}

#[test]
fn each_measure_changes_what_its_name_says_and_nothing_else() {
    let ms = Duration::from_millis;
    let expected = [
        (
            "AdjustAllocation",
            Effects { segments_kept: 64, splits_kept: 16, read_ahead: 1, ..NORMAL },
        ),
        (
            "ThrottleIngestion",
            Effects { read_blocks: 4, unit: 4 << 20, smaller_tables: 8, ..NORMAL },
        ),
        ("ForceClear", NORMAL),
        (
            "AdjustWriteRate",
            Effects {
                flush_after: ms(1600),
                units_per_commit: 16,
                builder_pause: ms(500),
                ..NORMAL
            },
        ),
        ("IncreaseDedupe", Effects { wider_window: 4, ..NORMAL }),
        ("ForceFlush", NORMAL),
        ("AdjustBatch", Effects { flush_after: ms(800), read_blocks: 32, ..NORMAL }),
        ("ReorderQueues", Effects { packets_first: true, ..NORMAL }),
        ("ScaleThreads", Effects { builders: 2, ..NORMAL }),
        ("EvaluateFlows", Effects { shedding: Shedding::Evaluate, ..NORMAL }),
        ("PrioritizeCritical", Effects { shedding: Shedding::Prioritize, ..NORMAL }),
        ("SuspendNonCritical", Effects { shedding: Shedding::Suspend, ..NORMAL }),
        ("ResourceTracking", Effects { tracking: true, ..NORMAL }),
        ("RecoveryPlanning", Effects { planning: true, ..NORMAL }),
        ("AlertEscalation", Effects { alerting: true, ..NORMAL }),
    ];
    for (name, effects) in expected {
        assert_eq!(of(&[name]), effects, "{name}");
    }
    let names: Vec<_> = expected.iter().map(|(name, _)| *name).collect();
    assert_eq!(at_work().iter().map(|it| it.name()).collect::<Vec<_>>(), names);
}

#[test]
fn nothing_in_force_is_normal() {
    assert_eq!(Effects::of(&BTreeSet::new(), &SIZES), NORMAL);
    assert_eq!(Effects::of(&BTreeSet::new(), &Sizes::default()), Effects::default());
    let others: BTreeSet<State> =
        State::all().into_iter().filter(|it| !at_work().contains(it)).collect();
    assert_eq!(Effects::of(&others, &SIZES), NORMAL);
}

#[test]
fn measures_add_up() {
    // What one makes smaller and another larger is both.
    assert_eq!(of(&["ThrottleIngestion", "AdjustBatch"]).read_blocks, 8);
    let both = of(&["AdjustWriteRate", "AdjustBatch"]);
    assert_eq!((both.flush_after, both.units_per_commit), (Duration::from_millis(3200), 16));
    let degraded = of(&["EvaluateFlows", "PrioritizeCritical", "AdjustAllocation"]);
    assert_eq!((degraded.shedding, degraded.read_ahead), (Shedding::Prioritize, 1));
}

#[test]
fn what_is_done_once_is_done_when_it_begins() {
    for state in State::all() {
        let relief = match state.name() {
            "ForceClear" => Some(Relief::Clear),
            "ForceFlush" => Some(Relief::Flush),
            _ => None,
        };
        assert_eq!(Relief::of(Action::Begin(state)), relief, "{state}");
        assert_eq!(Relief::of(Action::End(state)), None, "{state}");
    }
}

#[test]
fn what_follows_is_said_of_each_state_that_does_something_and_of_no_other() {
    let mut said = BTreeSet::new();
    for state in State::all() {
        assert_eq!(consequence(state).is_some(), at_work().contains(&state), "{state}");
        if let Some(text) = consequence(state) {
            assert!(said.insert(text), "{state}: the same is said of another");
            assert!(!text.ends_with('.') && text.len() > 30, "{state}: {text}");
        }
    }
}

proptest! {
    /// Whatever is in force, in stores of any size, there is work to be done; each state adds what
    /// it adds alone, and what ends leaves nothing behind.
    #[test]
    fn any_states_leave_a_store_that_works(
        chosen in proptest::collection::vec(any::<bool>(), 15),
        unit in 1usize..=16 << 20,
    ) {
        let sizes = Sizes { unit, ..SIZES };
        let states = at_work().into_iter().zip(&chosen).filter(|(_, chosen)| **chosen);
        let active: BTreeSet<State> = states.map(|(state, _)| state).collect();
        let effects = Effects::of(&active, &sizes);
        prop_assert!(effects.unit >= 1 && effects.unit <= unit);
        prop_assert!(effects.read_blocks >= 1 && effects.read_ahead >= 1);
        prop_assert!(effects.segments_kept >= 1 && effects.splits_kept >= 1);
        prop_assert!(effects.builders >= 1 && effects.units_per_commit >= 1);
        prop_assert!(effects.flush_after <= Duration::from_secs(4));
        for state in &active {
            let mut without = active.clone();
            without.remove(state);
            let alone = Effects::of(&BTreeSet::from([*state]), &sizes);
            let is_felt = Effects::of(&without, &sizes) != effects;
            let is_less = matches!(state.name(), "EvaluateFlows" | "PrioritizeCritical");
            let does_something = alone != Effects::normal(&sizes);
            prop_assert!(is_felt == does_something || is_less, "{}", state);
        }
    }
}
