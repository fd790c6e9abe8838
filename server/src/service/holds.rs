//! Holds: what retention must not touch.

use serde_json::{Value, json};
use tapstone::{Hold, HoldError, Selection, Store};
use tapstone_client::proto;
use tonic::Status;

use super::audit::{self, Asker};
use super::{Service, convert, errors};

/// Adds a hold, in the asker's name.
pub(super) async fn add(
    service: &Service,
    request: proto::AddHoldRequest,
    asker: &Asker,
) -> Result<proto::AddHoldResponse, Status> {
    let selection = convert::selection(request.selection).map_err(errors::cursor)?;
    let what = question(&selection, &request.reason);
    let new = convert::new_hold(selection, request.reason, asker.grant.identity.to_string());
    let add = move |it: &Store| it.add_hold(&new);
    let hold = change(service, asker, ("AddHold", what), add, |it| Some(it)).await?;
    Ok(proto::AddHoldResponse { hold: Some(convert::hold(&hold)) })
}

pub(super) async fn remove(
    service: &Service,
    id: u64,
    asker: &Asker,
) -> Result<proto::RemoveHoldResponse, Status> {
    let what = json!({ "hold": id });
    let remove = move |it: &Store| it.remove_hold(id);
    let hold = change(service, asker, ("RemoveHold", what), remove, |it| Some(it)).await?;
    Ok(proto::RemoveHoldResponse { hold: Some(convert::hold(&hold)) })
}

pub(super) async fn accept(
    service: &Service,
    asker: &Asker,
) -> Result<proto::AcceptHoldsResponse, Status> {
    change(service, asker, ("AcceptHolds", Value::Null), Store::accept_holds, |()| None).await?;
    Ok(proto::AcceptHoldsResponse {})
}

pub(super) async fn list(
    service: &Service,
    asker: &Asker,
) -> Result<proto::ListHoldsResponse, Status> {
    let mut asked = service.audit.asked(asker, "ListHolds", Value::Null).await?;
    asked.outcome("done", 0, 0);
    Ok(convert::holds(&service.store))
}

/// Tells the audit log, and then does it.
async fn change<T: Send + 'static>(
    service: &Service,
    asker: &Asker,
    (method, what): (&'static str, Value),
    work: impl FnOnce(&Store) -> Result<T, HoldError> + Send + 'static,
    hold_of: impl FnOnce(&T) -> Option<&Hold>,
) -> Result<T, Status> {
    let mut asked = service.audit.asked(asker, method, what).await?;
    let done = service.blocking(work).await?;
    if let Some(hold) = done.as_ref().ok().and_then(hold_of) {
        asked.about(hold);
    }
    asked.outcome(if done.is_ok() { "done" } else { "failed" }, 0, 0);
    done.map_err(|error| errors::hold(&error))
}

/// What is held, as the audit log tells it.
fn question(selection: &Selection, reason: &str) -> Value {
    let mut question = audit::question(selection);
    question["reason"] = audit::shortened(reason).into();
    question
}
