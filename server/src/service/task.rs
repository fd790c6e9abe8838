//! Tasks of MAINTENANCE that somebody asks for. Each goes on to its end when the connection that it was
//! asked for through is gone, for it may take days; the audit log has what came of it.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};
use tapstone::state::Occasion;
use tapstone::{ArchiveOptions, Chore, MaintainError, Maintained, RecoveryOptions, Retention};
use tapstone_client::proto;
use tonic::Status;

use super::audit::{Asked, Asker};
use super::{Service, convert, errors};

/// How tasks are done where nobody says otherwise.
#[derive(Clone, Debug)]
pub(crate) struct Tasks {
    pub(crate) retention: Retention,
    pub(crate) scrub: RecoveryOptions,
    /// What a report archives of the audit log.
    pub(crate) archive: ArchiveOptions,
    /// The folder for backups, where there is one.
    pub(crate) backups: Option<Arc<Path>>,
}

pub(super) async fn cleanup(
    service: &Service,
    asker: &Asker,
) -> Result<proto::CleanupResponse, Status> {
    let asked = service.audit.asked(asker, "Cleanup", Value::Null).await?;
    let chore = Chore::Cleanup(service.tasks.retention);
    perform(service, chore, asked).await.map(convert::cleaned)
}

pub(super) async fn scrub(
    service: &Service,
    request: proto::ScrubRequest,
    asker: &Asker,
) -> Result<proto::ScrubResponse, Status> {
    let disk_share = match request.disk_share {
        0 => service.tasks.scrub.disk_share,
        share => u8::try_from(share).ok().filter(|share| *share <= 100).ok_or_else(|| {
            let text = "a scrub is at work for 1 to 100 hundredths of the time";
            errors::bad_request("disk_share", text)
        })?,
    };
    let asked = service.audit.asked(asker, "Scrub", json!({ "disk_share": disk_share })).await?;
    let chore = Chore::Recovery(RecoveryOptions { disk_share });
    perform(service, chore, asked).await.map(convert::scrubbed)
}

/// Does a task, whoever is still there to hear of it.
pub(super) async fn perform(
    service: &Service,
    chore: Chore,
    mut asked: Asked,
) -> Result<Maintained, Status> {
    let (audit, service) = (service.audit(), service.clone());
    let task = audit.spawn(async move {
        let done = service.blocking(move |store| store.maintain(chore, Occasion::Manual)).await?;
        let (packets, bytes) = extent(&done);
        asked.outcome(outcome(&done), packets, bytes);
        done.map_err(|error| errors::task(&error))
    });
    task.await.map_err(|error| errors::internal(&error))?
}

/// What became of it, as the audit log tells it.
fn outcome(done: &Result<Maintained, MaintainError>) -> &'static str {
    match done {
        Ok(Maintained::Backup(report)) if report.damage.is_empty() => "stored",
        Ok(Maintained::Recovery(report)) if report.check.damage.is_empty() => "sound",
        Ok(Maintained::Backup(_) | Maintained::Recovery(_)) => "damaged",
        Ok(Maintained::Cleanup(_) | Maintained::ComplianceOps(_)) => "done",
        Err(error) if error.is_over_soon() => "given up",
        Err(_) => "failed",
    }
}

/// How many packets were let go, verified, or are in the backup; and the bytes of its files.
fn extent(done: &Result<Maintained, MaintainError>) -> (u64, u64) {
    match done {
        Ok(Maintained::Backup(report)) => (report.packets, report.bytes),
        Ok(Maintained::Cleanup(report)) => (report.gone.iter().map(|it| it.packets).sum(), 0),
        Ok(Maintained::Recovery(report)) => (report.check.packets, 0),
        Ok(Maintained::ComplianceOps(_)) | Err(_) => (0, 0),
    }
}
