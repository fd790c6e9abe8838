//! What is told of the state: written by the thread that keeps the store, read by anybody.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use async_channel::{Receiver, Sender};

use super::consequences::consequences;
use crate::ledger::TRANSITIONS;
use crate::state::{Machine, Readings, State, Transition};

/// The state that a store is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateReport {
    /// Whether this store is kept now ([`Store::keep`](crate::Store::keep)). If not, this is what
    /// was recorded last, by whatever process.
    pub is_kept: bool,
    /// The state that is shown.
    pub state: State,
    /// When it was entered, by the wall clock: nanoseconds since the epoch.
    pub since_nanos: u64,
    /// Why the last transition was made, with what was measured.
    pub why: String,
    /// The number of that transition.
    pub sequence: u64,
    /// All states that hold, the one that is shown among them.
    pub active: BTreeSet<State>,
    /// What the gauges showed last; `None` when nobody reads them.
    pub readings: Option<Readings>,
    /// What follows for whoever uses the store.
    pub consequences: Vec<String>,
    /// Transitions that are not in the ledger.
    pub unrecorded: u64,
    /// What the store cannot do of what keeping it asks for: record transitions, or pass its own
    /// health check.
    pub troubles: Vec<String>,
}

/// Changes of the state, for one who watches. It does not keep the store open.
#[derive(Debug)]
pub struct StateWatch {
    board: Arc<Board>,
    woken: Receiver<()>,
}

impl StateWatch {
    /// Waits until something has changed since this was last called, and gives how it is then;
    /// `None` once nobody keeps the store any more.
    pub async fn changed(&mut self) -> Option<StateReport> {
        self.woken.recv().await.ok()?;
        self.board.report()
    }

    /// The last transitions behind the one of this number, in order.
    #[must_use]
    pub fn transitions_since(&self, sequence: u64) -> Vec<Transition> {
        let mut history = self.board.history();
        history.retain(|transition| transition.sequence > sequence);
        history
    }
}

/// What the thread that keeps the store says of it.
#[derive(Debug, Default)]
pub(crate) struct Board {
    said: Mutex<Said>,
}

#[derive(Debug, Default)]
struct Said {
    /// Whether somebody keeps the store.
    is_kept: bool,
    /// `None` while nobody does, and before the first transition.
    report: Option<StateReport>,
    /// The last transitions, those that are not recorded among them.
    history: VecDeque<Transition>,
    watchers: Vec<Sender<()>>,
}

impl Board {
    /// Somebody keeps the store from now on; this was recorded before.
    pub(super) fn begin(&self, history: VecDeque<Transition>) {
        let mut said = self.said();
        said.is_kept = true;
        said.history = history;
    }

    /// Tells of a transition, of the machine since, and of troubles; wakes those who watch.
    pub(super) fn tell(&self, transition: &Transition, machine: &Machine, troubles: Troubles) {
        let mut said = self.said();
        let has_moved = transition.from != Some(transition.to);
        let since = said.report.as_ref().filter(|_| !has_moved).map(|it| it.since_nanos);
        if said.history.len() == TRANSITIONS {
            said.history.pop_front();
        }
        said.history.push_back(transition.clone());
        said.report = Some(StateReport {
            is_kept: true,
            state: machine.state(),
            since_nanos: since.unwrap_or(transition.unix_nanos),
            why: transition.why.clone(),
            sequence: transition.sequence,
            active: machine.active().clone(),
            readings: Some(*machine.readings()),
            consequences: consequences(machine.state(), machine.active()),
            unrecorded: troubles.unrecorded,
            troubles: troubles.told,
        });
        said.wake();
    }

    /// Tells of readings and troubles; only troubles wake anybody.
    pub(super) fn update(&self, readings: &Readings, troubles: Troubles) {
        let mut said = self.said();
        let Some(report) = &mut said.report else { return };
        report.readings = Some(*readings);
        report.unrecorded = troubles.unrecorded;
        if report.troubles != troubles.told {
            report.troubles = troubles.told;
            said.wake();
        }
    }

    /// Nobody keeps the store any more.
    pub(super) fn end(&self) {
        let mut said = self.said();
        said.is_kept = false;
        said.report = None;
        said.watchers.clear();
    }

    pub(super) fn report(&self) -> Option<StateReport> {
        self.said().report.clone()
    }

    /// The last transitions; empty when nobody has kept the store.
    pub(super) fn history(&self) -> Vec<Transition> {
        self.said().history.iter().cloned().collect()
    }

