//! The work that states stand for, done on a thread of its own: the gauges are read meanwhile,
//! however long a disk takes.

mod critical;
mod dump;
mod flow;
mod health;
mod resources;
mod security;
mod warm_up;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};

use async_channel::{Receiver, Sender};
use tapstone_runtime::{Thread, spawn_thread};

use super::{KeepOptions, Told};
use crate::effects::Relief;
use crate::maintenance::{MaintainError, Run};
use crate::state::{
    Critical, EmergencyMode, Event, FailoverPrep, Init, Maintenance, Normal, OptimalFlow,
    ResourceCheck, SecurityInit, State, WarmUp, ZeroCopyActive,
};
use crate::store::Store;

/// What is to be done.
#[derive(Debug)]
pub(super) enum Job {
    /// What a state is there for.
    Of(State),
    /// A step of a task.
    Step(Maintenance, Arc<Run>),
    /// The store tries itself.
    HealthCheck,
    /// What a measure does once.
    Relief(Relief),
}

/// What a state is there for, or why it cannot be done.
type Work = fn(&Site) -> Result<(), String>;

/// What is done while a state holds and is over at some time; `None` for states that say how the
/// rest works, or what others do.
fn work_of(state: State) -> Option<Work> {
    match state {
        State::Init(phase) => Some(match phase {
            Init::ResourceCheck(ResourceCheck::NVMeValidation) => resources::nvme_validation,
            Init::ResourceCheck(ResourceCheck::MemoryAllocation) => resources::memory_allocation,
            Init::ResourceCheck(ResourceCheck::NetworkInit) => resources::network_init,
            Init::ConfigValidation => resources::config_validation,
            Init::SecurityInit(SecurityInit::KMSCheck) => security::kms_check,
            Init::SecurityInit(SecurityInit::CredsValidation) => security::creds_validation,
            Init::SecurityInit(SecurityInit::EncryptionInit) => security::encryption_init,
            Init::WarmUp(WarmUp::BufferPrealloc) => warm_up::buffer_prealloc,
            Init::WarmUp(WarmUp::IndexPrep) => warm_up::index_prep,
            Init::WarmUp(WarmUp::ReadyState) => warm_up::ready_state,
        }),
        State::Normal(Normal::OptimalFlow(part)) => Some(match part {
            OptimalFlow::ZeroCopyActive(ZeroCopyActive::DirectMemory) => flow::direct_memory,
            OptimalFlow::ZeroCopyActive(ZeroCopyActive::NVMeDirect) => flow::nvme_direct,
            OptimalFlow::ZeroCopyActive(ZeroCopyActive::BufferManaged) => flow::buffer_managed,
            OptimalFlow::CompressActive => flow::compress_active,
            OptimalFlow::IndexActive => flow::index_active,
        }),
        State::Critical(work) => Some(match work {
            Critical::EmergencyMode(EmergencyMode::SaveState) => critical::save_state,
            Critical::EmergencyMode(EmergencyMode::SecureData) => critical::secure_data,
            Critical::EmergencyMode(EmergencyMode::NotifyControl) => critical::notify_control,
            Critical::FailoverPrep(FailoverPrep::StateDump) => critical::state_dump,
            Critical::FailoverPrep(FailoverPrep::BufferFlush) => critical::buffer_flush,
            Critical::FailoverPrep(FailoverPrep::IndexSync) => critical::index_sync,
        }),
        State::Normal(Normal::MonitoringActive(_))
        | State::Pressure(_)
        | State::Degraded(_)
        | State::AwsLifecycle(_)
        | State::Maintenance(_) => None,
    }
}

/// Whether somebody has to do something while the state holds.
pub(super) fn is_work(state: State) -> bool {
    work_of(state).is_some()
}

/// Where the work is done.
#[derive(Debug)]
struct Site {
    /// It does not keep the thread that keeps it.
    store: Store,
    options: KeepOptions,
    wanted: Arc<Wanted>,
    /// Whether the last probe of the disk passed the page cache by.
    disk_is_direct: Mutex<Option<bool>>,
}

/// The states whose work is wanted; what takes long looks whether it still is.
#[derive(Debug, Default)]
struct Wanted(Mutex<BTreeSet<State>>);

