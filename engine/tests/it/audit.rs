//! The audit log of a store, on real files.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use async_executor::LocalExecutor;
use futures_lite::future::block_on;
use tapstone::{
    AUDIT_ENTRY_MAX, AuditError, AuditLog, AuditRecord, Store, read_audit, verify_audit,
};
use tapstone_wal::{Commits, Piece};

use crate::support::{copy, open};

/// On a real file system, where syncing takes time.
fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap()
}

fn append(store: &Store, content: &[u8]) -> u64 {
    block_on(store.audit().append(content)).unwrap()
}

fn records(folder: &Path) -> Vec<AuditRecord> {
    read_audit(folder).unwrap().map(|it| it.unwrap()).collect()
}

fn log_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder.join("audit")).unwrap();
    let mut paths: Vec<_> = entries.map(|it| it.unwrap().path()).collect();
    paths.sort();
    paths
}

/// Appends from many tasks at once, `each` entries one after the other; gives the numbers.
fn append_at_once(log: &AuditLog, tasks: usize, each: usize) -> Vec<u64> {
    let executor = LocalExecutor::new();
    let task = |task: usize| {
        executor.spawn(async move {
            let mut numbers = Vec::new();
            for entry in 0..each {
                numbers.push(log.append(format!("{task}/{entry}").as_bytes()).await.unwrap());
            }
            numbers
        })
    };
    let tasks: Vec<_> = (0..tasks).map(task).collect();
    block_on(executor.run(async {
        let mut numbers = Vec::new();
        for task in tasks {
            numbers.extend(task.await);
        }
        numbers
    }))
}

#[test]
fn a_store_that_nobody_audits_has_no_log() {
    let dir = folder();
    let store = open(dir.path());
    drop(store.audit());
    store.close().unwrap();
    for name in ["audit", "audit.head"] {
        assert!(!dir.path().join(name).try_exists().unwrap());
    }
    let report = verify_audit(dir.path()).unwrap();
    assert!(report.is_sound() && report.records == 0 && report.head.is_none());
    assert!(matches!(verify_audit(&dir.path().join("audit")), Err(AuditError::NoStore(_))));
}

#[test]
fn entries_come_back_in_order_through_openings_and_while_the_store_is_in_use() {
    let dir = folder();
    for opening in 0..3u64 {
        let store = open(dir.path());
        for entry in 1..=4 {
            assert_eq!(append(&store, &[entry as u8]), opening * 4 + entry);
        }
        let found = records(dir.path());
        assert_eq!(found.len() as u64, opening * 4 + 4);
        assert!(found.is_sorted_by(|a, b| a.time <= b.time && a.hash == b.previous));
        assert_eq!(found.last().unwrap().content, [4]);
        let report = store.check();
        assert_eq!((report.audit_records, report.damage), (opening * 4 + 4, vec![]));
        store.close().unwrap();
        assert!(verify_audit(dir.path()).unwrap().is_sound());
    }
    assert_eq!(log_files(dir.path()).len(), 3);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert!(log_files(dir.path()).iter().all(|path| mode(path) == 0o600));
    assert_eq!(mode(&dir.path().join("audit.head")), 0o600);
    assert_eq!(mode(&dir.path().join("audit")), 0o700);
}

#[test]
fn tasks_that_append_at_once_share_commits() {
    let dir = folder();
    let store = open(dir.path());
    let mut numbers = append_at_once(&store.audit(), 100, 5);
    numbers.sort_unstable();
    assert!(numbers.into_iter().eq(1..=500));
    store.close().unwrap();
    let report = verify_audit(dir.path()).unwrap();
    assert!(report.is_sound() && report.records == 500, "{report:?}");
    let bytes = fs::read(&log_files(dir.path())[0]).unwrap();
    let commits = Commits::new(bytes, open(dir.path()).id().0, u16::MAX);
    let commits = commits.filter(|it| matches!(it, Piece::Commit(_))).count();
    assert!(commits <= 50, "{commits} commits");
}

#[test]
fn an_entry_that_is_too_long_is_refused_and_the_longest_is_not() {
    let dir = folder();
    let store = open(dir.path());
    let long = vec![7; AUDIT_ENTRY_MAX + 1];
    let error = block_on(store.audit().append(&long)).unwrap_err();
    assert!(matches!(error, AuditError::TooLong { length } if length == long.len()));
    append(&store, &long[1..]);
    append(&store, b"");
    let lengths: Vec<_> = records(dir.path()).iter().map(|it| it.content.len()).collect();
    assert_eq!(lengths, [AUDIT_ENTRY_MAX, 0]);
}

#[test]
fn closing_ends_the_log_whoever_has_a_handle() {
    let dir = folder();
    let store = open(dir.path());
    let log = store.audit();
    append(&store, b"before");
    let (appending, others) = (log.clone(), log.clone());
    let waiting = std::thread::spawn(move || {
        (0..).map(|_| block_on(appending.append(b"x"))).take_while(Result::is_ok).count()
    });
    std::thread::sleep(Duration::from_millis(20));
    store.close().unwrap();
    let appended = waiting.join().unwrap();
    assert!(matches!(block_on(others.append(b"after")), Err(AuditError::Closed)));
    let report = verify_audit(dir.path()).unwrap();
    assert!(report.is_sound());
    assert_eq!(report.records, 1 + appended as u64);
}

