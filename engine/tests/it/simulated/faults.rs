//! One operation on the disk goes wrong: each in turn.

use std::fmt;
use std::io::ErrorKind;
use std::ops::AddAssign;

use fastrand::Rng;
use tapstone_runtime::simulation::Fault;

use super::life::{Life, Script};
use super::power_cuts::{kill_and_cut, recover};
use super::seeds::{is_over, try_all};

/// What an honest disk does at its worst.
const HONEST: [Fault; 3] =
    [Fault::Error(ErrorKind::Other), Fault::Error(ErrorKind::StorageFull), Fault::Short];

/// Changes after a fault, within which the process may be killed.
const AFTERMATH: usize = 6;

#[derive(Debug, Default)]
struct Tried {
    operations: u64,
    failures: u64,
    crash_points: u64,
}

impl AddAssign for Tried {
    fn add_assign(&mut self, other: Tried) {
        self.operations += other.operations;
        self.failures += other.failures;
        self.crash_points += other.crash_points;
    }
}

impl fmt::Display for Tried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tried { operations, failures, crash_points } = self;
        write!(f, "{operations} operations went wrong, {failures} of them told at once, ")?;
        write!(f, "{crash_points} crash points after that")
    }
}

/// Operations that a life needs.
fn operations(seed: u64, script: &Script) -> Result<u64, String> {
    Ok(Life::live(seed, script, &[])?.operations)
}

/// Whatever fails: when the machine goes on, and when the power goes, what was acknowledged is
/// there.
fn fail_everywhere(seed: u64, tried: &mut Tried) -> Result<(), String> {
    let script = Script::new(seed);
    let mut random = Rng::with_seed(seed);
    for operation in 0..operations(seed, &script)? {
        if is_over() {
            break;
        }
        let fault = HONEST[random.usize(..HONEST.len())];
        let told = |error| format!("{fault:?} at operation {operation}: {error}");
        let life = Life::live(seed, &script, &[(operation, fault)]).map_err(told)?;
        tried.operations += 1;
        tried.failures += u64::from(!life.errors.is_empty());
        let last = life.history.len() - 1;
        if let Some(struck) = life.struck.filter(|_| operation % 2 == 1) {
            // Whatever was to be done about it may not have been done.
            let point = (struck + random.usize(..AFTERMATH)).min(last);
            let (disk, model) = (&life.history[point], life.model_at(point));
            let held = kill_and_cut(disk, &model, script.options, &mut random);
            held.map_err(|it| told(format!("killed after change {point} of {last}: {it}")))?;
            tried.crash_points += 1;
            continue;
        }
        let point = random.usize(..=last);
        let disks = [(last, life.history[last].clone()), {
            (point, life.history[point].power_cut(&mut random))
        }];
        for (changes, disk) in disks {
            let model = life.model_at(changes);
            let held =
                recover(random.u64(..), disk, script.options, |store| model.holds_for_good(store));
            held.map_err(|it| told(format!("after change {changes} of {last}: {it}")))?;
            tried.crash_points += 1;
        }
    }
    Ok(())
}

#[test]
fn nothing_acknowledged_is_lost_when_an_operation_fails() {
    try_all("failures", 48, fail_everywhere);
}

#[derive(Debug, Default)]
struct Dishonest {
    tried: u64,
    refused: u64,
    lost_and_told: u64,
    lost_in_silence: u64,
}

impl AddAssign for Dishonest {
    fn add_assign(&mut self, other: Dishonest) {
        self.tried += other.tried;
        self.refused += other.refused;
        self.lost_and_told += other.lost_and_told;
        self.lost_in_silence += other.lost_in_silence;
    }
}

impl fmt::Display for Dishonest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Dishonest { tried, refused, lost_and_told, lost_in_silence } = self;
        write!(f, "{tried} lies, of which {lost_and_told} lost packets and were told, ")?;
        write!(f, "{lost_in_silence} lost packets in silence, {refused} left no store to open")
    }
}

/// A disk that lies can lose what it vouched for. It cannot make a store say what is not so.
///
/// Each lie costs a whole life: every second operation is tried.
fn lie_everywhere(seed: u64, fault: Fault, tried: &mut Dishonest) -> Result<(), String> {
    let script = Script::new(seed);
    let mut random = Rng::with_seed(seed);
    for operation in (random.u64(..2)..operations(seed, &script)?).step_by(2) {
        let told = |error| format!("{fault:?} at operation {operation}: {error}");
        let life = Life::live(seed, &script, &[(operation, fault)]).map_err(told)?;
        let changes = random.usize(..life.history.len());
        let disk = life.history[changes].power_cut(&mut random);
        let model = life.model_at(changes);
        let mut found = None;
        let opened = recover(random.u64(..), disk, script.options, |store| {
            found = Some(model.found_of_acknowledged(store)?);
            Ok(())
        });
        tried.tried += 1;
        match (opened, found) {
            (Ok(_), Some(found)) => {
                let lost = found.packets < model.acknowledged_packets();
                tried.lost_and_told += u64::from(lost && found.told);
                tried.lost_in_silence += u64::from(lost && !found.told);
            }
            (Err(error), _) if error.contains("packet ") => return Err(told(error)),
            _ => tried.refused += 1,
        }
    }
    Ok(())
}

#[test]
fn a_sync_that_lies_makes_no_packet_up() {
    try_all("lying syncs", 96, |seed, tried| lie_everywhere(seed, Fault::Lie, tried));
}

#[test]
fn a_write_to_the_wrong_place_makes_no_packet_up() {
    try_all("misdirected writes", 96, |seed, tried| lie_everywhere(seed, Fault::Misdirect, tried));
}
