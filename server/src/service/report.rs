//! Reports of what was done with the store.

use std::path::PathBuf;

use serde_json::json;
use tapstone::{
    ArchiveOptions, Chore, ComplianceError, ComplianceOptions, Maintained, Period, format_instant,
};
use tapstone_client::proto;
use tonic::Status;

use super::audit::Asker;
use super::audit_summary::SUMMARY;
use super::{Service, convert, errors, task};

/// Makes a report, and archives what is due of the audit log.
pub(super) async fn make(
    service: &Service,
    request: proto::ReportRequest,
    asker: &Asker,
) -> Result<proto::ReportResponse, Status> {
    let period = period(&request)?;
    let what = json!({
        "since": format_instant(period.since),
        "until": format_instant(period.until),
    });
    let asked = service.audit.asked(asker, "Report", what).await?;
    let chore = chore(period, Some(service.tasks.archive.clone()));
    task::perform(service, chore, asked).await.map(response)
}

/// What is to be done for a report.
pub(crate) fn chore(period: Period, archive: Option<ArchiveOptions>) -> Chore {
    Chore::ComplianceOps(ComplianceOptions { period, archive, summary: Some(SUMMARY) })
}

/// What a request says of its period.
pub(crate) fn period(request: &proto::ReportRequest) -> Result<Period, Status> {
    let instant = |time: &Option<prost_types::Timestamp>, field| {
        let missing = || errors::bad_request(field, "a report is about a time: give both its ends");
        time.as_ref().map(convert::timestamp).ok_or_else(missing)
    };
    let period = Period {
        since: instant(&request.since, "since")?,
        until: instant(&request.until, "until")?,
    };
    if period.is_empty() {
        return Err(errors::bad_request("until", &ComplianceError::EmptyPeriod.to_string()));
    }
    Ok(period)
}

/// What came of a report.
pub(crate) fn response(done: Maintained) -> proto::ReportResponse {
    let Maintained::ComplianceOps(report) = done else { unreachable!("a report gave {done:?}") };
    let text = |path: &PathBuf| path.display().to_string();
    proto::ReportResponse {
        report: report.report,
        signature: report.signature,
        public_key: report.public_key,
        sound: report.is_sound,
        archived: report.archived.files.iter().map(text).collect(),
    }
}
