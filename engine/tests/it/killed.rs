//! `kill -9` in each state, and at any moment: what a store had said of itself is in its ledger, and
//! it goes on from there.

use std::fs;
use std::io::{BufRead, BufReader, Lines, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use futures_lite::future::block_on;
use rustix::process::{Resource, getrlimit, setrlimit};
use tapstone::state::{
    AwsLifecycle, Bounds, EventKind, HealthStates, InstanceStates, Occasion, State, Task,
    Thresholds, TopState, Transition,
};
use tapstone::{
    BackupOptions, Chore, ComplianceOptions, Free, KeepOptions, RecoveryOptions, Retention, Store,
};

use crate::keeping::{capture, wait_for_normal};
use crate::reporting::around_now;
use crate::support::{import, open};

/// Packets of each capture that is taken in.
const PACKETS: u32 = 20;
/// The last phase on the way to NORMAL.
const NORMAL: &str = "NORMAL / OptimalFlow / IndexActive";
const FIRST: &str = "INIT / ResourceCheck / NVMeValidation";

/// What the child is told when it has said that a state was entered.
type Step = (&'static str, &'static str);
/// A state to be killed in, and how to get there.
type Case = (String, Vec<Step>);

/// Every state, and every edge between outermost ones.
fn cases() -> Vec<Case> {
    let all = || State::all().into_iter().map(|it| it.to_string());
    let within = |top: TopState| all().filter(move |it| it.starts_with(top.name()));
    let (high, exhausted) = ((NORMAL, "use 950"), (NORMAL, "use 990"));
    let (eased, over) = (("DEGRADED", "use 950"), ("CRITICAL / FailoverPrep / IndexSync", "use 0"));
    let measures = all().filter(|it| it.starts_with("PRESSURE / MemoryPressure"));
    let parts = all().filter(|it| it.starts_with("DEGRADED / PartialCapture")).skip(1);
    let flow = all().filter(|it| it.starts_with("NORMAL / OptimalFlow"));
    let emergency = within(TopState::Critical);
    let cloud = [
        ("AWS_LIFECYCLE / HealthStates / Impaired", "cloud impaired"),
        ("AWS_LIFECYCLE / InstanceStates / Stopping", "cloud stopping"),
    ];
    let cloud = cloud.map(|(path, word)| (path.to_owned(), vec![(NORMAL, word)]));
    let edges = [
        ("INIT", vec![(NORMAL, "cloud impaired"), ("AWS_LIFECYCLE", "nothing")]),
        ("CRITICAL", vec![(NORMAL, "cloud stopping"), ("AWS_LIFECYCLE", "nothing")]),
        ("DEGRADED", vec![exhausted]),
        ("DEGRADED", vec![exhausted, over]),
        ("PRESSURE", vec![exhausted, ("DEGRADED", "use 0")]),
        ("NORMAL", vec![high, ("PRESSURE", "use 0")]),
    ];
    let edges = edges.map(|(path, steps)| (path.to_owned(), steps));
    let tasks = State::all().into_iter().filter_map(|it| {
        let State::Maintenance(step) = it else { return None };
        Some((it.to_string(), vec![(NORMAL, step.task().name())]))
    });
    let done =
        |task: Task| ("INIT".to_owned(), vec![(NORMAL, task.name()), ("MAINTENANCE", "nothing")]);
    within(TopState::Init)
        .chain(flow)
        .map(by(&[]))
        .chain(measures.map(by(&[high])))
        .chain(parts.map(by(&[exhausted, eased])))
        .chain(emergency.map(by(&[exhausted])))
        .chain(cloud)
        .chain(tasks)
        .chain(edges)
        .chain(Task::ALL.map(done))
        .collect()
}

fn by(steps: &[Step]) -> impl Fn(String) -> Case + '_ {
    move |path| (path, steps.to_vec())
}

/// Gauges that the child is told by, and times that a test can wait for.
fn options() -> KeepOptions {
    let (dwell, step) = (Duration::from_millis(200), Duration::from_millis(200));
    let memory = Bounds { low: 900, high: 930, relieved: 960, exhausted: 980 };
    // Long enough for each measure.
    let sustained = Duration::from_secs(5);
    let thresholds = Thresholds { memory, dwell, step, sustained, ..Thresholds::default() };
    let retention = Retention { keep_free: Some(Free::Bytes(1)), ..Retention::default() };
    KeepOptions { thresholds, retention }
}

