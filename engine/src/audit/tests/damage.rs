//! Whatever is done to a log that was closed is found.

use proptest::prelude::*;
use proptest::sample::Index;
use tapstone_wal::{Commits, Lsn, Piece, Wal};

use super::super::{AuditBreakKind, AuditReport, verify_audit, verify_audit_with_archive};
use super::*;
use crate::log_files::NO_SHARD;

/// What somebody does to the log.
#[derive(Clone, Debug)]
enum Damage {
    Flip {
        file: Index,
        at: Index,
        bit: u8,
    },
    Cut {
        file: Index,
        at: Index,
    },
    RemoveFile(Index),
    RenameFiles(Index, Index),
    RemoveFolder,
    /// From here on with sound frames: by one who knows the format.
    RemoveRecord(Index),
    SwapRecords(Index, Index),
    RepeatRecord(Index, Index),
    ChangeRecord {
        record: Index,
        at: Index,
        bit: u8,
    },
}

fn damage() -> impl Strategy<Value = Damage> {
    let index = any::<Index>;
    prop_oneof![
        8 => (index(), index(), 0..8u8).prop_map(|(file, at, bit)| Damage::Flip { file, at, bit }),
        4 => (index(), index()).prop_map(|(file, at)| Damage::Cut { file, at }),
        1 => index().prop_map(Damage::RemoveFile),
        1 => (index(), index()).prop_map(|(a, b)| Damage::RenameFiles(a, b)),
        1 => Just(Damage::RemoveFolder),
        4 => index().prop_map(Damage::RemoveRecord),
        4 => (index(), index()).prop_map(|(a, b)| Damage::SwapRecords(a, b)),
        2 => (index(), index()).prop_map(|(a, b)| Damage::RepeatRecord(a, b)),
        4 => (index(), index(), 0..8u8)
            .prop_map(|(record, at, bit)| Damage::ChangeRecord { record, at, bit }),
    ]
}

fn entries() -> impl Strategy<Value = Vec<Vec<Vec<u8>>>> {
    let entry = prop::collection::vec(any::<u8>(), 0..200);
    prop::collection::vec(prop::collection::vec(entry, 1..6), 1..4)
}

/// The log's files, the head, and the archive mark where there is one.
fn all_files() -> Vec<PathBuf> {
    let mut all = files();
    all.push(layout().audit_head());
    all.extend([layout().audit_mark()].into_iter().filter(|it| is_there(it)));
    all
}

fn is_there(path: &Path) -> bool {
    blocking::file_len(path).unwrap().is_some()
}

/// Reads the log's records, changes them, and writes them again in files of the same lengths.
fn forge(change: impl FnOnce(&mut Vec<Vec<u8>>)) {
    let (mut all, mut places) = (Vec::new(), Vec::new());
    for path in files() {
        let bytes = blocking::read_file(&path).unwrap().unwrap();
        let commits = Commits::new(bytes, STORE.0, NO_SHARD);
        let first = commits.first().unwrap();
        let before = all.len();
        for piece in commits {
            let Piece::Commit(commit) = piece else { panic!("{piece:?}") };
            all.extend(commit.records);
        }
        places.push((path, first, all.len() - before));
    }
    change(&mut all);
    let mut left = all.into_iter();
    for (path, first, count) in places {
        blocking::remove(&path).unwrap();
        let taken: Vec<_> = left.by_ref().take(count).collect();
        if !taken.is_empty() {
            rewrite(path, first, taken);
        }
    }
}

fn rewrite(path: PathBuf, first: Lsn, records: Vec<Vec<u8>>) {
    block_on(async {
        let mut wal = Wal::create_file(path, STORE.0, NO_SHARD, first).await.unwrap();
        for record in records {
            wal.append(record);
        }
        wal.commit().await.unwrap();
    });
}

