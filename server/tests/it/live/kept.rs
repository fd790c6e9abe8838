//! The state of a store that records.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::{capture, network, send};
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
