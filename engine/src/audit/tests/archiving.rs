//! The archive: taken away, brought back, and tampered with.

use super::super::archive::mark::{self, Archived, Mark};
use super::super::{
    AuditBreakKind, AuditHead, AuditReport, verify_audit, verify_audit_with_archive,
};
use super::*;
use crate::head_file::Saved;

const AWAY: &str = "/away";

/// Four files of two records each; three of them are in the archive.
fn some() -> Disk {
    let file = |number: u8| vec![vec![number, 1], vec![number, 2]];
    archived(written(&[1, 2, 3, 4].map(file)))
}

fn in_archive() -> Vec<PathBuf> {
    let files = crate::log_files::files(&layout().audit_archive()).unwrap();
    files.into_iter().map(|(_, path)| path).collect()
}

fn verify() -> AuditReport {
    verify_audit(Path::new(FOLDER)).unwrap()
}

fn verify_with(folder: &str) -> AuditReport {
    verify_audit_with_archive(Path::new(FOLDER), Path::new(folder)).unwrap()
}

/// Takes files of the archive away, as a person would.
fn take_away(files: &[PathBuf]) {
    blocking::create_dir(Path::new(AWAY)).unwrap();
    for path in files {
        let bytes = blocking::read_file(path).unwrap().unwrap();
        let to = Path::new(AWAY).join(path.file_name().unwrap());
        blocking::replace_file(&to, &bytes).unwrap();
        blocking::remove(path).unwrap();
    }
}

fn kinds(report: &AuditReport) -> Vec<(Option<u64>, AuditBreakKind)> {
    report.breaks.iter().map(|it| (it.sequence, it.what.clone())).collect()
}

fn the_mark() -> Mark {
    let Saved::Head(mark) = mark::read(&layout().audit_mark(), STORE).unwrap() else {
        panic!("there is none");
    };
    mark
}

fn numbers() -> Vec<u64> {
    records().iter().map(|it| it.sequence).collect()
}

#[test]
fn archive_and_live_files_are_one_log_over_several_rotations() {
    Simulation::new(20, new_store()).run(|| {
        let open = Open::new().unwrap();
        assert_eq!(open.archive(None).unwrap(), ArchivedFiles::default());
        let mut all = 0;
        for round in 1..=5u64 {
            for _ in 0..round {
                all = open.append(b"x").unwrap();
            }
            let archived = open.archive(None).unwrap();
            // What was written last stays, whatever was begun since.
            let kept = crate::log_files::files(&layout().audit()).unwrap();
            assert!(!kept.is_empty(), "round {round}");
            let last = archived.last.map_or(0, |it| it.sequence);
            assert!(last < all, "{archived:?}");
            let report = verify();
            assert!(report.is_sound() && report.behind.is_none(), "{report:?}");
            assert_eq!((report.records, numbers()), (all, (1..=all).collect()));
        }
        assert!(in_archive().len() >= 3, "{:?}", in_archive());
        assert_eq!(open.archive(None).unwrap().files, Vec::<PathBuf>::new(), "nothing is due");
    });
}

#[test]
fn what_is_not_old_enough_stays_where_it_is() {
    let file = vec![vec![1]];
    Simulation::new(21, written(&[file.clone(), file])).run(|| {
        let open = Open::new().unwrap();
        let options = ArchiveOptions { after: Duration::from_secs(3600), folder: None };
        let now = records()[0].time;
        let archived = open.running.as_ref().unwrap().archive(&options, now, &|| true).unwrap();
        assert_eq!((archived, in_archive().len()), (ArchivedFiles::default(), 0));
    });
}

