//! A world in memory: files, clock and tasks, with one seed that decides the order of everything
//! and what goes wrong.
//!
//! What runs within [`Simulation::run`] asks this world instead of the system, on one thread. The
//! disk is a value: [`Simulation::history`] has it as it was after each change, and
//! [`Disk::power_cut`] gives what each of these might have become.

mod content;
mod disk;
mod operations;
mod system;
mod tasks;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::rc::Rc;

pub use disk::Disk;
pub(crate) use disk::Inode;
use tasks::Tasks;

/// The first instant of every simulation, in nanoseconds since the Unix epoch.
const BEGINNING: u64 = 1_750_000_000_000_000_000;

/// What goes wrong with an operation on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It fails with this error. What the disk then holds of a write is unknown, and of everything
    /// that a failed sync was to save.
    Error(io::ErrorKind),
    /// A write takes only its first half, and says so.
    Short,
    /// A sync does nothing, and says that all is well.
    Lie,
    /// A write goes to another place of the file, and says that all is well.
    Misdirect,
}

/// A world.
pub struct Simulation {
    world: Rc<World>,
}

pub(crate) struct World {
    random: RefCell<fastrand::Rng>,
    disk: RefCell<Disk>,
    /// The disk after each change, where that is wanted.
    history: RefCell<Option<Vec<Disk>>>,
    faults: RefCell<BTreeMap<u64, Fault>>,
    operations: Cell<u64>,
    /// Changes before the first fault struck.
    struck: Cell<Option<usize>>,
    now: Cell<u64>,
    tasks: Tasks,
}

thread_local! {
    static WORLD: RefCell<Option<Rc<World>>> = const { RefCell::new(None) };
}

/// The world that this thread simulates.
pub(crate) fn world() -> Option<Rc<World>> {
    WORLD.with_borrow(Clone::clone)
}

/// Whether files are the system's own, so that libraries with I/O of their own can use them too.
#[must_use]
pub fn is_real() -> bool {
    world().is_none()
}

impl Simulation {
    /// A world with this disk, in which `seed` decides everything.
    #[must_use]
    pub fn new(seed: u64, disk: Disk) -> Simulation {
        let world = World {
            random: RefCell::new(fastrand::Rng::with_seed(seed)),
            disk: RefCell::new(disk),
            history: RefCell::new(None),
            faults: RefCell::default(),
            operations: Cell::new(0),
            struck: Cell::new(None),
            now: Cell::new(BEGINNING),
            tasks: Tasks::default(),
        };
        Simulation { world: Rc::new(world) }
    }

    /// The same, keeping the disk as it is after each change.
    #[must_use]
    pub fn with_history(seed: u64, disk: Disk) -> Simulation {
        let simulation = Simulation::new(seed, disk);
        *simulation.world.history.borrow_mut() = Some(vec![simulation.disk()]);
        simulation
    }

    /// Makes an operation go wrong; they are counted from 0. A fault that does not fit the
    /// operation is none.
    pub fn fail(&self, operation: u64, fault: Fault) {
        self.world.faults.borrow_mut().insert(operation, fault);
    }

    /// Runs `work` in this world; tasks that are left over are dropped.
    ///
    /// # Panics
    ///
    /// When every task waits for another, or when this thread simulates another world.
    pub fn run<T>(&self, work: impl FnOnce() -> T) -> T {
        struct Leave;
        impl Drop for Leave {
            fn drop(&mut self) {
                let world = WORLD.with_borrow(Clone::clone);
                world.iter().for_each(|world| world.tasks.clear());
                WORLD.set(None);
            }
        }
        let before = WORLD.replace(Some(Rc::clone(&self.world)));
        assert!(before.is_none(), "a simulation within a simulation");
        let _leave = Leave;
        work()
    }

    /// Operations on the disk so far.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.world.operations.get()
    }

    /// The disk as it is.
    #[must_use]
    pub fn disk(&self) -> Disk {
        self.world.disk.borrow().clone()
    }

    /// The disk at the start and after each change.
    #[must_use]
    pub fn history(&self) -> Vec<Disk> {
        self.world.history.borrow().clone().unwrap_or_default()
    }

    /// How many changes there were: the disk as it is stands there in the history.
    #[must_use]
    pub fn changes(&self) -> usize {
        self.world.changes()
    }

    /// How many changes there were when the first fault struck.
    #[must_use]
    pub fn struck(&self) -> Option<usize> {
        self.world.struck.get()
    }
}

impl std::fmt::Debug for Simulation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Simulation").field("operations", &self.operations()).finish_non_exhaustive()
    }
}

impl World {
    fn changes(&self) -> usize {
        self.history.borrow().as_ref().map_or(0, |history| history.len() - 1)
    }

    pub(crate) fn spawn<T: 'static>(
        &self,
        future: impl Future<Output = T> + 'static,
    ) -> async_task::Task<T> {
        self.tasks.spawn(future)
    }

    pub(crate) fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.tasks.block_on(future, |count| self.random.borrow_mut().usize(..count))
    }

    pub(crate) fn unix_nanos(&self) -> u64 {
        self.now.get()
    }

    pub(crate) fn fill_randomly(&self, bytes: &mut [u8]) {
        self.random.borrow_mut().fill(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Shards, TaskClass};

    fn order(seed: u64) -> Vec<usize> {
        Simulation::new(seed, Disk::default()).run(|| {
            let shards = Shards::start(4).unwrap();
            let (told, tell) = async_channel::unbounded();
            for shard in 0..4 {
                let told = told.clone();
                drop(shards.spawn(shard, TaskClass::Query, move || async move {
                    told.send(shard).await.unwrap();
                }));
            }
            drop(told);
            drop(shards);
            std::iter::from_fn(|| tell.recv_blocking().ok()).collect()
        })
    }

    #[test]
    fn the_seed_decides_the_order() {
        assert!((0..50).all(|seed| order(seed) == order(seed)));
        let orders: std::collections::BTreeSet<_> = (0..50).map(order).collect();
        assert!(orders.len() > 10, "{orders:?}");
    }

    #[test]
    #[should_panic(expected = "every task waits for another")]
    fn a_deadlock_is_noticed() {
        Simulation::new(1, Disk::default()).run(|| {
            let (_kept, never) = async_channel::bounded::<()>(1);
            crate::block_on(never.recv()).ok();
        });
    }
}
