//! Tasks of MAINTENANCE that are done by themselves, for as long as a server runs.

use std::time::Duration;

use tapstone::state::{Occasion, TopState};
use tapstone::{MaintainError, Store};
use tokio::time::Instant;

use crate::config::Regular;

/// How often it is looked whether one is due.
const EVERY: Duration = Duration::from_secs(5);
/// How long after one failed it is tried again.
const AGAIN: Duration = Duration::from_secs(3600);
/// How long after one gave way.
const SOON: Duration = Duration::from_secs(60);

/// Does each task when it is due and the store is in NORMAL.
pub(super) async fn keep_up(store: Store, regular: Vec<Regular>) {
    let mut not_before: Vec<Option<Instant>> = vec![None; regular.len()];
    loop {
        let now = Instant::now();
        let may = |number: usize| not_before[number].is_none_or(|it| now >= it);
        let tasks: Vec<(usize, Regular)> =
            regular.iter().cloned().enumerate().filter(|(number, _)| may(*number)).collect();
        let store = store.clone();
        let looked = tokio::task::spawn_blocking(move || look(&store, tasks)).await;
        if let Ok(Some((number, pause))) = looked {
            not_before[number] = pause.map(|pause| Instant::now() + pause);
        }
        tokio::time::sleep(EVERY).await;
    }
}

/// Does the task that is to be done next, if any; gives which one, and how long to leave it alone.
fn look(store: &Store, mut tasks: Vec<(usize, Regular)>) -> Option<(usize, Option<Duration>)> {
    let times = tasks.iter().map(|(_, it)| (it.every, store.last_maintained(it.chore.task())));
    let next = next(times, tapstone::unix_nanos())?;
    if !is_normal(store) {
        return None;
    }
    let (number, task) = tasks.swap_remove(next);
    Some((number, pause(&store.maintain(task.chore, Occasion::Scheduled))))
}

fn is_normal(store: &Store) -> bool {
    store.state().is_some_and(|it| it.is_kept && it.state.top() == TopState::Normal)
}

/// Which task is to be done next, of those that are done so often and were done then last: of those
/// that are due the one that was done longest ago, so that none keeps another from its turn.
fn next(tasks: impl Iterator<Item = (Duration, u64)>, now: u64) -> Option<usize> {
    let due = tasks.enumerate().filter(|(_, (every, last))| is_due(*every, *last, now));
    due.min_by_key(|(_, (_, last))| *last).map(|(number, _)| number)
}

/// Whether what was done at `last` is to be done again: it was long ago, or has yet to come, since the
/// clock was wrong then.
fn is_due(every: Duration, last: u64, now: u64) -> bool {
    let every = u64::try_from(every.as_nanos()).unwrap_or(u64::MAX);
    now < last || now - last >= every
}

/// How long a task is left alone, by what came of it. What was done is not due for a while.
fn pause<T>(done: &Result<T, MaintainError>) -> Option<Duration> {
    match done {
        Ok(_) => None,
        Err(error) if error.is_over_soon() => Some(SOON),
        // The keeper has told why.
        Err(_) => Some(AGAIN),
    }
}

#[cfg(test)]
mod tests {
    use tapstone::state::Task;

    use super::*;

    #[test]
    fn a_task_is_due_when_it_was_done_long_ago() {
        let hour = Duration::from_secs(3600);
        let nanos = 3_600_000_000_000;
        assert!(!is_due(hour, 5, 5));
        assert!(!is_due(hour, 5, 4 + nanos));
        assert!(is_due(hour, 5, 5 + nanos));
        assert!(is_due(hour, 6, 5), "the clock was ahead then");
        assert!(!is_due(Duration::MAX, 0, nanos));
    }

    #[test]
    fn of_those_that_are_due_the_one_that_was_done_longest_ago_comes_next() {
        let nanos = Duration::from_nanos;
        let next = |tasks: &[(Duration, u64)]| next(tasks.iter().copied(), 100);
        assert_eq!(next(&[]), None);
        assert_eq!(next(&[(nanos(20), 90), (nanos(50), 60)]), None);
        assert_eq!(next(&[(nanos(1), 90), (nanos(50), 40)]), Some(1));
        assert_eq!(next(&[(nanos(1), 90), (nanos(500), 40)]), Some(0));
    }

    #[test]
    fn what_gave_way_is_tried_again_sooner_than_what_failed() {
        let gave_way = MaintainError::GaveWay { task: Task::Recovery, why: "memory".into() };
        assert_eq!(pause(&Ok(())), None);
        assert_eq!(pause::<()>(&Err(gave_way)), Some(SOON));
        assert_eq!(pause::<()>(&Err(MaintainError::Panicked)), Some(AGAIN));
    }
}
