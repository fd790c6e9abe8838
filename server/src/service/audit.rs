//! What the audit log is told: who asked what before anything is given, and afterwards what became of
//! it. Entries are JSON (docs/security.md).

use std::sync::Arc;

use serde_json::{Value, json};
use tapstone::{AuditLog, Completeness, Selection, Timestamp, format_instant};
use tokio::runtime::Handle;
use tonic::Status;

use super::errors;
use crate::access::{Denied, Grant, Peer};

/// Writes to a store's audit log.
#[derive(Clone, Debug)]
pub(crate) struct Audit(AuditLog);

/// A request that was let in and told to the log. Dropped, it tells what became of it.
#[derive(Debug)]
pub(super) struct Asked {
    log: AuditLog,
    sequence: u64,
    outcome: Value,
}

impl Audit {
    pub(crate) fn new(log: AuditLog) -> Audit {
        Audit(log)
    }

    /// Tells of a request. Nothing may be given before this is done.
    pub(super) async fn asked(
        &self,
        who: &Asker,
        method: &str,
        what: Value,
    ) -> Result<Asked, Status> {
        let entry = json!({
            "event": "asked",
            "identity": &*who.grant.identity,
            "peer": who.peer.to_string(),
            "method": method,
            "query": what,
        });
        let sequence = self.append(&entry).await?;
        let outcome = json!({ "outcome": "broken off" });
        Ok(Asked { log: self.0.clone(), sequence, outcome })
    }

    /// Tells of a request that was refused.
    pub(super) async fn refused(
        &self,
        peer: &Peer,
        path: &str,
        denied: &Denied,
    ) -> Result<(), Status> {
        let entry = json!({
            "event": "refused",
            "identity": denied.identity.as_deref(),
            "peer": peer.to_string(),
            "method": shortened(path),
            "reason": denied.audit,
        });
        self.append(&entry).await.map(drop)
    }

    async fn append(&self, entry: &Value) -> Result<u64, Status> {
        let appended = self.0.append(entry.to_string().as_bytes()).await;
        appended.map_err(|error| errors::audit(&error))
    }
}

/// Who asks.
#[derive(Clone, Debug)]
pub(super) struct Asker {
    pub(super) grant: Grant,
    pub(super) peer: Arc<str>,
}

impl Asked {
    /// Says what became of it.
    pub(super) fn outcome(&mut self, what: &str, packets: u64, bytes: u64) {
        self.outcome = json!({ "outcome": what, "packets": packets, "bytes": bytes });
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        // Without a runtime the server is gone, and an entry without its end says just that.
        let Ok(runtime) = Handle::try_current() else { return };
        let mut entry = json!({ "event": "answered", "of": self.sequence });
        if let (Some(entry), Value::Object(outcome)) = (entry.as_object_mut(), self.outcome.take())
        {
            entry.extend(outcome);
        }
        let log = self.log.clone();
        runtime.spawn(async move {
            if let Err(error) = log.append(entry.to_string().as_bytes()).await {
                tracing::error!(%error, "what became of a request is not in the audit log");
            }
        });
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
