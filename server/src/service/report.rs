//! Reports of what was done with the store.

use std::path::PathBuf;

use serde_json::json;
use tapstone::state::Occasion;
use tapstone::{
    ArchiveOptions, Chore, ComplianceError, ComplianceOptions, ComplianceReport, MaintainError,
    Maintained, Period, Store, format_instant,
};
use tapstone_client::proto;
use tonic::Status;

use super::audit::Asker;
use super::audit_summary::SUMMARY;
use super::{Service, convert, errors};

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
    let mut asked = service.audit.asked(asker, "Report", what).await?;
    let archive = Some(service.tasks.archive.clone());
    let made = service.blocking(move |store| make_here(store, period, archive)).await?;
    asked.outcome(if made.is_ok() { "done" } else { "failed" }, 0, 0);
    made.map(response).map_err(|error| errors::task(&error))
}

/// Makes a report of a store that is open here.
pub(crate) fn make_here(
    store: &Store,
    period: Period,
    archive: Option<ArchiveOptions>,
) -> Result<ComplianceReport, MaintainError> {
    let options = ComplianceOptions { period, archive, summary: Some(SUMMARY) };
    match store.maintain(Chore::ComplianceOps(options), Occasion::Manual)? {
        Maintained::ComplianceOps(report) => Ok(report),
        other => unreachable!("ComplianceOps gives its own report and not {other:?}"),
    }
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

pub(crate) fn response(report: ComplianceReport) -> proto::ReportResponse {
    let text = |path: &PathBuf| path.display().to_string();
    proto::ReportResponse {
        report: report.report,
        signature: report.signature,
        public_key: report.public_key,
        sound: report.is_sound,
        archived: report.archived.files.iter().map(text).collect(),
    }
}
