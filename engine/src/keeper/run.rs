//! The thread that keeps a store: reads the gauges, lets the machine decide, records, and does what
//! follows.

use std::sync::Arc;
use std::time::Duration;

use async_channel::{Receiver, Sender};
use tapstone_runtime::block_on_within;
use tapstone_runtime::clock::{self, Stopwatch};

use super::KeepOptions;
use super::board::Troubles;
use super::measure::Meter;
use super::recorder::Recorder;
use super::task::Task;
use super::works::{Job, Worker, is_work};
use crate::effects::{Effects, Lookout, Relief};
use crate::maintenance::{MaintainError, Ordered, Run};
use crate::state::{
    Action, Change, Event, Machine, Maintenance, Moment, MonitoringActive, Normal, Outcome, State,
    judge,
};
use crate::store::Store;

/// How often the gauges are read.
const READ: Duration = Duration::from_secs(1);
/// How often what passes quickly is looked at in between.
const SAMPLE: Duration = Duration::from_millis(100);
/// How often a store tries itself.
const CHECKED: Duration = Duration::from_secs(60);

const HEALTH_CHECK: State = State::Normal(Normal::MonitoringActive(MonitoringActive::HealthCheck));

/// What the thread is told.
#[derive(Debug)]
pub(super) enum Told {
    Event(Event),
    /// Somebody wants a task done.
    Ordered(Ordered),
    /// Nobody wants it any more.
    GiveUp,
    /// What came of a step of it.
    Stepped {
        task: Arc<Run>,
        step: Maintenance,
        result: Result<(), MaintainError>,
    },
    /// What came of a health check.
    Health(Result<(), String>),
}

/// The thread's own.
pub(super) struct Keeper {
    store: Store,
    options: KeepOptions,
    machine: Machine,
    meter: Meter,
    lookout: Lookout,
    recorder: Recorder,
    worker: Worker,
    /// The task under way.
    task: Option<Task>,
    clock: Stopwatch,
    /// Why the last health check failed.
    illness: Option<String>,
    checked: Duration,
}

impl Keeper {
    /// Starts the machine where the last one left off, records that, and begins what is to be done
    /// first: from then on the state is known.
    pub(super) fn start(
        store: Store,
        options: KeepOptions,
        tell: Sender<Told>,
    ) -> std::io::Result<Keeper> {
        let worker = Worker::start(store.clone(), options.clone(), tell)?;
        let history = store.inner.ledger.state().transitions;
        let clock = Stopwatch::start();
        let (thresholds, last) = (options.thresholds, history.back());
        let (machine, change) = Machine::start(thresholds, moment(clock), last);
        store.inner.board.begin(history);
        let mut keeper = Keeper {
            store,
            options,
            machine,
            meter: Meter::default(),
            lookout: Lookout::default(),
            recorder: Recorder::default(),
            worker,
            task: None,
            clock,
            illness: None,
            checked: Duration::ZERO,
        };
        keeper.follow(change);
        Ok(keeper)
    }

    /// Keeps the store until nobody can tell anything any more.
    pub(super) fn run(mut self, told: &Receiver<Told>) {
        let (mut since_reading, mut since_sample) = (Stopwatch::start(), Stopwatch::start());
        loop {
            let patience = SAMPLE.saturating_sub(since_sample.elapsed());
            if patience.is_zero() {
                since_sample = Stopwatch::start();
                if since_reading.elapsed() >= READ {
                    since_reading = Stopwatch::start();
                    self.read();
                } else {
                    self.meter.sample(&self.store);
                }
            }
            match block_on_within(patience, told.recv()) {
                Some(Ok(Told::Event(event))) => self.step(&event),
                Some(Ok(Told::Ordered(ordered))) => self.begin_task(ordered),
                Some(Ok(Told::GiveUp)) => {
                    // Its step ends soon, and fails.
                    if let Some(task) = &self.task {
                        task.run.give_up();
                    }
                }
                Some(Ok(Told::Stepped { task, step, result })) => {
                    self.go_on_with_task(&task, step, result);
                }
                Some(Ok(Told::Health(health))) => self.note(health),
                Some(Err(_)) => break,
                None => {}
            }
        }
        self.recorder.keep_up(&self.store.inner.ledger, self.clock.elapsed());
    }

    /// Reads the gauges, and whatever else is done as time passes.
    fn read(&mut self) {
        let gauges = self.meter.read(&self.store, self.options.retention.keep_free);
        let readings = judge(self.machine.thresholds(), self.machine.readings(), &gauges);
        self.step(&Event::Readings(readings));
        let (now, machine) = (self.clock.elapsed(), &self.machine);
        let (readings, effects) = (machine.readings(), self.store.effects());
        let report = self.lookout.look(now, readings, machine.thresholds(), &effects);
        self.store.take_note(report);
        self.recorder.keep_up(&self.store.inner.ledger, self.clock.elapsed());
        if self.machine.active().contains(&HEALTH_CHECK)
            && self.clock.elapsed() >= self.checked + CHECKED
        {
            self.check_health();
        }
        self.store.inner.board.update(self.machine.readings(), self.troubles());
    }

