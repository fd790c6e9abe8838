//! The life of a store: a script, run in a simulation.

use std::ops::Range;
use std::path::Path;
use std::sync::Mutex;

use tapstone::{ImportOptions, OpenOptions, Sizes, Store};
use tapstone_benches::random::Random;
use tapstone_runtime::block_on;
use tapstone_runtime::simulation::{Disk, Fault, Simulation};

use super::model::{AUDIT_ENTRY, Model, capture};

pub(super) const FOLDER: &str = "/data/store";

/// What happens to a store.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// The packets of these numbers are imported. Meanwhile everything acknowledged is asked for.
    Import(Range<u64>),
    Seal,
    Reopen,
}

/// A life, by the seed that it comes from.
#[derive(Clone, Debug)]
pub(super) struct Script {
    pub(super) steps: Vec<Step>,
    pub(super) options: OpenOptions,
}

impl Script {
    pub(super) fn new(seed: u64) -> Script {
        let mut random = Random::new(seed);
        let mut next = 1;
        let steps = (0..3 + random.below(6)).map(|_| match random.below(6) {
            0 => Step::Reopen,
            1 => Step::Seal,
            _ => {
                let numbers = next..next + 1 + random.below(60);
                next = numbers.end;
                Step::Import(numbers)
            }
        });
        let steps = steps.collect();
        let sizes = Sizes {
            block: 400 + random.below(1500) as usize,
            unit: 1000 + random.below(4000) as usize,
            segment: 16_000 + random.below(60_000),
            flows: 2 + random.below(20) as usize,
            ..Sizes::default()
        };
        let shards = 1 + random.below(2) as usize;
        Script { steps, options: OpenOptions { create: true, shards, rebuild: false, sizes } }
    }
}

/// What became of a life.
#[derive(Debug, Default)]
pub(super) struct Life {
    /// The disk after each change.
    pub(super) history: Vec<Disk>,
    /// What was given and acknowledged, each with the number of changes to the disk before.
    given: Vec<(usize, Range<u64>)>,
    acknowledged: Vec<(usize, Range<u64>)>,
    /// The audit log's records: one for each import that was acknowledged.
    audited: Vec<(usize, u64)>,
    /// What failed.
    pub(super) errors: Vec<String>,
    pub(super) operations: u64,
    /// Changes to the disk before a fault struck.
    pub(super) struck: Option<usize>,
    faulty: bool,
}

impl Life {
    /// Lives a script, with faults perhaps. A store that fails is opened again.
    ///
    /// # Errors
    ///
    /// When the store breaks its word while it is alive and nothing went wrong.
    pub(super) fn live(
        seed: u64,
        script: &Script,
        faults: &[(u64, Fault)],
    ) -> Result<Life, String> {
        let world = Simulation::with_history(seed, Disk::default());
        for (operation, fault) in faults {
            world.fail(*operation, *fault);
        }
        let mut life = Life { faulty: !faults.is_empty(), ..Life::default() };
        let kept = world.run(|| life.follow(&world, script));
        life.history = world.history();
        life.operations = world.operations();
        life.struck = world.struck();
        kept.or_else(|broken| if life.faulty { Ok(()) } else { Err(broken) })?;
        Ok(life)
    }

    /// What must be and may be found when the power goes after so many changes.
    pub(super) fn model_at(&self, changes: usize) -> Model {
        let until = |list: &[(usize, Range<u64>)]| {
            let before = list.iter().filter(|(at, _)| *at <= changes);
            before.map(|(_, numbers)| numbers.clone()).collect()
        };
        Model {
            given: until(&self.given),
            acknowledged: until(&self.acknowledged),
            audited: self.audited.iter().filter(|(at, _)| *at <= changes).map(|it| it.1).collect(),
            faulty: self.faulty,
        }
    }

    fn follow(&mut self, world: &Simulation, script: &Script) -> Result<(), String> {
        let (mut open, mut kept) = (None, Ok(()));
        for step in &script.steps {
            let opened = match open.take() {
                Some(store) => Ok(store),
                None => Store::open(Path::new(FOLDER), script.options),
            };
            let store = match opened {
                Ok(store) => store,
                Err(error) => {
                    self.errors.push(error.to_string());
                    continue;
                }
            };
            let done = match step {
                Step::Reopen => store.close().map_err(|it| it.to_string()),
                Step::Seal => {
                    let sealed = store.seal().map_err(|it| it.to_string());
                    open = sealed.is_ok().then_some(store);
                    sealed
                }
                Step::Import(numbers) => {
                    self.given.push((world.changes(), numbers.clone()));
                    let model = self.model_at(usize::MAX);
                    let imported = import(&store, numbers.clone(), |store| {
                        kept =
                            std::mem::replace(&mut kept, Ok(())).and(model.holds(store).map(drop));
                    });
                    if imported.is_ok() {
                        self.acknowledged.push((world.changes(), numbers.clone()));
                        match block_on(store.audit().append(AUDIT_ENTRY)) {
                            Ok(sequence) => self.audited.push((world.changes(), sequence)),
                            Err(error) => self.errors.push(error.to_string()),
                        }
                        open = Some(store);
                    }
                    imported
                }
            };
            self.errors.extend(done.err());
        }
        kept
    }
}

fn import(
    store: &Store,
    numbers: Range<u64>,
    meanwhile: impl FnMut(&Store) + Send,
) -> Result<(), String> {
    let meanwhile = Mutex::new(meanwhile);
    let progress = |_| (meanwhile.lock().unwrap())(store);
    let options = ImportOptions { name: "first", again: false, progress: Some(&progress) };
    store.import(&capture(numbers)[..], options).map(drop).map_err(|it| it.to_string())
}
