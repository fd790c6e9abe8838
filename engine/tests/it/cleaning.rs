//! What is let go cannot be read any more, and nothing is left of it.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;

use tapstone::state::Occasion;
use tapstone::{
    Chore, CleanupError, CleanupReport, ExpireError, MaintainError, Maintained, NewHold,
    OpenOptions, Retention, Store,
};

use crate::support::{copy, everything, files, flip, import, open, segments, small_capture};

/// Nothing may stay.
const NOTHING: Retention = Retention { max_size: Some(0), keep_free: None, keep_for: None };
const PAGE: usize = 4096;

fn cleanup(store: &Store, retention: Retention) -> Result<CleanupReport, MaintainError> {
    match store.maintain(Chore::Cleanup(retention), Occasion::Manual)? {
        Maintained::Cleanup(report) => Ok(report),
        other => panic!("{other:?}"),
    }
}

/// A second name for each file of a folder, which keeps its bytes when the first is removed.
fn link(folder: &Path, to: &Path) -> usize {
    fs::create_dir_all(to).unwrap();
    let files = files(folder);
    for file in &files {
        fs::hard_link(file, to.join(file.file_name().unwrap())).unwrap();
    }
    files.len()
}

/// A folder's files, opened: their bytes stay when their names are removed.
fn opened(folder: &Path) -> Vec<fs::File> {
    files(folder).iter().map(|it| fs::File::open(it).unwrap()).collect()
}

fn bytes_of(file: &fs::File) -> Vec<u8> {
    let mut bytes = vec![0; file.metadata().unwrap().len() as usize];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|&byte| byte == 0)
}

#[test]
fn keys_are_overwritten_wherever_they_are_before_files_go() {
    let dir = tempfile::tempdir().unwrap();
    let store = segments(dir.path(), 2, 40);
    import(&store, &small_capture(9, 40), "a");
    // The log of a segment has its header, too, and goes when that is indexed.
    let links = tempfile::tempdir_in(dir.path()).unwrap();
    let linked = |name: &str| links.path().join(name);
    assert_eq!(link(&dir.path().join("wal"), &linked("wal")), 1);
    store.seal().unwrap();
    // A second name would make them a backup's, too.
    let [segments, splits] = ["segments", "splits"].map(|name| opened(&dir.path().join(name)));
    assert_eq!((segments.len(), splits.len()), (3, 3));
    assert_eq!(link(&dir.path().join("keys"), &linked("keys")), 1);
    let headers: Vec<Vec<u8>> = segments.iter().map(bytes_of).collect();
    let report = store.expire(&NOTHING).unwrap();
    assert_eq!((report.gone.len(), report.keys_destroyed), (3, 1));
    for name in ["segments", "splits", "keys", "wal"] {
        assert_eq!(files(&dir.path().join(name)), Vec::<std::path::PathBuf>::new(), "{name}");
    }
    let mut bytes = 0;
    for (file, before) in segments.iter().zip(headers) {
        let after = bytes_of(file);
        bytes += after.len() as u64;
        assert_eq!((&before[..8], &after[..8]), (&b"TAPSTSEG"[..], &b"TAPSTDEL"[..]));
        // Bucket, wrapped key, salt, commitment.
        assert!(!is_zero(&before[56..196]) && is_zero(&after[56..196]));
        let last = after.len() - PAGE;
        assert!(!is_zero(&before[last..]) && is_zero(&after[last..]));
        let wrapped = &before[72..132];
        assert!(!after.windows(60).any(|it| it == wrapped));
    }
    for file in &splits {
        let after = bytes_of(file);
        bytes += after.len() as u64;
        assert!(is_zero(&after[after.len() - 512..]) && !is_zero(&after));
    }
    assert_eq!(report.given_back, bytes);
    for name in ["keys", "wal"] {
        let after = fs::read(&files(&linked(name))[0]).unwrap();
        assert!(!after.is_empty() && is_zero(&after), "{name}");
    }
}

