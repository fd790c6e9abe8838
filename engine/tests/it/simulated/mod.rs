//! The store in a simulated world, where everything that can happen to a disk does
//! (docs/reliability.md). One seed decides a life, its order and its faults.

mod life;
mod model;

use std::path::Path;

use fastrand::Rng;
use tapstone::{OpenOptions, Store};
use tapstone_runtime::simulation::{Disk, Simulation};

use life::{FOLDER, Life, Script};

/// What a seed tried.
#[derive(Debug, Default)]
struct Tried {
    crash_points: u64,
    crash_points_in_recovery: u64,
}

/// Opens a store after a crash; gives the disk as it was after each change on the way.
fn recover(
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

/// Cuts the power after each change to the disk, and in every fourth recovery once more.
fn cut_everywhere(seed: u64, tried: &mut Tried) -> Result<(), String> {
    let script = Script::new(seed);
    let life = Life::live(seed, &script, &[]).map_err(|error| format!("alive: {error}"))?;
    if !life.errors.is_empty() {
        return Err(format!("alive: {:?}", life.errors));
    }
    let mut random = Rng::with_seed(seed);
    for (changes, disk) in life.history.iter().enumerate() {
        let model = life.model_at(changes);
        let cut = disk.power_cut(&mut random);
        let files: Vec<_> =
            cut.files().iter().map(|it| (it.clone(), cut.read(it).map(|it| it.len()))).collect();
        let told = |error| format!("power cut after change {changes}: {error}\n{files:?}");
        let again = changes % 4 == 0;
        let history = recover(random.u64(..), cut, script.options, |store| {
            if again { Ok(()) } else { model.holds_for_good(store) }
        });
        tried.crash_points += 1;
        let history = history.map_err(told)?;
        if again {
            let second = random.usize(..history.len());
            let cut = history[second].power_cut(&mut random);
            let held =
                recover(random.u64(..), cut, script.options, |store| model.holds_for_good(store));
            held.map_err(|error| told(format!("again after change {second}: {error}")))?;
            tried.crash_points_in_recovery += 1;
        }
    }
    Ok(())
}

#[test]
fn nothing_acknowledged_is_lost_when_the_power_goes() {
    let seeds: u64 = std::env::var("SEEDS").map_or(20, |it| it.parse().unwrap());
    let mut tried = Tried::default();
    let began = std::time::Instant::now();
    for seed in 0..seeds {
        if let Err(error) = cut_everywhere(seed, &mut tried) {
            panic!("seed {seed}: {error}\n{:#?}", Script::new(seed));
        }
    }
    println!("{tried:?} in {:?}", began.elapsed());
}
