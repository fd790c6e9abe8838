//! Backups are made while the store is used, survive what becomes of it, and are restored.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use futures_lite::future::block_on;
use tapstone::state::{AwsLifecycle, Bounds, InstanceStates, Occasion, Thresholds};
use tapstone::{
    BackupError, BackupOptions, BackupReport, Chore, Free, KeepOptions, MaintainError, Maintained,
    NewHold, OpenError, OpenOptions, RestoreError, RestoreReport, Retention, Selection, Store,
    Timestamp, restore, verify_audit,
};
use tapstone_benches::disk::Disk;
use tapstone_packet::capture_file::PcapWriter;
use tapstone_packet::interface::{Interface, LinkType};

use crate::support::{copy, everything, import, open, raw};

/// A capture of some 200 kB that begins at this second, and that no other number has; noise, so that
/// it stays as large.
fn capture(number: u64, start_secs: u64) -> Vec<u8> {
    packets(number, start_secs, 400)
}

fn packets(number: u64, start_secs: u64, count: u32) -> Vec<u8> {
    let interface = Interface { snap_len: 65_535, ..Interface::new(LinkType::RAW) };
    let (mut bytes, mut random) = (Vec::new(), fastrand::Rng::with_seed(number));
    let writer = PcapWriter::start(&interface, &mut bytes);
    for packet in 0..count {
        let mut data = vec![0x45, 0, 2, 0, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
        data.extend([(packet as u16 % 100).to_be_bytes(), [0, 53], [1, 236], [0, 0]].concat());
        data.resize_with(512, || random.u8(..));
        let time = Timestamp::from_secs_nanos(start_secs as i64, packet);
        writer.packet(&interface, time, &data, data.len() as u32, &mut bytes).unwrap();
    }
    bytes
}

const START: u64 = 1_700_000_000;

/// A store with so many sealed segments, ten seconds apart.
fn filled(folder: &Path, segments: u64) -> Store {
    let store = open(folder);
    for number in 0..segments {
        import(&store, &capture(number, START + 10 * number), "a.pcap");
        store.seal().unwrap();
    }
    store
}

fn order(store: &Store, folder: &Path) -> Result<BackupReport, MaintainError> {
    let chore = Chore::Backup(BackupOptions { folder: folder.to_owned() });
    match store.maintain(chore, Occasion::Manual)? {
        Maintained::Backup(report) => Ok(report),
        other => panic!("{other:?}"),
    }
}

fn back_up(store: &Store, folder: &Path) -> BackupReport {
    order(store, folder).unwrap()
}

/// With the key of the store that it was made of.
fn restored(backup: &Path, store: &Path, to: &Path) -> RestoreReport {
    restore(backup, to, &store.join("master.key")).unwrap()
}

fn reopened(folder: &Path) -> Store {
    Store::open(folder, OpenOptions::default()).unwrap()
}

/// All that is in a folder, folders left out.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    // One that is just being renamed is not there.
    let Ok(entries) = fs::read_dir(folder) else { return files };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(self::files(&path)) } else { files.push(path) }
    }
    files.sort();
    files
}

/// Three folders on one file system.
fn places(dir: &Path) -> [PathBuf; 3] {
    ["store", "backups", "restored"].map(|name| dir.join(name))
}

/// On a file system that shares no files with the one of these sources.
#[expect(clippy::print_stdout, reason = "what is passed over is said")]
fn elsewhere() -> Option<tempfile::TempDir> {
    tempfile::tempdir_in("/dev/shm").inspect_err(|error| println!("SKIPPED: {error}")).ok()
}

#[test]
fn what_was_acknowledged_before_is_in_it_while_packets_come_and_are_asked_for() {
    let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
    let [at, backups, to] = places(dir.path());
    let store = filled(&at, 3);
    // Not sealed.
    import(&store, &capture(50, START + 500), "b.pcap");
    let later = Timestamp::from_secs_nanos(START as i64 + 1000, 0);
    let until_then = Selection { until: Some(later), ..Selection::default() };
    let asked = |store: &Store| {
        let mut packets = store.query(&until_then).unwrap();
        let all: Vec<_> = (&mut packets).map(|packet| raw(&packet)).collect();
        assert!(packets.answer().completeness.is_complete(), "{:?}", packets.answer());
        all
    };
    let before = asked(&store);
    assert_eq!(before.len() as u64, store.info().unwrap().packets);
    let over = AtomicBool::new(false);
    let report = thread::scope(|scope| {
        scope.spawn(|| {
            for number in 100.. {
                import(&store, &capture(number, START + 10 * number), "c.pcap");
                if over.load(Ordering::Relaxed) {
                    break;
                }
            }
        });
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                assert!(asked(&store) == before, "whoever asks notices nothing");
            }
        });
        let report = order(&store, &backups);
        over.store(true, Ordering::Relaxed);
        report.unwrap()
    });
    assert!(report.packets >= before.len() as u64, "{report:?}");
    assert_eq!((report.damage.as_slice(), report.carried_bytes), (&[][..], 0));
    assert_eq!(report.bytes, files_bytes(&report.path));
    let again = restored(&report.path, &at, &to);
    assert_eq!((again.damage.as_slice(), again.packets), (&[][..], report.packets));
    assert_eq!((again.store, again.segments), (store.id(), report.segments));
    let copy = reopened(&to);
    assert!(asked(&copy) == before, "it answers as the store does");
    assert_eq!(copy.info().unwrap().packets, report.packets);
    // And goes on as a store does.
    import(&copy, &capture(9999, START + 99_990), "d.pcap");
    copy.close().unwrap();
    assert_eq!(store.check().damage, []);
}

