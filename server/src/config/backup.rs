//! Where backups are made, as it is configured.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Where.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct BackupSettings {
    /// The folder that whoever asks through the network may have backups made in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) folder: Option<PathBuf>,
}

/// It makes no sense.
#[derive(Debug, thiserror::Error)]
#[error("backup.folder: {} is no path from the root; write it like /var/backups/tapstone", .0.display())]
pub(crate) struct BackupSettingsError(PathBuf);

impl BackupSettings {
    /// Finds what is wrong.
    ///
    /// # Errors
    ///
    /// When the folder depends on where the server is started.
    pub(crate) fn check(&self) -> Result<(), BackupSettingsError> {
        match &self.folder {
            Some(folder) if !folder.is_absolute() => Err(BackupSettingsError(folder.clone())),
            _ => Ok(()),
        }
    }
}