    /// The first change is how it is now.
    pub(super) fn watch(board: &Arc<Board>) -> StateWatch {
        let (waker, woken) = async_channel::bounded(1);
        let mut said = board.said();
        if said.report.is_some() {
            waker.try_send(()).ok();
        }
        if said.is_kept {
            said.watchers.push(waker);
        }
        StateWatch { board: Arc::clone(board), woken }
    }

    fn said(&self) -> MutexGuard<'_, Said> {
        self.said.lock().expect("no holder of the lock panics")
    }
}

impl Said {
    fn wake(&mut self) {
        // One that has not looked since the last change is woken already.
        self.watchers.retain(|watcher| watcher.try_send(()).is_ok() || !watcher.is_closed());
    }
}

/// What is told beside the state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Troubles {
    pub(super) unrecorded: u64,
    pub(super) told: Vec<String>,
}

/// What was recorded last, where nobody keeps the store.
pub(super) fn recorded(history: &VecDeque<Transition>) -> Option<StateReport> {
    let last = history.back()?;
    // Where it was entered, or as far back as is known.
    let here = history.iter().rev().take_while(|it| it.to == last.to);
    let entered = here.last().unwrap_or(last);
    Some(StateReport {
        is_kept: false,
        state: last.to,
        since_nanos: entered.unix_nanos,
        why: last.why.clone(),
        sequence: last.sequence,
        active: BTreeSet::from([last.to]),
        readings: None,
        consequences: Vec::new(),
        unrecorded: 0,
        troubles: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use tapstone_runtime::block_on;

    use super::*;
    use crate::state::{EventKind, Moment, Thresholds};

    fn went(sequence: u64, to: &str) -> Transition {
        let (from, to, event) = (None, to.parse().unwrap(), EventKind::Done);
        Transition {
            sequence,
            unix_nanos: sequence * 10,
            from,
            to,
            event,
            why: sequence.to_string(),
        }
    }

    #[test]
    fn what_was_recorded_last_says_since_when() {
        assert_eq!(recorded(&VecDeque::new()), None);
        let (a, b) = ("INIT / ConfigValidation", "INIT / WarmUp / IndexPrep");
        let history = [went(1, a), went(2, b), went(3, a), went(4, a)].into();
        let report = recorded(&history).unwrap();
        assert_eq!((report.sequence, report.since_nanos, report.why.as_str()), (4, 30, "4"));
        assert!(!report.is_kept && report.readings.is_none());
    }

    #[test]
    fn whoever_watches_is_told_how_it_is_then_of_changes_and_of_the_end() {
        let board = Arc::new(Board::default());
        let mut early = Board::watch(&board);
        assert_eq!(block_on(early.changed()), None, "nobody keeps the store");
        board.begin(VecDeque::new());
        let mut watch = Board::watch(&board);
        assert!(watch.woken.is_empty(), "nothing is known yet");
        let (machine, change) = Machine::start(Thresholds::default(), Moment::default(), None);
        board.tell(&change.transition, &machine, Troubles::default());
        let first = block_on(watch.changed()).unwrap();
        assert_eq!((first.sequence, first.state), (1, machine.state()));
        board.update(machine.readings(), Troubles::default());
        assert!(watch.woken.is_empty(), "readings wake nobody");
        let troubles = Troubles { unrecorded: 1, told: vec!["full".into()] };
        board.update(machine.readings(), troubles.clone());
        board.update(machine.readings(), troubles);
        let second = block_on(watch.changed()).unwrap();
        assert_eq!((second.unrecorded, second.troubles), (1, vec!["full".to_owned()]));
        assert!(watch.woken.is_empty());
        board.end();
        assert_eq!(block_on(watch.changed()), None);
        assert_eq!(board.history().len(), 1, "what was is known all the same");
    }

    #[test]
    fn what_changes_beside_the_state_does_not_enter_it_anew() {
        let board = Board::default();
        let (machine, change) = Machine::start(Thresholds::default(), Moment::default(), None);
        let start = Transition { unix_nanos: 5, ..change.transition };
        board.tell(&start, &machine, Troubles::default());
        let beside = Transition { from: Some(start.to), sequence: 2, unix_nanos: 9, ..start };
        board.tell(&beside, &machine, Troubles::default());
        let report = board.report().unwrap();
        assert_eq!((report.since_nanos, report.sequence), (5, 2));
    }
}
