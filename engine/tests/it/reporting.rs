//! Reports, and the archive of the audit log, on real files.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use futures_lite::future::block_on;
use serde_json::{Value, json};
use tapstone::state::{Bounds, Occasion, Thresholds, TopState};
use tapstone::{
    ArchiveOptions, AuditRecord, BackupOptions, Chore, ComplianceError, ComplianceOptions,
    ComplianceReport, Free, KeepOptions, MaintainError, Maintained, NewHold, Period, Retention,
    Store, Summarise, Summary, Timestamp, read_audit, restore, verify_audit,
    verify_audit_with_archive, verify_report,
};

use crate::support::{copy, import, open};

/// On a real file system, where syncing takes time.
fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap()
}

fn append(store: &Store, content: &str) -> u64 {
    block_on(store.audit().append(content.as_bytes())).unwrap()
}

fn now() -> Timestamp {
    let since = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
    Timestamp::from_nanos(since.as_nanos() as i64)
}

fn later(time: Timestamp, secs: i64) -> Timestamp {
    Timestamp::from_attos(time.attos() + i128::from(secs) * 1_000_000_000_000_000_000)
}

/// An hour before now to an hour after.
pub(crate) fn around_now() -> Period {
    Period { since: later(now(), -3600), until: later(now(), 3600) }
}

fn options(period: Period) -> ComplianceOptions {
    ComplianceOptions { period, archive: None, summary: None }
}

/// All that may go goes.
fn archiving(folder: Option<PathBuf>) -> ComplianceOptions {
    let archive = Some(ArchiveOptions { after: Duration::ZERO, folder });
    ComplianceOptions { archive, ..options(around_now()) }
}

fn made(store: &Store, options: ComplianceOptions) -> ComplianceReport {
    match store.maintain(Chore::ComplianceOps(options), Occasion::Manual).unwrap() {
        Maintained::ComplianceOps(report) => report,
        other => panic!("{other:?}"),
    }
}

fn json_of(report: &ComplianceReport) -> Value {
    serde_json::from_slice(&report.report).unwrap()
}

fn hold(by: &str, filter: &str) -> NewHold {
    NewHold { by: by.into(), filter: filter.into(), reason: "case 1".into(), ..NewHold::default() }
}

/// Sums up entries that are texts.
#[derive(Default)]
struct Texts(Vec<String>);

impl Summarise for Texts {
    fn take(&mut self, record: &AuditRecord) {
        self.0.push(String::from_utf8(record.content.clone()).unwrap());
    }

    fn finish(self: Box<Self>) -> Value {
        json!(self.0)
    }
}

const TEXTS: Summary = Summary(|| Box::<Texts>::default());

#[test]
fn a_report_says_what_was_done_and_nothing_of_another_period() {
    let dir = folder();
    let store = open(dir.path());
    import(&store, &tapstone::doc_capture(), "a");
    store.seal().unwrap();
    let gone = store.expire(&Retention { max_size: Some(1), ..Retention::default() }).unwrap().gone;
    assert_eq!(gone.len(), 1);
    let mut bytes = Vec::new();
    tapstone_benches::workload::Workload::short_flows(100_000, 3).write(&mut bytes).unwrap();
    let packets = import(&store, &bytes, "b").packets;
    store.add_hold(&hold("ann", "tcp")).unwrap();
    let lifted = store.add_hold(&hold("bob", "udp")).unwrap();
    store.remove_hold(lifted.id).unwrap();
    append(&store, "first");
    append(&store, "second");

    let summary = Some(TEXTS);
    let report = made(&store, ComplianceOptions { summary, ..options(around_now()) });
    let json = json_of(&report);
    assert_eq!((&json["report"], &json["version"]), (&"tapstone compliance".into(), &1.into()));
    assert_eq!(json["store"], store.id().to_string());
    let info = store.info().unwrap();
    let kept = &json["kept"];
    assert_eq!((&kept["packets"], &kept["segments"]), (&packets.into(), &info.segments.into()));
    assert_eq!(kept["packet_bytes"], info.packet_bytes);
    let in_force = json["held"]["in_force"].as_array().unwrap();
    assert_eq!(in_force.len(), 1, "{json:#}");
    let told = &in_force[0];
    assert_eq!((&told["by"], &told["reason"]), (&"ann".into(), &"case 1".into()));
    assert_eq!((&told["filter"], &told["added_in_period"]), (&"tcp".into(), &true.into()));
    let expired = &json["expired"]["in_period"];
    assert_eq!((&expired[0]["cause"], &expired[0]["packets"]), (&"size".into(), &2.into()));
    assert_eq!((&expired[0]["segments"], &expired[1]), (&1.into(), &Value::Null));
    assert_eq!(json["expired"]["ever"], *expired);
    assert_eq!(json["expired"]["at_unknown_times"], json!([]));
    assert_eq!(json["lost"]["in_period"], json!([]));
    assert_eq!(json["read"], json!(["first", "second"]));
    assert_eq!(json["states"]["known_since"], Value::Null, "nobody kept it");
    assert_eq!(json["damage"], json!([]));
    let audit = verify_audit(dir.path()).unwrap();
    let head = audit.head.unwrap();
    assert_eq!((&json["audit"]["sound"], &json["audit"]["records"]), (&true.into(), &2.into()));
    assert_eq!(json["audit"]["head"]["number"], head.sequence);
    assert_eq!(json["audit"]["head"]["hash"], head.hash.to_string());

    let before = Period { since: later(now(), -90_000), until: later(now(), -80_000) };
    let other = json_of(&made(&store, ComplianceOptions { summary, ..options(before) }));
    assert_eq!((&other["read"], &other["expired"]["in_period"]), (&json!([]), &json!([])));
    assert_eq!(other["expired"]["ever"], *expired);
    assert_eq!(other["held"]["in_force"][0]["added_in_period"], false);
    assert_eq!(json_of(&made(&store, options(around_now())))["read"], Value::Null);
    let at = now();
    let empty = Period { since: at, until: at };
    let error = store.maintain(Chore::ComplianceOps(options(empty)), Occasion::Manual).unwrap_err();
    let is_told = matches!(error, MaintainError::ComplianceOps(ComplianceError::EmptyPeriod));
    assert!(is_told, "{error}");
}

