//! A limit on memory that is lowered while packets come.

use std::io::Write;

use tapstone_benches::group::{Controller, Group};

use super::*;
use crate::live::{capture_in, group};
use crate::served::limit_address_space;

/// Far above what others need on a machine that runs tests, and far enough below what a group is
/// brought to.
const MEMORY: [&str; 4] = ["--set", "state.memory=80%,86%,97%,100%", "--keep-free", "1"];

/// Much memory that is used by somebody else; given back when it is dropped.
struct Ballast(Child);

impl Ballast {
    fn new(group: &Group, mib: usize) -> Ballast {
        // It keeps what it is told until there is no more.
        let command = &mut group.command("tail");
        let child = command.args(["-c", "8G"]).stdin(Stdio::piped()).stdout(Stdio::null());
        let mut ballast = Ballast(child.spawn().unwrap());
        let told = ballast.0.stdin.as_mut().unwrap();
        (0..mib).for_each(|_| told.write_all(&[7; 1 << 20]).unwrap());
        ballast
    }
}

impl Drop for Ballast {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// Presses a store that records by a limit, and lets it go again: what is critical is stored whole,
/// of the rest the beginning of each flow while it is degraded.
#[expect(clippy::print_stdout, reason = "figures of a test, for those who ask for them")]
fn press(mut load: Load<'_>, capturing: Capturing, limit: impl Fn(&Capturing, bool)) {
    load.until("at first", of_top("NORMAL"));
    limit(&capturing, true);
    let pressed = load.until("limited", of_top("PRESSURE / MemoryPressure"));
    let degraded = load.until("later", all_is_shed);
    (0..10).for_each(|_| load.send());
    limit(&capturing, false);
    let normal = load.until("without limit", of_top("NORMAL"));
    println!(
        "MemoryPressure after {pressed:?}, all is shed {degraded:?} later, NORMAL after {normal:?}"
    );
    let state = state(&load.store);
    println!("{}", first_to(&state, "PRESSURE").unwrap()["why"]);
    for measure in ["AdjustAllocation", "ThrottleIngestion", "ForceClear"] {
        let path = format!("PRESSURE / MemoryPressure / BufferControl / {measure}");
        assert!(first_to(&state, &path).is_some(), "{state:#}");
    }
    assert_eq!(tops(&state), ["INIT", "NORMAL", "PRESSURE", "DEGRADED", "PRESSURE", "NORMAL"]);
    let (store, critical) = (load.store.clone(), load.critical);
    let [shed] = load.account(capturing, ["shed"]);
    println!("lost: {shed} shed");
    assert!(shed > 0);
    assert_eq!(count(&store, &["udp dst port 9001"]).0, critical, "what is critical is whole");
}

#[test]
fn a_group_of_which_the_memory_is_limited_costs_what_is_not_critical_until_it_has_more() {
    let Some(net) = network("group") else { return };
    let Some(group) = group(Controller::Memory, "group") else { return };
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("s");
    // What a measure gives back is little of it.
    let _ballast = Ballast::new(&group, 1024);
    let words = [&SETTINGS[2..], &CRITICAL, &MEMORY].concat();
    let capturing = capture_in(&net, &group, &store, &words);
    press(Load::new(&net, &store), capturing, |_, is_limited| {
        let used = group.memory().unwrap();
        group.limit_memory(is_limited.then_some(used / 93 * 100)).unwrap();
    });
}

#[test]
fn an_address_space_that_is_limited_costs_what_is_not_critical_until_there_is_more() {
    let Some(net) = network("space") else { return };
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("s");
    let capturing = capture(&net, &store, &[&SETTINGS[2..], &CRITICAL, &MEMORY].concat());
    press(Load::new(&net, &store), capturing, |capturing, is_limited| {
        limit_address_space(capturing.0.id(), if is_limited { 93 } else { 0 });
    });
}
