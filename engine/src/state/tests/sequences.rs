//! Sequences of events: whatever happens, the machine goes where the specification lets it.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::sample::select;

use super::super::diagram::arrows;
use super::super::*;
use super::world::{Arrow, Happening, World, drawn};

fn aws() -> Vec<AwsLifecycle> {
    State::all()
        .into_iter()
        .filter_map(|it| if let State::AwsLifecycle(said) = it { Some(said) } else { None })
        .collect()
}

fn any_happening() -> impl Strategy<Value = Happening> {
    let load = select(vec![0, 150, 350, 500, 720, 800, 870, 930, 980, 1000]);
    let occasion = select(vec![Occasion::Scheduled, Occasion::Manual]);
    prop_oneof![
        6 => (proptest::array::uniform3(load), 1..90u16)
            .prop_map(|(load, seconds)| Happening::Load(load, seconds)),
        8 => proptest::bool::weighted(0.1).prop_map(|fails| Happening::Work { fails }),
        1 => (select(State::all()), any::<bool>())
            .prop_map(|(state, fails)| Happening::Nonsense { state, fails }),
        1 => select(aws()).prop_map(Happening::Cloud),
        1 => (select(Task::ALL.to_vec()), occasion)
            .prop_map(|(task, occasion)| Happening::Maintain(task, occasion)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// The world looks at every step (world.rs): at the edges, the arrows inside, the dwell time,
    /// the actions, and the records.
    #[test]
    fn only_what_is_drawn_happens(
        happenings in proptest::collection::vec(any_happening(), 1..80),
    ) {
        let mut world = World::new(Thresholds::default());
        happenings.iter().for_each(|it| world.happen(it));
    }

    #[test]
    fn whatever_happened_it_comes_back_to_normal(
        happenings in proptest::collection::vec(any_happening(), 1..40),
    ) {
        let mut world = World::new(Thresholds::default());
        happenings.iter().for_each(|it| world.happen(it));
        // A shell that works, a cloud that lets the instance run, and no load.
        world.happen(&Happening::Cloud(AwsLifecycle::InstanceStates(InstanceStates::Running)));
        for _ in 0..1000 {
            world.load([0; 3], 1);
            world.work();
        }
        prop_assert_eq!(world.path(), "NORMAL / OptimalFlow / IndexActive");
        let holds = |top| world.machine.active().iter().any(|state| state.top() == top);
        prop_assert!(!holds(TopState::Pressure) && !holds(TopState::Degraded));
    }

    /// The same events lead to the same states, whenever the process was started.
    #[test]
    fn it_is_a_function(happenings in proptest::collection::vec(any_happening(), 1..20)) {
        let lives = [(); 2].map(|()| {
            let mut world = World::new(Thresholds::default());
            happenings.iter().for_each(|it| world.happen(it));
            world.history
        });
        prop_assert_eq!(&lives[0], &lives[1]);
    }
}

/// What a chance that is always the same comes to.
fn happening(chance: &mut fastrand::Rng) -> Happening {
    let fails = chance.u8(..10) == 0;
    match chance.u8(..20) {
        0..8 => {
            const LOADS: [u16; 8] = [0, 50, 350, 500, 800, 870, 980, 1000];
            let load = [(); 3].map(|()| LOADS[chance.usize(..LOADS.len())]);
            Happening::Load(load, chance.u16(1..90))
        }
        8..17 => Happening::Work { fails },
        17 => Happening::Nonsense { state: State::all()[chance.usize(..61)], fails },
        18 => Happening::Cloud(aws()[chance.usize(..aws().len())]),
        _ => Happening::Maintain(Task::ALL[chance.usize(..4)], Occasion::Scheduled),
    }
}

/// Lives that are the same in every run, as if they were one: what was seen, shown and held.
fn lives() -> World {
    let mut all = World::new(Thresholds::default());
    for seed in 0..200 {
        let mut chance = fastrand::Rng::with_seed(seed);
        let mut world = World::new(Thresholds::default());
        (0..60).for_each(|_| world.happen(&happening(&mut chance)));
        all.seen.append(&mut world.seen);
        all.shown.append(&mut world.shown);
        all.held.append(&mut world.held);
    }
    all
}

#[test]
fn every_arrow_of_the_specification_is_gone_along_and_every_state_is_held() {
    let World { seen, shown, held, .. } = lives();
    let mut all: BTreeSet<Arrow> = BTreeSet::from([(Vec::new(), "[*]", "INIT")]);
    for edge in Edge::ALL {
        all.insert((Vec::new(), edge.from().map_or("any", TopState::name), edge.to().name()));
    }
    for (path, node) in drawn() {
        all.extend(arrows(&node).into_iter().map(|(from, to)| (path.clone(), from, to)));
    }
    assert_eq!(all.len(), 35);
    let lacks: Vec<_> = all.difference(&seen).collect();
    assert!(lacks.is_empty(), "never gone along: {lacks:#?}");
    assert_eq!(seen.difference(&all).count(), 0);
    let lacks: Vec<State> = State::all().into_iter().filter(|it| !held.contains(it)).collect();
    assert!(lacks.is_empty(), "never held: {lacks:?}");
    // Monitoring is beside what is shown.
    let beside = |state: &State| {
        state.names()[1].ends_with("Monitoring") || state.names()[1].starts_with("Monitoring")
    };
    let lacks: Vec<State> =
        State::all().into_iter().filter(|it| !shown.contains_key(it) && !beside(it)).collect();
    assert!(lacks.is_empty(), "never shown: {lacks:?}");
}

#[test]
fn from_every_state_the_cloud_and_a_task_lead_where_they_should() {
    for (state, (machine, since_start)) in lives().shown {
        let now = Moment { since_start, unix_nanos: 1 };
        let step = |event: &Event| machine.step(now, event);
        let top = |machine: &Machine| machine.state().top();
        let news = aws().into_iter().map(|said| step(&Event::Cloud(said)));
        let news: Vec<_> =
            news.filter(|(_, outcome)| matches!(outcome, Outcome::Changed(_))).collect();
        assert!(news.len() >= aws().len() - 3, "{state}: all that was not said before");
        assert!(news.iter().all(|(after, _)| top(after) == TopState::AwsLifecycle), "{state}");
        for task in Task::ALL {
            let (mut machine, outcome) = step(&Event::Maintain(task, Occasion::Manual));
            if let State::Maintenance(under_way) = state {
                assert_eq!(outcome, Outcome::Ignored(Ignored::UnderWay(under_way.task())));
                continue;
            }
            let mut steps = Vec::new();
            while let State::Maintenance(step) = machine.state() {
                steps.push(step);
                (machine, _) = machine.step(now, &Event::Done(machine.state()));
            }
            assert_eq!((steps.len(), steps[0]), (3, task.first()), "{state}");
            assert_eq!(top(&machine), TopState::Init, "{state}");
        }
    }
}
