//! What the states of PRESSURE and DEGRADED do to a store that is at work.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use tapstone::effects::{Effects, Relief};
use tapstone::state::{State, TopState};
use tapstone::{ImportOptions, OpenOptions, Progress, Retention, Sizes, Store};
use tapstone_benches::workload::Workload;

use crate::support::everything;

/// A store of small segments; a unit is a small part of one.
fn open(folder: &Path, shards: usize) -> (Store, Sizes) {
    let sizes = Sizes { unit: 8 << 10, segment: 128 << 10, ..Sizes::default() };
    let options = OpenOptions { create: true, shards, sizes, ..OpenOptions::default() };
    (Store::open(folder, options).unwrap(), sizes)
}

fn capture(bytes: u64) -> Vec<u8> {
    let mut capture = Vec::new();
    Workload::short_flows(bytes, 1).write(&mut capture).unwrap();
    capture
}

/// Takes a capture in once more.
fn import(store: &Store, capture: &[u8]) -> usize {
    let again = ImportOptions { name: "a.pcap", again: true, ..ImportOptions::default() };
    store.import(capture, again).unwrap().packets as usize
}

fn segments(folder: &Path, ending: &str) -> usize {
    let names = fs::read_dir(folder.join("segments")).unwrap();
    names
        .filter(|it| it.as_ref().unwrap().path().extension().is_some_and(|it| it == ending))
        .count()
}

/// Each state alone, and all of them.
fn in_force() -> Vec<BTreeSet<State>> {
    let mut states = State::all();
    states.retain(|it| [TopState::Pressure, TopState::Degraded].contains(&it.top()));
    let alone = states.iter().map(|state| BTreeSet::from([*state]));
    alone.chain([states.iter().copied().collect(), BTreeSet::new()]).collect()
}

/// Measures make a store slower, and its answers no different.
#[test]
fn a_store_takes_gives_and_indexes_the_same_whatever_is_in_force() {
    let dir = tempfile::tempdir().unwrap();
    let (store, sizes) = open(dir.path(), 2);
    let (capture, mut expected) = (capture(40_000), 0);
    for active in in_force() {
        store.apply_effects(&Effects::of(&active, &sizes));
        expected += import(&store, &capture);
        assert_eq!(everything(&store).len(), expected, "{active:?}");
    }
    assert_eq!(store.effects(), Effects::normal(&sizes));
    let before = everything(&store);
    store.seal().unwrap();
    assert!(segments(dir.path(), "seg") >= 4);
    for active in in_force() {
        store.apply_effects(&Effects::of(&active, &sizes));
        assert_eq!(everything(&store), before, "{active:?}");
    }
    assert_eq!(store.check().damage, []);
    // Under all of them at once it closes, and is whole.
    let all = in_force().into_iter().max_by_key(BTreeSet::len).unwrap();
    store.apply_effects(&Effects::of(&all, &sizes));
    expected += import(&store, &capture);
    store.close().unwrap();
    let store = Store::open(dir.path(), OpenOptions::default()).unwrap();
    assert_eq!(everything(&store).len(), expected);
    assert_eq!((store.check().damage, store.info().unwrap().unindexed), (vec![], 0));
}

/// While it is under way, too; and what was taken in so is known again, whatever is in force then.
#[test]
fn an_import_goes_in_smaller_portions_while_memory_is_short() {
    let dir = tempfile::tempdir().unwrap();
    let (store, sizes) = open(dir.path(), 1);
    let capture = capture(400_000);
    let throttle = "PRESSURE / MemoryPressure / BufferControl / ThrottleIngestion";
    let throttled = Effects::of(&BTreeSet::from([throttle.parse().unwrap()]), &sizes);
    let normal = Effects::normal(&sizes);
    assert_eq!(throttled.unit, sizes.unit / 4);
    let portions = |before: &Effects, after: &Effects| {
        store.apply_effects(before);
        let portions = AtomicUsize::new(0);
        let progress = |progress: Progress| {
            portions.fetch_add(1, Ordering::Relaxed);
            if progress.bytes > 200_000 {
                store.apply_effects(after);
            }
        };
        let progress: Option<&(dyn Fn(Progress) + Sync)> = Some(&progress);
        let options = ImportOptions { name: "a.pcap", again: true, progress };
        store.import(&capture[..], options).unwrap();
        portions.into_inner()
    };
    let (whole, half) = (portions(&normal, &normal), portions(&normal, &throttled));
    let small = portions(&throttled, &throttled);
    assert!((3 * whole..7 * whole).contains(&small), "{whole}, {half}, {small}");
    assert!((whole + 20..small - 20).contains(&half), "{whole}, {half}, {small}");
    for effects in [normal, throttled] {
        store.apply_effects(&effects);
        let report = store.import(&capture[..], ImportOptions::default()).unwrap();
        assert!(report.is_refused(), "{report:?}");
    }
    let mut all: Vec<_> = everything(&store).into_iter().map(|it| it.data).collect();
    all.sort();
    assert!(all.chunks(3).all(|it| it[0] == it[2]), "each is there three times");
}

#[test]
fn relief_seals_what_is_open_and_lets_go_what_may() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path(), 1);
    let nothing = store.relieve(Relief::Clear, &Retention::default()).unwrap();
    assert!(nothing.gone.is_empty(), "there is nothing to give back");
    let capture = capture(100_000);
    for _ in 0..5 {
        import(&store, &capture);
    }
    assert!(segments(dir.path(), "open") > 0);
    let before = everything(&store);
    let retention = Retention { max_size: Some(200_000), ..Retention::default() };
    let kept = store.relieve(Relief::Clear, &retention).unwrap();
    assert!(kept.gone.is_empty(), "memory is no reason to let packets go");
    assert_eq!((segments(dir.path(), "open"), everything(&store)), (0, before.clone()));
    store.wait_until_indexed();

    import(&store, &capture);
    let report = store.relieve(Relief::Flush, &retention).unwrap();
    assert!(!report.gone.is_empty());
    assert_eq!(segments(dir.path(), "open"), 0);
    let gone: u64 = report.gone.iter().map(|it| it.packets).sum();
    assert_eq!(everything(&store).len(), before.len() / 5 * 6 - gone as usize);
    store.seal().unwrap();
    assert_eq!(store.check().damage, []);
    store.close().unwrap();
}
