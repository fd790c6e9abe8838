//! Backups that are ordered through the network.

use std::path::{Component, Path, PathBuf};

use serde_json::json;
use tapstone::{BackupOptions, Chore};
use tapstone_client::proto;
use tonic::Status;

use super::audit::{Asker, shortened};
use super::{Service, convert, errors, task};

/// Has a backup made below the configured folder.
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
    let asked = service.audit.asked(asker, "Backup", what).await?;
    let chore = Chore::Backup(BackupOptions { folder });
    task::perform(service, chore, asked).await.map(convert::backed_up)
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
