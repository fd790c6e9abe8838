//! What is damaged and can be made anew is, while packets come and are found; the rest is told.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tapstone::state::{Occasion, Task, Thresholds, TopState};
use tapstone::{
    Chore, Free, KeepOptions, MaintainError, Maintained, NewHold, OpenOptions, RecoveryOptions,
    RecoveryReport, Retention, Selection, Store,
};

use crate::support::{everything, files, flip, import, open, segments, small_capture};

fn scrub(store: &Store, disk_share: u8) -> Result<RecoveryReport, MaintainError> {
    let chore = Chore::Recovery(RecoveryOptions { disk_share });
    match store.maintain(chore, Occasion::Manual)? {
        Maintained::Recovery(report) => Ok(report),
        other => panic!("{other:?}"),
    }
}

fn splits(store: &Path) -> Vec<std::path::PathBuf> {
    files(&store.join("splits"))
}

#[test]
fn splits_are_made_anew_while_packets_come_and_are_found() {
    let dir = tempfile::tempdir().unwrap();
    segments(dir.path(), 4, 200).close().unwrap();
    let before: Vec<_> = splits(dir.path());
    fs::remove_file(&before[0]).unwrap();
    let store = open(dir.path());
    store.wait_until_indexed();
    // Opening made that one; these go while the store is open.
    fs::remove_file(&before[1]).unwrap();
    flip(&before[2], 300);
    flip(&before[3], fs::metadata(&before[3]).unwrap().len() as usize - 300);
    let over = AtomicBool::new(false);
    let report = std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 10..30 {
                import(&store, &small_capture(number, 50), "more");
                store.seal().unwrap();
            }
        });
        let reader = scope.spawn(|| {
            let udp = Selection {
                filter: "host 10.0.1.7 or host 10.0.2.7 or host 10.0.3.7".into(),
                ..Selection::default()
            };
            let mut asked = 0;
            while asked < 10 || !over.load(Ordering::Relaxed) {
                let answer = store.count(&udp).unwrap();
                assert!(answer.completeness.is_complete(), "{:?}", answer.completeness);
                assert_eq!(answer.packets, 600);
                asked += 1;
            }
            asked
        });
        let report = scrub(&store, 100);
        over.store(true, Ordering::Relaxed);
        assert!(reader.join().unwrap() >= 10);
        report
    });
    let report = report.unwrap();
    assert_eq!(report.check.damage, []);
    let mended: Vec<_> = report.mended.iter().map(|it| it.path.clone()).collect();
    assert_eq!(mended, before[1..], "{report:#?}");
    store.wait_until_indexed();
    assert_eq!(store.check().damage, []);
    assert!(before.iter().all(|it| it.try_exists().unwrap()));
    assert_eq!(everything(&store).len(), 800 + 20 * 50);
    // By the index again.
    let answer = store.count(&Selection { metadata: "ip:10.0.2.7".into(), ..Selection::default() });
    assert_eq!(answer.unwrap().packets, 200);
    assert_eq!(scrub(&store, 100).unwrap().mended, []);
}

#[test]
fn a_flipped_byte_is_found_and_told() {
    let dir = tempfile::tempdir().unwrap();
    let store = segments(dir.path(), 3, 200);
    let sound = scrub(&store, 100).unwrap();
    assert_eq!((sound.check.damage.len(), sound.check.segments, sound.resumed), (0, 3, false));
    assert_eq!(sound.check.packets, 600);
    let file = files(&dir.path().join("segments"))[1].clone();
    flip(&file, 5000);
    let report = scrub(&store, 100).unwrap();
    let [damage] = &report.check.damage[..] else { panic!("{report:#?}") };
    assert_eq!((&damage.path, damage.offset), (&file, Some(4096)));
    assert_eq!(report.mended, [], "that cannot be made anew");
    let told = || store.damage().iter().filter(|it| it.contains("at offset 4096")).count();
    assert_eq!(told(), 1);
    scrub(&store, 100).unwrap();
    assert_eq!(told(), 1, "what is known is not said again");
    assert_eq!(store.info().unwrap().damage.len(), 1);
}

