//! The power goes: after each change to the disk, and in recoveries once more.

use std::fmt;
use std::ops::AddAssign;
use std::path::Path;

use fastrand::Rng;
use tapstone::{OpenOptions, Store};
use tapstone_runtime::simulation::{Disk, Simulation};

use super::life::{FOLDER, Life, Script};
use super::model::Model;
use super::seeds::try_all;

/// One recovery in so many is cut off as well; and one store in so many takes everything in again,
/// which takes as long as all the rest.
const AGAIN: usize = 4;
/// After one change in so many the process is killed, and the power goes later.
const KILLED: usize = 16;

#[derive(Debug, Default)]
struct Tried {
    lives: u64,
    recoveries: u64,
    acknowledged: u64,
}

impl AddAssign for Tried {
    fn add_assign(&mut self, other: Tried) {
        self.lives += other.lives;
        self.recoveries += other.recoveries;
        self.acknowledged += other.acknowledged;
    }
}

impl fmt::Display for Tried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tried { lives, recoveries, acknowledged } = self;
        let points = lives + recoveries;
        write!(f, "{points} crash points ({recoveries} of them in recoveries), ")?;
        write!(f, "{acknowledged} acknowledged packets looked for")
    }
}

/// Opens a store after a crash; gives the disk as it was after each change on the way.
pub(super) fn recover(
    seed: u64,
    disk: Disk,
    options: OpenOptions,
    check: impl FnOnce(&Store) -> Result<(), String>,
) -> Result<Vec<Disk>, String> {
    let world = Simulation::with_history(seed, disk);
    world.run(|| {
        let store = Store::open(Path::new(FOLDER), options).map_err(|it| it.to_string())?;
        check(&store)
    })?;
    Ok(world.history())
}

/// The process dies, and what it had written without a sync is there for the next one, which takes
/// everything in again. Whatever it acknowledges then survives a power cut.
pub(super) fn kill_and_cut(
    disk: &Disk,
    model: &Model,
    options: OpenOptions,
    random: &mut Rng,
) -> Result<(), String> {
    let world = Simulation::with_history(random.u64(..), disk.clone());
    let (all, acknowledged) = world.run(|| {
        let store = Store::open(Path::new(FOLDER), options).map_err(|it| it.to_string())?;
        let all = model.take_in_again(&store)?;
        Ok::<_, String>((all, world.changes()))
    })?;
    let history = world.history();
    let point = random.usize(acknowledged..history.len());
    let cut = history[point].power_cut(random);
    let held = recover(random.u64(..), cut, options, |store| all.holds_soundly(store));
    held.map(drop).map_err(|error| format!("power cut after change {point}: {error}"))
}

fn cut_everywhere(seed: u64, tried: &mut Tried) -> Result<(), String> {
    let script = Script::new(seed);
    let life = Life::live(seed, &script, &[]).map_err(|error| format!("alive: {error}"))?;
    if !life.errors.is_empty() {
        return Err(format!("alive: {:?}", life.errors));
    }
    let mut random = Rng::with_seed(seed);
    for (changes, disk) in life.history.iter().enumerate() {
        let model = life.model_at(changes);
        tried.acknowledged += model.acknowledged_packets();
        let cut = disk.power_cut(&mut random);
        let told = |error| format!("power cut after change {changes}: {error}");
        if changes.is_multiple_of(KILLED) {
            let held = kill_and_cut(disk, &model, script.options, &mut random);
            held.map_err(|error| format!("killed after change {changes}: {error}"))?;
            tried.lives += 1;
            tried.recoveries += 1;
            continue;
        }
        if !changes.is_multiple_of(AGAIN) {
            let for_good = changes % AGAIN == 1;
            let held = recover(random.u64(..), cut, script.options, |store| match for_good {
                true => model.holds_for_good(store),
                false => model.holds_soundly(store),
            });
            held.map_err(told)?;
            tried.lives += 1;
            continue;
        }
        let history = recover(random.u64(..), cut, script.options, |store| {
            store.wait_until_indexed();
            Ok(())
        });
        let history = history.map_err(told)?;
        let second = random.usize(..history.len());
        let cut = history[second].power_cut(&mut random);
        let held =
            recover(random.u64(..), cut, script.options, |store| model.holds_for_good(store));
        held.map_err(|error| told(format!("again after change {second}: {error}")))?;
        tried.lives += 1;
        tried.recoveries += 1;
    }
    Ok(())
}

#[test]
fn nothing_acknowledged_is_lost_when_the_power_goes() {
    try_all("power cuts", 1, cut_everywhere);
}
