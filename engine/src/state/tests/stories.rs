//! What happens, told from the first reading to the last.

use std::time::Duration;

use super::super::*;
use super::world::{Happening, World};

const HIGH_MEMORY: [u16; 3] = [910, 0, 0];
const CALM: [u16; 3] = [0; 3];

fn held(world: &World) -> Vec<&'static str> {
    let measures = world.machine.active().iter().filter(|state| state.top() == TopState::Pressure);
    measures.map(|state| state.name()).collect()
}

#[test]
fn it_starts_phase_by_phase() {
    let mut world = World::new(Thresholds::default());
    let mut shown = vec![world.machine.state().name()];
    while let Outcome::Changed(_) = world.tell(&Event::Done(world.machine.state())) {
        shown.push(world.machine.state().name());
    }
    let phases = [
        "NVMeValidation",
        "MemoryAllocation",
        "NetworkInit",
        "ConfigValidation",
        "KMSCheck",
        "CredsValidation",
        "EncryptionInit",
        "BufferPrealloc",
        "IndexPrep",
        "ReadyState",
    ];
    let flow = ["DirectMemory", "NVMeDirect", "BufferManaged", "CompressActive", "IndexActive"];
    assert_eq!(shown, [&phases[..], &flow[..]].concat());
    assert_eq!(world.machine.active().len(), 5 + 3, "the flow, and the monitoring beside it");
}

#[test]
fn a_phase_that_fails_is_named_and_tried_again() {
    for number in 0..10 {
        let mut world = World::new(Thresholds::default());
        (0..number).for_each(|_| world.happen(&Happening::Work { fails: false }));
        let phase = world.machine.state();
        world.happen(&Happening::Work { fails: true });
        assert_eq!(world.machine.state(), phase);
        assert!(world.why().starts_with(&format!("{} failed: ", phase.name())), "{}", world.why());
        assert!(world.why().ends_with("tried again in 10s"), "{}", world.why());
        assert_eq!(world.history.last().unwrap().from, Some(phase));
        let done = world.tell(&Event::Done(phase));
        assert_eq!(done, Outcome::Ignored(Ignored::NotAtWork(phase)), "nobody tries it");
        world.load(CALM, 9);
        assert!(!world.machine.active().contains(&phase));
        world.load(CALM, 1);
        assert!(world.machine.active().contains(&phase), "it is tried again");
        world.happen(&Happening::Work { fails: true });
        assert!(world.why().ends_with("tried again in 20s"), "{}", world.why());
        world.load(CALM, 20);
        world.happen(&Happening::Work { fails: false });
        assert_ne!(world.machine.state(), phase);
    }
}

#[test]
fn pressure_that_goes_on_takes_one_measure_after_the_other() {
    let mut world = World::normal();
    world.load(HIGH_MEMORY, 1);
    let control = "PRESSURE / MemoryPressure / BufferControl";
    assert_eq!(world.path(), format!("{control} / AdjustAllocation"));
    assert_eq!(world.why(), "memory: 91.0 % of the memory is used, high is 85.0 %");
    world.load(HIGH_MEMORY, 10);
    assert_eq!(world.path(), format!("{control} / ThrottleIngestion"));
    world.load(HIGH_MEMORY, 10);
    assert_eq!(world.path(), format!("{control} / ForceClear"));
    assert_eq!(held(&world), ["AdjustAllocation", "ThrottleIngestion", "ForceClear"]);
    world.load(HIGH_MEMORY, 39);
    assert_eq!(world.top(), TopState::Pressure);
    world.load(HIGH_MEMORY, 1);
    assert_eq!(world.path(), "DEGRADED / PartialCapture / EvaluateFlows");
    assert_eq!(
        world.why(),
        "memory: 91.0 % of the memory is used, high is 85.0 %; it went on for 60s"
    );
    world.load(HIGH_MEMORY, 10);
    assert_eq!(world.path(), "DEGRADED / PartialCapture / PrioritizeCritical");
    world.load(HIGH_MEMORY, 9);
    assert_eq!(world.path(), "DEGRADED / PartialCapture / PrioritizeCritical");
    world.load(HIGH_MEMORY, 1);
    assert_eq!(world.path(), "DEGRADED / PartialCapture / SuspendNonCritical");
    assert_eq!(held(&world).len(), 3, "the measures stay in force");
    world.load(CALM, 10);
    assert_eq!(world.top(), TopState::Degraded, "it has not lasted");
    world.load(CALM, 1);
    assert_eq!(world.path(), format!("{control} / ForceClear"));
    world.load(CALM, 10);
    assert_eq!(world.top(), TopState::Normal);
    assert_eq!(held(&world), [""; 0]);
    assert_eq!(world.turns.len(), 4);
}

