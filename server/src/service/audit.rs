//! What the audit log is told: who asked what before anything is given, and afterwards what became of
//! it. Entries are JSON (docs/security.md).

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tapstone::{AuditLog, Completeness, Hold, Selection, Timestamp, format_instant};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_util::task::TaskTracker;
use tonic::Status;
use tracing::Span;

use super::errors;
use super::request_id::RequestId;
use crate::access::{Denied, Grant, Peer};
use crate::monitoring::count;

/// Writes to a store's audit log.
#[derive(Clone, Debug)]
pub(crate) struct Audit {
    log: AuditLog,
    /// What the log has yet to hear of.
    to_come: TaskTracker,
}

/// A request that was let in and told to the log. Dropped, it tells what became of it.
#[derive(Debug)]
pub(super) struct Asked {
    audit: Audit,
    sequence: u64,
    method: &'static str,
    span: Span,
    began: Instant,
    outcome: Outcome,
    /// The hold that it was about.
    hold: Option<Value>,
}

/// What became of a request.
#[derive(Clone, Copy, Debug)]
struct Outcome {
    what: &'static str,
    packets: u64,
    bytes: u64,
}

impl Audit {
    pub(crate) fn new(log: AuditLog) -> Audit {
        Audit { log, to_come: TaskTracker::new() }
    }

    /// Waits until the log has what became of all that was asked, but not for longer than this.
    pub(crate) async fn settle(&self, patience: Duration) {
        self.to_come.close();
        if timeout(patience, self.to_come.wait()).await.is_err() {
            tracing::warn!("what became of some requests is not in the audit log");
        }
    }

    /// Does something whoever is still there to hear of it: [`settle`](Self::settle) waits for it.
    pub(super) fn spawn<F>(&self, work: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        self.to_come.spawn(work)
    }

    /// Tells of a request. Nothing may be given before this is done.
    pub(super) async fn asked(
        &self,
        who: &Asker,
        method: &'static str,
        what: Value,
    ) -> Result<Asked, Status> {
        let entry = json!({
            "event": "asked",
            "identity": &*who.grant.identity,
            "peer": who.peer.to_string(),
            "request": who.id.to_string(),
            "method": method,
            "query": what,
        });
        let sequence = self.append(&entry).await?;
        let outcome = Outcome { what: "broken off", packets: 0, bytes: 0 };
        let (audit, span, began) = (self.clone(), who.span.clone(), Instant::now());
        Ok(Asked { audit, sequence, method, span, began, outcome, hold: None })
    }

    /// Tells of a request that was refused.
    pub(super) async fn refused(
        &self,
        peer: &Peer,
        path: &str,
        id: &RequestId,
        denied: &Denied,
    ) -> Result<(), Status> {
        let entry = json!({
            "event": "refused",
            "identity": denied.identity.as_deref(),
            "peer": peer.to_string(),
            "request": id.to_string(),
            "method": shortened(path),
            "reason": denied.audit,
        });
        self.append(&entry).await.map(drop)
    }

    async fn append(&self, entry: &Value) -> Result<u64, Status> {
        let appended = self.log.append(entry.to_string().as_bytes()).await;
        count::audit_record();
        appended.map_err(|error| errors::audit(&error))
    }
}

/// Who asks.
#[derive(Clone, Debug)]
pub(super) struct Asker {
    pub(super) grant: Grant,
    pub(super) peer: Arc<str>,
    pub(super) id: RequestId,
    /// Of the request, to its very end.
    pub(super) span: Span,
}

impl Asked {
    /// Tells the log of the server when its first packets went out.
    pub(super) fn tell_first(&self, took: Duration) {
        tracing::debug!(parent: &self.span, ?took, "its first packets");
    }

    /// Says what became of it.
    pub(super) fn outcome(&mut self, what: &'static str, packets: u64, bytes: u64) {
        self.outcome = Outcome { what, packets, bytes };
    }

    /// Says what hold it was about.
    pub(super) fn about(&mut self, hold: &Hold) {
        let (by, reason) = (shortened(&hold.by), shortened(&hold.reason));
        self.hold = Some(json!({ "id": hold.id, "by": by, "reason": reason }));
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        let (Outcome { what, packets, bytes }, took) = (self.outcome, self.began.elapsed());
        count::request(self.method, what, took);
        let millis = took.as_secs_f64() * 1000.0;
        tracing::info!(parent: &self.span, outcome = what, packets, bytes, millis, "answered");
        // Without a runtime the server is gone, and an entry without its end says just that.
        let Ok(runtime) = Handle::try_current() else { return };
        let mut entry = json!({
            "event": "answered",
            "of": self.sequence,
            "outcome": what,
            "packets": packets,
            "bytes": bytes,
        });
        if let Some(hold) = self.hold.take() {
            entry["hold"] = hold;
        }
        let log = self.audit.log.clone();
        let tell = async move {
            if let Err(error) = log.append(entry.to_string().as_bytes()).await {
                tracing::error!(%error, "what became of a request is not in the audit log");
            }
        };
        self.audit.to_come.spawn_on(tell, &runtime);
    }
}

/// How an answer that was given to its end is told.
pub(super) fn whole(completeness: &Completeness) -> &'static str {
    if completeness.is_complete() { "complete" } else { "incomplete" }
}

/// What is asked for, as the log tells it.
pub(super) fn question(selection: &Selection) -> Value {
    let instant = |time: Option<Timestamp>| time.map(format_instant);
    let mut question = json!({ "filter": shortened(&selection.filter) });
    let mut add = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            question[name] = value;
        }
    };
    add("since", instant(selection.since).map(Value::from));
    add("until", instant(selection.until).map(Value::from));
    add(
        "where",
        Some(&selection.metadata).filter(|it| !it.is_empty()).map(|it| shortened(it).into()),
    );
    add("limit", selection.limit.map(Value::from));
    add("after", selection.after.map(|cursor| cursor.to_string().into()));
    add("within", selection.within.first().map(|nets| shortened(nets).into()));
    question
}

/// A record has its bounds, and what is asked has not.
pub(super) fn shortened(text: &str) -> String {
    const MOST: usize = 8 << 10;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}... ({} bytes)", &text[..end], text.len()),
        None => text.to_owned(),
    }
}
