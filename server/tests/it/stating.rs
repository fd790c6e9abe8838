//! The state of a store, asked for in every way: of a server, after it was killed, and of nobody.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tapstone_client::proto;

use crate::run;
use crate::served::Served;
use crate::serving::stored;
use crate::watching::{get, metric};

const NORMAL: &str = "NORMAL / OptimalFlow / IndexActive";
/// Whatever else runs here presses neither memory nor disk, and everything goes fast.
const SETTINGS: [&str; 10] = [
    "--set",
    "state.memory=97%,98%,99%,100%",
    "--set",
    "state.dwell=300ms",
    "--set",
    "state.step=300ms",
    "--set",
    "state.sustained=1s",
    "--keep-free",
    "1",
];

fn state(folder: &Path, words: &[&str]) -> (i32, Value) {
    let all = [&["state", "--store", "s", "--json"], words].concat();
    let (code, out, error) = run(folder, &all);
    (code, serde_json::from_str(&out).unwrap_or_else(|_| panic!("{out} {error}")))
}

/// Waits until the server's store is normal.
fn wait_for_normal(folder: &Path) -> Value {
    let began = Instant::now();
    loop {
        let (code, state) = state(folder, &["--history"]);
        assert_eq!(code, 0);
        assert_eq!(state["kept"], true, "a server keeps its store from the beginning");
        if state["state"] == NORMAL {
            return state;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "{state:#}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_store_that_nobody_keeps_says_what_was_recorded_last() {
    let dir = stored(1 << 20);
    let (code, out, _) = run(dir.path(), &["state", "--store", "s"]);
    assert_eq!((code, out.as_str()), (0, "state        nobody has kept the store yet\n"));
    assert_eq!(state(dir.path(), &[]).1["state"], Value::Null);
    let served = Served::start_with(&dir.path().join("s"), &SETTINGS);
    let kept = wait_for_normal(dir.path());
    assert_eq!(kept["kept"], true);
    // As by a power cut: nobody ends anything.
    drop(served);
    let (code, left) = state(dir.path(), &["--history"]);
    assert_eq!((code, &left["kept"]), (0, &false.into()));
    for same in ["state", "since", "why", "sequence", "transitions"] {
        assert_eq!(left[same], kept[same], "{same}");
    }
    let (code, out, error) = run(dir.path(), &["state", "--store", "s", "--watch"]);
    assert_eq!(code, 3);
    assert!(out.contains("no: this is what was recorded last"), "{out}");
    assert!(error.contains("nothing changes"), "{error}");
    let (_, out, _) = run(dir.path(), &["info", "--store", "s"]);
    assert!(out.contains("IndexActive (recorded last; nobody keeps the store)"), "{out}");
    // The next one goes on from there.
    let served = Served::start_with(&dir.path().join("s"), &SETTINGS);
    let again = wait_for_normal(dir.path());
    let count = kept["transitions"].as_array().unwrap().len();
    let first = &again["transitions"][count];
    assert_eq!(first["sequence"], kept["sequence"].as_u64().unwrap() + 1);
    assert_eq!(first["why"], format!("started; before that it was in {NORMAL}"));
    assert_eq!(first["from"], Value::Null);
    assert_eq!(served.terminate(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_watches_is_told_of_each_change_until_the_server_ends() {
    let dir = stored(1 << 20);
    let served = Served::start_with(&dir.path().join("s"), &SETTINGS);
    let client = served.client().await;
    let request = proto::StateRequest { watch: true, history: true };
    let mut messages = client.tapstone().state(request).await.unwrap().into_inner();
    let mut watching = Command::new(assert_cmd::cargo::cargo_bin!("tapstone"))
        .args(["state", "--store", "s", "--watch", "--json"])
        .current_dir(dir.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(watching.stdout.take().unwrap()).lines();
    let mut numbers = Vec::new();
    let mut last = proto::StateResponse::default();
    while last.state != NORMAL {
        last = messages.message().await.unwrap().unwrap();
        numbers.extend(last.transitions.iter().map(|it| it.sequence));
    }
    assert!(last.kept && last.readings.len() == 3, "{last:?}");
    let expected: Vec<u64> = (1..=last.sequence).collect();
    assert_eq!(numbers, expected, "none is missing, and none is told twice");
    // One message where nobody watches.
    let request = proto::StateRequest { watch: false, history: false };
    let mut once = client.tapstone().state(request).await.unwrap().into_inner();
    let message = once.message().await.unwrap().unwrap();
    assert_eq!((message.state.as_str(), message.transitions.len()), (NORMAL, 0));
    assert_eq!(once.message().await.unwrap(), None);
    let info = client.tapstone().info(proto::InfoRequest {}).await.unwrap().into_inner();
    assert_eq!(info.state, NORMAL);
    // It ends with the server, and does not keep it from ending.
    let began = Instant::now();
    assert_eq!(tokio::task::spawn_blocking(|| served.terminate()).await.unwrap(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    while let Ok(Some(_)) = messages.message().await {}
    assert_eq!(watching.wait().unwrap().code(), Some(0));
    let seen: Vec<Value> =
        lines.map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect();
    assert_eq!(seen.last().unwrap()["state"], NORMAL, "{seen:#?}");
}

#[test]
fn the_state_is_measured_and_shown_to_those_who_watch_the_metrics() {
    let dir = stored(1 << 20);
    // More should stay free than there is: a disk cannot have that.
    let words = [&SETTINGS[..8], &["--monitor", "127.0.0.1:0", "--keep-free", "8000TiB"]].concat();
    let served = Served::start_with(&dir.path().join("s"), &words);
    let monitor = served.address_after("metrics and health on http://");
    let began = Instant::now();
    let body = loop {
        let (_, body) = get(&monitor, "/metrics");
        let is_critical = body.contains("tapstone_state{state=\"CRITICAL\"} 1");
        if is_critical && body.contains("tapstone_reading_level{source=\"storage\"} 3") {
            break body;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "{body}");
        std::thread::sleep(Duration::from_millis(100));
    };
    assert_eq!(metric(&body, "tapstone_state{state=\"NORMAL\"}") as u64, 0);
    assert!(metric(&body, "tapstone_reading{source=\"storage\"}") > 0.9);
    assert!(metric(&body, "tapstone_transitions_total") > 15.0);
    assert_eq!(metric(&body, "tapstone_unrecorded_transitions") as u64, 0);
    assert_eq!(metric(&body, "tapstone_troubles") as u64, 0);
    served.wait_for("CRITICAL: what has come is made safe");
    served.wait_for("what another process may start from is in");
    assert_eq!(served.times("CRITICAL: what has come is made safe"), 1);
    let dump = std::fs::read(dir.path().join("s/state-dump.json")).unwrap();
    let dump: Value = serde_json::from_slice(&dump).unwrap();
    assert_eq!(dump["version"], 1);
    let steps = dump["history"].as_array().unwrap();
    let tops: Vec<&str> = steps.iter().map(|it| it["to"].as_str().unwrap()).collect();
    for top in ["INIT", "NORMAL", "PRESSURE", "DEGRADED", "CRITICAL"] {
        assert!(tops.iter().any(|it| it.starts_with(top)), "{top}: {tops:#?}");
    }
}

#[test]
fn settings_that_make_no_sense_are_refused_before_anything_is_touched() {
    let dir = tempfile::tempdir().unwrap();
    let words = ["serve", "--store", "s", "--set", "state.memory=90%,85%,92%,97%"];
    let (code, _, error) = run(dir.path(), &words);
    assert_eq!(code, 2);
    assert!(error.contains("memory: low (90.0 %) must be below high (85.0 %)"), "{error}");
    assert!(!dir.path().join("s").try_exists().unwrap());
}
