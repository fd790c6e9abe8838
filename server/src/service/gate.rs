//! The gate: every request passes it before anything else looks at it, whatever it asks for.

use std::sync::{Arc, PoisonError, RwLock};
use std::task::{Context, Poll};

use futures_util::future::{BoxFuture, Either};
use http::header::AUTHORIZATION;
use tonic::body::Body;
use tonic::{Request, Status};
use tower::{Layer, Service};
use tracing::Instrument;

use super::audit::{Asker, Audit};
use super::request_id::{HEADER, RequestId};
use super::{convert, errors};
use crate::access::{Denied, Grant, Kind, Peer, Policy, bearer};
use crate::monitoring::count;

/// Lets through what the policy grants; the grant goes along with the request.
#[derive(Clone, Debug)]
pub(crate) struct Gate {
    policy: Arc<RwLock<Arc<Policy>>>,
    audit: Audit,
}

impl Gate {
    pub(crate) fn new(policy: Policy, audit: Audit) -> Gate {
        Gate { policy: Arc::new(RwLock::new(Arc::new(policy))), audit }
    }

    /// Exchanges the policy: the next request is judged by the new one.
    pub(crate) fn exchange(&self, policy: Policy) {
        *self.policy.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(policy);
    }

    fn judge(&self, peer: &Peer, request: &http::Request<Body>) -> Result<Grant, Denied> {
        let policy = Arc::clone(&self.policy.read().unwrap_or_else(PoisonError::into_inner));
        let token = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        policy.decide(peer, token.map(bearer), request.uri().path(), convert::now())
    }

    /// Tells the log of a refusal, and then the caller.
    async fn refuse(
        self,
        peer: Peer,
        path: String,
        id: RequestId,
        denied: Denied,
    ) -> http::Response<Body> {
        tracing::warn!(%peer, reason = denied.audit, "refused");
        count::refused(denied.kind.name());
        let told = self.audit.refused(&peer, &path, &id, &denied).await;
        told.err().unwrap_or_else(|| errors::denied(&denied)).into_http()
    }
}

impl<S> Layer<S> for Gate {
    type Service = Gated<S>;

    fn layer(&self, inner: S) -> Gated<S> {
        Gated { gate: self.clone(), inner }
    }
}

/// A service behind the gate.
#[derive(Clone, Debug)]
pub(crate) struct Gated<S> {
    gate: Gate,
    inner: S,
}

impl<S> Service<http::Request<Body>> for Gated<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>>,
    S::Future: Send + 'static,
    S::Error: 'static,
{
    type Response = http::Response<Body>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Self::Response, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        // Only connections of ours get here, and all of them say who is there.
        let peer = request.extensions().get::<Peer>().cloned();
        let peer = peer.expect("the listener says who connected");
        let id = RequestId::of(request.headers());
        let span = tracing::info_span!("request", %id, method = request.uri().path());
        let header = id.to_header();
        let answer = match self.gate.judge(&peer, &request) {
            Ok(grant) => {
                let (peer, span) = (peer.to_string().into(), span.clone());
                request.extensions_mut().insert(Asker { grant, peer, id, span });
                Either::Left(self.inner.call(request))
            }
            Err(denied) => {
                let path = request.uri().path().to_owned();
                let refused = self.gate.clone().refuse(peer, path, id, denied);
                Either::Right(async { Ok(refused.await) })
            }
        };
        let answer = answer.instrument(span);
        Box::pin(async {
            let mut response = answer.await?;
            response.headers_mut().insert(HEADER, header);
            Ok(response)
        })
    }
}

/// Who asks, and what was granted.
pub(super) fn asker<T>(request: &Request<T>) -> Result<Asker, Status> {
    // Nothing gets past the gate without one.
    let asker = request.extensions().get::<Asker>().cloned();
    asker.ok_or_else(|| Status::permission_denied("nobody said that this may be asked"))
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Unauthenticated => "unauthenticated",
            Kind::PermissionDenied => "permission_denied",
        }
    }

    pub(super) fn code(&self) -> tonic::Code {
        match self {
            Kind::Unauthenticated => tonic::Code::Unauthenticated,
            Kind::PermissionDenied => tonic::Code::PermissionDenied,
        }
    }
}
