//! The power goes while packets are let go.

use std::fmt;
use std::ops::AddAssign;
use std::path::Path;

use fastrand::Rng;
use tapstone::{Retention, Selection, Store};
use tapstone_runtime::simulation::Simulation;

use super::life::{FOLDER, Life, Script};
use super::power_cuts::recover;
use super::seeds::try_all;

#[derive(Debug, Default)]
struct Tried {
    crash_points: u64,
    expired: u64,
}

impl AddAssign for Tried {
    fn add_assign(&mut self, other: Tried) {
        self.crash_points += other.crash_points;
        self.expired += other.expired;
    }
}

impl fmt::Display for Tried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tried { crash_points, expired } = self;
        write!(f, "{crash_points} crash points while {expired} segments expired")
    }
}

/// The bytes of every packet.
fn packets(store: &Store) -> Result<Vec<Vec<u8>>, String> {
    let mut packets = store.query(&Selection::default()).map_err(|it| it.to_string())?;
    let all = (&mut packets).map(|it| it.data().to_vec()).collect();
    let missing = &packets.answer().completeness.missing;
    if missing.is_empty() { Ok(all) } else { Err(format!("incomplete: {missing:?}")) }
}

/// Whatever the crash left, nothing that should stay is gone, nothing that is half gone is seen, and
/// letting go goes on.
fn cut_everywhere(seed: u64, tried: &mut Tried) -> Result<(), String> {
    let script = Script::new(seed);
    let life = Life::live(seed, &script, &[]).map_err(|error| format!("alive: {error}"))?;
    let world = Simulation::with_history(seed, life.history.last().cloned().unwrap_or_default());
    let (mut before, mut after, mut retention) = (Vec::new(), Vec::new(), Retention::default());
    world.run(|| {
        let store = Store::open(Path::new(FOLDER), script.options).map_err(|it| it.to_string())?;
        store.seal().map_err(|it| it.to_string())?;
        before = packets(&store)?;
        let info = store.info().map_err(|it| it.to_string())?;
        retention.max_size = Some(info.stored_bytes / 2);
        let gone = store.expire(&retention).map_err(|it| it.to_string())?;
        tried.expired += gone.len() as u64;
        after = packets(&store)?;
        Ok::<_, String>(())
    })?;
    let mut random = Rng::with_seed(seed);
    for (changes, disk) in world.history().iter().enumerate() {
        let cut = disk.power_cut(&mut random);
        let held = recover(random.u64(..), cut, script.options, |store| {
            store.seal().map_err(|it| it.to_string())?;
            let damage = store.check().damage;
            if !damage.is_empty() {
                return Err(format!("check: {damage:?}"));
            }
            let found = packets(store)?;
            let lost = after.iter().filter(|it| !found.contains(it)).count();
            let made_up = found.iter().filter(|it| !before.contains(it)).count();
            if lost + made_up > 0 {
                return Err(format!("{lost} packets lost, {made_up} made up"));
            }
            store.expire(&retention).map_err(|it| it.to_string())?;
            let left = packets(store)?;
            let bytes = store.info().map_err(|it| it.to_string())?.stored_bytes;
            let fits = retention.max_size.is_some_and(|most| bytes <= most);
            (fits && left.iter().all(|it| found.contains(it)))
                .then_some(())
                .ok_or_else(|| format!("{bytes} bytes left of {retention:?}"))
        });
        held.map_err(|error| format!("power cut after change {changes}: {error}"))?;
        tried.crash_points += 1;
    }
    Ok(())
}

#[test]
fn letting_go_goes_on_after_the_power_went() {
    try_all("expiring", 8, cut_everywhere);
}
