//! The gRPC services: from requests to the store and back.

mod admission;
pub(crate) mod audit;
mod audit_summary;
pub(crate) mod backup;
pub(crate) mod convert;
mod deadline;
pub(crate) mod errors;
mod flows;
mod form;
pub(crate) mod gate;
mod holds;
mod import;
mod places;
mod query;
pub(crate) mod report;
mod request_id;
pub(crate) mod state;
mod task;
mod watch;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::Stream;
use serde_json::Value;
use tapstone::{QueryError, Selection, Store};
use tapstone_client::proto;
use tapstone_client::proto::admin_server::{Admin, AdminServer};
use tapstone_client::proto::tapstone_server::{Tapstone, TapstoneServer};
use tokio::sync::watch as tell;
use tokio::time::Instant;
use tonic::{Request, Response, Status, Streaming};

use crate::monitoring::{Load, count};
use admission::Admission;
pub(crate) use admission::Limits;
use audit::{Asked, Asker, Audit};
use deadline::{Deadline, within};

pub(crate) use query::{answer, ended};
pub(crate) use task::Tasks;

/// Most bytes of one request message: what imports send in one piece.
const REQUEST_MAX: usize = 8 << 20;

/// What answers requests. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Service {
    store: Store,
    admission: Arc<Admission>,
    audit: Audit,
    tasks: Tasks,
    /// Told when the server is about to end: what would go on for ever ends then.
    ending: Arc<tell::Sender<bool>>,
}

/// A response of many messages.
type Messages<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl Service {
    pub(crate) fn new(store: Store, limits: Limits, tasks: Tasks) -> Service {
        let audit = Audit::new(store.audit());
        let (admission, ending) = (Arc::new(Admission::new(limits)), Arc::default());
        Service { store, admission, audit, tasks, ending }
    }

    /// Ends what would go on for ever, or for days.
    pub(crate) fn end(&self) {
        self.ending.send_replace(true);
        self.store.give_up_task("the server ends");
    }

    /// What the gate tells of refusals.
    pub(crate) fn audit(&self) -> Audit {
        self.audit.clone()
    }

    /// What is under way, and what waits.
    pub(crate) fn load(&self) -> [Load; 4] {
        self.admission.load()
    }

    /// Finding packets, and taking captures in.
    pub(crate) fn tapstone(&self) -> TapstoneServer<Service> {
        TapstoneServer::new(self.clone()).max_decoding_message_size(REQUEST_MAX)
    }

    /// Looking after the store.
    pub(crate) fn admin(&self) -> AdminServer<Service> {
        AdminServer::new(self.clone()).max_decoding_message_size(REQUEST_MAX)
    }

    /// What is asked for, as far as the asker may see it.
    fn selection(
        &self,
        selection: Option<proto::Selection>,
        asker: &Asker,
    ) -> Result<Selection, Status> {
        let mut selection = convert::selection(selection).map_err(errors::cursor)?;
        let scope = &asker.grant.scope;
        let range = scope.clamp(selection.since, selection.until);
        (selection.since, selection.until) = range.map_err(|error| errors::out_of_scope(&error))?;
        selection.within = scope.within();
        Ok(selection)
    }

    /// Tells the audit log what is asked for.
    async fn asked(
        &self,
        asker: &Asker,
        method: &'static str,
        selection: &Selection,
    ) -> Result<Asked, Status> {
        self.audit.asked(asker, method, audit::question(selection)).await
    }

    /// Runs what blocks (planning, reading catalog and splits) where it keeps nobody waiting.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> T + Send + 'static,
    ) -> Result<T, Status> {
        let store = self.store.clone();
        let done = tokio::task::spawn_blocking(move || work(&store)).await;
        done.map_err(|error| errors::internal(&error))
    }

    /// Plans a question.
    async fn plan<T: Send + 'static>(
        &self,
        plan: impl FnOnce(&Store) -> Result<T, QueryError> + Send + 'static,
    ) -> Result<T, Status> {
        let _turn = self.admission.planning().await;
        self.blocking(plan).await?.map_err(|error| errors::query(&error))
    }
}

