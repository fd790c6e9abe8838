//! A load that goes up and down faster than the dwell time: the store does not follow it to and fro.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rustix::fs::{FallocateFlags, fallocate};
use serde_json::Value;
use tapstone_benches::disk::Disk;

use crate::run;
use crate::served::{Served, limit_address_space};

const DWELL: Duration = Duration::from_secs(2);
/// How long the load stays as it is: with gauges that are read once a second, both are seen.
const HALF: Duration = Duration::from_millis(700);

fn serve(store: &Path, memory: &str, keep_free: &str) -> Served {
    let settings = [memory, "state.dwell=2s", "state.step=1s", "state.sustained=3s"];
    let settings = settings.iter().flat_map(|it| ["--set", it]);
    let words: Vec<&str> = settings.chain(["--keep-free", keep_free]).collect();
    let served = Served::start_with(store, &words);
    served.wait_for("NORMAL / OptimalFlow / IndexActive");
    served
}

/// When the load led from one outermost state to another, and to which.
fn turns(store: &Path) -> Vec<(Timestamp, String)> {
    let words = ["state", "--store", store.to_str().unwrap(), "--json", "--history"];
    let (_, out, error) = run(Path::new("."), &words);
    let state: Value = serde_json::from_str(&out).unwrap_or_else(|_| panic!("{error}"));
    let top = |path: &Value| path.as_str().map(|it| it.split(" / ").next().unwrap().to_owned());
    let transitions = state["transitions"].as_array().unwrap();
    let between = transitions.iter().filter(|it| {
        let (from, to) = (top(&it["from"]), top(&it["to"]));
        from != to && from.is_some_and(|it| it != "INIT")
    });
    let turn = |it: &Value| (it["at"].as_str().unwrap().parse().unwrap(), top(&it["to"]).unwrap());
    between.map(turn).collect()
}

/// Lets the load go to and fro for some seconds; gives the turns that came of it. No two of them are
/// nearer to each other than the dwell time.
#[expect(clippy::print_stdout, reason = "figures of a test, for those who ask for them")]
fn flap(store: &Path, seconds: u64, mut load: impl FnMut(bool)) -> Vec<String> {
    let (before, began, mut is_high) = (turns(store).len(), Instant::now(), false);
    while began.elapsed() < Duration::from_secs(seconds) {
        is_high = !is_high;
        load(is_high);
        std::thread::sleep(HALF);
    }
    let (took, turns) = (began.elapsed(), turns(store));
    let new = &turns[before..];
    let most = took.as_millis() / DWELL.as_millis() + 1;
    assert!(new.len() as u128 <= most, "{} in {took:?}: {new:#?}", new.len());
    for pair in turns.windows(2) {
        let between = Duration::try_from(pair[1].0.duration_since(pair[0].0)).unwrap();
        // The wall clock is read when a transition is made, a little before or after the other.
        assert!(between + Duration::from_millis(50) >= DWELL, "{between:?}: {turns:#?}");
    }
    let new: Vec<String> = new.iter().map(|(_, to)| to.clone()).collect();
    println!("{} turns in {took:?}, {most} at most: {new:?}", new.len());
    new
}

#[test]
fn room_that_comes_and_goes_leads_from_one_state_to_another_once_in_a_dwell_time_at_most() {
    let dir = tempfile::tempdir().unwrap();
    let Ok(disk) = Disk::new(dir.path(), 256) else {
        return crate::live::skipped("root and e2fsprogs are needed for a small file system");
    };
    let store = disk.place().join("s");
    let served = serve(&store, "state.memory=97%,98%,99%,100%", "100MiB");
    let path = disk.place().join("ballast");
    // So much of the room that should stay free is used then.
    let use_room = |percent: u64| {
        fs::remove_file(&path).ok();
        let length = disk.free().unwrap() - ((100 - percent) << 20);
        fallocate(fs::File::create(&path).unwrap(), FallocateFlags::empty(), 0, length).unwrap();
    };
    // Around where pressure begins, there is pressure.
    let around_high = flap(&store, 8, |is_high| use_room(if is_high { 35 } else { 25 }));
    assert_eq!(around_high[0], "PRESSURE");
    assert!(!around_high.contains(&"NORMAL".to_owned()), "{around_high:?}");
    // Around all thresholds at once it is one or the other.
    flap(&store, 14, |is_high| use_room(if is_high { 95 } else { 5 }));
    drop(served);
}

#[test]
fn memory_that_comes_and_goes_leads_from_one_state_to_another_once_in_a_dwell_time_at_most() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("s");
    let served = serve(&store, "state.memory=80%,86%,97%,100%", "1");
    let load = |is_high| limit_address_space(served.child.id(), if is_high { 93 } else { 0 });
    assert_eq!(flap(&store, 14, load)[0], "PRESSURE");
}