/// Bytes of a backup, but for the manifest.
fn files_bytes(backup: &Path) -> u64 {
    let files = files(backup).into_iter().filter(|path| !path.ends_with("manifest.json"));
    files.map(|path| fs::metadata(path).unwrap().len()).sum()
}

#[test]
fn it_has_no_master_key_and_is_of_no_use_without_one() {
    let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
    let [at, backups, to] = places(dir.path());
    let store = filled(&at, 1);
    let report = back_up(&store, &backups);
    let key = fs::read(at.join("master.key")).unwrap();
    let secret = &key[64..];
    assert_eq!(secret.len(), 32);
    for path in files(&backups) {
        let bytes = fs::read(&path).unwrap();
        assert!(!bytes.windows(32).any(|it| it == secret), "{}", path.display());
    }
    let gone = restore(&report.path, &to, &dir.path().join("none")).unwrap_err();
    assert!(gone.to_string().contains("it does not exist"), "{gone}");
    let other = dir.path().join("other");
    drop(open(&other));
    let error = restore(&report.path, &to, &other.join("master.key")).unwrap_err();
    assert!(matches!(error, RestoreError::Key(_)), "{error}");
    assert!(error.to_string().contains("made under another master key"), "{error}");
    assert!(!to.try_exists().unwrap(), "nothing was begun");
}

#[test]
fn a_backup_outlives_what_expires_even_where_it_shares_its_files() {
    let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
    let [at, backups, to] = places(dir.path());
    let store = filled(&at, 3);
    let before = everything(&store);
    let report = back_up(&store, &backups);
    assert!(report.shared_bytes > report.copied_bytes, "{report:?}");
    let all = Retention { max_size: Some(0), ..Retention::default() };
    assert_eq!(store.expire(&all).unwrap().gone.len(), 3);
    assert_eq!(everything(&store).len(), 0);
    assert_eq!(restored(&report.path, &at, &to).damage, []);
    assert!(everything(&reopened(&to)) == before);
    // A backup of what is left knows what went.
    let report = back_up(&store, &backups);
    assert_eq!(report.packets, 0);
    let to = dir.path().join("empty");
    restored(&report.path, &at, &to);
    let copy = reopened(&to);
    assert_eq!(copy.expired().unwrap(), store.expired().unwrap());
}

#[test]
fn what_a_backup_is_about_to_take_does_not_expire_before() {
    let Some(other) = elsewhere() else { return };
    let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
    let at = dir.path().join("store");
    let store = filled(&at, 12);
    let before = everything(&store);
    let all = Retention { max_size: Some(0), ..Retention::default() };
    let over = AtomicBool::new(false);
    let report = thread::scope(|scope| {
        scope.spawn(|| {
            // What is in it is settled when this file is there.
            let is_settled = || files(other.path()).iter().any(|path| path.ends_with("store"));
            while !over.load(Ordering::Relaxed) && !is_settled() {
                thread::yield_now();
            }
            while !over.load(Ordering::Relaxed) {
                store.expire(&all).unwrap();
            }
        });
        let report = order(&store, other.path());
        over.store(true, Ordering::Relaxed);
        report.unwrap()
    });
    assert_eq!((report.packets, report.damage.as_slice()), (before.len() as u64, &[][..]));
    store.expire(&all).unwrap();
    assert_eq!(store.info().unwrap().packets, 0, "and nothing is spared for longer");
    let to = dir.path().join("restored");
    restored(&report.path, &at, &to);
    assert!(everything(&reopened(&to)) == before);
}

