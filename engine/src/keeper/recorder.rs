//! Recording transitions in the ledger: before their actions are done where the disk allows it, and
//! behind them, in order, where it does not.

use std::collections::VecDeque;
use std::time::Duration;

use async_channel::Receiver;
use tapstone_runtime::block_on_within;

use crate::ledger::{self, LedgerError, Record, TRANSITIONS};
use crate::state::Transition;

/// So long actions wait for a transition to be recorded: a disk that does not answer must not keep
/// what protects against it from being done.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long after the disk refused a record it is asked again, at first. Each attempt leaves a file
/// until the next one that works, so the pause doubles,
const PAUSE: Duration = Duration::from_secs(1);
/// so often.
const DOUBLINGS_MAX: u32 = 6;

/// Transitions on their way to the ledger.
#[derive(Debug, Default)]
pub(super) struct Recorder {
    waiting: VecDeque<Transition>,
    /// The answer about the first of them, once it was asked for.
    asked: Option<Receiver<Result<(), LedgerError>>>,
    /// Why the first of them was not recorded when that was last tried.
    failure: Option<String>,
    failures: u32,
    not_before: Duration,
    /// Transitions that there was no room for: their numbers are missing in the ledger.
    lost: u64,
}

impl Recorder {
    /// Records a transition, behind those that wait. Returns when it is recorded, or cannot be now.
    /// `now` is by a clock that never goes back.
    pub(super) fn record(
        &mut self,
        ledger: &ledger::Running,
        transition: Transition,
        now: Duration,
    ) {
        if self.waiting.len() == TRANSITIONS {
            // The first may be with the ledger.
            self.waiting.remove(usize::from(self.asked.is_some()));
            self.lost += 1;
        }
        self.waiting.push_back(transition);
        self.keep_up(ledger, now);
    }

    /// Records what waits, as far as that can be done now.
    pub(super) fn keep_up(&mut self, ledger: &ledger::Running, now: Duration) {
        while let Some(first) = self.waiting.front() {
            let answer = match self.asked.take() {
                Some(answer) => answer,
                None if now < self.not_before => return,
                None => match ledger.ask(Record::Transition(first.clone())) {
                    Ok(answer) => answer,
                    Err(error) => return self.fail(&error, now),
                },
            };
            // Once it was waited for in vain, nothing waits for it any more.
            let patience = if self.failure.is_some() { Duration::ZERO } else { PATIENCE };
            match block_on_within(patience, answer.recv()) {
                Some(Ok(Ok(()))) => self.succeed(),
                Some(Ok(Err(error))) => return self.fail(&error, now),
                Some(Err(_)) => return self.fail(&LedgerError::Closed, now),
                None => {
                    self.asked = Some(answer);
                    return self.tell("the disk does not answer".to_owned());
                }
            }
        }
    }

    /// Transitions that are not in the ledger.
    pub(super) fn unrecorded(&self) -> u64 {
        self.waiting.len() as u64 + self.lost
    }

    /// Why they are not.
    pub(super) fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }

    fn succeed(&mut self) {
        self.waiting.pop_front();
        self.failures = 0;
        if self.failure.take().is_some() {
            tracing::info!("transitions are recorded again");
        }
    }

    fn fail(&mut self, error: &LedgerError, now: Duration) {
        let pause = PAUSE * (1 << self.failures.min(DOUBLINGS_MAX));
        self.failures += 1;
        self.not_before = now + pause;
        self.tell(error.to_string());
    }

    /// Tells of it once.
    fn tell(&mut self, failure: String) {
        if self.failure.replace(failure.clone()).is_none() {
            tracing::error!(
                "transitions cannot be recorded: {failure}; what follows from them is done all the \
                 same, and they are recorded when that works again"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use tapstone_runtime::blocking;
    use tapstone_runtime::simulation::{Disk, Fault, Simulation};

    use super::*;
    use crate::id::StoreId;
    use crate::layout::Layout;
    use crate::state::{EventKind, State};
    use crate::unindexed::Unindexed;

    fn ledger() -> ledger::Running {
        let layout = Layout::new(Path::new("/store"));
        blocking::create_dir(layout.root()).unwrap();
        let context = ledger::Context { layout, store: StoreId([5; 16]), file_size: 20_000 };
        ledger::Running::start(context, &Arc::new(Unindexed::default())).unwrap()
    }

    fn went(sequence: u64) -> Transition {
        let (from, to, event, why) = (None, State::all()[0], EventKind::Start, String::new());
        Transition { sequence, unix_nanos: 1, from, to, event, why }
    }

    fn recorded(ledger: &ledger::Running) -> Vec<u64> {
        ledger.state().transitions.iter().map(|it| it.sequence).collect()
    }

    const fn second(second: u64) -> Duration {
        Duration::from_secs(second)
    }

    #[test]
    fn what_a_disk_refuses_is_recorded_in_order_when_it_takes_it() {
        let operations = {
            let world = Simulation::new(1, Disk::default());
            world.run(|| Recorder::default().record(&ledger(), went(1), second(0)));
            world.operations()
        };
        let world = Simulation::new(1, Disk::default());
        // Everything from the second record on, for a while.
        (operations..operations + 4)
            .for_each(|it| world.fail(it, Fault::Error(std::io::ErrorKind::StorageFull)));
        world.run(|| {
            let (ledger, mut recorder) = (ledger(), Recorder::default());
            recorder.record(&ledger, went(1), second(0));
            assert_eq!((recorder.unrecorded(), recorder.failure()), (0, None));
            recorder.record(&ledger, went(2), second(1));
            recorder.record(&ledger, went(3), second(1));
            assert_eq!(recorded(&ledger), [1]);
            assert_eq!(recorder.unrecorded(), 2);
            assert!(recorder.failure().unwrap().contains("ledger cannot be written"));
            recorder.keep_up(&ledger, second(1));
            assert_eq!(recorder.unrecorded(), 2, "it is not asked again at once");
            for later in 1..200 {
                recorder.keep_up(&ledger, second(1 + later));
            }
            assert_eq!((recorder.unrecorded(), recorder.failure()), (0, None));
            assert_eq!(recorded(&ledger), [1, 2, 3]);
        });
    }

    #[test]
    fn a_ledger_that_is_gone_takes_bounded_memory_and_every_number_is_counted() {
        let world = Simulation::new(1, Disk::default());
        world.run(|| {
            let (ledger, mut recorder) = (ledger(), Recorder::default());
            ledger.close();
            let count = TRANSITIONS as u64 + 10;
            (1..=count).for_each(|it| recorder.record(&ledger, went(it), second(it)));
            assert_eq!((recorder.unrecorded(), recorder.waiting.len()), (count, TRANSITIONS));
            assert!(recorder.failure().unwrap().contains("closed"));
        });
    }
}
