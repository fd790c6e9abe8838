//! A store that is kept: from INIT to NORMAL, to CRITICAL and back, and after a restart.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use futures_lite::future::block_on;
use serde_json::Value;
use tapstone::state::{
    AwsLifecycle, Bounds, InstanceStates, State, Thresholds, TopState, Transition,
};
use tapstone::{Free, KeepError, KeepOptions, Retention, StateReport, Store};

use tapstone_packet::capture_file::PcapngWriter;
use tapstone_packet::interface::{Interface, LinkType};
use tapstone_packet::time::Timestamp;

use crate::support::{copy, everything, import, open};

/// Packets that no other capture has.
pub(crate) fn capture(number: u8, packets: u32) -> Vec<u8> {
    let (mut writer, mut out) = (PcapngWriter::new("test"), Vec::new());
    let interface = Interface::new(LinkType::RAW);
    for packet in 0..packets {
        let [.., high, low] = packet.to_be_bytes();
        let data = [
            0x45, 0, 0, 32, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, number, low, 0, 99, 0,
            98, 0, 12, 0, 0, high, low, 3, 4,
        ];
        let time = Timestamp::from_secs_nanos(i64::from(packet), 0);
        writer.packet(&interface, time, &data, 32, &[], &mut out);
    }
    writer.finish(&mut out);
    out
}

/// Times that a test can wait for, and memory that whatever else runs here does not press.
fn options() -> KeepOptions {
    let millis = Duration::from_millis;
    let memory = Bounds { low: 970, high: 980, relieved: 990, exhausted: 1000 };
    let (dwell, step, sustained) = (millis(300), millis(300), millis(600));
    let thresholds = Thresholds { memory, dwell, step, sustained, ..Thresholds::default() };
    // The disk of whoever tests may be as full as it likes.
    let retention = Retention { keep_free: Some(Free::Bytes(1)), ..Retention::default() };
    KeepOptions { thresholds, retention }
}

