//! Delivering alerts, one after the other.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::sleep;

use super::alert::Alert;
use super::webhook::Webhook;
use crate::monitoring::count;

/// How often an alert is tried. With what follows one is given up after a minute at most, since the
/// next one, which may be more urgent, waits behind it.
const ATTEMPTS: u32 = 6;
/// How long after the first attempt it is tried again; the pause doubles.
const PAUSE: Duration = Duration::from_secs(1);

/// Delivers alerts until no more can come.
pub(super) async fn deliver(
    webhook: Webhook,
    mut alerts: mpsc::Receiver<Alert>,
    waiting: Arc<AtomicUsize>,
) {
    while let Some(alert) = alerts.recv().await {
        let (event, urgency) = (alert.turn.name(), alert.urgency.name());
        match attempt(&webhook, &alert).await {
            Ok(attempts) => {
                tracing::info!(event, urgency, attempts, "an alert was delivered");
                count::alert("delivered");
            }
            Err(problem) => give_up(&alert, &problem),
        }
        waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Tries an alert as often as it is tried; gives how often that was.
async fn attempt(webhook: &Webhook, alert: &Alert) -> Result<u32, String> {
    let body = alert.body.to_string();
    let mut attempts = 0;
    loop {
        attempts += 1;
        let Err(error) = webhook.post(body.clone()).await else { return Ok(attempts) };
        if attempts == ATTEMPTS {
            return Err(format!("{attempts} attempts, the last: {error}"));
        }
        let pause = PAUSE * (1 << (attempts - 1));
        let origin = webhook.origin();
        tracing::warn!(%error, "{origin} did not take an alert; it is tried again in {pause:?}");
        sleep(pause).await;
    }
}

/// Nobody is told of an alert.
pub(super) fn give_up(alert: &Alert, problem: &str) {
    let (event, urgency) = (alert.turn.name(), alert.urgency.name());
    tracing::error!(event, urgency, alert = %alert.body, "an alert was given up: {problem}");
    count::alert("given-up");
}