#[tonic::async_trait]
impl Tapstone for Service {
    type QueryStream = Messages<proto::QueryResponse>;
    type FlowsStream = Messages<proto::FlowsResponse>;
    type StateStream = Messages<proto::StateResponse>;

    async fn query(
        &self,
        request: Request<proto::QueryRequest>,
    ) -> Result<Response<Self::QueryStream>, Status> {
        let deadline = Deadline::of(&request);
        let asker = gate::asker(&request)?;
        let started = query::start(self, request.into_inner(), asker, deadline);
        Ok(Response::new(within(deadline, started).await??))
    }

    async fn count(
        &self,
        request: Request<proto::CountRequest>,
    ) -> Result<Response<proto::CountResponse>, Status> {
        let (deadline, began) = (Deadline::of(&request), Instant::now());
        let asker = gate::asker(&request)?;
        let counted = async {
            let selection = self.selection(request.into_inner().selection, &asker)?;
            let mut asked = self.asked(&asker, "Count", &selection).await?;
            let counting = self.plan(move |store| store.counting(&selection)).await?;
            let bytes = counting.bytes_to_read();
            let _slot = self.admission.enter(&asker.grant.identity, bytes).await;
            let answer = counting.await;
            count::answer("Count", answer.packets, 0);
            asked.outcome(audit::whole(&answer.completeness), answer.packets, 0);
            Ok::<_, Status>((answer, bytes))
        };
        let (answer, bytes) = within(deadline, counted).await??;
        let ended = proto::Ended::All;
        let answer = query::answer(&answer, ended, began.elapsed(), bytes);
        Ok(Response::new(proto::CountResponse { answer: Some(answer) }))
    }

    async fn histogram(
        &self,
        request: Request<proto::HistogramRequest>,
    ) -> Result<Response<proto::HistogramResponse>, Status> {
        let deadline = Deadline::of(&request);
        let asker = gate::asker(&request)?;
        let counted = async {
            let request = request.into_inner();
            let by = convert::group_by(request.by());
            let selection = self.selection(request.selection, &asker)?;
            let width = request.width.and_then(|width| Duration::try_from(width).ok());
            let width = width.filter(|width| !width.is_zero());
            let width = width.ok_or_else(|| {
                errors::bad_request("width", "how long is a bar? Give a width, such as 60 s")
            })?;
            let mut asked = self.asked(&asker, "Histogram", &selection).await?;
            let tallying = self.plan(move |store| store.tallying(&selection, width, by)).await?;
            let bytes = tallying.bytes_to_read();
            let _slot = self.admission.enter(&asker.grant.identity, bytes).await;
            let histogram = tallying.await;
            let packets = histogram.bars.iter().map(|bar| bar.packets).sum();
            asked.outcome(audit::whole(&histogram.completeness), packets, 0);
            Ok::<_, Status>(histogram)
        };
        let histogram = within(deadline, counted).await??;
        Ok(Response::new(convert::histogram(&histogram)))
    }

    async fn flows(
        &self,
        request: Request<proto::FlowsRequest>,
    ) -> Result<Response<Self::FlowsStream>, Status> {
        let deadline = Deadline::of(&request);
        let asker = gate::asker(&request)?;
        let found = flows::find(self, request.into_inner(), &asker);
        Ok(Response::new(within(deadline, found).await??))
    }

    async fn info(
        &self,
        _: Request<proto::InfoRequest>,
    ) -> Result<Response<proto::InfoResponse>, Status> {
        let info = self.blocking(Store::info).await?.map_err(|error| errors::catalog(&error))?;
        Ok(Response::new(convert::info(&info)))
    }

    async fn state(
        &self,
        request: Request<proto::StateRequest>,
    ) -> Result<Response<Self::StateStream>, Status> {
        let deadline = Deadline::of(&request);
        let messages = state::messages(self, &request.into_inner());
        let patience = Duration::from_secs(self.admission.limits.slow_reader_secs);
        Ok(Response::new(Box::pin(watch::Watched::new(messages, patience, deadline))))
    }

