//! A thread that makes splits, and gets next to nothing of its core.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use super::*;

/// Takes a core, until dropped.
struct Busy {
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Busy {
    fn on(core: usize) -> Busy {
        let ends = Arc::new(AtomicBool::new(false));
        let is_over = Arc::clone(&ends);
        let thread = std::thread::spawn(move || {
            let mut only = CpuSet::new();
            only.set(core);
            sched_setaffinity(None, &only).unwrap();
            while !is_over.load(Ordering::Relaxed) {
                std::hint::spin_loop();
            }
        });
        Busy { ends, thread: Some(thread) }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().ok();
    }
}

/// The last core that this process may use.
fn last_core() -> usize {
    let cores = sched_getaffinity(None).unwrap();
    (0..CpuSet::MAX_CPU).rev().find(|core| cores.is_set(*core)).unwrap()
}

/// A thread of a process, by its name.
fn thread(pid: &str, name: &str) -> String {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap().map(|it| it.unwrap());
    let is_it = |folder: &Path| fs::read_to_string(folder.join("comm")).unwrap().trim() == name;
    let task = tasks.map(|it| it.path()).find(|folder| is_it(folder)).unwrap();
    task.file_name().unwrap().to_str().unwrap().to_owned()
}

fn must(command: &str, words: &[&str]) {
    let status = Command::new(command).args(words).stdout(Stdio::null()).status();
    assert!(status.unwrap().success(), "{command} {words:?}");
}

/// A flood of flows of one packet, of which the index is not made: packets wait, and those for which
/// there is no room are counted. All is as before once the index is made again.
#[test]
fn an_index_that_is_not_made_in_time_presses_the_pipeline_until_it_is() {
    let Some(net) = network("index") else { return };
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("s");
    // Time to look at it before packets are lost.
    let more = ["--keep-free", "1", "--set", "state.dwell=4s", "--set", "state.sustained=8s"];
    let capturing = capture(&net, &store, &[&SETTINGS[..], &CRITICAL, &more].concat());
    let mut load = Load::new(&net, &store);
    load.until("at first", of_top("NORMAL"));
    let (builder, core) = (thread(&capturing.pid(), "builder"), last_core());
    let all = fs::read_to_string(format!("/proc/{}/status", capturing.pid())).unwrap();
    let all = all.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap().trim();
    must("taskset", &["--cpu-list", "--pid", &core.to_string(), &builder]);
    must("chrt", &["--idle", "--pid", "0", &builder]);
    let busy = Busy::on(core);
    (load.flows, load.at_once, load.length) = (Flows::Each, 60_000, 8);
    let pressed = load.until("without index", |state| {
        let readings = state["readings"].as_array().unwrap();
        let is_index = |it: &Value| it["text"].as_str().unwrap().ends_with("for their index wait");
        let full = readings.iter().any(|it| is_index(it) && it["level"] == "exhausted");
        full && holds(state, "PRESSURE / PipelinePressure")
    });
    drop(busy);
    must("chrt", &["--other", "--pid", "0", &builder]);
    must("taskset", &["--cpu-list", "--pid", all, &builder]);
    (load.flows, load.at_once, load.length) = (Flows::One, 20, 1000);
    let normal = load.until("with index", of_top("NORMAL"));
    println!("PipelinePressure after {pressed:?}, NORMAL after {normal:?}");
    let state = state(&store);
    println!("{}: {:?}", first_to(&state, "PRESSURE").unwrap()["why"], tops(&state));
    let causes = ["ring-full", "disk-behind", "shed"];
    let [full, behind, shed] = load.account(capturing, causes);
    println!("lost: {full} ring-full, {behind} disk-behind, {shed} shed");
}