#[test]
fn what_was_taken_away_is_begun_behind_and_said() {
    Simulation::new(22, some()).run(|| {
        let files = in_archive();
        assert_eq!(files.len(), 3);
        let all = verify();
        take_away(&files[..2]);
        let report = verify();
        assert!(report.is_sound(), "{:?}", report.breaks);
        assert_eq!((report.behind.unwrap().sequence, report.records), (4, 4));
        assert_eq!((report.head, numbers()), (all.head, vec![5, 6, 7, 8]));
        take_away(&files[2..]);
        let report = verify();
        assert!(report.is_sound() && report.behind == Some(the_mark().last().unwrap()));
        assert_eq!(report.records, 2);
        // All of it together is found where it was taken to, and is not elsewhere.
        assert_eq!(verify_with(AWAY), all);
        let missing = [(Some(1), AuditBreakKind::Missing { through: 6 })];
        assert_eq!(kinds(&verify_with("/nowhere")), missing);
    });
}

#[test]
fn the_log_goes_on_and_is_archived_on_behind_what_was_taken_away() {
    Simulation::new(23, some()).run(|| {
        take_away(&in_archive());
        let mut last = 0;
        for round in 0..3 {
            let open = Open::new().unwrap();
            last = open.append(&[round]).unwrap();
            open.archive(None).unwrap();
            assert_eq!(open.told.damage(), Vec::<String>::new());
        }
        assert_eq!(last, 11);
        assert!(!in_archive().is_empty());
        let report = verify();
        assert!(report.is_sound() && report.behind.unwrap().sequence == 6, "{report:?}");
        assert_eq!(report.records, 5);
        let report = verify_with(AWAY);
        assert!(report.is_sound() && report.records == 11, "{report:?}");
    });
}

#[test]
fn files_that_are_removed_by_hand_are_told_as_before() {
    // One of the archive behind which others are; one that was never archived.
    for (file, lost) in [(1, 3..=4), (2, 5..=6), (3, 7..=8)] {
        Simulation::new(24, some()).run(|| {
            blocking::remove(&files()[file]).unwrap();
            let report = verify();
            let (from, through) = (*lost.start(), *lost.end());
            let kind = match kinds(&report)[..] {
                [(Some(sequence), ref kind)] if sequence == from => kind.clone(),
                ref other => panic!("{other:?}"),
            };
            let is_told =
                [AuditBreakKind::Missing { through }, AuditBreakKind::TailMissing { through }];
            assert!(is_told.contains(&kind), "{kind:?}");
        });
    }
    // Where the archive was taken away, too.
    Simulation::new(25, some()).run(|| {
        take_away(&in_archive());
        blocking::remove(&files()[0]).unwrap();
        let report = verify();
        assert_eq!(kinds(&report), [(Some(7), AuditBreakKind::TailMissing { through: 8 })]);
        // And it goes on behind the gap, which stays.
        let open = Open::new().unwrap();
        assert_eq!(open.append(b"on").unwrap(), 9);
        assert_eq!(kinds(&verify()), [(Some(7), AuditBreakKind::Missing { through: 8 })]);
    });
}

#[test]
fn a_mark_that_is_gone_or_tampered_with_is_told() {
    let is_told = |tamper: fn(&mut Mark), is_away: bool| {
        Simulation::new(26, some()).run(|| {
            if is_away {
                take_away(&in_archive());
            }
            let mut mark = the_mark();
            tamper(&mut mark);
            mark::write(&layout().audit_mark(), STORE, &mark).unwrap();
            !verify().is_sound()
        })
    };
    let other = |it: &mut Mark| it.files[2].last.hash.0[5] ^= 1;
    let before = |it: &mut Mark| it.files[2].last.sequence -= 1;
    let beyond = |it: &mut Mark| {
        let last = AuditHead { sequence: 8, ..it.files[2].last };
        it.files.push(Archived { file: 4, last });
    };
    let less = |it: &mut Mark| it.files.truncate(2);
    for tamper in [other, before, beyond] as [fn(&mut Mark); 3] {
        assert!(is_told(tamper, false));
        assert!(is_told(tamper, true));
    }
    // What it says of too little is not missed while the files are there.
    assert!(!is_told(less, false) && is_told(less, true));
    for is_away in [false, true] {
        Simulation::new(27, some()).run(|| {
            if is_away {
                take_away(&in_archive());
            }
            blocking::remove(&layout().audit_mark()).unwrap();
            let expected = match is_away {
                false => (None, AuditBreakKind::MarkMissing),
                true => (Some(1), AuditBreakKind::Missing { through: 6 }),
            };
            assert_eq!(kinds(&verify()), [expected]);
        });
    }
}