#[test]
fn a_report_is_signed_by_the_stores_key_which_stays_the_same() {
    let dir = folder();
    let store = open(dir.path());
    append(&store, "x");
    let report = made(&store, options(around_now()));
    let key = fs::read_to_string(dir.path().join("report.pem")).unwrap();
    assert_eq!(report.public_key, key);
    let fingerprint = verify_report(&report.report, &report.signature, &key).unwrap();
    assert_eq!(json_of(&report)["key"], fingerprint.to_string());
    store.close().unwrap();
    let again = made(&open(dir.path()), options(around_now()));
    verify_report(&again.report, &again.signature, &key).unwrap();
    let other = folder();
    let others = made(&open(other.path()), options(around_now()));
    verify_report(&others.report, &others.signature, &key).unwrap_err();
}

#[test]
fn openssl_checks_the_signature_with_no_tapstone_around() {
    let version = Command::new("openssl").arg("version").output();
    let version = version.map(|it| String::from_utf8_lossy(&it.stdout).into_owned());
    // -rawin came with 1.1.1 and knows Ed25519 since 3.0.
    if !version.as_ref().is_ok_and(|it| it.starts_with("OpenSSL 3")) {
        println!("SKIPPED: there is no OpenSSL 3 here, but {version:?}");
        return;
    }
    let dir = folder();
    let store = open(dir.path());
    append(&store, "x");
    let report = made(&store, options(around_now()));
    let path = |name: &str| dir.path().join(name);
    fs::write(path("r.json"), &report.report).unwrap();
    fs::write(path("r.sig"), &report.signature).unwrap();
    let verifies = || {
        let mut openssl = Command::new("openssl");
        openssl.args(["pkeyutl", "-verify", "-pubin", "-inkey", "report.pem", "-rawin"]);
        let output = openssl
            .args(["-in", "r.json", "-sigfile", "r.sig"])
            .current_dir(dir.path())
            .output()
            .unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (good, out) = verifies();
    assert!(good && out.contains("Verified Successfully"), "{out}");
    let mut changed = report.report.clone();
    changed[10] ^= 1;
    fs::write(path("r.json"), changed).unwrap();
    assert!(!verifies().0);
}

#[test]
fn a_log_that_is_broken_is_reported_as_that() {
    let dir = folder();
    let store = open(dir.path());
    append(&store, "1");
    append(&store, "2");
    store.close().unwrap();
    let path = dir.path().join("audit/00000001.log");
    let mut bytes = fs::read(&path).unwrap();
    bytes[4096 + 100] ^= 1;
    fs::write(&path, bytes).unwrap();
    let store = open(dir.path());
    append(&store, "3");
    let before = verify_audit(dir.path()).unwrap().breaks.len();
    assert!(before > 0);
    let report = made(&store, archiving(None));
    assert!(!report.is_sound);
    let json = json_of(&report);
    let told = json["audit"]["breaks"][0].as_str().unwrap();
    assert!(told.contains("00000001.log at offset 4096"), "{told}");
    assert_eq!(json["audit"]["sound"], false);
    // It is archived as it is.
    assert_eq!(report.archived.files.len(), 1);
    assert_eq!(verify_audit(dir.path()).unwrap().breaks.len(), before);
}

fn log_files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.map(|it| it.unwrap().path());
    let mut paths: Vec<_> =
        paths.filter(|it| it.extension().is_some_and(|it| it == "log")).collect();
    paths.sort();
    paths
}

