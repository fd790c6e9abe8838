//! The power goes while a backup is made, and while one is restored.

use std::fmt;
use std::ops::AddAssign;
use std::path::{Path, PathBuf};

use fastrand::Rng;
use tapstone::state::Occasion;
use tapstone::{BackupOptions, Chore, OpenError, Store, restore};
use tapstone_runtime::blocking::list_dir;
use tapstone_runtime::simulation::{Disk, Simulation};

use super::expiry::packets;
use super::life::{FOLDER, Life, Script};
use super::seeds::try_all;

const BACKUPS: &str = "/backups";
const RESTORED: &str = "/restored";

#[derive(Debug, Default)]
struct Tried {
    making: u64,
    whole: u64,
    restoring: u64,
}

impl AddAssign for Tried {
    fn add_assign(&mut self, other: Tried) {
        self.making += other.making;
        self.whole += other.whole;
        self.restoring += other.restoring;
    }
}

impl fmt::Display for Tried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tried { making, whole, restoring } = self;
        write!(f, "{making} crash points while backups were made ({whole} of them were whole), ")?;
        write!(f, "{restoring} while one was restored")
    }
}

/// Those that have the name of a backup.
fn backups() -> Result<Vec<PathBuf>, String> {
    let names = list_dir(Path::new(BACKUPS)).map_err(|it| it.to_string())?.into_iter();
    let names = names.filter_map(|name| name.into_string().ok());
    let is_backup = |name: &String| name != "lock" && !name.ends_with(".partial");
    Ok(names.filter(is_backup).map(|name| Path::new(BACKUPS).join(name)).collect())
}

fn make(script: &Script) -> Result<Vec<Vec<u8>>, String> {
    let store = Store::open(Path::new(FOLDER), script.options).map_err(|it| it.to_string())?;
    let before = packets(&store)?;
    let chore = Chore::Backup(BackupOptions { folder: BACKUPS.into() });
    store.maintain(chore, Occasion::Manual).map_err(|it| it.to_string())?;
    Ok(before)
}

/// Restores a backup; it has these packets.
fn is_whole(backup: &Path, expected: &[Vec<u8>]) -> Result<(), String> {
    let key = Path::new(FOLDER).join("master.key");
    let report = restore(backup, Path::new(RESTORED), &key).map_err(|it| it.to_string())?;
    if !report.damage.is_empty() {
        return Err(format!("{:?}", report.damage));
    }
    has(expected)
}

fn has(expected: &[Vec<u8>]) -> Result<(), String> {
    let options = tapstone::OpenOptions::default();
    let store = Store::open(Path::new(RESTORED), options).map_err(|it| it.to_string())?;
    let found = packets(&store)?;
    let same = found == expected;
    same.then_some(()).ok_or_else(|| format!("{} of {} packets", found.len(), expected.len()))
}

fn cut_everywhere(seed: u64, tried: &mut Tried) -> Result<(), String> {
    let script = Script::new(seed);
    let life = Life::live(seed, &script, &[]).map_err(|error| format!("alive: {error}"))?;
    let world = Simulation::with_history(seed, life.history.last().cloned().unwrap_or_default());
    // As everything that is found is there for good.
    let opened = world.run(|| {
        let store = Store::open(Path::new(FOLDER), script.options).map_err(|it| it.to_string())?;
        store.seal().map_err(|it| it.to_string())?;
        Ok::<_, String>(world.changes())
    })?;
    let (before, acknowledged) =
        world.run(|| Ok::<_, String>((make(&script)?, world.changes())))?;
    let mut random = Rng::with_seed(seed);
    for (changes, disk) in world.history().iter().enumerate().skip(opened) {
        let told = |error: String| format!("power cut after change {changes}: {error}");
        let cut = disk.power_cut(&mut random);
        let found = Simulation::new(random.u64(..), cut).run(|| {
            let found = backups()?;
            found.iter().try_for_each(|backup| is_whole(backup, &before))?;
            // The next one is made, whatever is left of this one, and the store is as it was.
            let again = make(&script)?;
            (again == before).then_some(found.len()).ok_or_else(|| "the store lost some".to_owned())
        });
        let found = found.map_err(told)?;
        if changes >= acknowledged && found == 0 {
            return Err(told("a backup that was acknowledged is gone".to_owned()));
        }
        tried.whole += found as u64;
        tried.making += 1;
    }
    restore_everywhere(&world.disk(), &before, &mut random, tried)
}

/// A restore that was cut off is no store, or the whole one; and the next one makes it.
fn restore_everywhere(
    disk: &Disk,
    before: &[Vec<u8>],
    random: &mut Rng,
    tried: &mut Tried,
) -> Result<(), String> {
    let world = Simulation::with_history(random.u64(..), disk.clone());
    world.run(|| is_whole(&backups()?.remove(0), before))?;
    for (changes, disk) in world.history().iter().enumerate() {
        let cut = disk.power_cut(random);
        let kept = Simulation::new(random.u64(..), cut).run(|| {
            let options = tapstone::OpenOptions::default();
            match Store::open(Path::new(RESTORED), options) {
                Ok(store) => {
                    drop(store);
                    has(before)
                }
                Err(OpenError::Restoring(_) | OpenError::NoStore(_)) => {
                    is_whole(&backups()?.remove(0), before)
                }
                Err(error) => Err(error.to_string()),
            }
        });
        kept.map_err(|error| format!("restoring, power cut after change {changes}: {error}"))?;
        tried.restoring += 1;
    }
    Ok(())
}

#[test]
fn a_backup_is_there_whole_or_not_at_all() {
    try_all("backing up", 4, cut_everywhere);
}
