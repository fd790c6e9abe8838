//! The state of a store that records.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;
use tapstone_benches::disk::Disk;

use super::{capture, count, counts, network, send, skipped};
use crate::run;

#[test]
fn a_store_that_records_becomes_normal_while_packets_come() {
    let Some(network) = network("tsk") else { return };
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("s");
    let words = ["--set", "state.memory=97%,98%,99%,100%", "--keep-free", "1"];
    let capturing = capture(&network, &store, &words);
    let began = Instant::now();
    let mut sent = 0;
    let state = loop {
        send(&network, sent..sent + 50, 200);
        sent += 50;
        let (code, out, _) = run(dir.path(), &["state", "--store", "s", "--json", "--history"]);
        assert_eq!(code, 0);
        let state: Value = serde_json::from_str(&out).unwrap();
        if state["state"] == "NORMAL / OptimalFlow / IndexActive" {
            break state;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "{state:#}");
    };
    // The kernel was asked for what came, and gave it.
    let why = |it: &&Value| it["why"] == "NetworkInit is done";
    assert!(state["transitions"].as_array().unwrap().iter().any(|it| why(&it)), "{state:#}");
    assert_eq!(state["troubles"], Value::Array(vec![]), "{state:#}");
    let counts = capturing.end();
    assert_eq!((&counts["received"], &counts["stored"]), (&sent.into(), &sent.into()), "{counts}");
    // What was shown last is what was recorded.
    let (_, out, _) = run(dir.path(), &["state", "--store", "s", "--json", "--history"]);
    let last: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&last["kept"], &last["state"]), (&false.into(), &state["state"]));
}

/// What the process that records says of its state, with the history.
fn state(store: &Path) -> Value {
    let words = ["state", "--store", store.to_str().unwrap(), "--json", "--history"];
    let (code, out, err) = run(Path::new("."), &words);
    assert_eq!(code, 0, "{err}");
    serde_json::from_str(&out).unwrap()
}

/// A disk that something else fills: what is critical is stored whole, of the rest the beginning of
/// each flow, and all again once there is room.
#[test]
fn a_disk_that_something_else_fills_costs_what_is_not_critical_until_it_has_room() {
    let Some(net) = network("fills") else { return };
    let dir = tempfile::tempdir().unwrap();
    let Ok(disk) = Disk::new(dir.path(), 256) else {
        return skipped("root and e2fsprogs are needed for a small file system");
    };
    let store = disk.place().join("s");
    let words = ["--set", "state.memory=97%,98%,99%,100%", "--set", "state.dwell=1s"];
    let more = ["--set", "state.step=1s", "--set", "state.sustained=3s", "--keep-free", "96MiB"];
    let critical = ["--critical", "udp dst port 9001", "--shards", "1"];
    let capturing = capture(&net, &store, &[&words[..], &more, &critical].concat());
    let (mut heavy, mut wanted) = (0, 0);
    // Or retention lets go what was sealed early.
    let hold = ["hold", "add", "--store", store.to_str().unwrap(), "--reason", "a test"];
    assert_eq!(run(dir.path(), &hold).0, 0);
    let mut wait_for = |what: &str, is_it: &dyn Fn(&str) -> bool| {
        let began = Instant::now();
        loop {
            send(&net, heavy..heavy + 20, 1000);
            net.send(9001, wanted..wanted + 5, 1000, None).unwrap();
            (heavy, wanted) = (heavy + 20, wanted + 5);
            let state = state(&store);
            if is_it(state["state"].as_str().unwrap()) {
                return began.elapsed();
            }
            assert!(began.elapsed() < Duration::from_secs(60), "{what}: {state:#}");
        }
    };
    let of_top = |top: &'static str| move |state: &str| state.starts_with(top);
    wait_for("at first", &of_top("NORMAL"));
    // Some 60 of the 96 MiB that should stay free.
    let ballast = disk.place().join("ballast");
    let rest = disk.free().unwrap() - (60 << 20);
    fs::write(&ballast, vec![1; rest as usize]).unwrap();
    let pressed = wait_for("while it fills", &of_top("PRESSURE"));
    let degraded = wait_for("later", &|state| state.ends_with("SuspendNonCritical"));
    fs::remove_file(&ballast).unwrap();
    let normal = wait_for("with room", &of_top("NORMAL"));
    println!("PRESSURE after {pressed:?}, all is shed {degraded:?} later, NORMAL after {normal:?}");
    let transitions = state(&store)["transitions"].as_array().unwrap().clone();
    let top = |it: &Value| it["to"].as_str().unwrap().split(" / ").next().unwrap().to_owned();
    let mut tops: Vec<String> = transitions.iter().map(top).collect();
    tops.dedup();
    assert_eq!(tops, ["INIT", "NORMAL", "PRESSURE", "DEGRADED", "PRESSURE", "NORMAL"]);
    let report = capturing.end();
    let (received, stored, lost, _) = counts(&report);
    assert_eq!((received, received), (heavy + wanted, stored + lost), "{report}");
    assert_eq!(report["lost"]["shed"], lost, "{report}");
    assert!(lost > 0);
    assert_eq!(count(&store, &["udp dst port 9001"]).0, wanted, "what is critical is whole");
    let (found, code) = count(&store, &["udp dst port 9000"]);
    assert_eq!((found, code), (heavy - lost, 3), "the rest is said to be missing");
}
