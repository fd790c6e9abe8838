//! What the storage state machine decides by, as it is configured.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tapstone::state::{Bounds, ThresholdError, Thresholds};

use crate::alerting::{Webhook, WebhookError};
use crate::quantity;

/// From what on the gauges mean what, and how long things must last.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct StateSettings {
    /// Of the memory that may be used: low, high, relieved, exhausted, such as `85%`.
    pub(crate) memory: Vec<String>,
    /// Of the room on the disk that should stay free.
    pub(crate) space: Vec<String>,
    /// Of what may wait for the disk.
    pub(crate) backlog: Vec<String>,
    /// Of what may wait in queues and rings, and for the index.
    pub(crate) pipeline: Vec<String>,
    /// The dwell time: `10s`.
    pub(crate) dwell: String,
    /// The time between two measures.
    pub(crate) step: String,
    /// How long pressure goes on before not everything is kept.
    pub(crate) sustained: String,
    /// Where alerts are sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) webhook: Option<String>,
    /// The authorities that are believed there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) webhook_ca: Option<PathBuf>,
}

/// Settings that make no sense.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StateSettingsError {
    /// One cannot be read.
    #[error("state.{setting}: {what}")]
    Unreadable {
        /// Which.
        setting: &'static str,
        /// What is wrong with it.
        what: String,
    },
    /// Together they make no sense: all mistakes at once.
    #[error("state:{}", list(.0))]
    Senseless(Vec<ThresholdError>),
    /// Alerts cannot be sent.
    #[error(transparent)]
    Webhook(Box<WebhookError>),
}

fn list(mistakes: &[ThresholdError]) -> String {
    mistakes.iter().map(|mistake| format!("\n  {mistake}")).collect()
}

impl From<WebhookError> for StateSettingsError {
    fn from(error: WebhookError) -> Self {
        StateSettingsError::Webhook(Box::new(error))
    }
}

impl Default for StateSettings {
    fn default() -> Self {
        let Thresholds { memory, space, backlog, pipeline, dwell, step, sustained } =
            Thresholds::default();
        let [memory, space, backlog, pipeline] = [memory, space, backlog, pipeline].map(written);
        let [dwell, step, sustained] =
            [dwell, step, sustained].map(|time| format!("{}s", time.as_secs()));
        StateSettings {
            memory,
            space,
            backlog,
            pipeline,
            dwell,
            step,
            sustained,
            webhook: None,
            webhook_ca: None,
        }
    }
}

fn written(bounds: Bounds) -> Vec<String> {
    let Bounds { low, high, relieved, exhausted } = bounds;
    [low, high, relieved, exhausted].map(quantity::written_thousandths).to_vec()
}

impl StateSettings {
    /// What they mean.
    ///
    /// # Errors
    ///
    /// The first setting that cannot be read, or all that make no sense together.
    pub(crate) fn thresholds(&self) -> Result<Thresholds, StateSettingsError> {
        let thresholds = Thresholds {
            memory: bounds("memory", &self.memory)?,
            space: bounds("space", &self.space)?,
            backlog: bounds("backlog", &self.backlog)?,
            pipeline: bounds("pipeline", &self.pipeline)?,
            dwell: time("dwell", &self.dwell)?,
            step: time("step", &self.step)?,
            sustained: time("sustained", &self.sustained)?,
        };
        thresholds.check().map_err(StateSettingsError::Senseless)?;
        Ok(thresholds)
    }

    /// Where alerts are sent.
    ///
    /// # Errors
    ///
    /// Why nothing can be sent there.
    pub(crate) fn webhook(&self) -> Result<Option<Webhook>, StateSettingsError> {
        match (&self.webhook, &self.webhook_ca) {
            (Some(address), ca) => Ok(Some(Webhook::new(address, ca.as_deref())?)),
            (None, Some(_)) => Err(WebhookError::NoTls.into()),
            (None, None) => Ok(None),
        }
    }
}

fn bounds(setting: &'static str, texts: &[String]) -> Result<Bounds, StateSettingsError> {
    let wrong = |what| StateSettingsError::Unreadable { setting, what };
    let parts = texts.iter().map(|text| quantity::thousandths(text).map_err(wrong));
    let parts: Vec<u16> = parts.collect::<Result<_, _>>()?;
    match parts[..] {
        [low, high, relieved, exhausted] => Ok(Bounds { low, high, relieved, exhausted }),
        _ => Err(wrong(format!(
            "{} values are not low, high, relieved and exhausted; write such as \
             [\"75%\", \"85%\", \"92%\", \"97%\"]",
            parts.len()
        ))),
    }
}

fn time(setting: &'static str, text: &str) -> Result<Duration, StateSettingsError> {
    quantity::age(text).map_err(|what| StateSettingsError::Unreadable { setting, what })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_mean_the_defaults() {
        assert_eq!(StateSettings::default().thresholds().unwrap(), Thresholds::default());
    }

    #[test]
    fn what_makes_no_sense_is_refused_in_words() {
        let error = |change: fn(&mut StateSettings)| {
            let mut settings = StateSettings::default();
            change(&mut settings);
            settings.thresholds().unwrap_err().to_string()
        };
        let what = error(|it| it.memory[1] = "much".into());
        assert!(what.starts_with("state.memory: 'much'"), "{what}");
        let what = error(|it| drop(it.space.pop()));
        assert!(what.contains("state.space: 3 values"), "{what}");
        assert!(error(|it| it.dwell = "0s".into()).contains("state.dwell"));
        let what = error(|it| {
            it.memory[0] = "90%".into();
            it.sustained = "1s".into();
        });
        assert!(what.contains("memory: low (90.0 %) must be below high (85.0 %)"), "{what}");
        assert!(what.contains("sustained"), "all at once: {what}");
    }
}
