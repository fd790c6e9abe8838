//! Backups that are ordered through the network.

use std::path::{Component, Path, PathBuf};

use serde_json::json;
use tapstone::state::Occasion;
use tapstone::{BackupOptions, Chore, MaintainError, Maintained, Store};
use tapstone_client::proto;
use tonic::Status;

use super::audit::{Asker, shortened};
use super::{Service, convert, errors};

/// Has a backup made below the configured folder. It takes as long as it takes, whether whoever asked
/// still waits or not, and the audit log has what came of it.
pub(super) async fn order(
    service: &Service,
    request: &proto::BackupRequest,
    asker: &Asker,
) -> Result<proto::BackupResponse, Status> {
    let root = service.tasks.backups.as_deref().ok_or_else(|| {
        let text = "this server has no folder for backups; set backup.folder in its configuration, \
                    or stop it and back the store up without it";
        errors::not_configured("NO_BACKUP_FOLDER", text.to_owned())
    })?;
    let folder = below(root, &request.folder).ok_or_else(|| {
        let text = format!(
            "backups are made below {} and nowhere else; name a folder there, without ..",
            root.display()
        );
        errors::bad_request("folder", &text)
    })?;
    let what = json!({ "folder": shortened(&folder.display().to_string()) });
    let mut asked = service.audit.asked(asker, "Backup", what).await?;
    let store = service.store.clone();
    let made = tokio::spawn(async move {
        let make = move || make(&store, folder, Occasion::Manual);
        let made = tokio::task::spawn_blocking(make).await;
        match &made {
            Ok(Ok(it)) if it.damage.is_empty() => asked.outcome("stored", it.packets, it.bytes),
            Ok(Ok(it)) => asked.outcome("damaged", it.packets, it.bytes),
            Ok(Err(_)) | Err(_) => asked.outcome("failed", 0, 0),
        }
        made
    });
    let made = made.await.and_then(|made| made).map_err(|error| errors::internal(&error))?;
    made.map_err(|error| errors::task(&error))
}

/// Makes a backup, and waits for it.
pub(crate) fn make(
    store: &Store,
    folder: PathBuf,
    occasion: Occasion,
) -> Result<proto::BackupResponse, MaintainError> {
    match store.maintain(Chore::Backup(BackupOptions { folder }), occasion)? {
        Maintained::Backup(report) => Ok(convert::backed_up(&report)),
        other => unreachable!("{other:?} came of a backup"),
    }
}

/// A folder below another, named from there or from the root; `None` when it would be elsewhere.
fn below(root: &Path, wanted: &str) -> Option<PathBuf> {
    let wanted = Path::new(wanted);
    let inner = if wanted.is_absolute() { wanted.strip_prefix(root).ok()? } else { wanted };
    let is_plain = |part| matches!(part, Component::Normal(_));
    inner.components().all(is_plain).then(|| root.join(inner))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_written_outside_the_folder_for_backups() {
        let root = Path::new("/var/backups");
        let inside = [
            ("", "/var/backups/"),
            ("daily", "/var/backups/daily"),
            ("a/b", "/var/backups/a/b"),
            ("/var/backups", "/var/backups/"),
            ("/var/backups/daily", "/var/backups/daily"),
        ];
        for (wanted, folder) in inside {
            assert_eq!(below(root, wanted).as_deref(), Some(Path::new(folder)), "{wanted}");
        }
        for wanted in
            ["..", "a/../../b", "a/..", "/etc", "/var/backups/../x", "/var/backupsx", "/", "./x"]
        {
            assert_eq!(below(root, wanted), None, "{wanted}");
        }
    }
}