#[test]
fn what_the_store_knows_of_itself_is_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    let aside = tempfile::tempdir().unwrap();
    segments(dir.path(), 3, 50).close().unwrap();
    // A segment is not there when the catalog is made anew, and is put back.
    let file = files(&dir.path().join("segments"))[1].clone();
    let kept = aside.path().join("s");
    fs::rename(&file, &kept).unwrap();
    let options = OpenOptions { rebuild: true, ..OpenOptions::default() };
    let store = Store::open(dir.path(), options).unwrap();
    store.wait_until_indexed();
    store.add_hold(&NewHold { reason: "x".into(), ..NewHold::default() }).unwrap();
    fs::rename(&kept, &file).unwrap();
    let what = store.check().damage;
    assert!(what.len() == 1 && what[0].what.contains("not in the catalog"), "{what:?}");
    let head = dir.path().join("ledger.head");
    flip(&head, 20);
    let report = scrub(&store, 100).unwrap();
    assert!(report.mended.iter().any(|it| it.path == file), "{report:#?}");
    assert!(report.mended.iter().any(|it| it.path == head), "{report:#?}");
    assert_eq!((report.check.damage, store.check().damage), (vec![], vec![]));
    assert_eq!(everything(&store).len(), 150);
    store.close().unwrap();
    let store = open(dir.path());
    assert_eq!((store.holds().len(), store.holds_in_doubt()), (1, false));
    assert_eq!((everything(&store).len(), store.damage()), (150, vec![]));
}

#[test]
fn a_share_of_the_time_is_kept_to_within_reason() {
    let dir = tempfile::tempdir().unwrap();
    let store = segments(dir.path(), 3, 20_000);
    let took = |share| {
        let began = Instant::now();
        scrub(&store, share).unwrap();
        began.elapsed()
    };
    // Whatever else runs here makes it take longer, and by another part each time.
    let whole = (0..4).map(|_| took(100)).min().expect("it was done four times");
    let quarter = took(25);
    let times = quarter.as_secs_f64() / whole.as_secs_f64();
    println!("{whole:?} at full speed, {quarter:?} at a quarter: {times:.1} times");
    assert!(times >= 2.0, "{whole:?}, {quarter:?}");
}

/// Memory that whatever else runs here does not press, and times that a test can wait for.
fn options(keep_free: u64) -> KeepOptions {
    let millis = Duration::from_millis;
    let memory = tapstone::state::Bounds { low: 970, high: 980, relieved: 990, exhausted: 1000 };
    let (dwell, step, sustained) = (millis(300), millis(300), millis(20_000));
    let thresholds = Thresholds { memory, dwell, step, sustained, ..Thresholds::default() };
    let keep_free = Some(Free::Bytes(keep_free));
    KeepOptions { thresholds, retention: Retention { keep_free, ..Retention::default() } }
}

fn wait_for(store: &Store, top: TopState) {
    let began = Instant::now();
    while store.state().is_none_or(|it| it.state.top() != top) {
        assert!(began.elapsed() < Duration::from_secs(60), "{:#?}", store.state_history());
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn wait_for_normal(store: &Store) {
    wait_for(store, TopState::Normal);
    let began = Instant::now();
    while !store.state().unwrap().state.to_string().ends_with("IndexActive") {
        assert!(began.elapsed() < Duration::from_secs(60), "{:#?}", store.state_history());
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn packets_are_taken_in_and_found_throughout_maintenance() {
    let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
    let store = segments(dir.path(), 2, 200);
    store.keep(options(1)).unwrap();
    wait_for_normal(&store);
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut packets = 400;
            for number in 10..200 {
                packets += import(&store, &small_capture(number, 20), "more").packets;
                assert_eq!(store.count(&Selection::default()).unwrap().packets, packets);
                if over.load(Ordering::Relaxed) {
                    break;
                }
            }
        });
        let nothing = Retention { max_size: Some(1 << 40), ..Retention::default() };
        store.maintain(Chore::Cleanup(nothing), Occasion::Scheduled).unwrap();
        wait_for_normal(&store);
        scrub(&store, 50).unwrap();
        wait_for_normal(&store);
        over.store(true, Ordering::Relaxed);
        writer.join().unwrap();
    });
    let history: Vec<String> = store.state_history().iter().map(|it| it.to.to_string()).collect();
    let tops: Vec<TopState> = {
        let mut tops: Vec<TopState> = store.state_history().iter().map(|it| it.to.top()).collect();
        tops.dedup();
        tops
    };
    use TopState::{Init, Maintenance, Normal};
    assert_eq!(tops, [Init, Normal, Maintenance, Init, Normal, Maintenance, Init, Normal]);
    let steps: Vec<&str> =
        history.iter().filter_map(|it| it.strip_prefix("MAINTENANCE / ")).collect();
    let expected = [
        "Cleanup / RetentionCheck",
        "Cleanup / SecureDelete",
        "Cleanup / IndexCleanup",
        "Recovery / StateRestore",
        "Recovery / IndexRebuild",
        "Recovery / IntegrityVerify",
    ];
    assert_eq!(steps, expected);
    assert!(store.last_maintained(Task::Recovery) > store.last_maintained(Task::Cleanup));
    assert_eq!(store.last_done(Task::Recovery), Some(store.last_maintained(Task::Recovery)));
    assert_eq!(store.last_done(Task::Backup), None);
    let never = store.last_maintained(Task::Backup);
    assert!(never > 0 && never < store.last_maintained(Task::Cleanup));
    store.close().unwrap();
    let store = open(dir.path());
    assert_eq!(store.last_maintained(Task::Backup), never);
}

