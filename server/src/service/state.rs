//! The state of the store: as it is, and each change of it.

use futures_util::stream::{self, StreamExt};
use tapstone::state::{PressureSource, Transition};
use tapstone::{StateReport, StateWatch};
use tapstone_client::proto;
use tokio::sync::watch::Receiver;

use super::{Messages, Service, convert};

/// The messages: one, or one for each change until the server ends.
pub(super) fn messages(
    service: &Service,
    request: &proto::StateRequest,
) -> Messages<proto::StateResponse> {
    // Watched before it is looked at: nothing in between is missed.
    let watch = service.store.watch_state();
    let state = service.store.state();
    let last = state.as_ref().map_or(0, |it| it.sequence);
    let mut history = if request.history { service.store.state_history() } else { Vec::new() };
    history.retain(|transition| transition.sequence <= last);
    let first = stream::iter([Ok(response(state.as_ref(), &history))]);
    if !request.watch {
        return Box::pin(first);
    }
    let troubles = state.map(|it| it.troubles).unwrap_or_default();
    let changes = Changes { watch, last, troubles, ending: service.ending.subscribe() };
    Box::pin(first.chain(stream::unfold(changes, |changes| async {
        let (message, changes) = changes.next().await?;
        Some((Ok(message), changes))
    })))
}

/// The state of a store that is not watched.
pub(crate) fn response(
    state: Option<&StateReport>,
    transitions: &[Transition],
) -> proto::StateResponse {
    let transitions = transitions.iter().map(transition).collect();
    let Some(report) = state else {
        return proto::StateResponse { transitions, ..proto::StateResponse::default() };
    };
    let source = |source| proto::Reading {
        source: PressureSource::name(source).to_owned(),
        level: report.readings.map_or("", |it| it.of(source).level.name()).to_owned(),
        used: report.readings.map_or(0, |it| it.of(source).used.into()),
        text: report.readings.map_or_else(String::new, |it| it.of(source).to_string()),
    };
    let readings = report.readings.map(|_| PressureSource::ALL.map(source).to_vec());
    proto::StateResponse {
        kept: report.is_kept,
        state: report.state.to_string(),
        since: Some(convert::unix_nanos(report.since_nanos)),
        why: report.why.clone(),
        sequence: report.sequence,
        active: report.active.iter().map(ToString::to_string).collect(),
        readings: readings.unwrap_or_default(),
        consequences: report.consequences.clone(),
        unrecorded: report.unrecorded,
        troubles: report.troubles.clone(),
        transitions,
    }
}

fn transition(it: &Transition) -> proto::Transition {
    proto::Transition {
        sequence: it.sequence,
        at: Some(convert::unix_nanos(it.unix_nanos)),
        from: it.from.map(|from| from.to_string()).unwrap_or_default(),
        to: it.to.to_string(),
        event: it.event.to_string(),
        why: it.why.clone(),
    }
}

struct Changes {
    watch: StateWatch,
    /// The number of the last transition that was told of.
    last: u64,
    troubles: Vec<String>,
    ending: Receiver<bool>,
}

impl Changes {
    async fn next(mut self) -> Option<(proto::StateResponse, Changes)> {
        loop {
            let report = tokio::select! {
                report = self.watch.changed() => report?,
                _ = self.ending.wait_for(|is_ending| *is_ending) => return None,
            };
            let transitions = self.watch.transitions_since(self.last);
            // The first change is what was told of already.
            if transitions.is_empty() && report.troubles == self.troubles {
                continue;
            }
            self.last = self.last.max(transitions.last().map_or(0, |it| it.sequence));
            self.troubles.clone_from(&report.troubles);
            return Some((response(Some(&report), &transitions), self));
        }
    }
}