#[test]
fn a_days_key_goes_with_its_last_segment_and_not_before() {
    let dir = tempfile::tempdir().unwrap();
    let store = segments(dir.path(), 3, 20);
    let keys = || files(&dir.path().join("keys"));
    let key = keys();
    assert_eq!(key.len(), 1);
    // One segment is open.
    import(&store, &small_capture(7, 20), "a");
    assert_eq!(store.expire(&NOTHING).unwrap().keys_destroyed, 0);
    assert_eq!((keys(), everything(&store).len()), (key.clone(), 20));
    store.close().unwrap();
    let store = open(dir.path());
    assert_eq!((keys(), everything(&store).len()), (key.clone(), 20));
    // One is held.
    let held = NewHold { reason: "an incident".into(), ..NewHold::default() };
    let hold = store.add_hold(&held).unwrap();
    assert_eq!(store.expire(&NOTHING).unwrap().keys_destroyed, 0);
    assert_eq!(keys(), key);
    store.remove_hold(hold.id).unwrap();
    assert_eq!(store.expire(&NOTHING).unwrap().keys_destroyed, 1);
    assert!(keys().is_empty());
    // The day goes on.
    import(&store, &small_capture(8, 30), "a");
    assert_eq!(everything(&store).len(), 30);
    assert!(keys().len() == 1 && keys() != key);
    store.close().unwrap();
    let store = open(dir.path());
    assert_eq!((everything(&store).len(), store.check().damage), (30, vec![]));
}

/// The key of a day that nothing was let go of stays, whatever is not there: a folder may be on another
/// disk, which somebody forgot to mount.
#[test]
fn the_key_of_what_is_not_there_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    segments(dir.path(), 2, 20).close().unwrap();
    let aside = dir.path().join("aside");
    fs::rename(dir.path().join("segments"), &aside).unwrap();
    let rebuild = OpenOptions { rebuild: true, ..OpenOptions::default() };
    let store = Store::open(dir.path(), rebuild).unwrap();
    cleanup(&store, Retention::default()).unwrap();
    store.close().unwrap();
    fs::remove_dir(dir.path().join("segments")).unwrap();
    fs::rename(&aside, dir.path().join("segments")).unwrap();
    let store = Store::open(dir.path(), rebuild).unwrap();
    store.wait_until_indexed();
    assert_eq!((everything(&store).len(), store.check().damage), (40, vec![]));
}

/// As a crash leaves it between each two steps, and as it is when the catalog was lost then.
#[test]
fn a_segment_that_was_being_removed_is_recognised_and_goes() {
    let dir = tempfile::tempdir().unwrap();
    segments(dir.path(), 2, 20).close().unwrap();
    let first = files(&dir.path().join("segments"))[0].clone();
    let name = first.file_name().unwrap();
    let whole = fs::read(&first).unwrap();
    // The page as the one that is let go gets it.
    let destroyed = {
        let other = tempfile::tempdir().unwrap();
        copy(dir.path(), other.path());
        let file = fs::File::open(other.path().join("segments").join(name)).unwrap();
        let store = open(other.path());
        store.expire(&NOTHING).unwrap();
        bytes_of(&file)[..PAGE].to_vec()
    };
    let sector = [&destroyed[..512], &whole[512..]].concat();
    let page = [&destroyed[..], &whole[PAGE..]].concat();
    let last = whole.len() - PAGE;
    let without_trailer = [&page[..last], &[0; PAGE]].concat();
    let empty = [&destroyed[..], &vec![0; whole.len() - PAGE]].concat();
    for (step, bytes) in [sector, page, without_trailer, empty].iter().enumerate() {
        for rebuild in [false, true] {
            let copied = tempfile::tempdir().unwrap();
            copy(dir.path(), copied.path());
            fs::write(copied.path().join("segments").join(name), bytes).unwrap();
            if !rebuild {
                fs::remove_file(copied.path().join("catalog.redb")).unwrap();
            }
            let options = OpenOptions { rebuild, ..OpenOptions::default() };
            let store = Store::open(copied.path(), options).unwrap();
            store.wait_until_indexed();
            assert_eq!(store.damage(), Vec::<String>::new(), "{step}");
            assert_eq!(store.check().damage, [], "{step}");
            assert_eq!(everything(&store).len(), 20, "{step}");
            assert_eq!(files(&copied.path().join("segments")).len(), 1, "{step}");
        }
    }
    // An older copy of the catalog says that it is there.
    let copied = tempfile::tempdir().unwrap();
    copy(dir.path(), copied.path());
    fs::write(copied.path().join("segments").join(name), &destroyed).unwrap();
    let store = open(copied.path());
    let damage = store.check().damage;
    assert!(damage[0].what.contains("its key was destroyed"), "{damage:?}");
    let chore = Chore::Recovery(tapstone::RecoveryOptions { disk_share: 100 });
    let Maintained::Recovery(report) = store.maintain(chore, Occasion::Manual).unwrap() else {
        panic!()
    };
    assert!(report.mended[0].what.contains("had been let go"), "{report:?}");
    assert_eq!((report.check.damage, store.check().damage), (vec![], vec![]));
    assert_eq!(files(&copied.path().join("segments")).len(), 1);
}