/// Does it; false when it happens to change nothing.
fn apply(damage: &Damage) -> bool {
    let all = all_files();
    let count = records().len();
    match damage {
        Damage::Flip { file, at, bit } => {
            let mut bytes = blocking::read_file(&all[file.index(all.len())]).unwrap().unwrap();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            blocking::replace_file(&all[file.index(all.len())], &bytes).unwrap();
        }
        Damage::Cut { file, at } => {
            let length = blocking::file_len(&all[file.index(all.len())]).unwrap().unwrap();
            blocking::cut(&all[file.index(all.len())], at.index(length as usize) as u64).unwrap();
        }
        Damage::RemoveFile(file) => blocking::remove(&all[file.index(all.len())]).unwrap(),
        Damage::RenameFiles(a, b) => {
            let (a, b) = (&all[a.index(all.len())], &all[b.index(all.len())]);
            let aside = &a.with_file_name("aside");
            let are_logs = [a, b].iter().all(|it| it.extension().unwrap() == "log");
            if a == b || !are_logs || a.parent() != b.parent() {
                return false;
            }
            for (from, to) in [(a, aside), (b, a), (aside, b)] {
                blocking::rename(from, to).unwrap();
            }
        }
        Damage::RemoveFolder => {
            files().iter().for_each(|path| blocking::remove(path).unwrap());
            let folders = [layout().audit_archive(), layout().audit()];
            let folders = folders.iter().filter(|it| is_there(it));
            folders.for_each(|it| blocking::remove_dir(it).unwrap());
        }
        Damage::RemoveRecord(it) => forge(|all| drop(all.remove(it.index(count)))),
        Damage::SwapRecords(a, b) => {
            let (a, b) = (a.index(count), b.index(count));
            forge(|all| all.swap(a, b));
            return a != b;
        }
        Damage::RepeatRecord(a, b) => {
            let (a, b) = (a.index(count), b.index(count));
            forge(|all| all[a] = all[b].clone());
            return a != b;
        }
        Damage::ChangeRecord { record, at, bit } => forge(|all| {
            let record = &mut all[record.index(count)];
            let at = at.index(record.len());
            record[at] ^= 1 << bit;
        }),
    }
    true
}

fn verify() -> AuditReport {
    verify_audit(Path::new(FOLDER)).unwrap()
}

/// All of it, what was archived included.
fn verify_all() -> AuditReport {
    verify_audit_with_archive(Path::new(FOLDER), &layout().audit_archive()).unwrap()
}

fn kinds(report: &AuditReport) -> Vec<(Option<u64>, AuditBreakKind)> {
    report.breaks.iter().map(|it| (it.sequence, it.what.clone())).collect()
}

proptest! {
    #[test]
    fn whatever_is_done_to_a_closed_log_is_found(
        files in entries(), damage in damage(), is_archived in any::<bool>()
    ) {
        let disk = written(&files);
        let disk = if is_archived { archived(disk) } else { disk };
        Simulation::new(3, disk).run(|| {
            let whole = verify();
            prop_assert_eq!(&whole, &verify_all());
            let count: usize = files.iter().map(Vec::len).sum();
            prop_assert!(whole.is_sound(), "{:?}", whole.breaks);
            prop_assert_eq!(whole.records, count as u64);
            let last = records().pop().unwrap();
            let head = whole.head.unwrap();
            prop_assert_eq!((head.sequence, head.hash), (count as u64, last.hash));
            if apply(&damage) {
                let report = verify_all();
                prop_assert!(!report.is_sound(), "{report:?}");
                prop_assert!(report.records <= whole.records);
                // Files that were archived may be taken away, the oldest first.
                let report = verify();
                let is_told = report.behind.is_some_and(|it| it.sequence > 0);
                prop_assert!(!report.is_sound() || is_archived && is_told, "{report:?}");
            }
            Ok(())
        })?;
    }
}

#[test]
fn every_flipped_byte_is_found() {
    let disk = written(&[vec![b"one".to_vec(), b"two".to_vec()], vec![b"three".to_vec()]]);
    let archived = archived(disk.clone());
    let tried: [u32; 2] = [disk, archived].map(|disk| every_flipped_byte(&disk));
    assert!(tried[0] > 600 && tried[1] > tried[0], "{tried:?}");
}

fn every_flipped_byte(disk: &Disk) -> u32 {
    let paths = Simulation::new(4, disk.clone()).run(all_files);
    let mut tried = 0;
    for path in paths {
        let bytes = disk.read(&path).unwrap();
        let wanted = |at: &usize| bytes[*at] != 0 || at.is_multiple_of(61);
        for at in (0..bytes.len()).filter(wanted) {
            let mut disk = disk.clone();
            disk.overwrite(&path, at as u64, &[bytes[at] ^ 0x10]);
            let report = Simulation::new(5, disk).run(verify);
            assert!(!report.is_sound(), "byte {at} of {}", path.display());
            tried += 1;
        }
    }
    tried
}