#[test]
fn a_mark_that_is_gone_is_made_anew_from_the_files_in_the_archive() {
    Simulation::new(28, some()).run(|| {
        let before = the_mark();
        blocking::remove(&layout().audit_mark()).unwrap();
        Open::new().unwrap().archive(None).unwrap();
        assert_eq!(the_mark(), before);
        assert!(verify().is_sound());
        blocking::replace_file(&layout().audit_mark(), b"nonsense").unwrap();
        let error = Open::new().unwrap().archive(None).unwrap_err();
        assert!(matches!(error, ArchiveError::MarkDamaged { .. }), "{error}");
        assert!(error.to_string().contains("restore it"), "{error}");
    });
}

#[test]
fn nothing_of_others_in_the_archive_is_written_over() {
    let file = vec![vec![1]];
    Simulation::new(29, written(&[file.clone(), file])).run(|| {
        let folder = layout().audit_archive();
        blocking::create_dir(&folder).unwrap();
        let others = folder.join(files()[0].file_name().unwrap());
        let content = [b'x'; 5000];
        blocking::replace_file(&others, &content).unwrap();
        let error = Open::new().unwrap().archive(None).unwrap_err();
        assert!(matches!(error, ArchiveError::Differs { .. }), "{error}");
        assert_eq!(blocking::read_file(&others).unwrap().unwrap(), content);
        let report = verify();
        assert_eq!(report.records, 2);
        assert!(report.is_sound(), "it is no part of the log: {:?}", report.breaks);
        // A copy of its own that a crash left is no part of it either, and is written anew.
        let mut copy = blocking::read_file(&files()[1]).unwrap().unwrap();
        copy.extend([0; 4096]);
        blocking::replace_file(&others, &copy).unwrap();
        assert!(verify().is_sound());
        assert_eq!(Open::new().unwrap().archive(None).unwrap().files, [others]);
        assert!(verify().is_sound() && verify().records == 2);
    });
}

#[test]
fn what_is_given_up_in_between_is_marked_by_the_next_run() {
    let file = |number: u8| vec![vec![number]];
    Simulation::new(30, written(&[1, 2, 3, 4].map(file))).run(|| {
        let open = Open::new().unwrap();
        let options = ArchiveOptions { after: Duration::ZERO, folder: Some("/else".into()) };
        let asked = std::cell::Cell::new(0);
        let go_on = || asked.replace(asked.get() + 1) < 2;
        let error = open.running.as_ref().unwrap().archive(&options, LATER, &go_on).unwrap_err();
        assert!(matches!(error, ArchiveError::GivenUp), "{error}");
        assert_eq!((the_mark().files.len(), the_mark().folders.len()), (0, 1));
        assert!(verify().is_sound() && verify().records == 4, "{:?}", verify());
        let archived = open.archive(Some("/else")).unwrap();
        assert_eq!((archived.files.len(), archived.last.unwrap().sequence), (1, 3));
        assert_eq!(the_mark().files.iter().map(|it| it.file).collect::<Vec<_>>(), [1, 2, 3]);
        assert!(verify().is_sound() && verify().records == 4);
        let relative = ArchiveOptions { folder: Some("else".into()), ..options };
        let error = open.running.as_ref().unwrap().archive(&relative, LATER, &|| true).unwrap_err();
        assert!(matches!(error, ArchiveError::Relative(_)), "{error}");
    });
}