/// In memory, where there is such a place: on another file system than the store.
fn elsewhere() -> Option<tempfile::TempDir> {
    let memory = Path::new("/dev/shm");
    memory.is_dir().then(|| tempfile::tempdir_in(memory).unwrap())
}

#[test]
fn the_log_is_archived_over_several_rotations_to_another_file_system_too() {
    let dir = folder();
    let named = elsewhere().unwrap_or_else(|| {
        println!("SKIPPED: there is no /dev/shm, so the archive is on the store's file system");
        folder()
    });
    let away = folder();
    let store = open(dir.path());
    for round in 0..6 {
        append(&store, &format!("round {round}"));
        let folder = (round >= 3).then(|| named.path().join("archive"));
        let report = made(&store, archiving(folder));
        assert!(report.is_sound, "{}", json_of(&report));
        assert_eq!(report.archived.files.len(), usize::from(round > 0), "{report:?}");
    }
    let own = dir.path().join("audit/archive");
    assert_eq!((log_files(&own).len(), log_files(&named.path().join("archive")).len()), (2, 3));
    let contents = |folder: &Path| {
        let records = read_audit(folder).unwrap().map(|it| it.unwrap().content);
        records.map(|it| String::from_utf8(it).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(contents(dir.path()), (0..6).map(|it| format!("round {it}")).collect::<Vec<_>>());

    // Taken away, the oldest first: said, and found again where it was taken to.
    copy(&own, away.path());
    fs::remove_dir_all(&own).unwrap();
    let report = verify_audit(dir.path()).unwrap();
    assert!(report.is_sound() && report.records == 4, "{report:?}");
    assert_eq!(report.behind.unwrap().sequence, 2);
    let all = verify_audit_with_archive(dir.path(), away.path()).unwrap();
    assert!(all.is_sound() && all.records == 6 && all.behind.is_none(), "{all:?}");
    let json = json_of(&made(&store, options(around_now())));
    assert_eq!(
        (&json["audit"]["behind"]["number"], &json["audit"]["sound"]),
        (&2.into(), &true.into())
    );
    // One that others follow is missed.
    fs::remove_file(&log_files(&named.path().join("archive"))[1]).unwrap();
    assert!(!verify_audit(dir.path()).unwrap().is_sound());
}

/// Not a test: what [`nothing_is_lost_when_the_process_ends_while_it_archives`] kills.
#[test]
fn archives_until_it_is_killed() {
    let Some(folder) = std::env::var_os("TAPSTONE_ARCHIVE_CHILD") else { return };
    let store = open(Path::new(&folder));
    loop {
        println!("\nacknowledged {}", append(&store, "from the one that is killed"));
        made(&store, archiving(None));
        println!("\narchived");
    }
}

#[test]
fn nothing_is_lost_when_the_process_ends_while_it_archives() {
    let dir = folder();
    for kill in 0..12u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["reporting::archives_until_it_is_killed", "--exact", "--nocapture"])
            .env("TAPSTONE_ARCHIVE_CHILD", dir.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        lines.by_ref().filter(|it| it == "archived").take(2).for_each(drop);
        // In the midst of what follows, wherever that is.
        std::thread::sleep(Duration::from_millis(kill * 3 % 17));
        child.kill().unwrap();
        child.wait().unwrap();
        let numbers = lines.filter_map(|it| it.strip_prefix("acknowledged ")?.parse::<u64>().ok());
        let last = numbers.last().unwrap_or(0);
        let report = verify_audit(dir.path()).unwrap();
        assert!(report.is_sound() && report.behind.is_none(), "kill {kill}: {report:?}");
        assert!(report.records >= last, "kill {kill}: {report:?}");
    }
    let store = open(dir.path());
    let report = made(&store, archiving(None));
    assert!(report.is_sound && store.check().damage.is_empty());
    assert!(log_files(&dir.path().join("audit/archive")).len() > 12);
}

#[test]
fn a_kept_store_is_in_maintenance_meanwhile_and_normal_again() {
    let dir = folder();
    let store = open(dir.path());
    let millis = Duration::from_millis;
    let memory = Bounds { low: 970, high: 980, relieved: 990, exhausted: 1000 };
    let (dwell, step, sustained) = (millis(300), millis(300), millis(600));
    let thresholds = Thresholds { memory, dwell, step, sustained, ..Thresholds::default() };
    let retention = Retention { keep_free: Some(Free::Bytes(1)), ..Retention::default() };
    store.keep(KeepOptions { thresholds, retention }).unwrap();
    let wait_for_normal = || {
        let began = Instant::now();
        while store.state().is_none_or(|it| it.state.top() != TopState::Normal) {
            assert!(began.elapsed() < Duration::from_secs(60), "{:#?}", store.state());
            std::thread::sleep(millis(20));
        }
    };
    wait_for_normal();
    append(&store, "x");
    let report = made(&store, archiving(None));
    wait_for_normal();
    let history = store.state_history();
    let steps = history.iter().map(|it| it.to.to_string());
    let steps: Vec<String> = steps.filter(|it| it.starts_with("MAINTENANCE")).collect();
    let step = |name: &str| format!("MAINTENANCE / ComplianceOps / {name}");
    assert_eq!(steps, ["AuditPrep", "LogArchival", "ComplianceCheck"].map(step));
    let json = json_of(&report);
    // The report is made in the last step, which lasts.
    let states = json["states"]["time"].as_array().unwrap();
    assert!(states.iter().all(|it| it["seconds"].is_u64()), "{states:?}");
    let last = json["states"]["transitions"].as_array().unwrap().last().unwrap().clone();
    assert_eq!(last["to"], step("AuditPrep"), "the edge to MAINTENANCE: {last}");
    assert!(json["states"]["known_since"].is_string());

    // One at a time; and whoever closes the store does not wait for ever.
    let asking: Vec<_> = (0..4)
        .map(|_| {
            let store = store.clone();
            std::thread::spawn(move || {
                store.maintain(Chore::ComplianceOps(options(around_now())), Occasion::Manual)
            })
        })
        .collect();
    let answers: Vec<_> = asking.into_iter().map(|it| it.join().unwrap()).collect();
    assert!(answers.iter().any(Result::is_ok), "{answers:?}");
    let is_told = |it: &MaintainError| matches!(it, MaintainError::UnderWay(_));
    assert!(answers.iter().all(|it| it.as_ref().err().is_none_or(is_told)), "{answers:?}");
    store.close().unwrap();
}

/// To freeze a mark of a new version, run with `TAPSTONE_FREEZE=1` and commit the new folder.
#[test]
fn an_archived_log_of_version_1_is_read() {
    let frozen = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/audit-v1-archived");
    let contents = ["one", "two", "three"];
    if std::env::var_os("TAPSTONE_FREEZE").is_some() {
        let dir = folder();
        let store = open(dir.path());
        for content in contents {
            append(&store, content);
            made(&store, archiving(None));
        }
        store.close().unwrap();
        copy(&dir.path().join("audit"), &frozen.join("audit"));
        for part in ["audit.head", "audit.mark", "store"] {
            fs::copy(dir.path().join(part), frozen.join(part)).unwrap();
        }
    }
    let report = verify_audit(&frozen).unwrap();
    assert!(report.is_sound() && report.behind.is_none(), "{:?}", report.breaks);
    let found: Vec<_> = read_audit(&frozen).unwrap().map(|it| it.unwrap().content).collect();
    assert_eq!(found, contents.map(|it| it.as_bytes().to_vec()));
    let dir = tempfile::tempdir().unwrap();
    copy(&frozen, dir.path());
    fs::remove_dir_all(dir.path().join("audit/archive")).unwrap();
    let report = verify_audit(dir.path()).unwrap();
    assert!(report.is_sound() && report.behind.unwrap().sequence == 2, "{report:?}");
}

/// What went to the archive is not in a backup; that is said, and is no break.
#[test]
fn a_backup_knows_of_the_archive_and_signs_with_the_same_key() {
    let dir = folder();
    let [place, backups, restored] = ["s", "backups", "r"].map(|name| dir.path().join(name));
    for entry in ["1", "2"] {
        let store = open(&place);
        append(&store, entry);
        store.close().unwrap();
    }
    let store = open(&place);
    let report = made(&store, archiving(None));
    assert!(!report.archived.files.is_empty());
    append(&store, "3");
    let chore = Chore::Backup(BackupOptions { folder: backups });
    let backup = match store.maintain(chore, Occasion::Manual).unwrap() {
        Maintained::Backup(report) => report,
        other => panic!("{other:?}"),
    };
    assert_eq!(backup.damage, []);
    let checked = restore(&backup.path, &restored, &place.join("master.key")).unwrap();
    assert_eq!(checked.damage, []);
    let audit = verify_audit(&restored).unwrap();
    assert!(audit.is_sound(), "{:?}", audit.breaks);
    let again = made(&open(&restored), options(around_now()));
    assert_eq!(again.public_key, report.public_key);
}