#[test]
fn the_next_backup_takes_only_what_is_new() {
    let Some(other) = elsewhere() else { return };
    let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
    let at = dir.path().join("store");
    let store = filled(&at, 5);
    let first = back_up(&store, other.path());
    assert_eq!((first.shared_bytes, first.carried_bytes), (0, 0), "it is another file system");
    import(&store, &capture(77, START + 770), "b.pcap");
    store.seal().unwrap();
    let second = back_up(&store, other.path());
    let sealed = |backup: &Path| -> Vec<PathBuf> {
        let of = |name| files(&backup.join(name));
        of("segments").into_iter().chain(of("splits")).collect()
    };
    let (mut old, mut new) = (0, 0);
    for path in sealed(&second.path) {
        let it = fs::metadata(&path).unwrap();
        let before = first.path.join(path.strip_prefix(&second.path).unwrap());
        match fs::metadata(before) {
            Ok(before) => {
                assert_eq!((it.ino(), it.nlink()), (before.ino(), 2), "{}", path.display());
                old += it.len();
            }
            Err(_) => new += it.len(),
        }
    }
    assert_eq!(second.carried_bytes, old, "{second:?}");
    let small = second.copied_bytes - new;
    let sum = |backup: &Path| sealed(backup).iter().map(|it| it.metadata().unwrap().len()).sum();
    let (before, after): (u64, u64) = (sum(&first.path), sum(&second.path));
    assert_eq!((old, new), (before, after - before));
    // Catalog, keys, ledger.
    assert!(small < 4 << 20 && second.bytes == old + new + small, "{second:?}");
    // The first may go.
    fs::remove_dir_all(&first.path).unwrap();
    let to = dir.path().join("restored");
    assert_eq!(restored(&second.path, &at, &to).damage, []);
    assert!(everything(&reopened(&to)) == everything(&store));
    // A backup that is damaged is no longer one to go on from, where that shows.
    let segment = &files(&second.path.join("segments"))[0];
    fs::OpenOptions::new().write(true).open(segment).unwrap().set_len(5000).unwrap();
    let third = back_up(&store, other.path());
    assert!(third.carried_bytes > 0 && third.carried_bytes < second.bytes, "{third:?}");
    let to = dir.path().join("third");
    assert_eq!(restored(&third.path, &at, &to).damage, []);
}

#[test]
fn a_flipped_byte_is_found_and_costs_no_more_than_its_block() {
    let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
    let [at, _, to] = places(dir.path());
    let backups = elsewhere().unwrap_or_else(|| tempfile::tempdir().unwrap());
    let store = filled(&at, 3);
    let report = back_up(&store, backups.path());
    let segment = &files(&report.path.join("segments"))[1];
    let mut bytes = fs::read(segment).unwrap();
    bytes[4096 + 1000] ^= 4;
    fs::write(segment, bytes).unwrap();
    let again = restored(&report.path, &at, &to);
    let told: Vec<String> = again.damage.iter().map(ToString::to_string).collect();
    assert_eq!(told.len(), 2, "{told:#?}");
    assert!(told[0].starts_with(&segment.display().to_string()), "{told:#?}");
    assert!(told[0].ends_with("its content is not what was written"), "{told:#?}");
    assert!(told[1].contains("at offset 4096"), "the block is named too: {told:#?}");
    assert_eq!(again.expected_packets, report.packets);
    assert!(again.packets < report.packets && again.packets > report.packets / 2, "{again:?}");
    assert_eq!(store.check().damage, []);
    // A file that is gone is told of too.
    fs::remove_file(segment).unwrap();
    let again = restored(&report.path, &at, &dir.path().join("again"));
    assert!(again.damage[0].to_string().contains("No such file"), "{:?}", again.damage);
}

#[test]
fn a_store_that_is_damaged_is_copied_as_it_is_and_that_is_told() {
    for shares in [true, false] {
        let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let [at, here, to] = places(dir.path());
        let Some(other) = elsewhere() else { return };
        let backups = if shares { here.as_path() } else { other.path() };
        let store = filled(&at, 2);
        let segment = &files(&at.join("segments"))[0];
        let mut bytes = fs::read(segment).unwrap();
        bytes[4096 + 1000] ^= 4;
        fs::write(segment, bytes).unwrap();
        let report = back_up(&store, backups);
        assert_eq!(report.damage.len(), 1, "{report:?}");
        assert_eq!((&report.damage[0].path, report.damage[0].offset), (segment, Some(4096)));
        let again = restored(&report.path, &at, &to);
        assert_eq!(again.damage.len(), 1, "the backup itself is whole: {again:?}");
        assert!(again.damage[0].path.starts_with(&to));
    }
}

