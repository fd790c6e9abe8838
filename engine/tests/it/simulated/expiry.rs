//! The power goes while packets are let go, and others are held.

use std::fmt;
use std::ops::AddAssign;
use std::path::Path;

use fastrand::Rng;
use tapstone::{Hold, HoldError, NewHold, OpenOptions, Retention, Selection, Store};
use tapstone_runtime::simulation::Simulation;

use super::life::{FOLDER, Life, Script};
use super::model::packet;
use super::power_cuts::recover;
use super::seeds::try_all;

#[derive(Debug, Default)]
struct Tried {
    crash_points: u64,
    expired: u64,
    held: u64,
}

impl AddAssign for Tried {
    fn add_assign(&mut self, other: Tried) {
        self.crash_points += other.crash_points;
        self.expired += other.expired;
        self.held += other.held;
    }
}

impl fmt::Display for Tried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tried { crash_points, expired, held } = self;
        write!(f, "{crash_points} crash points while {expired} segments expired, {held} were held")
    }
}

/// The bytes of every packet.
pub(super) fn packets(store: &Store) -> Result<Vec<Vec<u8>>, String> {
    let mut packets = store.query(&Selection::default()).map_err(|it| it.to_string())?;
    let all = (&mut packets).map(|it| it.data().to_vec()).collect();
    let missing = &packets.answer().completeness.missing;
    if missing.is_empty() { Ok(all) } else { Err(format!("incomplete: {missing:?}")) }
}

/// After one change in so many the catalog is lost as well.
const REBUILT: usize = 2;

/// The packets of one flow up to this number are held.
const HELD_UNTIL: u64 = 30;

fn to_be_held() -> NewHold {
    let (filter, reason) = ("host 10.0.0.3".to_owned(), "an incident".to_owned());
    NewHold { until: Some(packet(HELD_UNTIL).0), filter, reason, ..NewHold::default() }
}

fn is_held(data: &[u8]) -> bool {
    let number = u64::from_le_bytes(data[28..36].try_into().unwrap());
    data[19] == 3 && packet(number).0 < packet(HELD_UNTIL).0
}

/// A hold that was added, and another that was added and removed, each with the changes to the
/// disk before that was acknowledged.
#[derive(Debug, Default)]
struct Held {
    hold: Option<Hold>,
    from: usize,
    other_until: usize,
}

impl Held {
    fn place(&mut self, store: &Store, world: &Simulation) -> Result<(), HoldError> {
        let everything = NewHold { reason: "a mistake".to_owned(), ..NewHold::default() };
        let other = store.add_hold(&everything)?;
        self.hold = Some(store.add_hold(&to_be_held())?);
        self.from = world.changes();
        store.remove_hold(other.id)?;
        self.other_until = world.changes();
        Ok(())
    }

    /// What is in force after so many changes is what was acknowledged.
    fn holds(&self, store: &Store, changes: usize) -> Result<(), String> {
        let found = store.holds();
        let is_there = self.hold.iter().all(|hold| found.contains(hold));
        let lost = changes >= self.from && !is_there;
        let too_many = changes >= self.other_until && found.len() > 1;
        if lost || too_many || store.holds_in_doubt() {
            return Err(format!("holds are {found:?}; damage: {:?}", store.damage()));
        }
        Ok(())
    }
}

/// After a rebuild nobody knows what was to go; what is half gone is recognised all the same.
fn is_whole_without_its_catalog(
    store: &Store,
    before: &[Vec<u8>],
    after: &[Vec<u8>],
) -> Result<(), String> {
    store.seal().map_err(|it| it.to_string())?;
    let damage = store.check().damage;
    if !damage.is_empty() {
        return Err(format!("check: {damage:?}"));
    }
    let found = packets(store)?;
    let lost = after.iter().filter(|it| !found.contains(it)).count();
    let made_up = found.iter().filter(|it| !before.contains(it)).count();
    (lost + made_up == 0).then_some(()).ok_or_else(|| format!("{lost} lost, {made_up} made up"))
}

/// Whatever the crash left, nothing that should stay is gone, nothing that is half gone is seen, and
/// letting go goes on; what was held stays.
fn cut_everywhere(seed: u64, tried: &mut Tried) -> Result<(), String> {
    let script = Script::new(seed);
    let life = Life::live(seed, &script, &[]).map_err(|error| format!("alive: {error}"))?;
    let world = Simulation::with_history(seed, life.history.last().cloned().unwrap_or_default());
    let (mut before, mut after, mut retention) = (Vec::new(), Vec::new(), Retention::default());
    let mut held = Held::default();
    world.run(|| {
        let store = Store::open(Path::new(FOLDER), script.options).map_err(|it| it.to_string())?;
        store.seal().map_err(|it| it.to_string())?;
        before = packets(&store)?;
        let info = store.info().map_err(|it| it.to_string())?;
        retention.max_size = Some(info.stored_bytes / 2);
        held.place(&store, &world).map_err(|it| it.to_string())?;
        let report = store.expire(&retention).map_err(|it| it.to_string())?;
        tried.expired += report.gone.len() as u64;
        tried.held += report.held_back.segments;
        after = packets(&store)?;
        Ok::<_, String>(())
    })?;
    let mut random = Rng::with_seed(seed);
    for (changes, disk) in world.history().iter().enumerate() {
        let cut = disk.power_cut(&mut random);
        let kept = recover(random.u64(..), cut, script.options, |store| {
            held.holds(store, changes)?;
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
            let report = store.expire(&retention).map_err(|it| it.to_string())?;
            let left = packets(store)?;
            let gone = before.iter().filter(|it| is_held(it) && !left.contains(it)).count();
            if changes >= held.from && gone > 0 {
                return Err(format!("{gone} packets are gone that were held"));
            }
            let bytes = store.info().map_err(|it| it.to_string())?.stored_bytes;
            let fits = retention.max_size.is_some_and(|most| bytes <= most)
                || report.held_back.falls_short;
            (fits && left.iter().all(|it| found.contains(it)))
                .then_some(())
                .ok_or_else(|| format!("{bytes} bytes left of {retention:?}"))
        });
        kept.map_err(|error| format!("power cut after change {changes}: {error}"))?;
        tried.crash_points += 1;
        if changes % REBUILT == 0 {
            let rebuild = OpenOptions { rebuild: true, ..script.options };
            let cut = disk.power_cut(&mut random);
            let rebuilt = recover(random.u64(..), cut, rebuild, |store| {
                is_whole_without_its_catalog(store, &before, &after)
            });
            rebuilt.map_err(|error| format!("rebuilt after change {changes}: {error}"))?;
            tried.crash_points += 1;
        }
    }
    Ok(())
}

#[test]
fn letting_go_goes_on_after_the_power_went() {
    try_all("expiring", 8, cut_everywhere);
}