#[test]
fn a_damaged_log_does_not_keep_the_store_shut() {
    let dir = folder();
    let store = open(dir.path());
    append(&store, b"1");
    append(&store, b"2");
    store.close().unwrap();
    let path = log_files(dir.path())[0].clone();
    let mut bytes = fs::read(&path).unwrap();
    bytes[2 * 4096 + 100] ^= 1;
    fs::write(&path, bytes).unwrap();
    let store = open(dir.path());
    assert_eq!(append(&store, b"3"), 3);
    assert!(store.damage().iter().any(|it| it.contains("record 2 is missing")));
    let damage = store.check().damage;
    assert!(damage.iter().any(|it| it.path == path && it.offset == Some(8192)), "{damage:?}");
    store.close().unwrap();
    // For good, though it goes on.
    let breaks = verify_audit(dir.path()).unwrap().breaks;
    assert_eq!(breaks.len(), 1, "{breaks:?}");
    let read: Vec<_> = read_audit(dir.path()).unwrap().collect();
    assert!(matches!(&read[..], [Ok(_), Err(AuditError::Broken(_)), Ok(_)]), "{read:?}");
}

/// Not a test: what [`acknowledged_entries_survive_the_end_of_the_process`] kills.
#[test]
fn appends_until_it_is_killed() {
    let Some(folder) = std::env::var_os("TAPSTONE_AUDIT_CHILD") else { return };
    let store = open(Path::new(&folder));
    loop {
        let number = append(&store, b"from the one that is killed");
        println!("\nacknowledged {number}");
    }
}

#[test]
fn acknowledged_entries_survive_the_end_of_the_process() {
    let dir = folder();
    let mut last = 0;
    for wanted in [3, 40, 200] {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["audit::appends_until_it_is_killed", "--exact", "--nocapture"])
            .env("TAPSTONE_AUDIT_CHILD", dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let numbers =
            lines.filter_map(|line| line.ok()?.strip_prefix("acknowledged ")?.parse::<u64>().ok());
        last = numbers.take(wanted).last().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        let report = verify_audit(dir.path()).unwrap();
        assert!(report.is_sound() && report.records >= last, "{report:?}");
    }
    let store = open(dir.path());
    assert!(append(&store, b"after") > last);
    assert_eq!(store.check().damage, []);
}

/// To freeze a log of a new version, run with `TAPSTONE_FREEZE=1` and commit the new folder.
#[test]
fn a_log_of_version_1_is_read() {
    let frozen = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/audit-v1");
    let contents: [&[u8]; 3] = [b"one", b"two", b"three"];
    if std::env::var_os("TAPSTONE_FREEZE").is_some() {
        let dir = folder();
        let store = open(dir.path());
        append(&store, contents[0]);
        append(&store, contents[1]);
        store.close().unwrap();
        append(&open(dir.path()), contents[2]);
        for part in ["audit", "audit.head", "store"] {
            let (from, to) = (dir.path().join(part), frozen.join(part));
            match from.is_dir() {
                true => copy(&from, &to),
                false => fs::copy(&from, &to).map(drop).unwrap(),
            }
        }
    }
    let report = verify_audit(&frozen).unwrap();
    assert!(report.is_sound(), "{:?}", report.breaks);
    let found: Vec<_> = records(&frozen).into_iter().map(|it| it.content).collect();
    assert_eq!(found, contents);
}

/// How long an entry takes, and reading them: `cargo test --release -p tapstone -- --ignored latency --nocapture`.
#[test]
#[ignore = "it measures, and tests nothing"]
fn latency() {
    let dir = folder();
    let store = open(dir.path());
    let log = store.audit();
    append_at_once(&log, 1, 50);
    for (tasks, each) in [(1, 2000), (64, 200), (1000, 50)] {
        let executor = LocalExecutor::new();
        let one = || async {
            let mut times = Vec::new();
            for _ in 0..each {
                let began = Instant::now();
                log.append(&[b'x'; 300]).await.unwrap();
                times.push(began.elapsed());
            }
            times
        };
        let began = Instant::now();
        let running: Vec<_> = (0..tasks).map(|_| executor.spawn(one())).collect();
        let mut times = block_on(executor.run(async {
            let mut all = Vec::new();
            for task in running {
                all.extend(task.await);
            }
            all
        }));
        let rate = times.len() as f64 / began.elapsed().as_secs_f64();
        times.sort_unstable();
        let at = |share: f64| times[(times.len() as f64 * share) as usize];
        let (half, most) = (at(0.5), at(0.99));
        println!("{tasks} at once: median {half:?}, 99 % {most:?}, {rate:.0} entries a second");
    }
    drop(store);
    let began = Instant::now();
    let report = verify_audit(dir.path()).unwrap();
    let bytes: u64 = log_files(dir.path()).iter().map(|it| it.metadata().unwrap().len()).sum();
    let (records, mib) = (report.records, bytes >> 20);
    println!("{records} records in {mib} MiB verified in {:?}", began.elapsed());
    let store = open(dir.path());
    let began = Instant::now();
    append(&store, b"x");
    println!("the first entry behind them: {:?}", began.elapsed());
}