    async fn import(
        &self,
        request: Request<Streaming<proto::ImportRequest>>,
    ) -> Result<Response<proto::ImportResponse>, Status> {
        let asker = gate::asker(&request)?;
        import::take(self, request.into_inner(), &asker).await.map(Response::new)
    }
}

#[tonic::async_trait]
impl Admin for Service {
    async fn flush(
        &self,
        request: Request<proto::FlushRequest>,
    ) -> Result<Response<proto::FlushResponse>, Status> {
        let asker = gate::asker(&request)?;
        let mut asked = self.audit.asked(&asker, "Flush", Value::Null).await?;
        self.blocking(Store::flush).await?.map_err(|error| errors::flush(&error))?;
        asked.outcome("done", 0, 0);
        Ok(Response::new(proto::FlushResponse {}))
    }

    async fn seal(
        &self,
        request: Request<proto::SealRequest>,
    ) -> Result<Response<proto::SealResponse>, Status> {
        let asker = gate::asker(&request)?;
        let mut asked = self.audit.asked(&asker, "Seal", Value::Null).await?;
        self.blocking(Store::seal).await?.map_err(|error| errors::seal(&error))?;
        asked.outcome("done", 0, 0);
        Ok(Response::new(proto::SealResponse {}))
    }

    async fn check(
        &self,
        request: Request<proto::CheckRequest>,
    ) -> Result<Response<proto::CheckResponse>, Status> {
        let asker = gate::asker(&request)?;
        let mut asked = self.audit.asked(&asker, "Check", Value::Null).await?;
        let report = self.blocking(Store::check).await?;
        asked.outcome(
            if report.damage.is_empty() { "sound" } else { "damaged" },
            report.packets,
            0,
        );
        Ok(Response::new(convert::checked(&report)))
    }

    async fn report(
        &self,
        request: Request<proto::ReportRequest>,
    ) -> Result<Response<proto::ReportResponse>, Status> {
        let asker = gate::asker(&request)?;
        report::make(self, request.into_inner(), &asker).await.map(Response::new)
    }

    async fn backup(
        &self,
        request: Request<proto::BackupRequest>,
    ) -> Result<Response<proto::BackupResponse>, Status> {
        let asker = gate::asker(&request)?;
        backup::order(self, &request.into_inner(), &asker).await.map(Response::new)
    }

    async fn cleanup(
        &self,
        request: Request<proto::CleanupRequest>,
    ) -> Result<Response<proto::CleanupResponse>, Status> {
        task::cleanup(self, &gate::asker(&request)?).await.map(Response::new)
    }

    async fn scrub(
        &self,
        request: Request<proto::ScrubRequest>,
    ) -> Result<Response<proto::ScrubResponse>, Status> {
        let asker = gate::asker(&request)?;
        task::scrub(self, request.into_inner(), &asker).await.map(Response::new)
    }

    async fn add_hold(
        &self,
        request: Request<proto::AddHoldRequest>,
    ) -> Result<Response<proto::AddHoldResponse>, Status> {
        let asker = gate::asker(&request)?;
        holds::add(self, request.into_inner(), &asker).await.map(Response::new)
    }

    async fn remove_hold(
        &self,
        request: Request<proto::RemoveHoldRequest>,
    ) -> Result<Response<proto::RemoveHoldResponse>, Status> {
        let asker = gate::asker(&request)?;
        holds::remove(self, request.into_inner().id, &asker).await.map(Response::new)
    }

    async fn list_holds(
        &self,
        request: Request<proto::ListHoldsRequest>,
    ) -> Result<Response<proto::ListHoldsResponse>, Status> {
        holds::list(self, &gate::asker(&request)?).await.map(Response::new)
    }

    async fn accept_holds(
        &self,
        request: Request<proto::AcceptHoldsRequest>,
    ) -> Result<Response<proto::AcceptHoldsResponse>, Status> {
        holds::accept(self, &gate::asker(&request)?).await.map(Response::new)
    }
}
