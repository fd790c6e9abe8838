//! Which tasks of MAINTENANCE are done by themselves, as it is configured.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tapstone::{Chore, RecoveryOptions, Retention};

use crate::quantity;

/// What is done so rarely that nobody wants it done by itself.
const NEVER: &str = "never";

/// How often, and how.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct MaintenanceSettings {
    /// How often what need not be kept is cleaned up: `1d`, or `never`.
    pub(crate) cleanup_every: String,
    /// How often everything is verified.
    pub(crate) scrub_every: String,
    /// For how much of the time a scrub is at work: `10%`.
    pub(crate) scrub_share: String,
}

/// Settings that make no sense: all mistakes at once.
#[derive(Debug, thiserror::Error)]
#[error("maintenance:{}", .0.iter().map(|it| format!("\n  {it}")).collect::<String>())]
pub(crate) struct MaintenanceError(Vec<String>);

/// A task that is done by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Regular {
    pub(crate) chore: Chore,
    pub(crate) every: Duration,
}

impl Default for MaintenanceSettings {
    fn default() -> Self {
        MaintenanceSettings {
            cleanup_every: "1d".to_owned(),
            scrub_every: "30d".to_owned(),
            scrub_share: "10%".to_owned(),
        }
    }
}

impl MaintenanceSettings {
    /// The tasks that are done by themselves, and how scrubs are done; the first of two that are due
    /// goes first.
    ///
    /// # Errors
    ///
    /// All that makes no sense.
    pub(crate) fn tasks(
        &self,
        retention: Retention,
    ) -> Result<(Vec<Regular>, RecoveryOptions), MaintenanceError> {
        let mut mistakes = Vec::new();
        let share = quantity::share(&self.scrub_share);
        let share = share.map_err(|what| mistakes.push(format!("scrub_share: {what}")));
        let scrub = share.map_or_else(
            |()| RecoveryOptions::default(),
            |disk_share| RecoveryOptions { disk_share },
        );
        let tasks = [
            ("cleanup_every", &self.cleanup_every, Chore::Cleanup(retention)),
            ("scrub_every", &self.scrub_every, Chore::Recovery(scrub)),
        ];
        let mut regular = Vec::new();
        for (setting, text, chore) in tasks {
            match every(text) {
                Ok(Some(every)) => regular.push(Regular { chore, every }),
                Ok(None) => {}
                Err(what) => mistakes.push(format!("{setting}: {what}")),
            }
        }
        if mistakes.is_empty() { Ok((regular, scrub)) } else { Err(MaintenanceError(mistakes)) }
    }
}

fn every(text: &str) -> Result<Option<Duration>, String> {
    if text == NEVER {
        return Ok(None);
    }
    quantity::age(text).map(Some).map_err(|what| format!("{what}, or never"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_a_daily_cleanup_and_a_monthly_scrub_at_a_tenth_of_the_time() {
        let settings = MaintenanceSettings::default();
        let (regular, scrub) = settings.tasks(Retention::default()).unwrap();
        let hours: Vec<u64> = regular.iter().map(|it| it.every.as_secs() / 3600).collect();
        assert_eq!((hours, scrub), (vec![24, 720], RecoveryOptions::default()));
        let never = MaintenanceSettings { scrub_every: "never".into(), ..settings };
        let (regular, _) = never.tasks(Retention::default()).unwrap();
        assert_eq!(regular.len(), 1);
        assert!(matches!(regular[0].chore, Chore::Cleanup(_)));
    }

    #[test]
    fn all_mistakes_are_told_at_once() {
        let settings = MaintenanceSettings {
            cleanup_every: "often".into(),
            scrub_every: "0d".into(),
            scrub_share: "all".into(),
        };
        let error = settings.tasks(Retention::default()).unwrap_err().to_string();
        for what in ["cleanup_every: 'often'", "scrub_every: '0d'", "scrub_share: 'all'", "never"] {
            assert!(error.contains(what), "{what}: {error}");
        }
    }
}