#[test]
fn what_a_crash_left_is_finished_and_comes_along() {
    let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
    let [at, backups, to] = places(dir.path());
    let crashed = dir.path().join("crashed");
    let store = filled(&at, 1);
    import(&store, &capture(5, START + 50), "b.pcap");
    let before = everything(&store);
    copy(&at, &crashed);
    drop(store);
    let store = open(&crashed);
    let report = back_up(&store, &backups);
    assert_eq!(report.packets, before.len() as u64);
    restored(&report.path, &crashed, &to);
    assert!(everything(&reopened(&to)) == before);
}

#[test]
fn holds_and_the_audit_log_come_along_and_verify() {
    let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
    let [at, backups, to] = places(dir.path());
    let store = filled(&at, 1);
    let audit = store.audit();
    for number in 0..1005 {
        block_on(audit.append(format!("entry {number}").as_bytes())).unwrap();
    }
    let hold = NewHold { reason: "case 12".into(), by: "uid:0".into(), ..NewHold::default() };
    let hold = store.add_hold(&hold).unwrap();
    let report = back_up(&store, &backups);
    // What comes later is not in it.
    block_on(audit.append(b"later")).unwrap();
    store.remove_hold(hold.id).unwrap();
    let own = verify_audit(&report.path).unwrap();
    assert_eq!((own.records, own.breaks.as_slice()), (1005, &[][..]));
    assert_eq!(restored(&report.path, &at, &to).damage, []);
    let copy = reopened(&to);
    assert_eq!(copy.holds(), [hold]);
    let all = Retention { max_size: Some(0), ..Retention::default() };
    assert_eq!(copy.expire(&all).unwrap().gone, [], "it is in force");
    // The chain goes on where the backup ended.
    assert_eq!(block_on(copy.audit().append(b"of the copy")).unwrap(), 1006);
    copy.close().unwrap();
    let own = verify_audit(&to).unwrap();
    assert_eq!((own.records, own.breaks.as_slice()), (1006, &[][..]));
}

#[test]
fn a_restore_that_was_broken_off_is_told_and_begun_anew() {
    let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
    let [at, backups, to] = places(dir.path());
    let store = filled(&at, 2);
    let report = back_up(&store, &backups);
    fs::create_dir(&to).unwrap();
    fs::write(to.join("mine"), "text").unwrap();
    let error = restore(&report.path, &to, &at.join("master.key")).unwrap_err();
    assert!(matches!(error, RestoreError::NotEmpty(_)), "{error}");
    let error = restore(&report.path, &at, &at.join("master.key")).unwrap_err();
    assert!(matches!(error, RestoreError::NotEmpty(_)), "{error}");
    let error = restore(&backups, &to, &at.join("master.key")).unwrap_err();
    assert!(error.to_string().contains("is not a backup"), "{error}");
    fs::remove_file(to.join("mine")).unwrap();
    // As a kill leaves it: some files, one of them cut off.
    fs::write(to.join("restoring"), "").unwrap();
    fs::create_dir(to.join("segments")).unwrap();
    let segment = files(&report.path.join("segments")).remove(0);
    fs::write(to.join("segments").join(segment.file_name().unwrap()), "half").unwrap();
    for create in [false, true] {
        let error = Store::open(&to, OpenOptions { create, ..OpenOptions::default() }).unwrap_err();
        assert!(matches!(error, OpenError::Restoring(_)), "{error}");
    }
    assert_eq!(restored(&report.path, &at, &to).damage, []);
    assert!(everything(&reopened(&to)) == everything(&store));
    assert!(!to.join("restoring").try_exists().unwrap());
}

#[test]
fn a_backup_is_not_made_inside_the_store_and_one_at_a_time_elsewhere() {
    let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
    let [at, backups, _] = places(dir.path());
    let store = filled(&at, 1);
    let error = order(&store, &at.join("backups")).unwrap_err();
    assert!(matches!(error, MaintainError::Backup(BackupError::Inside(_))), "{error}");
    assert!(!at.join("backups").try_exists().unwrap());
    std::os::unix::fs::symlink(&at, dir.path().join("link")).unwrap();
    let error = order(&store, &dir.path().join("link")).unwrap_err();
    assert!(matches!(error, MaintainError::Backup(BackupError::Inside(_))), "{error}");
    assert_eq!(store.check().damage, []);
    back_up(&store, &backups);
    back_up(&store, &backups);
    let names = fs::read_dir(&backups).unwrap().count();
    assert_eq!(names, 3, "two backups and the lock");
}

