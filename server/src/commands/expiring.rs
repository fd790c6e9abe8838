//! Letting the oldest packets go, for as long as a server runs.

use std::time::Duration;

use tapstone::{ExpireReport, HeldBack, Retention, Store};

use crate::text;

/// How often it is looked whether packets must go.
const EVERY: Duration = Duration::from_secs(1);

/// Lets the oldest packets go, for as long as this runs.
pub(super) async fn expire(store: Store, retention: Retention) {
    if retention.keeps_everything() {
        return;
    }
    tracing::info!("{}", text::retention(&retention));
    let mut told = Told::default();
    loop {
        let pass = {
            let store = store.clone();
            move || store.expire(&retention)
        };
        match tokio::task::spawn_blocking(pass).await {
            Ok(Ok(report)) => told.tell(&report),
            Ok(Err(error)) => told.fail(&error),
            Err(error) => told.fail(&error),
        }
        tokio::time::sleep(EVERY).await;
    }
}

/// What was told last: what stays as it is, is not told every second.
#[derive(Debug, Default)]
struct Told {
    falls_short: bool,
    error: Option<String>,
}

impl Told {
    fn tell(&mut self, report: &ExpireReport) {
        self.error = None;
        for gone in &report.gone {
            let (packets, bytes) = (gone.packets, gone.packet_bytes);
            tracing::info!(packets, bytes, "packets were let go: {}", gone.by);
        }
        match self.change(report.held_back) {
            Some(true) => tracing::error!(
                "{}; what does not fit is lost, and counted: remove holds, or make room",
                text::held_back(report.held_back.segments, report.held_back.bytes)
            ),
            Some(false) => tracing::info!("there is room again in spite of holds"),
            None => {}
        }
    }

    /// Whether holds keep retention from its aim, when that is new.
    fn change(&mut self, HeldBack { falls_short, .. }: HeldBack) -> Option<bool> {
        let before = std::mem::replace(&mut self.falls_short, falls_short);
        (before != falls_short).then_some(falls_short)
    }

    fn fail(&mut self, error: &dyn std::error::Error) {
        let text = error.to_string();
        if self.error.as_ref() != Some(&text) {
            tracing::error!(error = %text, "packets could not be let go");
            self.error = Some(text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_alarm_is_raised_once_until_it_is_over() {
        let mut told = Told::default();
        let mut change = |segments, falls_short| {
            told.change(HeldBack { segments, bytes: 10 * segments, falls_short })
        };
        assert_eq!(change(1, false), None);
        assert_eq!((change(2, true), change(3, true)), (Some(true), None));
        assert_eq!((change(3, false), change(0, false)), (Some(false), None));
        assert_eq!(change(1, true), Some(true));
    }
}