#[test]
fn cleanup_lets_go_what_has_to_and_says_what_holds_keep() {
    let dir = tempfile::tempdir().unwrap();
    let store = segments(dir.path(), 4, 20);
    let nothing = cleanup(&store, Retention::default()).unwrap();
    assert_eq!(nothing, CleanupReport::default(), "nothing is asked for, and nothing is there");
    let hold = NewHold { filter: "host 10.0.1.7".into(), ..NewHold::default() };
    store.add_hold(&NewHold { reason: "x".into(), ..hold }).unwrap();
    let report = cleanup(&store, NOTHING).unwrap();
    assert_eq!((report.due, report.gone.len(), report.held_back.segments), (3, 1, 1));
    let gone = report.gone[0];
    assert_eq!((gone.segments, gone.packets), (3, 60));
    assert!(report.held_back.falls_short && report.given_back > 60 * 200, "{report:?}");
    assert_eq!(everything(&store).len(), 20);
    assert_eq!(store.check().damage, []);
}

#[test]
fn cleanup_is_refused_while_holds_may_be_missing() {
    let dir = tempfile::tempdir().unwrap();
    let store = segments(dir.path(), 2, 20);
    store.add_hold(&NewHold { reason: "x".into(), ..NewHold::default() }).unwrap();
    store.close().unwrap();
    flip(&files(&dir.path().join("ledger"))[0], 4096 + 60);
    let store = open(dir.path());
    let error = cleanup(&store, NOTHING).unwrap_err();
    let in_doubt = MaintainError::Cleanup(CleanupError::Expire(ExpireError::HoldsInDoubt));
    assert_eq!(error.to_string(), in_doubt.to_string());
    assert_eq!(everything(&store).len(), 40);
}

#[test]
fn cleanup_removes_what_belongs_to_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = segments(dir.path(), 3, 20);
    let split = files(&dir.path().join("splits"))[0].clone();
    let name = split.file_name().unwrap().to_str().unwrap().to_owned();
    // Of a segment that there never was; of one that was let go; of one that is indexed.
    let strange = split.with_file_name(name.replace("00000000", "000000ff"));
    fs::copy(&split, &strange).unwrap();
    assert_ne!(strange, split);
    let wal = dir.path().join("wal");
    let log = |sequence: u64| wal.join(format!("wal-00000-{:020}.log", sequence << 32 | 1));
    let (gone, indexed, unknown) = (log(0), log(2), log(77));
    let max_size = Some(store.info().unwrap().stored_bytes);
    store.expire(&Retention { max_size, ..NOTHING }).unwrap();
    for path in [&gone, &indexed, &unknown] {
        fs::write(path, [7; 100]).unwrap();
    }
    import(&store, &small_capture(5, 20), "a");
    fs::write(dir.path().join("probe"), "x").unwrap();
    fs::write(dir.path().join("segments/x.tmp"), "x").unwrap();
    let before = everything(&store);
    let report = cleanup(&store, Retention::default()).unwrap();
    assert_eq!((report.splits, report.leftovers), (1, 2), "{report:?}");
    assert!(!strange.try_exists().unwrap() && !dir.path().join("probe").try_exists().unwrap());
    assert!(!gone.try_exists().unwrap() && !indexed.try_exists().unwrap(), "{report:?}");
    assert!(unknown.try_exists().unwrap(), "it may tell of packets that are missing");
    fs::remove_file(&unknown).unwrap();
    assert_eq!(everything(&store), before, "the open segment, too");
    store.seal().unwrap();
    assert_eq!(store.check().damage, []);
    store.close().unwrap();
    let store = open(dir.path());
    assert_eq!((everything(&store), store.damage()), (before, vec![]));
}

/// A segment that could not be read when it went leaves checkpoints: its captures would count as known.
#[test]
fn what_was_in_a_damaged_segment_can_be_taken_in_again_after_a_cleanup() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let capture = small_capture(1, 20);
    import(&store, &capture, "a");
    store.seal().unwrap();
    store.close().unwrap();
    // Neither its header nor the copy of it can be read.
    let segment = &files(&dir.path().join("segments"))[0];
    flip(segment, 100);
    flip(segment, fs::metadata(segment).unwrap().len() as usize - 100);
    let store = open(dir.path());
    assert_eq!(store.expire(&NOTHING).unwrap().gone.len(), 1);
    assert!(import(&store, &capture, "a").is_refused());
    let report = cleanup(&store, Retention::default()).unwrap();
    assert_eq!(report.rows, 1, "{report:?}");
    assert_eq!(import(&store, &capture, "a").packets, 20);
    assert_eq!(everything(&store).len(), 20);
}