#[test]
fn what_has_eased_is_kept_again_and_has_time_before_it_is_not() {
    let mut world = World::normal();
    world.load(HIGH_MEMORY, 61);
    let eased = [800, 0, 0];
    world.load(eased, 10);
    assert_eq!(world.path(), "DEGRADED / PartialCapture / EvaluateFlows", "nobody keeps less");
    world.load(eased, 1);
    assert_eq!(world.top(), TopState::Pressure);
    let expected = "no source is at its high threshold any more: \
                    memory 80.0 %, storage 0.0 %, pipeline 0.0 %";
    assert_eq!(world.why(), expected);
    world.load(HIGH_MEMORY, 59);
    assert_eq!(world.top(), TopState::Pressure, "it is counted from when PRESSURE was entered");
    world.load(HIGH_MEMORY, 1);
    assert_eq!(world.top(), TopState::Degraded);
}

#[test]
fn several_sources_are_answered_each_for_itself() {
    let mut world = World::normal();
    world.load([860, 310, 0], 1);
    assert_eq!(world.path(), "PRESSURE / MemoryPressure / BufferControl / AdjustAllocation");
    assert_eq!(held(&world), ["AdjustAllocation", "AdjustWriteRate"]);
    world.load([0, 310, 710], 1);
    assert_eq!(world.path(), "PRESSURE / PipelinePressure / QueueControl / AdjustBatch");
    world.load([0, 310, 710], 11);
    // Memory has been calm for the dwell time; the others went on.
    let others = ["AdjustWriteRate", "IncreaseDedupe", "AdjustBatch", "ReorderQueues"];
    assert_eq!(held(&world), others);
    assert_eq!(world.top(), TopState::Pressure);
}

#[test]
fn where_nothing_is_left_nobody_waits_for_long() {
    let mut world = World::normal();
    world.load([0, 1000, 0], 3);
    let control = "PRESSURE / StoragePressure / NVMeControl";
    assert_eq!(world.path(), format!("{control} / ForceFlush"), "a measure at every reading");
    world.load([0, 1000, 0], 8);
    assert_eq!(world.path(), "DEGRADED / PartialCapture / EvaluateFlows");
    world.load([0, 1000, 0], 2);
    assert_eq!(
        world.path(),
        "DEGRADED / PartialCapture / SuspendNonCritical",
        "so does what is kept"
    );
    world.load([0, 1000, 0], 9);
    assert_eq!(world.top(), TopState::Degraded, "keeping less has time to help");
    world.load([0, 1000, 0], 1);
    assert_eq!(world.path(), "CRITICAL / EmergencyMode / SaveState");
    let why = "storage: 100.0 % of the room that should stay free is used, high is 30.0 %; \
               nothing was left for the dwell time";
    assert_eq!(world.why(), why);
    let mut shown = vec![world.machine.state().name()];
    for fails in [false, true, false, false, false] {
        world.happen(&Happening::Work { fails });
        shown.push(world.machine.state().name());
    }
    let work =
        ["SaveState", "SecureData", "NotifyControl", "StateDump", "BufferFlush", "IndexSync"];
    assert_eq!(shown, work, "what fails holds nothing up");
    world.happen(&Happening::Work { fails: false });
    assert!(!world.machine.active().contains(&world.machine.state()), "all is done");
    // Relieved is not enough for less than the dwell time.
    world.load([0, 740, 0], 10);
    assert_eq!(world.top(), TopState::Critical);
    world.load([0, 740, 0], 1);
    assert_eq!(world.top(), TopState::Degraded);
}

#[test]
fn a_peak_of_a_second_degrades_nothing() {
    let mut world = World::normal();
    for _ in 0..20 {
        world.load([0, 0, 1000], 1);
        world.load([0, 0, 300], 4);
    }
    let tops: Vec<TopState> = world.history.iter().map(|it| it.to.top()).collect();
    assert!(tops.iter().all(|top| *top != TopState::Degraded), "{:#?}", world.history);
}

#[test]
fn an_instance_that_is_stopped_is_an_emergency_until_it_runs() {
    let mut world = World::normal();
    let instance = |it| Event::Cloud(AwsLifecycle::InstanceStates(it));
    world.tell(&instance(InstanceStates::Stopping));
    assert_eq!(world.path(), "AWS_LIFECYCLE / InstanceStates / Stopping");
    world.tell(&Event::Tick);
    assert_eq!(world.path(), "CRITICAL / EmergencyMode / SaveState");
    let again = world.tell(&instance(InstanceStates::Stopping));
    let said = AwsLifecycle::InstanceStates(InstanceStates::Stopping);
    assert_eq!(again, Outcome::Ignored(Ignored::SaidBefore(said)));
    world.load(CALM, 1000);
    assert_eq!(world.top(), TopState::Critical);
    world.tell(&instance(InstanceStates::Launching));
    world.load(CALM, 59);
    assert_eq!(world.path(), "AWS_LIFECYCLE / InstanceStates / Launching");
    world.tell(&instance(InstanceStates::Running));
    world.load(CALM, 10);
    assert_eq!(world.path(), "INIT / ResourceCheck / NVMeValidation");
}