/// Not a test: what is killed. It keeps a store, takes captures in, says what became of both, and
/// does what it is told.
#[test]
fn is_driven_until_it_is_killed() {
    let Some(folder) = std::env::var_os("TAPSTONE_KILLED") else { return };
    let store = open(Path::new(&folder));
    let before = store.state_history().last().map_or(0, |it| it.sequence);
    let _reserve = reserve();
    store.keep(options()).unwrap();
    let mut watch = store.watch_state();
    std::thread::spawn(move || {
        let mut seen = before;
        while block_on(watch.changed()).is_some() {
            for told in watch.transitions_since(seen) {
                seen = told.sequence;
                println!("\ntold {seen} {}", told.to);
            }
        }
    });
    std::thread::spawn({
        let (store, first) = (store.clone(), store.info().unwrap().packets as u32 / PACKETS);
        move || {
            for number in first..=255 {
                import(&store, &capture(number as u8, PACKETS), &number.to_string());
                println!("\nstored {}", number + 1);
                std::thread::sleep(Duration::from_millis(200));
            }
        }
    });
    for line in std::io::stdin().lines() {
        let word = line.unwrap();
        match Task::ALL.into_iter().find(|task| task.name() == word) {
            Some(task) => begin(&store, chore(task, Path::new(&folder))),
            None => obey(&store, &word),
        }
    }
}

/// What a task is to do on the store in a folder.
fn chore(task: Task, folder: &Path) -> Chore {
    let report = ComplianceOptions { period: around_now(), archive: None, summary: None };
    match task {
        Task::Backup => Chore::Backup(BackupOptions { folder: folder.with_file_name("backups") }),
        Task::Cleanup => Chore::Cleanup(options().retention),
        Task::Recovery => Chore::Recovery(RecoveryOptions { disk_share: 10 }),
        Task::ComplianceOps => Chore::ComplianceOps(report),
    }
}

/// Has a task done; nobody waits for it.
fn begin(store: &Store, chore: Chore) {
    let store = store.clone();
    std::thread::spawn(move || store.maintain(chore, Occasion::Manual));
}

fn obey(store: &Store, word: &str) {
    let (health, instance) = (AwsLifecycle::HealthStates, AwsLifecycle::InstanceStates);
    match word {
        "cloud impaired" => store.tell_cloud(health(HealthStates::Impaired)),
        "cloud healthy" => store.tell_cloud(health(HealthStates::Healthy)),
        "cloud stopping" => store.tell_cloud(instance(InstanceStates::Stopping)),
        "cloud running" => store.tell_cloud(instance(InstanceStates::Running)),
        "nothing" => {}
        other => use_memory(other.strip_prefix("use ").unwrap().parse().unwrap()),
    }
}

/// Address space that nobody uses: so much that what else the process takes is nothing beside it.
fn reserve() -> Vec<Vec<u8>> {
    let gibibyte = |_| {
        let mut space = Vec::new();
        space.try_reserve_exact(1 << 30).ok()?;
        Some(space)
    };
    (0..64).map_while(gibibyte).collect()
}

/// Sets the limit on address space so that so many thousandths of it are used.
fn use_memory(thousandths: u64) {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let size = status.lines().find_map(|line| line.strip_prefix("VmSize:")).unwrap();
    let kib: u64 = size.trim().strip_suffix(" kB").unwrap().parse().unwrap();
    let mut limit = getrlimit(Resource::As);
    limit.current = match thousandths {
        0 => limit.maximum,
        some => Some(kib * 1024 / some * 1000),
    };
    setrlimit(Resource::As, limit).unwrap();
}

/// A child that keeps a store, and what it has said.
struct Driven {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    told: Vec<(u64, String)>,
    /// Captures that are stored.
    stored: u32,
}

impl Driven {
    fn start(folder: &Path) -> Driven {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["killed::is_driven_until_it_is_killed", "--exact", "--nocapture"])
            .env("TAPSTONE_KILLED", folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Driven { child, lines, told: Vec::new(), stored: 0 }
    }

    fn tell(&mut self, word: &str) {
        writeln!(self.child.stdin.as_mut().unwrap(), "{word}").unwrap();
    }

    /// Takes in the next thing that it says; `None` when it is gone.
    fn hear(&mut self) -> Option<()> {
        let line = self.lines.next()?.unwrap();
        if let Some(told) = line.strip_prefix("told ") {
            let (sequence, path) = told.split_once(' ').unwrap();
            self.told.push((sequence.parse().unwrap(), path.to_owned()));
        } else if let Some(stored) = line.strip_prefix("stored ") {
            self.stored = stored.parse().unwrap();
        }
        Some(())
    }

    /// Waits until it says that it has entered such a state, from now on.
    fn until(&mut self, path: &str) {
        let (began, mut heard) = (Instant::now(), self.told.len());
        while !self.told[heard..].iter().any(|(_, it)| it.starts_with(path)) {
            heard = self.told.len();
            self.hear().unwrap_or_else(|| panic!("it is gone; {path} after {:?}", self.told));
            assert!(began.elapsed() < Duration::from_secs(60), "{path} after {:?}", self.told);
        }
    }

