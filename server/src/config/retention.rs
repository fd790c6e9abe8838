//! How long packets are kept, as it is configured.

use serde::{Deserialize, Serialize};
use tapstone::{Free, Retention, Sizes};

use crate::quantity;

/// How long, and how much, is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RetentionSettings {
    /// What of the file system stays free: `10%`, `200GiB`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) keep_free: Option<String>,
    /// How long a segment is kept: `30d`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) keep_for: Option<String>,
    /// What the store may take: `2TiB`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) max_size: Option<String>,
}

/// A setting that makes no sense.
#[derive(Debug, thiserror::Error)]
#[error("retention.{setting}: {what}")]
pub(crate) struct RetentionError {
    setting: &'static str,
    what: String,
}

/// What is kept free where packets are recorded and nobody has said anything: a disk that fills up
/// would end the recording.
const RECORDING: Retention =
    Retention { keep_free: Some(Free::Percent(10)), keep_for: None, max_size: None };

impl RetentionSettings {
    /// What they mean; `records` says whether live packets come in.
    ///
    /// # Errors
    ///
    /// The first setting that makes no sense.
    pub(crate) fn retention(&self, records: bool) -> Result<Retention, RetentionError> {
        let retention = Retention {
            keep_free: parsed("keep_free", self.keep_free.as_deref(), quantity::free)?,
            keep_for: parsed("keep_for", self.keep_for.as_deref(), quantity::age)?,
            max_size: parsed("max_size", self.max_size.as_deref(), quantity::size)?,
        };
        if let Some(age) = retention.keep_for.filter(|age| *age < Sizes::AGE) {
            let what = format!(
                "{} s are less than the {} s that packets of one segment can lie apart",
                age.as_secs(),
                Sizes::AGE.as_secs()
            );
            return Err(RetentionError { setting: "keep_for", what });
        }
        Ok(if records && retention.keeps_everything() { RECORDING } else { retention })
    }
}

fn parsed<T>(
    setting: &'static str,
    text: Option<&str>,
    parse: impl FnOnce(&str) -> Result<T, String>,
) -> Result<Option<T>, RetentionError> {
    text.map(parse).transpose().map_err(|what| RetentionError { setting, what })
}