/// A small file system of its own: where this is not root, a loud line.
#[expect(clippy::print_stdout, reason = "what is passed over is said")]
fn small(folder: &Path, mib: u64) -> Option<Disk> {
    Disk::new(folder, mib).inspect_err(|error| println!("SKIPPED: no file system: {error}")).ok()
}

#[test]
fn without_room_nothing_is_left() {
    let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
    let [at, _, to] = places(dir.path());
    let Some(disk) = small(dir.path(), 8) else { return };
    let store = open(&at);
    import(&store, &packets(3, START, 24_000), "a.pcap");
    let names = || fs::read_dir(disk.place()).unwrap().count();
    let before = names();
    let error = order(&store, &disk.place()).unwrap_err();
    assert!(matches!(error, MaintainError::Backup(BackupError::NoRoom { .. })), "{error}");
    assert_eq!(names(), before + 1, "only the lock is there");
    let report = back_up(&store, &dir.path().join("backups"));
    let error = restore(&report.path, &disk.place().join("r"), &at.join("master.key"));
    assert!(matches!(error, Err(RestoreError::NoRoom { .. })), "{error:?}");
    assert_eq!(restored(&report.path, &at, &to).packets, report.packets);
}

fn keep_options() -> KeepOptions {
    let millis = Duration::from_millis;
    let memory = Bounds { low: 970, high: 980, relieved: 990, exhausted: 1000 };
    let (dwell, step, sustained) = (millis(300), millis(300), millis(600));
    let thresholds = Thresholds { memory, dwell, step, sustained, ..Thresholds::default() };
    let retention = Retention { keep_free: Some(Free::Bytes(1)), ..Retention::default() };
    KeepOptions { thresholds, retention }
}

fn wait_until(what: &str, is_it: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_it() {
        assert!(began.elapsed() < Duration::from_secs(60), "{what}");
        thread::sleep(Duration::from_millis(10));
    }
}

fn state(store: &Store) -> String {
    store.state().map(|report| report.state.to_string()).unwrap_or_default()
}

const NORMAL: &str = "NORMAL / OptimalFlow / IndexActive";

#[test]
fn a_kept_store_goes_through_the_steps_and_back_to_normal() {
    let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
    let [at, backups, to] = places(dir.path());
    let store = filled(&at, 2);
    store.keep(keep_options()).unwrap();
    wait_until("NORMAL", || state(&store) == NORMAL);
    let report = back_up(&store, &backups);
    assert_eq!(report.damage, []);
    wait_until("NORMAL again", || state(&store) == NORMAL);
    let paths: Vec<String> = store.state_history().iter().map(|it| it.to.to_string()).collect();
    let from = paths.iter().position(|it| it.starts_with("MAINTENANCE")).unwrap();
    let steps = ["SnapshotInit", "SecureTransfer", "VerifyIntegrity"];
    let expected = steps.map(|step| format!("MAINTENANCE / Backup / {step}"));
    assert_eq!(paths[from..from + 3], expected);
    assert!(paths[from + 3].starts_with("INIT"), "{paths:#?}");
    assert_eq!(restored(&report.path, &at, &to).damage, []);
    let copy = reopened(&to);
    assert!(state(&copy).starts_with("MAINTENANCE / Backup"), "as it was then: {}", state(&copy));
    assert!(everything(&copy) == everything(&store));
}

#[test]
fn a_backup_that_gives_way_leaves_nothing() {
    let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
    let at = dir.path().join("store");
    let Some(disk) = small(dir.path(), 64) else { return };
    let store = filled(&at, 2);
    store.keep(keep_options()).unwrap();
    wait_until("NORMAL", || state(&store) == NORMAL);
    disk.freeze().unwrap();
    let result = thread::scope(|scope| {
        let ordered = scope.spawn(|| order(&store, &disk.place()));
        wait_until("MAINTENANCE", || state(&store).starts_with("MAINTENANCE"));
        store.tell_cloud(AwsLifecycle::InstanceStates(InstanceStates::Running));
        wait_until("given up", || !state(&store).starts_with("MAINTENANCE"));
        disk.thaw().unwrap();
        ordered.join().unwrap()
    });
    let error = result.unwrap_err();
    assert!(matches!(error, MaintainError::GaveWay { .. }), "{error}");
    let left = || {
        let names = fs::read_dir(disk.place()).unwrap().map(|it| it.unwrap().file_name());
        names.filter(|name| name != "lost+found" && name != "lock").count()
    };
    wait_until("nothing is left", || left() == 0);
    // And another can be made.
    wait_until("NORMAL", || state(&store) == NORMAL);
    assert_eq!(back_up(&store, &disk.place()).damage, []);
    drop(store);
}