    fn step(&mut self, event: &Event) {
        let (machine, outcome) = self.machine.step(moment(self.clock), event);
        self.machine = machine;
        match outcome {
            Outcome::Changed(change) => self.follow(change),
            Outcome::Stayed => {}
            // Work that is over when nobody waits for it any more, say.
            Outcome::Ignored(why) => tracing::debug!(%why, "ignored"),
        }
    }

    /// Records a transition, and then does what follows from it.
    fn follow(&mut self, change: Change) {
        let Change { transition, actions } = change;
        tracing::info!("{}: {}", transition.to, transition.why);
        let now = self.clock.elapsed();
        self.recorder.record(&self.store.inner.ledger, transition.clone(), now);
        self.worker.want(self.machine.active());
        let effects = Effects::of(self.machine.active(), &self.store.inner.sizes);
        self.store.apply_effects(&effects);
        // Before the work begins, which tells of this state where it tells of any.
        self.store.inner.board.tell(&transition, &self.machine, self.troubles());
        if !matches!(self.machine.state(), State::Maintenance(_))
            && let Some(task) = self.task.take()
        {
            task.end(&transition.why);
        }
        actions.into_iter().for_each(|action| self.perform(action));
    }

    /// A task begins, unless one is under way.
    fn begin_task(&mut self, ordered: Ordered) {
        if let Some(task) = &self.task {
            return Task::refuse(ordered, task.run.task());
        }
        let event = Event::Maintain(ordered.chore.task(), ordered.occasion);
        self.task = Some(Task::new(ordered));
        self.step(&event);
    }

    /// A step of a task is over.
    fn go_on_with_task(
        &mut self,
        run: &Arc<Run>,
        step: Maintenance,
        result: Result<(), MaintainError>,
    ) {
        // One that was given up meanwhile has been answered for.
        let Some(task) = self.task.as_mut().filter(|task| Arc::ptr_eq(&task.run, run)) else {
            return;
        };
        let state = State::Maintenance(step);
        let event = match &result {
            Ok(()) => Event::Done(state),
            Err(why) => Event::Failed(state, why.to_string()),
        };
        task.last = Some(result.map(|()| step));
        self.step(&event);
    }

    /// What begins or ends with one state.
    fn perform(&mut self, action: Action) {
        match action {
            Action::Begin(HEALTH_CHECK) => self.check_health(),
            Action::Begin(State::Maintenance(step)) => {
                let task = self.task.as_ref().expect("a task that begins was ordered");
                self.worker.begin(Job::Step(step, Arc::clone(&task.run)));
            }
            Action::Begin(state) if is_work(state) => self.worker.begin(Job::Of(state)),
            // What holds beside the work is done all the time, and measures by those who follow the
            // effects, but for what is done once; work that ends is wanted no more.
            Action::Begin(_) | Action::End(_) => {
                if let Some(relief) = Relief::of(action) {
                    self.worker.begin(Job::Relief(relief));
                }
            }
        }
    }

    fn check_health(&mut self) {
        self.checked = self.clock.elapsed();
        self.worker.begin(Job::HealthCheck);
    }

    fn note(&mut self, health: Result<(), String>) {
        match (&health, &self.illness) {
            (Err(why), before) if before.as_ref() != Some(why) => {
                tracing::error!("the store does not pass its own check: {why}");
            }
            (Ok(()), Some(_)) => tracing::info!("the store passes its own check again"),
            _ => {}
        }
        self.illness = health.err();
        self.store.inner.board.update(self.machine.readings(), self.troubles());
    }

    fn troubles(&self) -> Troubles {
        let recorder = self.recorder.failure().map(|why| format!("not recorded: {why}"));
        let illness = self.illness.as_ref().map(|why| format!("health check: {why}"));
        let told = recorder.into_iter().chain(illness).collect();
        Troubles { unrecorded: self.recorder.unrecorded(), told }
    }
}

impl Drop for Keeper {
    /// However it ends: nobody may believe that the store is kept then, and no measure outlasts it.
    fn drop(&mut self) {
        if let Some(task) = self.task.take() {
            task.end("the store is being closed");
        }
        self.store.inner.board.end();
        self.store.apply_effects(&Effects::normal(&self.store.inner.sizes));
    }
}

fn moment(clock: Stopwatch) -> Moment {
    Moment { since_start: clock.elapsed(), unix_nanos: clock::unix_nanos() }
}