    /// Kills it; gives what it had said till then.
    fn kill(mut self) -> (Vec<(u64, String)>, u32) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        while self.hear().is_some() {}
        (std::mem::take(&mut self.told), self.stored)
    }
}

impl Drop for Driven {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Looks at a store that was killed: what it had said is true. Gives the last transition.
fn check(folder: &Path, (told, stored): &(Vec<(u64, String)>, u32)) -> Transition {
    let store = open(folder);
    let history = store.state_history();
    assert!(store.damage().is_empty() && !store.holds_in_doubt(), "{:?}", store.damage());
    for pair in history.windows(2) {
        let [before, after] = pair else { unreachable!() };
        assert_eq!(after.sequence, before.sequence + 1, "{history:#?}");
        if after.event == EventKind::Start {
            assert_eq!((after.from, after.to.to_string().as_str()), (None, FIRST));
            assert_eq!(after.why, format!("started; before that it was in {}", before.to));
        } else {
            assert_eq!(after.from, Some(before.to), "{history:#?}");
        }
    }
    let recorded = |sequence: u64| history.iter().find(|it| it.sequence == sequence);
    for (sequence, path) in told {
        let found = recorded(*sequence).map(|it| it.to.to_string());
        assert_eq!(found.as_ref(), Some(path), "{sequence} of {history:#?}");
    }
    let packets = store.info().unwrap().packets;
    assert!(packets >= u64::from(stored * PACKETS), "{packets} packets of {stored} captures");
    assert_eq!(store.state().map(|it| it.state), history.last().map(|it| it.to));
    store.close().unwrap();
    history.last().unwrap().clone()
}

/// Kills children on one store, in one state after the other.
#[expect(clippy::print_stdout, reason = "figures of a test, for those who ask for them")]
fn kill_in(cases: &[Case]) {
    let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
    let folder = dir.path().join("store");
    let mut last: Option<Transition> = None;
    for (state, steps) in cases {
        let mut driven = Driven::start(&folder);
        driven.until(FIRST);
        let first = driven.told[0].clone();
        assert_eq!(first, (last.map_or(1, |it| it.sequence + 1), FIRST.to_owned()));
        for (entered, word) in steps {
            driven.until(entered);
            driven.tell(word);
        }
        if state != FIRST {
            driven.until(state);
        }
        let said = driven.kill();
        last = Some(check(&folder, &said));
        println!(
            "killed in {state}: {} transitions told, {} captures stored",
            said.0.len(),
            said.1
        );
    }
    let store = open(&folder);
    store.keep(options()).unwrap();
    wait_for_normal(&store);
}

#[test]
fn a_store_that_is_killed_in_any_state_has_recorded_it_and_goes_on_from_there() {
    if reserve().len() < 64 {
        return skipped();
    }
    // Most of the time each waits for the gauges to be read.
    let mut sets = vec![Vec::new(); 4];
    for (number, case) in cases().into_iter().enumerate() {
        sets[number % 4].push(case);
    }
    std::thread::scope(|scope| {
        let threads: Vec<_> = sets.iter().map(|set| scope.spawn(move || kill_in(set))).collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

#[test]
fn a_store_that_is_killed_at_any_moment_has_recorded_what_it_said() {
    if reserve().len() < 64 {
        return skipped();
    }
    let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut chance = fastrand::Rng::with_seed(seed);
    let load = ["use 950", "use 990", "use 0"];
    let cloud = ["cloud impaired", "cloud healthy", "cloud stopping"];
    let tasks = Task::ALL.map(Task::name);
    let words = [&load[..], &cloud, &tasks].concat();
    let folder = dir.path().join("store");
    for round in 0..20 {
        let mut driven = Driven::start(&folder);
        driven.until(FIRST);
        let mut words = words.clone();
        chance.shuffle(&mut words);
        for word in words.into_iter().take(chance.usize(..5)) {
            std::thread::sleep(Duration::from_millis(chance.u64(..700)));
            driven.tell(word);
        }
        std::thread::sleep(Duration::from_millis(chance.u64(..700)));
        let said = driven.kill();
        let last = check(&folder, &said);
        println!("round {round}: killed in {}, {} transitions told", last.to, said.0.len());
    }
    let store = open(&folder);
    store.keep(options()).unwrap();
    wait_for_normal(&store);
}

#[expect(clippy::print_stderr, reason = "a test that is passed over must be seen")]
fn skipped() {
    eprintln!("SKIPPED: 64 GiB of address space are needed (vm.overcommit_memory = 2?)");
}
