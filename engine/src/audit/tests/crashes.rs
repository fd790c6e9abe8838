//! The log cut off at every moment, by a power cut, the end of the process, or a failing disk.

use std::io::ErrorKind;

use fastrand::Rng;
use tapstone_runtime::simulation::Fault;

use super::super::verify_audit;
use super::*;

/// What an honest disk does at its worst.
const HONEST: [Fault; 3] =
    [Fault::Error(ErrorKind::Other), Fault::Error(ErrorKind::StorageFull), Fault::Short];

/// What became of a log that was opened several times.
#[derive(Debug, Default)]
struct Life {
    history: Vec<Disk>,
    operations: u64,
    /// With the number of changes to the disk before each.
    acknowledged: Vec<(usize, u64, Vec<u8>)>,
}

fn live(seed: u64, disk: Disk, fault: Option<(u64, Fault)>) -> Life {
    let world = Simulation::with_history(seed, disk);
    if let Some((operation, fault)) = fault {
        world.fail(operation, fault);
    }
    let mut random = Rng::with_seed(seed);
    let mut life = Life::default();
    let mut entry = 0u32;
    world.run(|| {
        for _ in 0..3 {
            let Ok(open) = Open::new() else { continue };
            for _ in 0..random.usize(1..5) {
                let count = random.usize(1..6);
                let mut make = |_| {
                    entry += 1;
                    let length = if random.u8(..8) == 0 { 6000 } else { random.usize(4..60) };
                    [&entry.to_le_bytes()[..], &vec![7; length]].concat()
                };
                let contents: Vec<_> = (0..count).map(&mut make).collect();
                let numbers = open.append_all(&contents);
                let changes = world.changes();
                for (number, content) in numbers.into_iter().zip(contents) {
                    life.acknowledged.extend(number.ok().map(|it| (changes, it, content)));
                }
                // What fails here is tried again below, or when the log is checked.
                match random.u8(..6) {
                    0 => drop(open.archive(None)),
                    1 => drop(open.archive(Some("/elsewhere/archive"))),
                    _ => {}
                }
            }
        }
    });
    life.history = world.history();
    life.operations = world.operations();
    life
}

impl Life {
    fn acknowledged_at(&self, changes: usize) -> impl Iterator<Item = (u64, &[u8])> {
        let before = self.acknowledged.iter().filter(move |(at, ..)| *at <= changes);
        before.map(|(_, sequence, content)| (*sequence, &content[..]))
    }

    /// Whether a disk has all that was acknowledged by then, and goes on.
    fn check(&self, seed: u64, changes: usize, disk: Disk) -> Vec<Disk> {
        let world = Simulation::with_history(seed, disk);
        world.run(|| {
            let mut open = Open::new().unwrap();
            let after = open.append(b"after").unwrap();
            assert_eq!(open.told.damage(), Vec::<String>::new(), "change {changes}");
            for step in 0..3 {
                let report = verify_audit(Path::new(FOLDER)).unwrap();
                assert_eq!(report.breaks, [], "change {changes}");
                assert_eq!(report.records, after, "change {changes}");
                let records = records();
                for (sequence, content) in self.acknowledged_at(changes) {
                    let found = &records[sequence as usize - 1];
                    assert_eq!(found.content, content, "record {sequence}, change {changes}");
                }
                assert_eq!(report.behind, None, "change {changes}");
                // Once while it is open, once when what may go is in the archive, and once when
                // it is closed.
                if step == 0 {
                    open.archive(None).unwrap();
                } else {
                    open.close();
                }
            }
        });
        world.history()
    }
}

/// `SEEDS=1000` tries that many.
fn seeds(usual: u64) -> std::ops::Range<u64> {
    0..std::env::var("SEEDS").map_or(usual, |it| it.parse().unwrap())
}

#[test]
fn nothing_acknowledged_is_lost_when_the_power_goes_or_the_process_ends() {
    let mut points = 0;
    for seed in seeds(12) {
        let life = live(seed, new_store(), None);
        let mut random = Rng::with_seed(seed);
        for (changes, disk) in life.history.iter().enumerate() {
            let killed = life.check(random.u64(..), changes, disk.clone());
            // And again, while it goes on.
            let again = killed[random.usize(..killed.len())].power_cut(&mut random);
            life.check(random.u64(..), changes, again);
            let cut = disk.power_cut(&mut random);
            life.check(random.u64(..), changes, cut);
            points += 3;
        }
    }
    println!("{points} crash points");
}

#[test]
fn nothing_acknowledged_is_lost_when_an_operation_fails() {
    let mut points = 0;
    for seed in seeds(4) {
        let operations = live(seed, new_store(), None).operations;
        let mut random = Rng::with_seed(seed);
        for operation in 0..operations {
            let fault = HONEST[random.usize(..HONEST.len())];
            let life = live(seed, new_store(), Some((operation, fault)));
            let last = life.history.len() - 1;
            life.check(random.u64(..), last, life.history[last].clone());
            let point = random.usize(..=last);
            let cut = life.history[point].power_cut(&mut random);
            life.check(random.u64(..), point, cut);
            points += 2;
        }
    }
    println!("{points} crash points");
}

#[test]
fn after_a_failure_everything_is_refused_until_the_log_is_opened_again() {
    let operations = live(1, new_store(), None).operations;
    let mut refused = 0;
    for operation in 0..operations {
        let world = Simulation::new(1, new_store());
        world.fail(operation, Fault::Error(ErrorKind::Other));
        world.run(|| {
            let Ok(open) = Open::new() else { return };
            let results: Vec<_> = (0..6).map(|_| open.append(b"x")).collect();
            let failed = results.iter().position(Result::is_err);
            let Some(failed) = failed else { return };
            for result in &results[failed..] {
                let text = result.as_ref().unwrap_err().to_string();
                assert!(text.contains("cannot be written"), "{text}");
            }
            refused += 1;
            drop(open);
            let open = Open::new().unwrap();
            assert!(open.append(b"y").unwrap() > failed as u64);
        });
    }
    assert!(refused > 10, "{refused}");
}
