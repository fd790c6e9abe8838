//! The ledger in a simulated world: damaged in every place, and cut off at every moment.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use fastrand::Rng;
use tapstone_runtime::simulation::{Disk, Fault, Simulation};
use tapstone_runtime::{block_on, blocking};

use super::record::tests::{hold, transition};
use super::state::State;
use super::{Context, LedgerError, Record, Running};
use crate::id::StoreId;
use crate::layout::Layout;
use crate::unindexed::Unindexed;

const FOLDER: &str = "/store";
const STORE: StoreId = StoreId([5; 16]);

fn layout() -> Layout {
    Layout::new(Path::new(FOLDER))
}

/// An open ledger, whose files end after four commits.
struct Open {
    running: Running,
    told: Arc<Unindexed>,
}

impl Open {
    fn new() -> Result<Open, String> {
        // As opening a store does.
        blocking::create_dir(Path::new(FOLDER)).map_err(|it| it.to_string())?;
        blocking::sync_dir(Path::new(FOLDER)).map_err(|it| it.to_string())?;
        let told = Arc::new(Unindexed::default());
        let context = Context { layout: layout(), store: STORE, file_size: 20_000 };
        let running = Running::start(context, &told).map_err(|it| it.to_string())?;
        Ok(Open { running, told })
    }

    fn record(&self, record: Record) -> Result<(), LedgerError> {
        block_on(self.running.record(record))
    }

    fn state(&self) -> State {
        self.running.state()
    }
}

/// What is decided in a life of three openings.
fn life() -> [Vec<Record>; 3] {
    let held = |id| Record::Held(hold(id));
    let went = |sequence| Record::Transition(transition(sequence));
    let other = Record::Other(vec![200, 1, 2]);
    let first = [held(1), held(2), went(1), Record::Lifted(1), held(3), other, held(4), went(2)];
    [
        first.into_iter().chain([Record::Lifted(2)]).collect(),
        vec![],
        vec![went(3), held(5), Record::Lifted(3)],
    ]
}

/// What is in force behind each record of a life, and at its beginning.
fn states() -> Vec<State> {
    let mut states = vec![State::default()];
    for record in life().concat() {
        let mut next = states.last().unwrap().clone();
        next.apply(record);
        states.push(next);
    }
    states
}

/// A life, lived; gives how many changes to the disk there were before each acknowledgement, and
/// what was refused.
fn live(world: &Simulation) -> (Vec<usize>, usize) {
    let (mut acknowledged, mut refused) = (Vec::new(), 0);
    for records in life() {
        let Ok(open) = Open::new() else {
            refused += 1;
            continue;
        };
        for record in records {
            match open.record(record) {
                Ok(()) => acknowledged.push(world.changes()),
                Err(_) => refused += 1,
            }
        }
    }
    (acknowledged, refused)
}

fn lived() -> Disk {
    let world = Simulation::new(1, Disk::default());
    world.run(|| assert_eq!(live(&world).1, 0));
    world.disk()
}

/// Whatever verifies at a later opening, when records are added then.
fn opened(seed: u64, disk: Disk, check: impl FnOnce(&Open)) -> Disk {
    let world = Simulation::new(seed, disk);
    world.run(|| check(&Open::new().unwrap()));
    world.disk()
}

#[test]
fn what_was_recorded_is_in_force_after_reopening_and_old_files_are_gone() {
    let disk = opened(2, lived(), |open| {
        assert_eq!(open.state(), *states().last().unwrap());
        assert!(open.told.damage().is_empty());
        assert_eq!(block_on(open.running.verify()), []);
    });
    opened(3, disk, |open| {
        open.record(Record::Held(hold(9))).unwrap();
        let files = crate::log_files::files(&layout().ledger()).unwrap();
        assert_eq!(files.len(), 1, "{files:?}");
        let mut expected = states().last().unwrap().clone();
        expected.apply(Record::Held(hold(9)));
        assert_eq!(open.state(), expected);
    });
}

#[test]
fn nothing_is_written_before_there_is_something_to_record() {
    opened(1, Disk::default(), |_| {
        assert!(blocking::read_file(&layout().ledger_head()).unwrap().is_none());
        assert!(blocking::file_len(&layout().ledger()).unwrap().is_none());
    });
}

#[test]
fn nothing_acknowledged_is_lost_when_the_power_goes_and_nothing_is_in_doubt() {
    let (world, states) = (Simulation::with_history(1, Disk::default()), states());
    let acknowledged = world.run(|| live(&world).0);
    let mut random = Rng::with_seed(7);
    for (changes, disk) in world.history().iter().enumerate() {
        for cut in [disk.power_cut(&mut random), disk.power_cut(&mut random), disk.clone()] {
            let done = acknowledged.iter().filter(|at| **at <= changes).count();
            let disk = opened(random.u64(..), cut, |open| {
                assert!(open.told.damage().is_empty(), "{changes}: {:?}", open.told.damage());
                let state = open.state();
                let is_next = states.get(done + 1).is_some_and(|next| *next == state);
                assert!(state == states[done] || is_next, "{changes}: {state:?}");
                // And it goes on from there.
                open.record(Record::Held(hold(9))).unwrap();
            });
            opened(random.u64(..), disk.power_cut(&mut random), |open| {
                assert!(open.state().holds.contains_key(&9) && !open.state().in_doubt);
            });
        }
    }
}