/// Waits until the state is as wanted.
fn wait_for(store: &Store, what: &str, is_it: impl Fn(&StateReport) -> bool) -> StateReport {
    let began = Instant::now();
    loop {
        let report = store.state();
        if let Some(report) = report.as_ref().filter(|report| is_it(report)) {
            return report.clone();
        }
        let history = store.state_history();
        assert!(began.elapsed() < Duration::from_secs(60), "{what}: {report:#?} {history:#?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub(crate) fn wait_for_normal(store: &Store) -> StateReport {
    let at_work = "NORMAL / OptimalFlow / IndexActive".parse().unwrap();
    wait_for(store, "NORMAL", |report| report.is_kept && report.state == at_work)
}

fn tops(history: &[Transition]) -> Vec<TopState> {
    let mut tops: Vec<TopState> = history.iter().map(|it| it.to.top()).collect();
    tops.dedup();
    tops
}

fn paths(history: &[Transition]) -> Vec<String> {
    history.iter().map(|it| it.to.to_string()).collect()
}

#[test]
fn a_store_becomes_normal_phase_by_phase_and_goes_on_counting_after_a_restart() {
    let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
    let store = open(dir.path());
    assert_eq!(store.state(), None, "nobody has ever kept it");
    import(&store, &capture(1, 100), "a");
    store.keep(options()).unwrap();
    assert!(matches!(store.keep(options()), Err(KeepError::Kept)));
    let report = wait_for_normal(&store);
    let history = store.state_history();
    let phases = State::all().into_iter().filter(|it| it.top() == TopState::Init);
    let mut expected: Vec<String> = phases.map(|it| it.to_string()).collect();
    // Each part of NORMAL is shown, whether it can be at work here or not.
    let parts = State::all().into_iter().filter(|it| it.to_string().contains("OptimalFlow"));
    expected.extend(parts.map(|it| it.to_string()));
    assert_eq!(paths(&history), expected, "{history:#?}");
    assert_eq!(history[0].why, "started for the first time");
    let numbers: Vec<u64> = history.iter().map(|it| it.sequence).collect();
    assert_eq!(numbers, (1..=history.len() as u64).collect::<Vec<_>>());
    assert_eq!((report.unrecorded, report.troubles.len()), (0, 0), "{report:#?}");
    assert!(report.readings.is_some() && report.consequences.is_empty());
    assert!(!dir.path().join("probe").try_exists().unwrap());
    store.close().unwrap();

    let store = open(dir.path());
    assert_eq!(store.state_history(), history);
    let last = store.state().unwrap();
    assert!(!last.is_kept && last.readings.is_none());
    assert_eq!((last.state, last.since_nanos), (report.state, report.since_nanos));
    store.keep(options()).unwrap();
    wait_for_normal(&store);
    let later = store.state_history();
    assert_eq!(later[..history.len()], history);
    let first = &later[history.len()];
    assert_eq!((first.sequence, first.from), (history.len() as u64 + 1, None));
    assert_eq!(first.why, format!("started; before that it was in {}", report.state));
    // The lock is free as soon as the store is closed, whatever the keeper does.
    store.close().unwrap();
    open(dir.path()).close().unwrap();
}

#[test]
fn a_phase_that_fails_is_told_with_its_reason_and_tried_again() {
    let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
    let store = open(dir.path());
    let key = dir.path().join("master.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    store.keep(options()).unwrap();
    let report = wait_for(&store, "failed", |it| it.why.contains("CredsValidation failed"));
    assert!(report.why.contains("can be read by others (mode 644)"), "{}", report.why);
    assert_eq!(report.state.top(), TopState::Init);
    assert!(!report.active.contains(&report.state), "nothing is done meanwhile");
    // Packets are taken in all the same.
    assert_eq!(import(&store, &capture(1, 10), "a").packets, 10);
    // Another key is in its place.
    let own = fs::read(&key).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    wait_for_normal(&store);
    let again = store.state_history().into_iter().any(|it| it.why.contains("is tried again"));
    assert!(again, "{:#?}", store.state_history());
    store.close().unwrap();

    let other = tempfile::tempdir().unwrap();
    open(other.path()).close().unwrap();
    let store = open(dir.path());
    fs::copy(other.path().join("master.key"), &key).unwrap();
    store.keep(options()).unwrap();
    let report = wait_for(&store, "failed", |it| it.why.contains("KMSCheck failed"));
    assert!(report.why.contains("another key than the one in use"), "{}", report.why);
    fs::write(&key, own).unwrap();
    wait_for_normal(&store);
}

/// Wherever the ledger would write, there is something else.
#[test]
fn a_ledger_that_takes_nothing_is_told_of_and_gets_everything_later() {
    let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
    let store = open(dir.path());
    let ledger = dir.path().join("ledger");
    fs::write(&ledger, "no folder").unwrap();
    store.keep(options()).unwrap();
    let report = wait_for_normal(&store);
    assert_eq!(report.unrecorded, report.sequence, "{report:#?}");
    assert!(report.troubles[0].contains("not recorded: the ledger cannot be written"));
    fs::remove_file(&ledger).unwrap();
    wait_for(&store, "recorded", |it| it.unrecorded == 0 && it.troubles.is_empty());
    let history = store.state_history();
    store.close().unwrap();
    let store = open(dir.path());
    assert_eq!(store.state_history(), history);
    assert!(!store.holds_in_doubt() && store.damage().is_empty());
}

fn dumped(folder: &Path) -> Value {
    serde_json::from_slice(&fs::read(folder.join("state-dump.json")).unwrap()).unwrap()
}

#[test]
fn an_instance_that_is_about_to_go_leaves_everything_safe() {
    let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
    let store = open(dir.path());
    store.keep(options()).unwrap();
    wait_for_normal(&store);
    import(&store, &capture(1, 500), "a");
    store.tell_cloud(AwsLifecycle::InstanceStates(InstanceStates::Terminated));
    let report = wait_for(&store, "CRITICAL", |it| {
        it.state.to_string().ends_with("IndexSync") && !it.active.contains(&it.state)
    });
    assert!(!report.why.contains("failed"), "{report:#?}");
    let dump = dumped(dir.path());
    assert_eq!(dump["store"], store.id().to_string());
    assert_eq!((&dump["packets"], &dump["sealed_segments"]), (&500.into(), &1.into()), "{dump}");
    assert_eq!(dump["segments_without_split"], Value::Array(vec![]), "{dump}");
    // The transition was in the ledger before what follows from it was done.
    let step = "CRITICAL / FailoverPrep / IndexSync";
    let begun = store.state_history().into_iter().find(|it| it.to.to_string() == step).unwrap();
    assert_eq!((&dump["recorded"], &dump["state"]), (&begun.sequence.into(), &step.into()));
    let steps = paths(&store.state_history());
    let emergency: Vec<&str> =
        steps.iter().filter_map(|it| it.strip_prefix("CRITICAL / ")).collect();
    let expected = [
        "EmergencyMode / SaveState",
        "EmergencyMode / SecureData",
        "EmergencyMode / NotifyControl",
        "FailoverPrep / StateDump",
        "FailoverPrep / BufferFlush",
        "FailoverPrep / IndexSync",
    ];
    assert_eq!(emergency[..6], expected);
    // It is served on, with keys that are got again.
    import(&store, &capture(2, 7), "b");
    assert_eq!(everything(&store).len(), 507);
    // And the machine stays there until the cloud says otherwise.
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(store.state().unwrap().state.top(), TopState::Critical);
    store.tell_cloud(AwsLifecycle::InstanceStates(InstanceStates::Running));
    wait_for_normal(&store);
}

#[test]
fn a_disk_without_room_leads_to_critical_and_back() {
    let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
    let store = open(dir.path());
    // More should stay free than there is.
    let keep_free = Some(Free::Bytes(u64::MAX / 2000));
    let retention = Retention { keep_free, ..Retention::default() };
    store.keep(KeepOptions { retention, ..options() }).unwrap();
    let report = wait_for(&store, "CRITICAL", |it| it.state.top() == TopState::Critical);
    assert!(report.consequences.iter().any(|it| it.contains("made safe")), "{report:#?}");
    let tops = tops(&store.state_history());
    let expected = [TopState::Init, TopState::Normal, TopState::Pressure, TopState::Degraded];
    assert_eq!(tops[..4], expected);
    let pressed = store.state_history().into_iter().find(|it| it.to.top() == TopState::Pressure);
    let why = pressed.unwrap().why;
    assert!(why.starts_with("storage: ") && why.contains("should stay free"), "{why}");
    store.close().unwrap();
    // With less to be kept free all is well again.
    let store = open(dir.path());
    store.keep(options()).unwrap();
    wait_for_normal(&store);
}

#[test]
fn whoever_watches_sees_every_change_and_the_end() {
    let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
    let store = open(dir.path());
    let mut nobody = store.watch_state();
    assert_eq!(block_on(nobody.changed()), None);
    store.keep(options()).unwrap();
    let mut watch = store.watch_state();
    let watcher = std::thread::spawn(move || {
        let mut seen = Vec::new();
        while let Some(report) = block_on(watch.changed()) {
            seen.push(report.sequence);
        }
        seen
    });
    let last = wait_for_normal(&store).sequence;
    store.close().unwrap();
    let seen = watcher.join().unwrap();
    assert!(seen.is_sorted() && seen.last() == Some(&last), "{seen:?}");
}

#[test]
fn thresholds_that_make_no_sense_are_refused_all_at_once() {
    let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
    let store = open(dir.path());
    let memory = Bounds { low: 0, high: 0, relieved: 0, exhausted: 2000 };
    let thresholds = Thresholds { memory, dwell: Duration::ZERO, ..Thresholds::default() };
    let error = store.keep(KeepOptions { thresholds, ..options() }).unwrap_err().to_string();
    for part in ["memory", "dwell is 0", "more than there is"] {
        assert!(error.contains(part), "{error}");
    }
    store.keep(options()).unwrap();
}

/// To freeze a ledger of a new version, run with `TAPSTONE_FREEZE=1` and commit the new folder.
#[test]
fn transitions_in_a_ledger_of_version_1_are_read() {
    let frozen = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/ledger-v1-transitions");
    if std::env::var_os("TAPSTONE_FREEZE").is_some() {
        let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let store = open(dir.path());
        store.keep(options()).unwrap();
        wait_for_normal(&store);
        store.close().unwrap();
        copy(&dir.path().join("ledger"), &frozen.join("ledger"));
        for part in ["ledger.head", "store", "master.key"] {
            fs::copy(dir.path().join(part), frozen.join(part)).unwrap();
        }
    }
    let dir = tempfile::tempdir().unwrap();
    copy(&frozen, dir.path());
    let store = open(dir.path());
    assert!(store.damage().is_empty() && !store.holds_in_doubt(), "{:?}", store.damage());
    let history = store.state_history();
    let numbers: Vec<u64> = history.iter().map(|it| it.sequence).collect();
    assert_eq!(numbers, (1..=15).collect::<Vec<_>>());
    assert_eq!(tops(&history), [TopState::Init, TopState::Normal]);
    assert_eq!(history[1].why, "NVMeValidation is done");
    assert!(history.iter().all(|it| it.unix_nanos > 1_700_000_000_000_000_000));
    let last = store.state().unwrap();
    assert_eq!(last.state.to_string(), "NORMAL / OptimalFlow / IndexActive");
    assert!(!last.is_kept);
}
