//! Alerts by webhook: somebody elsewhere is told when a store needs somebody to look, and when that
//! is over.
//!
//! ```text
//! Store::state, Store::outlook ── situation ──▶ Follower ── Alert ──▶ deliver ──▶ Webhook
//! ```
//!
//! The store is looked at from outside, twice a second: whoever keeps it waits for nobody, and what
//! is true for a moment longer than that is told. Where nobody takes an alert, that is logged and
//! counted.

mod alert;
mod deliver;
#[cfg(test)]
mod tests;
mod webhook;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tapstone::Store;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use alert::{Alert, Follower, Sender, situation};
use deliver::deliver;
pub(crate) use webhook::{Webhook, WebhookError};

/// How often the store is looked at: twice as often as its gauges are read.
const LOOK: Duration = Duration::from_millis(500);
/// Alerts that wait to be delivered: more than a store raises while one is given up.
const QUEUE: usize = 16;
/// How long what waits is tried when the server ends.
const LAST_PATIENCE: Duration = Duration::from_secs(5);

/// What tells of alerts, until it is ended.
pub(crate) struct Alerting {
    following: JoinHandle<()>,
    delivering: JoinHandle<()>,
    /// Alerts that were raised, and neither delivered nor given up.
    waiting: Arc<AtomicUsize>,
}

impl Alerting {
    /// Begins; within a tokio runtime.
    pub(crate) fn start(store: Store, webhook: Webhook) -> Alerting {
        tracing::info!("alerts go to {}", webhook.origin());
        let waiting = Arc::new(AtomicUsize::new(0));
        let (queue, alerts) = mpsc::channel(QUEUE);
        let delivering = tokio::spawn(deliver(webhook, alerts, Arc::clone(&waiting)));
        let following = tokio::spawn(follow(store, queue, Arc::clone(&waiting)));
        Alerting { following, delivering, waiting }
    }

    /// Raises no more; what waits has a last chance.
    pub(crate) async fn end(self) {
        self.following.abort();
        // It holds the store.
        self.following.await.ok();
        let abort = self.delivering.abort_handle();
        if tokio::time::timeout(LAST_PATIENCE, self.delivering).await.is_err() {
            abort.abort();
            let waiting = self.waiting.load(Ordering::Relaxed);
            tracing::error!("the server ends, and {waiting} alerts were not delivered");
        }
    }
}

/// Looks at the store, and hands alerts over.
async fn follow(store: Store, queue: mpsc::Sender<Alert>, waiting: Arc<AtomicUsize>) {
    let sender = Sender::of(&store);
    let (mut follower, mut looks) = (Follower::default(), tokio::time::interval(LOOK));
    loop {
        looks.tick().await;
        let Some(state) = store.state() else { continue };
        let now = jiff::Timestamp::now();
        let situation = situation(&state, store.outlook().as_ref(), now);
        let Some(alert) = follower.follow(&state, situation, now, &sender) else { continue };
        waiting.fetch_add(1, Ordering::Relaxed);
        if let Err(error) = queue.try_send(alert) {
            let (mpsc::error::TrySendError::Full(alert) | mpsc::error::TrySendError::Closed(alert)) =
                error;
            waiting.fetch_sub(1, Ordering::Relaxed);
            deliver::give_up(&alert, &format!("{QUEUE} others wait to be delivered"));
        }
    }
}
