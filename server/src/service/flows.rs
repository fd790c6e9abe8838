//! Flows: found first, then listed in order.

use futures_util::stream;
use tapstone::{Flow, Flows};
use tapstone_client::proto;
use tonic::Status;

use super::audit::{self, Asker};
use super::{Messages, Service, convert};

/// Flows of one message.
const PER_MESSAGE: usize = 500;

/// Finds the flows; gives the messages of the answer.
pub(super) async fn find(
    service: &Service,
    request: proto::FlowsRequest,
    asker: &Asker,
) -> Result<Messages<proto::FlowsResponse>, Status> {
    let mut selection = service.selection(request.selection, asker)?;
    let most = service.admission.limits.flows;
    let limit = selection.limit.map_or(most, |limit| limit.min(most));
    selection.limit = Some(limit);
    let mut asked = service.asked(asker, "Flows", &selection).await?;
    let search = service.plan(move |store| store.flow_search(&selection)).await?;
    let _slot = service.admission.enter(&asker.grant.identity, search.bytes_to_read()).await;
    let found = search.await;
    let flows = service.blocking(|_| found.list()).await?;
    let end = convert::flows_end(&flows, Some(limit));
    asked.outcome(audit::whole(&flows.completeness), end.flows, 0);
    Ok(Box::pin(stream::iter(messages(flows, end).map(Ok))))
}

fn messages(flows: Flows, end: proto::FlowsEnd) -> impl Iterator<Item = proto::FlowsResponse> {
    let mut rest = flows.flows.into_iter();
    let mut end = Some(end);
    std::iter::from_fn(move || {
        let flows: Vec<Flow> = rest.by_ref().take(PER_MESSAGE).collect();
        if flows.is_empty() {
            return end
                .take()
                .map(|end| proto::FlowsResponse { flows: Vec::new(), end: Some(end) });
        }
        let flows = flows.iter().map(convert::flow).collect();
        Some(proto::FlowsResponse { flows, end: None })
    })
}