#[test]
fn a_bad_byte_costs_one_commit_and_one_in_a_header_none() {
    let world = Simulation::new(6, written(&[vec![b"a".to_vec()], vec![b"b".to_vec()]]));
    world.run(|| {
        let path = files()[0].clone();
        let flip = |at: usize| {
            let mut bytes = blocking::read_file(&path).unwrap().unwrap();
            bytes[at] ^= 1;
            blocking::replace_file(&path, &bytes).unwrap();
        };
        flip(100);
        assert_eq!((verify().records, verify().breaks.len()), (2, 1));
        flip(100);
        flip(4096 + 50);
        let report = verify();
        assert_eq!(kinds(&report), [(Some(1), AuditBreakKind::Missing { through: 1 })]);
        assert_eq!(report.breaks[0].place.offset, Some(4096));
        assert_eq!(report.records, 1);
    });
}

#[test]
fn a_log_goes_on_behind_a_tail_that_is_gone_and_says_so_for_good() {
    let world = Simulation::new(7, written(&[vec![b"1".to_vec()], vec![b"2".to_vec()]]));
    world.run(|| {
        blocking::remove(&files()[1]).unwrap();
        let missing = AuditBreakKind::TailMissing { through: 2 };
        assert_eq!(kinds(&verify()), [(Some(2), missing)]);
        let mut open = Open::new().unwrap();
        assert_eq!(open.append(b"3").unwrap(), 3);
        let told = open.told.damage();
        assert!(told.len() == 1 && told[0].contains("record 2 is missing"), "{told:?}");
        open.close();
        let gap = [(Some(2), AuditBreakKind::Missing { through: 2 })];
        assert_eq!(kinds(&verify()), gap);
        let mut open = Open::new().unwrap();
        assert_eq!(open.append(b"4").unwrap(), 4);
        assert_eq!(open.told.damage(), Vec::<String>::new());
        open.close();
        assert_eq!(kinds(&verify()), gap);
        assert_eq!(verify().records, 3);
    });
}

#[test]
fn a_log_that_is_gone_as_a_whole_or_has_no_head_is_told() {
    let disk = written(&[vec![b"1".to_vec()], vec![b"2".to_vec()]]);
    Simulation::new(8, disk.clone()).run(|| {
        assert!(apply(&Damage::RemoveFolder));
        let open = Open::new().unwrap();
        assert_eq!(open.append(b"3").unwrap(), 3);
        assert!(open.told.damage()[0].contains("records 1 to 2 are missing"));
        drop(open);
        let gap = AuditBreakKind::Missing { through: 2 };
        assert_eq!(kinds(&verify()), [(Some(1), gap)]);
    });
    Simulation::new(9, disk).run(|| {
        blocking::remove(&layout().audit_head()).unwrap();
        assert_eq!(kinds(&verify()), [(None, AuditBreakKind::HeadMissing)]);
        let open = Open::new().unwrap();
        assert_eq!(open.append(b"3").unwrap(), 3);
        assert!(open.told.damage()[0].contains("it is gone"));
        drop(open);
        assert!(verify().is_sound());
    });
}

#[test]
fn a_file_is_followed_by_another_and_the_head_comes_along() {
    let world = Simulation::new(10, new_store());
    world.run(|| {
        let mut open = Open::new().unwrap();
        for number in 1..=20 {
            assert_eq!(open.append(&[number]).unwrap(), u64::from(number));
        }
        assert_eq!(files().len(), 10);
        let saved = super::super::head::read(&layout().audit_head(), STORE).unwrap();
        let super::super::head::Saved::Head(head) = saved else { panic!("{saved:?}") };
        assert!((16..=20).contains(&head.sequence), "{head:?}");
        assert!(verify().is_sound());
        open.close();
        assert!(verify().is_sound());
        let contents: Vec<u8> = records().iter().map(|it| it.content[0]).collect();
        assert_eq!(contents, (1..=20).collect::<Vec<u8>>());
    });
}
