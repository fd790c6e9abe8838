//! The state of a store that records, and what real pressure makes of it: each source is pressed for
//! real, and let go again.

mod memory;
mod pipeline;
mod storage;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tapstone_benches::disk::Disk;
use tapstone_benches::network::{Flows, Network, Payload, Traffic};

use super::{Capturing, capture, count, counts, network, send, skipped};
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

/// Times that a test can wait for, and memory that whatever else runs here does not press.
const SETTINGS: [&str; 8] = [
    "--set",
    "state.memory=97%,98%,99%,100%",
    "--set",
    "state.dwell=1s",
    "--set",
    "state.step=1s",
    "--set",
    "state.sustained=3s",
];
/// Flows to one port are critical.
const CRITICAL: [&str; 4] = ["--critical", "udp dst port 9001", "--shards", "1"];

/// What the process that records says of its state, with the history.
fn state(store: &Path) -> Value {
    let words = ["state", "--store", store.to_str().unwrap(), "--json", "--history"];
    let (code, out, err) = run(Path::new("."), &words);
    assert_eq!(code, 0, "{err}");
    serde_json::from_str(&out).unwrap()
}

/// What a state is like.
fn of_top(top: &'static str) -> impl Fn(&Value) -> bool {
    move |state| state["state"].as_str().unwrap().starts_with(top)
}

/// Whether a state is in force, whatever is shown.
fn holds(state: &Value, path: &str) -> bool {
    let active = state["active"].as_array().unwrap();
    active.iter().any(|it| it.as_str().unwrap().starts_with(path))
}

/// Whether everything that is not critical is shed, but for its beginning.
fn all_is_shed(state: &Value) -> bool {
    state["state"].as_str().unwrap().ends_with("SuspendNonCritical")
}

/// Whether a source has been measured to be as it should be.
fn is_calm(state: &Value, source: &str) -> bool {
    let readings = state["readings"].as_array().unwrap();
    readings.iter().any(|it| it["source"] == source && it["level"] == "calm")
}

/// The outermost states that a store was in, one after the other.
fn tops(state: &Value) -> Vec<String> {
    let transitions = state["transitions"].as_array().unwrap();
    let top = |it: &Value| it["to"].as_str().unwrap().split(" / ").next().unwrap().to_owned();
    let mut tops: Vec<String> = transitions.iter().map(top).collect();
    tops.dedup();
    tops
}

/// The first transition to a state that begins so.
fn first_to(state: &Value, path: &str) -> Option<Value> {
    let transitions = state["transitions"].as_array().unwrap();
    transitions.iter().find(|it| it["to"].as_str().unwrap().starts_with(path)).cloned()
}

/// Packets for a store that records: many that are not critical, and few that are.
struct Load<'a> {
    net: &'a Network,
    store: PathBuf,
    flows: Flows,
    /// Datagrams that are sent before the state is looked at, and how long each is.
    at_once: u64,
    length: usize,
    /// Sent so far.
    heavy: u64,
    critical: u64,
}

impl<'a> Load<'a> {
    fn new(net: &'a Network, store: &Path) -> Load<'a> {
        let (flows, at_once, length) = (Flows::One, 20, 1000);
        Load { net, store: store.to_owned(), flows, at_once, length, heavy: 0, critical: 0 }
    }

    fn send(&mut self) {
        let (heavy, critical) = (self.heavy, self.critical);
        self.heavy += self.at_once;
        self.critical += 5;
        let (flows, length) = (self.flows, self.length);
        let traffic = Traffic { flows, payload: Payload::Same, port: 9000, length };
        self.net.send_traffic(traffic, heavy..self.heavy, None).unwrap();
        self.net.send(9001, critical..self.critical, 1000, None).unwrap();
    }

    /// Sends until the state is as wanted; gives how long that took.
    fn until(&mut self, what: &str, is_it: impl Fn(&Value) -> bool) -> Duration {
        let began = Instant::now();
        loop {
            self.send();
            let state = state(&self.store);
            if is_it(&state) {
                return began.elapsed();
            }
            assert!(began.elapsed() < Duration::from_secs(60), "{what}: {state:#}");
        }
    }

    /// Ends the capture. Every packet was stored, or lost by one of these causes; gives how many of
    /// them were lost by each.
    fn account<const N: usize>(self, capturing: Capturing, causes: [&str; N]) -> [u64; N] {
        let report = capturing.end();
        let (received, stored, lost, filtered) = counts(&report);
        let sent = self.heavy + self.critical;
        assert_eq!((received, stored + lost, filtered), (sent, sent, 0), "{report}");
        let by_cause = causes.map(|cause| report["lost"][cause].as_u64().unwrap());
        assert_eq!(by_cause.iter().sum::<u64>(), lost, "{report}");
        let (found, code) = count(&self.store, &[""]);
        assert_eq!((found, code), (stored, if lost > 0 { 3 } else { 0 }), "{report}");
        by_cause
    }
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
    let words = [&SETTINGS[..], &CRITICAL, &["--keep-free", "96MiB"]].concat();
    let capturing = capture(&net, &store, &words);
    let mut load = Load::new(&net, &store);
    // Or retention lets go what was sealed early.
    let hold = ["hold", "add", "--store", store.to_str().unwrap(), "--reason", "a test"];
    assert_eq!(run(dir.path(), &hold).0, 0);
    load.until("at first", of_top("NORMAL"));
    // Some 60 of the 96 MiB that should stay free.
    let ballast = disk.place().join("ballast");
    let rest = disk.free().unwrap() - (60 << 20);
    fs::write(&ballast, vec![1; rest as usize]).unwrap();
    let pressed = load.until("while it fills", of_top("PRESSURE"));
    let degraded = load.until("later", all_is_shed);
    fs::remove_file(&ballast).unwrap();
    let normal = load.until("with room", of_top("NORMAL"));
    println!("PRESSURE after {pressed:?}, all is shed {degraded:?} later, NORMAL after {normal:?}");
    let tops = tops(&state(&store));
    assert_eq!(tops, ["INIT", "NORMAL", "PRESSURE", "DEGRADED", "PRESSURE", "NORMAL"]);
    let (heavy, critical) = (load.heavy, load.critical);
    let [shed] = load.account(capturing, ["shed"]);
    assert!(shed > 0);
    assert_eq!(count(&store, &["udp dst port 9001"]).0, critical, "what is critical is whole");
    let (found, code) = count(&store, &["udp dst port 9000"]);
    assert_eq!((found, code), (heavy - shed, 3), "the rest is said to be missing");
}
