//! A disk that becomes slow.

use tapstone_benches::group::Controller;

use super::*;
use crate::live::{answer, capture_in, group, number};

/// A disk that takes a part of what comes, for a while: the loss is counted to the packet, what is
/// critical loses nothing once the rest is shed, and afterwards all is as before.
#[test]
fn a_disk_that_becomes_slow_costs_what_is_not_critical_until_it_is_fast_again() {
    let Some(net) = network("slow") else { return };
    let Some(group) = group(Controller::Disks, "slow") else { return };
    let dir = tempfile::tempdir().unwrap();
    let Ok(disk) = Disk::new(dir.path(), 1024) else {
        return skipped("root and e2fsprogs are needed for a small file system");
    };
    let store = disk.place().join("s");
    // Time to shed before the store is critical, since the ring is full meanwhile.
    let times = ["--set", "state.dwell=4s", "--set", "state.sustained=4s"];
    let more = ["--keep-free", "1", "--buffer", "16MiB"];
    let words = [&SETTINGS[..], &CRITICAL, &times, &more].concat();
    let capturing = capture_in(&net, &group, &store, &words);
    let mut load = Load { at_once: 4000, ..Load::new(&net, &store) };
    load.until("at first", of_top("NORMAL"));
    group.limit_writes(&disk, Some(SLOW)).unwrap();
    let pressed = load.until("slow", |state| holds(state, "PRESSURE / StoragePressure"));
    let is_shed = |state: &Value| holds(state, "DEGRADED / PartialCapture / PrioritizeCritical");
    let degraded = load.until("later", is_shed);
    // From here on there is room for what is critical.
    let is_calm = |state: &Value| is_calm(state, "storage") && is_calm(state, "pipeline");
    let drained = load.until("without the rest", is_calm);
    let from = load.critical;
    (0..10).for_each(|_| load.send());
    group.limit_writes(&disk, None).unwrap();
    let normal = load.until("fast again", of_top("NORMAL"));
    println!(
        "StoragePressure after {pressed:?}, the rest is shed {degraded:?} later, calm {drained:?} later, \
         NORMAL after {normal:?}"
    );
    let state = state(&store);
    assert_eq!(tops(&state), ["INIT", "NORMAL", "PRESSURE", "DEGRADED", "PRESSURE", "NORMAL"]);
    let critical = load.critical;
    let [behind, full, shed] = load.account(capturing, ["disk-behind", "ring-full", "shed"]);
    println!("lost: {behind} disk-behind, {full} ring-full, {shed} shed");
    assert!(behind > 0 && shed > 0);
    let (packets, code) = answer(&store, "udp dst port 9001");
    assert_eq!(code, Some(3), "what was lost may have been any");
    let numbers = packets.iter().map(|data| number(data));
    let since: Vec<u64> = numbers.filter(|number| *number >= from).collect();
    assert_eq!(since, (from..critical).collect::<Vec<_>>(), "what is critical is whole then");
}

/// Bytes a second: what comes is some hundred times as much as packets, and a twentieth as it is
/// stored.
const SLOW: u64 = 500 << 10;
