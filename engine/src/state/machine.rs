//! The machine: what holds, since when, and what an event makes of it.

use std::collections::BTreeSet;
use std::time::Duration;

use super::change::{Change, Ignored, Move, Outcome, actions};
use super::edge::Edge;
use super::event::{Event, EventKind, Moment};
use super::reading::{PressureSource, Readings};
use super::states::{AwsLifecycle, Degraded, State};
use super::thresholds::Thresholds;
use super::transition::Transition;
use super::watch::Watch;

/// The storage state machine. A value: a step makes another one of it, which takes its place once
/// the transition is recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    pub(super) thresholds: Thresholds,
    pub(super) state: State,
    pub(super) active: BTreeSet<State>,
    pub(super) readings: Readings,
    pub(super) watches: [Watch; PressureSource::ALL.len()],
    /// The latest moment that was told.
    pub(super) clock: Duration,
    /// When the state was entered.
    pub(super) since: Duration,
    /// When its outermost state was entered.
    pub(super) entered: Duration,
    /// When the load last led from one outermost state to another.
    pub(super) turned: Option<Duration>,
    /// When the last measure against each source was taken.
    pub(super) taken: [Duration; PressureSource::ALL.len()],
    /// When less was last begun to be kept.
    pub(super) shed: Duration,
    /// How often the phase of INIT has failed, and when.
    pub(super) failures: u32,
    pub(super) failed: Duration,
    /// What the cloud said last, of each kind.
    pub(super) said: BTreeSet<AwsLifecycle>,
    sequence: u64,
}

impl Machine {
    /// Starts in INIT. `before` is the last transition that was recorded, by whatever process.
    /// The thresholds are those that [`Thresholds::check`] has nothing to say about.
    #[must_use]
    pub fn start(
        thresholds: Thresholds,
        now: Moment,
        before: Option<&Transition>,
    ) -> (Machine, Change) {
        let (state, clock) = (Machine::FIRST, now.since_start);
        let readings = Readings::default();
        let machine = Machine {
            thresholds,
            state,
            active: BTreeSet::from([state]),
            readings,
            watches: PressureSource::ALL.map(|source| Watch::new(readings.of(source))),
            clock,
            since: clock,
            entered: clock,
            turned: None,
            taken: [clock; PressureSource::ALL.len()],
            shed: clock,
            failures: 0,
            failed: clock,
            said: BTreeSet::new(),
            sequence: before.map_or(0, |before| before.sequence) + 1,
        };
        let why = match before {
            Some(before) => format!("started; before that it was in {}", before.to),
            None => "started for the first time".to_owned(),
        };
        let transition = machine.transition(now, None, EventKind::Start, why);
        (
            machine.clone(),
            Change { transition, actions: actions(&BTreeSet::new(), &machine.active) },
        )
    }

    /// The next machine, and what is to be done. An event that makes no sense changes nothing.
    #[must_use]
    pub fn step(&self, now: Moment, event: &Event) -> (Machine, Outcome) {
        let mut next = self.clone();
        next.clock = next.clock.max(now.since_start);
        match next.decide(event) {
            Ok(Some(decided)) => next.make(now, event.kind(), decided),
            Ok(None) => (next, Outcome::Stayed),
            Err(ignored) => (self.clone(), Outcome::Ignored(ignored)),
        }
    }

    fn decide(&mut self, event: &Event) -> Result<Option<Move>, Ignored> {
        match event {
            Event::Readings(readings) => {
                self.read(*readings);
                Ok(self.look())
            }
            Event::Tick => Ok(self.look()),
            Event::Done(state) => self.done(*state).map(Some),
            Event::Failed(state, why) => self.fail(*state, why).map(Some),
            Event::Cloud(said) => self.cloud(*said).map(Some),
            Event::Maintain(task, occasion) => self.maintain(*task, *occasion).map(Some),
        }
    }

    /// What the readings and the time lead to.
    fn look(&self) -> Option<Move> {
        match self.state {
            State::Init(_) => self.init(),
            State::Normal(_) => self.normal(),
            State::Pressure(_) => self.pressure(),
            State::Degraded(_) => self.degraded(),
            State::Critical(_) => self.critical(),
            State::AwsLifecycle(_) => self.aws_lifecycle(),
            State::Maintenance(step) => self.maintenance(step),
        }
    }

    fn make(mut self, now: Moment, kind: EventKind, decided: Move) -> (Machine, Outcome) {
        let Move { edge, to, active, why } = decided;
        let from = self.state;
        let actions = actions(&self.active, &active);
        debug_assert_eq!(edge, Edge::between(from.top(), to.top()), "from {from} to {to}");
        for begun in active.difference(&self.active) {
            if let State::Pressure(measure) = begun {
                self.taken[measure.source() as usize] = self.clock;
            }
            if let State::Degraded(Degraded::PartialCapture(_)) = begun {
                self.shed = self.clock;
            }
        }
        if from != to {
            self.since = self.clock;
            self.failures = 0;
        }
        if from.top() != to.top() {
            self.entered = self.clock;
            if from.top().is_of_load() && to.top().is_of_load() {
                self.turned = Some(self.clock);
            }
        }
        self.state = to;
        self.active = active;
        self.sequence += 1;
        let transition = self.transition(now, Some(from), kind, why);
        (self, Outcome::Changed(Change { transition, actions }))
    }

    fn transition(
        &self,
        now: Moment,
        from: Option<State>,
        event: EventKind,
        why: String,
    ) -> Transition {
        let (sequence, unix_nanos, to) = (self.sequence, now.unix_nanos, self.state);
        Transition { sequence, unix_nanos, from, to, event, why }.bounded()
    }

    /// The state that is shown.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// When it was entered, by the clock of [`Moment::since_start`].
    #[must_use]
    pub fn since(&self) -> Duration {
        self.since
    }

    /// All states that hold: the one that is shown, those beside it, and the measures that are in
    /// force. These were begun by an [`Action`](super::Action) and have not been ended.
    #[must_use]
    pub fn active(&self) -> &BTreeSet<State> {
        &self.active
    }

    /// The last readings, which the next ones are judged by ([`judge`](super::judge)).
    #[must_use]
    pub fn readings(&self) -> &Readings {
        &self.readings
    }

    /// What it decides by.
    #[must_use]
    pub fn thresholds(&self) -> &Thresholds {
        &self.thresholds
    }
}