#[test]
fn what_the_cloud_says_is_waited_for_but_not_for_ever() {
    let mut world = World::normal();
    let scaling = |it| Event::Cloud(AwsLifecycle::ScalingStates(it));
    world.tell(&Event::Cloud(AwsLifecycle::HealthStates(HealthStates::Impaired)));
    world.tell(&scaling(ScalingStates::ScalePrep));
    assert_eq!(world.path(), "AWS_LIFECYCLE / ScalingStates / ScalePrep");
    let impaired = State::AwsLifecycle(AwsLifecycle::HealthStates(HealthStates::Impaired));
    assert!(world.machine.active().contains(&impaired), "the latest of each kind holds");
    world.load(CALM, 59);
    assert_eq!(world.top(), TopState::AwsLifecycle);
    world.load(CALM, 1);
    assert_eq!(world.top(), TopState::Init);
    assert_eq!(world.why(), "the cloud has said nothing more for 60s");
}

#[test]
fn a_task_gives_way_to_pressure_unless_it_is_what_helps() {
    let full = [0, 500, 0];
    for task in Task::ALL {
        let mut world = World::normal();
        world.tell(&Event::Maintain(task, Occasion::Scheduled));
        world.load(full, 1);
        let helps = task == Task::Cleanup;
        assert_eq!(world.top() == TopState::Maintenance, helps, "{task}");
        world.load(HIGH_MEMORY, 1);
        assert_eq!(world.top(), TopState::Init, "{task}");
    }
    let mut world = World::normal();
    world.load(HIGH_MEMORY, 1);
    world.tell(&Event::Maintain(Task::Backup, Occasion::Manual));
    world.load(HIGH_MEMORY, 100);
    assert_eq!(world.top(), TopState::Maintenance, "the pressure was there before");
    assert_eq!(held(&world), ["AdjustAllocation"], "its measure stays in force");
    world.load(CALM, 11);
    assert_eq!(held(&world), [""; 0], "until the source has recovered");
    assert_eq!(world.path(), "MAINTENANCE / Backup / SnapshotInit");
}

#[test]
fn everything_is_kept_again_when_the_load_has_gone_during_a_task() {
    let mut world = World::normal();
    world.load(HIGH_MEMORY, 90);
    assert_eq!(world.top(), TopState::Degraded);
    world.tell(&Event::Maintain(Task::Recovery, Occasion::Manual));
    let is_kept = |world: &World| {
        world.machine.active().iter().all(|state| state.top() != TopState::Degraded)
    };
    assert!(!is_kept(&world));
    world.load(CALM, 11);
    assert!(is_kept(&world));
}

#[test]
fn a_task_that_fails_says_where() {
    let mut world = World::normal();
    world.tell(&Event::Maintain(Task::Backup, Occasion::Scheduled));
    world.happen(&Happening::Work { fails: false });
    world.happen(&Happening::Work { fails: true });
    assert_eq!(world.why(), "Backup: SecureTransfer failed: there is no more paper");
    assert_eq!(world.path(), "INIT / ResourceCheck / NVMeValidation");
    assert_eq!(world.history.last().unwrap().edge(), Some(Edge::TasksComplete));
}

#[test]
fn after_a_restart_it_says_where_it_was() {
    let mut world = World::normal();
    world.load(HIGH_MEMORY, 1);
    let last = world.history.last();
    let (machine, change) = Machine::start(Thresholds::default(), Moment::default(), last);
    assert_eq!(machine.state().to_string(), "INIT / ResourceCheck / NVMeValidation");
    let why = "started; before that it was in \
               PRESSURE / MemoryPressure / BufferControl / AdjustAllocation";
    assert_eq!(change.transition.why, why);
    assert_eq!(change.transition.sequence, last.unwrap().sequence + 1);
    assert_eq!((change.transition.from, change.transition.edge()), (None, None));
    assert_eq!(change.actions, [Action::Begin(machine.state())]);
}

#[test]
fn a_clock_that_goes_back_counts_as_standing_still() {
    let mut world = World::normal();
    world.load(HIGH_MEMORY, 6);
    world.now = Duration::ZERO;
    world.load(CALM, 15);
    assert_eq!(world.top(), TopState::Pressure, "calm since second 6, and not since second 1");
    world.load(CALM, 1);
    assert_eq!(world.top(), TopState::Normal);
}

#[test]
fn what_makes_no_sense_is_told() {
    let mut world = World::normal();
    let state = world.machine.state();
    let outcome = world.tell(&Event::Done(state));
    assert_eq!(outcome, Outcome::Ignored(Ignored::NothingFollows(state)));
    let other = State::Init(Init::ConfigValidation);
    let outcome = world.tell(&Event::Done(other));
    assert_eq!(outcome, Outcome::Ignored(Ignored::NotAtWork(other)));
    let Outcome::Ignored(ignored) = outcome else { unreachable!("it was compared") };
    assert_eq!(ignored.to_string(), "nobody waits for `INIT / ConfigValidation` to be done");
    world.tell(&Event::Maintain(Task::Backup, Occasion::Manual));
    let outcome = world.tell(&Event::Maintain(Task::Cleanup, Occasion::Manual));
    assert_eq!(outcome, Outcome::Ignored(Ignored::UnderWay(Task::Backup)));
}
