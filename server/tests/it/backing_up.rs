//! Backups as they are typed, through a server, and when somebody pulls the plug.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::run;
use crate::served::Served;
use crate::serving::stored;

/// What is in a folder, but for the lock.
fn names(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| name != "lock").collect();
    names.sort();
    names
}

fn wait_until(what: &str, is_it: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_it() {
        assert!(began.elapsed() < Duration::from_secs(60), "{what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn json(out: &str) -> Value {
    serde_json::from_str(out).unwrap_or_else(|_| panic!("{out}"))
}

/// Backs the store `s` up into `b`; gives what was said.
fn back_up(folder: &Path) -> Value {
    let (code, out, error) = run(folder, &["backup", "--store", "s", "--json", "b"]);
    assert_eq!(code, 0, "{out}{error}");
    json(&out)
}

fn restore(folder: &Path, backup: &str, to: &str) -> (i32, String, String) {
    run(folder, &["restore", "--store", to, "--key-file", "s/master.key", backup])
}

#[test]
fn a_store_is_backed_up_and_restored_as_typed() {
    let dir = stored(2 << 20);
    let (code, out, error) = run(dir.path(), &["backup", "--store", "s", "b"]);
    assert_eq!(code, 0, "{error}");
    let backup = names(&dir.path().join("b")).remove(0);
    let path = dir.path().canonicalize().unwrap().join("b").join(&backup);
    assert!(out.starts_with(&path.display().to_string()), "{out}");
    assert!(out.contains("shared with the store") && out.contains("verified in"), "{out}");
    let backup = format!("b/{backup}");

    let (code, _, error) = run(dir.path(), &["restore", "--store", "r", &backup]);
    assert!(code == 2 && error.contains("--key-file FILE"), "{code} {error}");
    let (code, _, error) = restore(dir.path(), "b", "r");
    assert!(code == 2 && error.contains("is not a backup"), "{code} {error}");
    let (code, _, error) = restore(dir.path(), &backup, "s");
    assert!(code == 2 && error.contains("is not empty"), "{code} {error}");
    let (code, out, error) = restore(dir.path(), &backup, "r");
    assert_eq!(code, 0, "{error}");
    assert!(out.starts_with("r: ") && out.trim_end().ends_with(": sound"), "{out}");
    let all = |store| run(dir.path(), &["query", "--store", store, "-w", "-", "tcp"]);
    let (own, copy) = (all("s"), all("r"));
    assert!(own.0 == 0 && own.1 == copy.1, "they answer the same");
    let verify = |store| run(dir.path(), &["audit", "verify", "--store", store]).0;
    assert_eq!((verify("r"), verify(&backup)), (0, 0));
    // A damaged file is told, and what can be had of it is there.
    let segments = dir.path().join(&backup).join("segments");
    let segment = segments.join(names(&segments).remove(0));
    let mut bytes = fs::read(&segment).unwrap();
    bytes[5000] ^= 1;
    fs::remove_file(&segment).unwrap();
    fs::write(&segment, bytes).unwrap();
    let (code, out, _) = restore(dir.path(), &backup, "damaged");
    assert_eq!(code, 3, "{out}");
    assert!(out.contains("its content is not what was written"), "{out}");
    assert_eq!(run(dir.path(), &["check", "--store", "s"]).0, 0, "the store itself is sound");
}

#[test]
fn a_server_makes_backups_below_its_folder_and_nowhere_else() {
    let dir = stored(2 << 20);
    let store = dir.path().join("s");
    let served = Served::start(&store);
    let (code, _, error) = run(dir.path(), &["backup", "--store", "s", "b"]);
    assert!(code == 2 && error.contains("set backup.folder"), "{code} {error}");
    assert_eq!(served.terminate(), Some(0));

    let root = dir.path().canonicalize().unwrap();
    let setting = format!("backup.folder={}", root.join("b").display());
    let served = Served::start_with(&store, &["--set", &setting]);
    for outside in ["elsewhere", "b/../elsewhere", "/tmp"] {
        let (code, _, error) = run(&root, &["backup", "--store", "s", outside]);
        assert!(code == 2 && error.contains("and nowhere else"), "{outside}: {code} {error}");
    }
    let first = back_up(&root);
    let (code, out, error) = run(&root, &["backup", "--store", "s", "--json", "b"]);
    assert_eq!(code, 0, "{error}");
    let second = json(&out);
    assert_eq!(first["packets"], second["packets"]);
    assert!(second["carried_bytes"].as_u64() > Some(0), "{second}");
    // By its place below the folder, as from elsewhere.
    let inner = root.join("b/daily");
    let (code, out, error) = run(&root, &["backup", "--store", "s", inner.to_str().unwrap()]);
    assert_eq!((code, names(&inner).len()), (0, 1), "{out}{error}");
    let (_, out, _) = run(&root, &["state", "--store", "s", "--history", "--json"]);
    assert!(out.contains("MAINTENANCE / Backup / VerifyIntegrity"), "{out}");
    assert_eq!(served.terminate(), Some(0));

    let backup = second["path"].as_str().unwrap();
    let (code, out, error) = restore(&root, backup, "r");
    assert_eq!(code, 0, "{out}{error}");
    let (_, out, _) = run(&root, &["audit", "show", "--store", "s"]);
    assert_eq!(out.matches("\"method\":\"Backup\"").count(), 3, "{out}");
    assert_eq!(out.matches("\"outcome\":\"stored\"").count(), 3, "{out}");
    // That it was asked for is in the backup too; what came of it cannot be.
    let (code, out, _) = run(&root, &["audit", "show", "--store", "r"]);
    assert_eq!((code, out.matches("\"method\":\"Backup\"").count()), (0, 2), "{out}");
    assert_eq!(run(&root, &["audit", "verify", "--store", "r"]).0, 0);
}

fn ordering(folder: &Path, to: &Path) -> std::process::Child {
    Command::new(assert_cmd::cargo::cargo_bin!("tapstone"))
        .args(["backup", "--store", "s"])
        .arg(to)
        .current_dir(folder)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn an_order_outlives_whoever_gave_it() {
    let dir = stored(30 << 20);
    let root = dir.path().canonicalize().unwrap();
    let backups = root.join("b");
    let setting = format!("backup.folder={}", backups.display());
    let served = Served::start_with(&root.join("s"), &["--set", &setting]);
    let mut child = ordering(&root, &backups);
    wait_until("it is begun", || !names(&backups).is_empty());
    child.kill().unwrap();
    child.wait().unwrap();
    wait_until("it is done", || names(&backups).iter().any(|name| !name.ends_with(".partial")));
    wait_until("the audit log tells of it", || {
        let (_, out, _) = run(&root, &["audit", "show", "--store", "s"]);
        out.contains("\"outcome\":\"stored\"")
    });
    assert_eq!(served.terminate(), Some(0));
    let backup = backups.join(names(&backups).remove(0));
    let (code, _, error) = restore(&root, backup.to_str().unwrap(), "r");
    assert_eq!(code, 0, "{error}");
}

#[test]
fn a_kill_in_the_middle_leaves_nothing_that_looks_like_a_backup() {
    let dir = stored(60 << 20);
    // On another file system there is more to be done, and the middle is longer.
    let elsewhere = tempfile::tempdir_in("/dev/shm");
    let elsewhere = elsewhere.inspect_err(|error| eprintln!("SKIPPED: no other disk: {error}"));
    let here = dir.path().join("b");
    let backups: PathBuf = elsewhere.as_ref().map_or(here, |it| it.path().to_owned());
    let mut child = ordering(dir.path(), &backups);
    wait_until("it is begun", || !names(&backups).is_empty());
    child.kill().unwrap();
    child.wait().unwrap();
    let left = names(&backups);
    assert!(left.len() == 1 && left[0].ends_with(".partial"), "{left:?}");
    let partial = backups.join(&left[0]);
    assert!(!partial.join("manifest.json").try_exists().unwrap());
    let (code, _, error) = restore(dir.path(), partial.to_str().unwrap(), "r");
    assert!(code == 2 && error.contains("was never finished"), "{code} {error}");
    let (code, out, error) =
        run(dir.path(), &["backup", "--store", "s", "--json", backups.to_str().unwrap()]);
    assert_eq!(code, 0, "{error}");
    let whole = json(&out)["path"].as_str().unwrap().to_owned();
    assert_eq!(names(&backups).len(), 1, "what the kill left is gone");
    let (code, _, error) = restore(dir.path(), &whole, "r");
    assert_eq!(code, 0, "{error}");
}

#[test]
fn a_server_that_is_told_to_end_gives_a_backup_up_and_leaves_nothing_of_it() {
    let Ok(elsewhere) = tempfile::tempdir_in("/dev/shm") else {
        eprintln!("SKIPPED: no other file system, where a backup takes a while");
        return;
    };
    let dir = stored(60 << 20);
    let root = dir.path().canonicalize().unwrap();
    let setting = format!("backup.folder={}", elsewhere.path().display());
    let served = Served::start_with(&root.join("s"), &["--set", &setting]);
    let mut child = ordering(&root, elsewhere.path());
    wait_until("it is begun", || !names(elsewhere.path()).is_empty());
    let began = Instant::now();
    assert_eq!(served.terminate(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    assert_eq!(child.wait().unwrap().code(), Some(3));
    assert_eq!(names(elsewhere.path()), Vec::<String>::new());
    let (_, out, _) = run(&root, &["audit", "show", "--store", "s"]);
    assert!(out.contains("\"outcome\":\"given up\""), "{out}");
}