#[test]
fn a_scrub_that_is_given_up_goes_on_where_it_was() {
    let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
    let store = segments(dir.path(), 10, 6000);
    flip(&files(&dir.path().join("segments"))[0], 5000);
    store.keep(options(1)).unwrap();
    wait_for_normal(&store);
    let kept = || -> serde_json::Value {
        let kept = fs::read(dir.path().join("maintenance.json")).unwrap();
        serde_json::from_slice(&kept).unwrap()
    };
    // Nobody knows how fast this machine is: each time a little longer, until a segment was done, so
    // that the last time is not long enough for all of them.
    let (mut before, mut time) = (0, Duration::from_millis(100));
    while before == 0 && time < Duration::from_secs(20) {
        give_up_after(&store, time);
        before = kept()["scrub"]["segments"].as_u64().unwrap_or_default();
        time = time * 3 / 2;
    }
    assert!((1..10).contains(&before), "{}", kept());
    store.close().unwrap();
    let store = open(dir.path());
    let report = scrub(&store, 100).unwrap();
    assert!(report.resumed);
    assert_eq!(report.check.segments, 10);
    let packets = report.check.packets;
    assert!((54_000..60_000).contains(&packets), "all but those of a block: {packets}");
    let first = &files(&dir.path().join("segments"))[0];
    assert!(report.check.damage.iter().any(|it| it.path == *first), "found by the one before");
    assert!(!scrub(&store, 100).unwrap().resumed);
}

/// Lets a slow scrub come to the segments, and gives it up a while later.
fn give_up_after(store: &Store, while_: Duration) {
    let result = std::thread::scope(|scope| {
        let scrubbing = scope.spawn(|| scrub(store, 2));
        let began = Instant::now();
        let is_at = || store.state().unwrap().state.to_string().ends_with("IntegrityVerify");
        while !is_at() {
            assert!(began.elapsed() < Duration::from_secs(60), "{:#?}", store.state());
            std::thread::sleep(Duration::from_millis(5));
        }
        std::thread::sleep(while_);
        let another = scrub(store, 100).unwrap_err();
        assert!(matches!(another, MaintainError::UnderWay(Task::Recovery)), "{another}");
        let asked = Instant::now();
        store.give_up_task("it was given up");
        let result = scrubbing.join().unwrap();
        assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
        result
    });
    let error = result.unwrap_err();
    assert!(matches!(error, MaintainError::GaveWay { task: Task::Recovery, .. }), "{error}");
    wait_for_normal(store);
}

#[test]
fn a_scrub_gives_way_to_pressure() {
    let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
    let store = segments(dir.path(), 16, 3000);
    let space = store.info().unwrap().space.unwrap();
    // All that is free should stay so.
    store.keep(options(space.free)).unwrap();
    wait_for_normal(&store);
    let result = std::thread::scope(|scope| {
        let scrubbing = scope.spawn(|| scrub(&store, 1));
        wait_for(&store, TopState::Maintenance);
        // Room that somebody else takes.
        let other = fs::File::create(dir.path().join("other")).unwrap();
        let flags = rustix::fs::FallocateFlags::empty();
        if let Err(error) = rustix::fs::fallocate(&other, flags, 0, space.free / 10 * 4) {
            println!("SKIPPED: no room can be taken here: {error}");
            store.give_up_task("it was given up");
        }
        scrubbing.join().unwrap()
    });
    let error = result.unwrap_err();
    assert!(error.is_over_soon(), "{error}");
    let why = store.state_history().iter().map(|it| it.why.clone()).collect::<Vec<_>>();
    assert!(why.iter().any(|it| it.contains("gives way") || it.contains("given up")), "{why:#?}");
}