#[test]
fn whatever_operation_fails_what_was_acknowledged_is_in_force() {
    let world = Simulation::new(1, Disk::default());
    world.run(|| live(&world));
    let mut random = Rng::with_seed(3);
    for operation in 0..world.operations() {
        for fault in [Fault::Error(std::io::ErrorKind::StorageFull), Fault::Short] {
            let world = Simulation::new(operation, Disk::default());
            world.fail(operation, fault);
            let kept = world.run(|| {
                live(&world);
                // Without the fault a later attempt always works.
                let open = Open::new().unwrap();
                open.record(Record::Held(hold(9))).unwrap();
                open.state()
            });
            opened(operation, world.disk().power_cut(&mut random), |open| {
                assert_eq!(open.state(), kept, "{fault:?} at operation {operation}");
            });
        }
    }
}

/// The files that matter.
fn files(disk: &Disk) -> Vec<(PathBuf, Vec<u8>)> {
    let world = Simulation::new(1, disk.clone());
    world.run(|| {
        let last = crate::log_files::files(&layout().ledger()).unwrap().pop().unwrap().1;
        let read = |path: PathBuf| (path.clone(), blocking::read_file(&path).unwrap().unwrap());
        vec![read(last), read(layout().ledger_head())]
    })
}

#[test]
fn damage_anywhere_is_told_and_in_doubt_until_somebody_vouches() {
    let disk = lived();
    for (path, bytes) in files(&disk) {
        for at in (0..bytes.len()).filter(|at| bytes[*at] != 0 || at % 97 == 0) {
            let world = Simulation::new(1, disk.clone());
            world.run(|| {
                blocking::write_at(&path, at as u64, &[bytes[at] ^ 0x10]).unwrap();
                let open = Open::new().unwrap();
                let what = format!("{} byte {at}: {:?}", path.display(), open.told.damage());
                assert!(open.state().in_doubt && open.told.damage().len() >= 2, "{what}");
                let made_up = |id: &u64| !(1..=5).contains(id);
                assert!(!open.state().holds.keys().any(made_up), "{what}");
                assert!(open.told.damage()[0].contains(path.to_str().unwrap()), "{what}");
            });
        }
    }
    let (path, bytes) = files(&disk).remove(0);
    let world = Simulation::new(1, disk);
    world.run(|| {
        // Where the last hold was added.
        let at = bytes.len() - 2 * 4096 + 40;
        blocking::write_at(&path, at as u64, &[bytes[at] ^ 1]).unwrap();
        let open = Open::new().unwrap();
        assert_eq!(open.state().holds.keys().copied().collect::<Vec<_>>(), [4]);
        // A hold that is added vouches for no other.
        open.record(Record::Held(hold(7))).unwrap();
        drop(open);
        let open = Open::new().unwrap();
        assert!(open.state().in_doubt && open.state().holds.contains_key(&7));
        assert!(blocking::file_len(&path).unwrap().is_some(), "kept for one who looks");
        open.record(Record::Vouched).unwrap();
        assert!(blocking::file_len(&path).unwrap().is_none());
        drop(open);
        let open = Open::new().unwrap();
        assert!(!open.state().in_doubt && open.told.damage().is_empty());
        assert!(open.state().holds.contains_key(&7));
    });
}

#[test]
fn what_is_gone_shows() {
    let disk = lived();
    let (log, head) = (files(&disk).remove(0).0, layout().ledger_head());
    let in_doubt = |damage: &dyn Fn()| {
        let world = Simulation::new(1, disk.clone());
        world.run(|| {
            damage();
            let open = Open::new().unwrap();
            assert_eq!(open.state().in_doubt, !open.told.damage().is_empty());
            open.state().in_doubt
        })
    };
    assert!(!in_doubt(&|| {}));
    assert!(in_doubt(&|| blocking::remove(&log).unwrap()));
    assert!(in_doubt(&|| blocking::remove(&head).unwrap()));
    assert!(in_doubt(&|| blocking::cut(&log, 4096).unwrap()));
    assert!(in_doubt(&|| blocking::cut(&log, 0).unwrap()));
    assert!(in_doubt(&|| blocking::remove_dir(&layout().ledger()).unwrap()));
    // Nobody can tell it from a ledger that was never begun.
    let both = || {
        blocking::remove(&log).unwrap();
        blocking::remove(&head).unwrap();
    };
    assert!(!in_doubt(&both));
}

#[test]
fn a_record_of_a_newer_program_is_carried_along_or_puts_all_in_doubt() {
    let disk = opened(1, lived(), |open| open.record(Record::Other(vec![5])).unwrap());
    opened(1, disk, |open| {
        assert!(open.state().in_doubt);
        assert!(open.told.damage()[0].contains("a newer Tapstone wrote it"));
        assert_eq!(open.state().holds, states().pop().unwrap().holds);
    });
}