impl Wanted {
    fn set(&self, states: BTreeSet<State>) {
        *self.0.lock().expect("no holder of the lock panics") = states;
    }

    fn has(&self, state: State) -> bool {
        self.0.lock().expect("no holder of the lock panics").contains(&state)
    }
}

/// The thread. Dropping it lets the work under way come to its end, and no other begin.
#[derive(Debug)]
pub(super) struct Worker {
    jobs: Sender<Job>,
    wanted: Arc<Wanted>,
    thread: Option<Thread>,
}

impl Worker {
    /// Starts the thread; what comes of the work is told to `tell`.
    pub(super) fn start(
        store: Store,
        options: KeepOptions,
        tell: Sender<Told>,
    ) -> std::io::Result<Worker> {
        let (jobs, queue) = async_channel::unbounded();
        let wanted = Arc::new(Wanted::default());
        let site = (store, options, Arc::clone(&wanted));
        let thread = spawn_thread("keeper's work", move || async move {
            let (store, options, wanted) = site;
            run(&Site { store, options, wanted, disk_is_direct: Mutex::default() }, queue, tell)
                .await;
        })?;
        Ok(Worker { jobs, wanted, thread: Some(thread) })
    }

    /// These states hold now.
    pub(super) fn want(&self, active: &BTreeSet<State>) {
        self.wanted.set(active.clone());
    }

    pub(super) fn begin(&self, job: Job) {
        // A thread that is gone has told why.
        self.jobs.try_send(job).ok();
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.wanted.set(BTreeSet::new());
        self.jobs.close();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that does the keeper's work died");
        }
    }
}

async fn run(site: &Site, jobs: Receiver<Job>, tell: Sender<Told>) {
    while let Ok(job) = jobs.recv().await {
        let told = match job {
            Job::HealthCheck => Told::Health(without_panics(|| health::check(site))),
            Job::Relief(relief) => {
                relieve(site, relief);
                continue;
            }
            Job::Step(step, task) if !site.wanted.has(State::Maintenance(step)) => {
                tracing::debug!("{} was given up before {step:?}", task.task());
                continue;
            }
            Job::Step(step, task) => {
                let work = AssertUnwindSafe(|| task.perform(&site.store, step));
                let result = catch_unwind(work).unwrap_or(Err(MaintainError::Panicked));
                Told::Stepped { task, step, result }
            }
            Job::Of(state) if !site.wanted.has(state) => continue,
            Job::Of(state) => {
                let work = work_of(state).expect("only what is work is begun");
                Told::Event(match without_panics(|| work(site)) {
                    Ok(()) => Event::Done(state),
                    Err(why) => Event::Failed(state, why),
                })
            }
        };
        // Whoever keeps the store may have ended.
        tell.send(told).await.ok();
    }
}

/// Does what a measure does once. Nobody waits for it: whether it helped, the gauges show.
fn relieve(site: &Site, relief: Relief) {
    match site.store.relieve(relief, &site.options.retention) {
        Ok(report) => tracing::info!("{} segments were let go", report.gone.len()),
        Err(error) => tracing::error!(%error, "not everything could be relieved"),
    }
}

/// Lets what makes the program panic count as what cannot be done.
fn without_panics(work: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
    let panicked = || "it panicked (see the message before); please report that".to_owned();
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err(panicked()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::TopState;

    #[test]
    fn every_state_that_the_machine_waits_for_has_its_work() {
        for state in State::all() {
            let waited_for = match state.top() {
                TopState::Init | TopState::Critical => true,
                TopState::Normal => matches!(state, State::Normal(Normal::OptimalFlow(_))),
                TopState::Pressure
                | TopState::Degraded
                | TopState::AwsLifecycle
                | TopState::Maintenance => false,
            };
            assert_eq!(is_work(state), waited_for, "{state}");
        }
    }

    #[test]
    fn what_panics_cannot_be_done() {
        let why = without_panics(|| panic!("on purpose")).unwrap_err();
        assert!(why.contains("panicked"), "{why}");
        assert_eq!(without_panics(|| Ok(())), Ok(()));
    }
}
