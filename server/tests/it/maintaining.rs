//! Tasks of MAINTENANCE: by hand, of a store and of the server that has it; and by themselves.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::run;
use crate::served::Served;
use crate::serving::stored;
use crate::watching::{get, metric};

/// Whatever else runs here presses neither memory nor disk, and everything goes fast.
const SETTINGS: [&str; 8] = [
    "--set",
    "state.memory=97%,98%,99%,100%",
    "--set",
    "state.dwell=300ms",
    "--set",
    "state.step=300ms",
    "--keep-free",
    "1",
];

fn json(folder: &Path, words: &[&str]) -> (i32, Value) {
    let (code, out, error) = run(folder, words);
    (code, serde_json::from_str(&out).unwrap_or_else(|_| panic!("{words:?}: {out} {error}")))
}

fn state(folder: &Path) -> Value {
    json(folder, &["state", "--store", "s", "--json", "--history"]).1
}

fn wait_for(folder: &Path, what: &str) {
    let began = Instant::now();
    while !state(folder)["state"].as_str().unwrap_or_default().starts_with(what) {
        assert!(began.elapsed() < Duration::from_secs(60), "{what}: {:#}", state(folder));
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn only_file(folder: &Path) -> std::path::PathBuf {
    let mut files = fs::read_dir(folder).unwrap();
    let file = files.next().unwrap().unwrap().path();
    assert!(files.next().is_none());
    file
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[test]
fn cleanup_says_what_went_and_goes_by_the_servers_settings() {
    let dir = stored(1 << 20);
    let copy = Command::new("cp").args(["-r", "s", "t"]).current_dir(dir.path()).status();
    assert!(copy.unwrap().success());
    let (code, out, error) = run(dir.path(), &["cleanup", "--store", "s"]);
    assert_eq!((code, out.as_str()), (0, "0 B given back\n"), "{error}");
    let (code, _, error) = run(dir.path(), &["cleanup", "--store", "s", "--keep-for", "soon"]);
    assert_eq!(code, 2, "{error}");
    assert!(error.contains("retention.keep_for: 'soon'"), "{error}");
    let words = ["cleanup", "--store", "s", "--max-size", "1KiB", "--json"];
    let (code, report) = json(dir.path(), &words);
    assert_eq!((code, &report["due"], &report["keys_destroyed"]), (0, &1.into(), &1.into()));
    let gone = &report["gone"][0];
    assert_eq!((&gone["by"], &gone["segments"]), (&"size".into(), &1.into()), "{report:#}");
    assert!(report["given_back"].as_u64().unwrap() > 1 << 19, "{report:#}");
    assert_eq!(fs::read_dir(dir.path().join("s/segments")).unwrap().count(), 0);
    assert_eq!(fs::read_dir(dir.path().join("s/keys")).unwrap().count(), 0);

    let served = Served::start_with(&dir.path().join("t"), &SETTINGS);
    let (code, out, error) = run(dir.path(), &["cleanup", "--store", "t"]);
    assert_eq!((code, out.as_str()), (0, "0 B given back\n"), "{error}");
    let words = ["cleanup", "--store", "t", "--max-size", "1KiB"];
    let (code, _, error) = run(dir.path(), &words);
    assert_eq!(code, 2, "{error}");
    assert!(error.contains("its own settings"), "{error}");
    let (_, out, _) = run(dir.path(), &["audit", "show", "--store", "t", "--json"]);
    assert!(out.contains("\"Cleanup\"") && out.contains("\"done\""), "{out}");
    assert_eq!(served.terminate(), Some(0));
}

#[test]
fn cleanup_is_refused_while_holds_may_be_missing_and_says_so_when_they_keep_too_much() {
    let dir = stored(1 << 20);
    let hold = ["hold", "add", "--store", "s", "--reason", "x"];
    assert_eq!(run(dir.path(), &hold).0, 0);
    let words = ["cleanup", "--store", "s", "--max-size", "1KiB"];
    let (code, out, _) = run(dir.path(), &words);
    assert_eq!(code, 3, "{out}");
    assert!(out.contains("holds keep 1 segments"), "{out}");
    flip(&only_file(&dir.path().join("s/ledger")), 4096 + 80);
    let (code, _, error) = run(dir.path(), &words);
    assert_eq!(code, 3, "{error}");
    assert!(error.contains("tapstone hold accept"), "{error}");
}

#[test]
fn a_scrub_mends_what_it_can_and_tells_the_rest() {
    let dir = stored(1 << 20);
    let words = ["scrub", "--store", "s", "--disk-share", "100%", "--json"];
    let (code, report) = json(dir.path(), &words);
    assert_eq!((code, &report["sound"], &report["resumed"]), (0, &true.into(), &false.into()));
    let (code, _, error) = run(dir.path(), &["scrub", "--store", "s", "--disk-share", "much"]);
    assert_eq!(code, 2, "{error}");
    let split = only_file(&dir.path().join("s/splits"));
    let monitored = [&SETTINGS[..], &["--monitor", "127.0.0.1:0"]].concat();
    let served = Served::start_with(&dir.path().join("s"), &monitored);
    let monitor = served.address_after("metrics and health on http://");
    fs::remove_file(&split).unwrap();
    let (code, out, error) = run(dir.path(), &["scrub", "--store", "s", "--disk-share", "100%"]);
    assert_eq!(code, 0, "{error}");
    let line = out.lines().next().unwrap();
    assert!(line.starts_with("made good: ") && line.contains(".split"), "{out}");
    assert!(out.trim_end().ends_with("sound"), "{out}");
    flip(&only_file(&dir.path().join("s/segments")), 5000);
    let (code, report) = json(dir.path(), &words);
    assert_eq!((code, &report["damage"][0]["offset"]), (3, &4096.into()), "{report:#}");
    let (_, body) = get(&monitor, "/metrics");
    assert_eq!(metric(&body, "tapstone_damage"), 1.0);
    let done = |task: &str| format!("tapstone_task_done_timestamp_seconds{{task=\"{task}\"}}");
    assert!(metric(&body, &done("Recovery")) > 1.7e9);
    assert!(!body.contains(&done("Backup")), "there is none");
    assert_eq!(run(dir.path(), &["check", "--store", "s"]).0, 3);
    let history = state(dir.path())["transitions"].to_string();
    for step in ["StateRestore", "IndexRebuild", "IntegrityVerify"] {
        assert!(history.contains(&format!("MAINTENANCE / Recovery / {step}")), "{history}");
    }
    assert_eq!(served.terminate(), Some(0));
}

#[test]
fn a_scrub_outlives_whoever_asked_for_it() {
    let dir = stored(8 << 20);
    let served = Served::start_with(&dir.path().join("s"), &SETTINGS);
    wait_for(dir.path(), "NORMAL");
    let scrub = |share: &str| {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin!("tapstone"));
        command.current_dir(dir.path()).args(["scrub", "--store", "s", "--disk-share", share]);
        command.stdout(Stdio::null()).spawn().unwrap()
    };
    let mut asking = scrub("5%");
    wait_for(dir.path(), "MAINTENANCE");
    asking.kill().unwrap();
    asking.wait().unwrap();
    // Another has to wait.
    let (code, _, error) = run(dir.path(), &["cleanup", "--store", "s"]);
    assert_eq!(code, 3, "{error}");
    assert!(error.contains("Recovery is under way"), "{error}");
    served.wait_for("Recovery is done");
    let (_, out, _) = run(dir.path(), &["audit", "show", "--store", "s", "--json"]);
    assert!(out.contains("\"Scrub\"") && out.contains("\"sound\""), "{out}");
    // One that would take hours keeps no server from ending.
    let mut asking = scrub("1%");
    wait_for(dir.path(), "MAINTENANCE");
    let ending = Instant::now();
    assert_eq!(served.terminate(), Some(0));
    assert!(ending.elapsed() < Duration::from_secs(15), "{:?}", ending.elapsed());
    asking.wait().unwrap();
    let (code, report) =
        json(dir.path(), &["scrub", "--store", "s", "--disk-share", "100%", "--json"]);
    assert_eq!((code, &report["sound"]), (0, &true.into()));
}

#[test]
fn what_is_due_is_done_by_itself_while_the_state_is_normal() {
    let dir = stored(1 << 20);
    let words = [
        &SETTINGS[..],
        &["--set", "maintenance.cleanup_every=1s", "--set", "maintenance.scrub_every=2s"],
        &["--set", "maintenance.scrub_share=100%"],
    ]
    .concat();
    let served = Served::start_with(&dir.path().join("s"), &words);
    served.wait_for("Cleanup is done");
    served.wait_for("Recovery is done");
    let history = state(dir.path());
    let transitions = history["transitions"].as_array().unwrap();
    let began = transitions.windows(2).filter(|it| {
        let is = |it: &Value, top: &str| it["to"].as_str().unwrap().starts_with(top);
        is(&it[1], "MAINTENANCE") && !is(&it[0], "MAINTENANCE")
    });
    let before: Vec<String> = began.map(|it| it[0]["to"].to_string()).collect();
    assert!(before.len() >= 2, "{history:#}");
    assert!(before.iter().all(|it| it.contains("NORMAL")), "{before:?}");
    assert_eq!(served.terminate(), Some(0));
    let kept = fs::read_to_string(dir.path().join("s/maintenance.json")).unwrap();
    assert!(kept.contains("\"Cleanup\"") && kept.contains("\"Recovery\""), "{kept}");
}
