//! The task of MAINTENANCE that is under way, and who waits for it.

use std::sync::Arc;

use async_channel::Sender;

use crate::maintenance::{MaintainError, Maintained, Ordered, Run};
use crate::state;

/// A task under way.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) run: Arc<Run>,
    /// What came of its last step.
    pub(super) last: Option<Result<state::Maintenance, MaintainError>>,
    done: Sender<Result<Maintained, MaintainError>>,
}

impl Task {
    pub(super) fn new(ordered: Ordered) -> Task {
        let Ordered { chore, occasion: _, done } = ordered;
        Task { run: Arc::new(Run::new(chore)), last: None, done }
    }

    /// Another is under way.
    pub(super) fn refuse(ordered: Ordered, other: state::Task) {
        answer(&ordered.done, Err(MaintainError::UnderWay(other)));
    }

    /// MAINTENANCE was left: all is done, or a step has failed, or something came that matters
    /// more.
    pub(super) fn end(self, why: &str) {
        self.run.give_up();
        let task = self.run.task();
        let result = match self.last {
            Some(Err(error)) => Err(error),
            Some(Ok(step)) if step.next_step().is_none() => Ok(self.run.finish()),
            Some(Ok(_)) | None => Err(MaintainError::GaveWay { task, why: why.to_owned() }),
        };
        match &result {
            Ok(_) => tracing::info!("{task} is done"),
            Err(error) => tracing::warn!(%error, "{task} was not done to its end"),
        }
        answer(&self.done, result);
    }
}

/// Whoever waited may have gone: the log has what came of it.
fn answer(
    to: &Sender<Result<Maintained, MaintainError>>,
    result: Result<Maintained, MaintainError>,
) {
    to.try_send(result).ok();
}
