//! What becomes of the audit log's files, as it is configured.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use tapstone::ArchiveOptions;

use crate::quantity;

/// When files of the audit log are archived, and where to.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct AuditSettings {
    /// How old the last record of a file is then: `90d`.
    pub(crate) archive_after: String,
    /// The folder; not set: `audit/archive` in the store's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) archive_folder: Option<PathBuf>,
}

/// Settings that make no sense: all mistakes at once.
#[derive(Debug, thiserror::Error)]
#[error("audit:{}", list(.0))]
pub(crate) struct AuditSettingsError(Vec<String>);

fn list(mistakes: &[String]) -> String {
    mistakes.iter().map(|mistake| format!("\n  {mistake}")).collect()
}

impl Default for AuditSettings {
    fn default() -> Self {
        AuditSettings { archive_after: "90d".to_owned(), archive_folder: None }
    }
}

impl AuditSettings {
    /// What they mean.
    ///
    /// # Errors
    ///
    /// All settings that make no sense.
    pub(crate) fn archive(&self) -> Result<ArchiveOptions, AuditSettingsError> {
        let after =
            quantity::age(&self.archive_after).map_err(|what| format!("archive_after: {what}"));
        let folder = self.archive_folder.clone();
        let relative = folder.as_ref().filter(|it| !it.is_absolute()).map(|it| {
            format!(
                "archive_folder: {} must be an absolute path, such as /srv/archive",
                it.display()
            )
        });
        match (after, relative) {
            (Ok(after), None) => Ok(ArchiveOptions { after, folder }),
            (after, relative) => {
                Err(AuditSettingsError(after.err().into_iter().chain(relative).collect()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn files_are_archived_after_ninety_days_unless_something_else_is_said() {
        let archive = AuditSettings::default().archive().unwrap();
        assert_eq!(archive.after, Duration::from_secs(90 * 86_400));
        assert_eq!(archive.folder, None);
    }

    #[test]
    fn what_makes_no_sense_is_told_all_at_once() {
        let settings = AuditSettings {
            archive_after: "soon".to_owned(),
            archive_folder: Some("archive".into()),
        };
        let error = settings.archive().unwrap_err().to_string();
        assert!(error.contains("archive_after: 'soon' is no stretch of time"), "{error}");
        assert!(error.contains("archive_folder: archive must be an absolute path"), "{error}");
    }
}
