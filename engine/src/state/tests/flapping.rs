//! A load that goes up and down around a threshold.

use std::time::Duration;

use proptest::prelude::*;

use super::super::*;
use super::world::World;

/// The thresholds of a source, from the lowest.
fn bounds(source: PressureSource) -> [u16; 4] {
    let thresholds = Thresholds::default();
    let Bounds { low, high, relieved, exhausted } = match source {
        PressureSource::Memory => thresholds.memory,
        PressureSource::Storage => thresholds.space,
        PressureSource::Pipeline => thresholds.pipeline,
    };
    [low, high, relieved, exhausted]
}

/// So much of one source, and nothing of the others.
fn alone(source: PressureSource, used: u16) -> [u16; 3] {
    let mut load = [0; 3];
    load[source as usize] = used;
    load
}

/// Runs `seconds` of a load that goes to and fro.
fn oscillate(world: &mut World, loads: [[u16; 3]; 2], half: Duration, seconds: u64) {
    let end = world.now + Duration::from_secs(seconds);
    let reading = Duration::from_millis(250);
    let (mut side, mut turn) = (0, world.now + half);
    while world.now < end {
        world.now += reading;
        if world.now >= turn {
            (side, turn) = (1 - side, world.now + half);
        }
        world.read(loads[side]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The world looks at every pair of transitions; here they are counted as well.
    #[test]
    fn a_load_around_a_threshold_moves_the_machine_once_in_a_dwell_time_at_most(
        source in proptest::sample::select(PressureSource::ALL.to_vec()),
        threshold in 0usize..4, above in 0u16..100, below in 1u16..100,
        half_millis in 250u64..40_000, first_seconds in 0u64..200,
    ) {
        let threshold = bounds(source)[threshold];
        let loads = [threshold + above, threshold.saturating_sub(below)].map(|it| alone(source, it));
        let mut world = World::normal();
        world.load(alone(source, 1000), first_seconds);
        let before = world.turns.len();
        oscillate(&mut world, loads, Duration::from_millis(half_millis), 600);
        prop_assert!(world.turns.len() - before <= 60 + 1);
    }

    /// Between low and high nothing comes and nothing goes.
    #[test]
    fn between_two_thresholds_it_stays_what_it_was(
        source in proptest::sample::select(PressureSource::ALL.to_vec()),
        parts in proptest::collection::vec(any::<prop::sample::Index>(), 60),
    ) {
        let [low, high, ..] = bounds(source);
        let between = |part: &prop::sample::Index| {
            alone(source, low + part.index(usize::from(high - low)) as u16)
        };
        let mut calm = World::normal();
        let mut pressed = World::normal();
        pressed.load(alone(source, high), 1);
        prop_assert_eq!(pressed.top(), TopState::Pressure);
        for part in &parts {
            calm.load(between(part), 1);
            pressed.load(between(part), 1);
            prop_assert_eq!(calm.top(), TopState::Normal);
            prop_assert_eq!(pressed.top(), TopState::Pressure);
        }
        prop_assert_eq!(pressed.turns.len(), 1);
    }
}

/// As fast as the gauges are read, for an hour, around each threshold.
#[test]
fn an_hour_of_flapping() {
    for source in PressureSource::ALL {
        for threshold in bounds(source) {
            let mut world = World::normal();
            let loads = [threshold, threshold - 1].map(|it| alone(source, it));
            oscillate(&mut world, loads, Duration::from_millis(250), 3600);
            assert!(world.turns.len() <= 3600 / 60, "{source} {threshold}: {}", world.turns.len());
        }
    }
}
