//! How errors look from outside: a status with the command line's own words, and details that a
//! program can act on.

use std::collections::HashMap;

use tapstone::{
    AuditError, BackupError, CatalogError, CleanupError, ExpireError, HoldError, ImportError,
    IngestError, MaintainError, ParseCursorError, QueryError, SealFailure,
};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::access::{Denied, Kind, ScopeError};

const DOMAIN: &str = "tapstone";

/// A status with its details: why, and which field of the request is wrong if one is.
fn status(code: Code, reason: &str, field: Option<&str>, text: String) -> Status {
    let mut details = ErrorDetails::new();
    details.set_error_info(reason, DOMAIN, HashMap::<String, String>::new());
    if let Some(field) = field {
        details.add_bad_request_violation(field, text.as_str());
    }
    Status::with_error_details(code, text, details)
}

pub(crate) fn query(error: &QueryError) -> Status {
    let text = error.to_string();
    let (code, reason, field) = match error {
        QueryError::Filter(_) => (Code::InvalidArgument, "FILTER", Some("selection.filter")),
        QueryError::Metadata(_) => (Code::InvalidArgument, "METADATA", Some("selection.metadata")),
        QueryError::TimeRange { .. } => {
            (Code::InvalidArgument, "TIME_RANGE", Some("selection.until"))
        }
        QueryError::ForeignCursor(_) => (Code::InvalidArgument, "CURSOR", Some("selection.after")),
        QueryError::TooManyBars(_) => (Code::InvalidArgument, "WIDTH", Some("width")),
        QueryError::Catalog(_) => (Code::Unavailable, "STORE", None),
    };
    status(code, reason, field, text)
}

pub(crate) fn cursor(error: ParseCursorError) -> Status {
    status(Code::InvalidArgument, "CURSOR", Some("selection.after"), error.to_string())
}

pub(crate) fn catalog(error: &CatalogError) -> Status {
    status(Code::Unavailable, "STORE", None, error.to_string())
}

pub(crate) fn import(error: &ImportError) -> Status {
    let (code, reason) = match error {
        ImportError::Read { .. } => (Code::Aborted, "SOURCE"),
        ImportError::Store { source, .. } if IngestError::is_no_space(source) => {
            (Code::ResourceExhausted, "NO_SPACE")
        }
        ImportError::Store { .. } | ImportError::Catalog(_) => (Code::Unavailable, "STORE"),
    };
    status(code, reason, None, error.to_string())
}

pub(crate) fn seal(error: &SealFailure) -> Status {
    status(Code::Unavailable, "STORE", None, error.to_string())
}

/// It cannot be made durable.
pub(crate) fn flush(error: &IngestError) -> Status {
    status(Code::Unavailable, "STORE", None, error.to_string())
}

pub(crate) fn hold(error: &HoldError) -> Status {
    let (code, reason, field) = match error {
        HoldError::Query(error) => return query(error),
        HoldError::EmptyRange => (Code::InvalidArgument, "TIME_RANGE", Some("selection.until")),
        HoldError::NoReason => (Code::InvalidArgument, "NO_REASON", Some("reason")),
        HoldError::TooLong { .. } => (Code::InvalidArgument, "TOO_LONG", None),
        HoldError::TooMany => (Code::ResourceExhausted, "TOO_MANY_HOLDS", None),
        HoldError::Unknown(_) => (Code::NotFound, "NO_HOLD", Some("id")),
        HoldError::Ledger(_) => (Code::Unavailable, "STORE", None),
    };
    status(code, reason, field, error.to_string())
}

/// A task was not done to its end.
pub(crate) fn task(error: &MaintainError) -> Status {
    let (code, reason) = match error {
        MaintainError::UnderWay(_) => (Code::Aborted, "UNDER_WAY"),
        _ if error.is_over_soon() => (Code::Aborted, "GAVE_WAY"),
        MaintainError::Cleanup(CleanupError::Expire(ExpireError::HoldsInDoubt)) => {
            (Code::Aborted, "HOLDS_IN_DOUBT")
        }
        MaintainError::Backup(BackupError::Inside(_)) => (Code::InvalidArgument, "FOLDER"),
        MaintainError::Backup(BackupError::NoRoom { .. }) => (Code::ResourceExhausted, "NO_SPACE"),
        MaintainError::Backup(BackupError::File(error)) if error.is_no_space() => {
            (Code::ResourceExhausted, "NO_SPACE")
        }
        MaintainError::Backup(BackupError::Folder(_) | BackupError::File(_)) => {
            (Code::Aborted, "FOLDER")
        }
        _ => (Code::Unavailable, "STORE"),
    };
    status(code, reason, None, error.to_string())
}

/// The server is not configured for it.
pub(super) fn not_configured(reason: &str, text: String) -> Status {
    status(Code::FailedPrecondition, reason, None, text)
}

/// What cannot be told to the audit log is not done.
pub(super) fn audit(error: &AuditError) -> Status {
    let text = format!("nothing is given that cannot be written down: {error}");
    status(Code::Unavailable, "AUDIT", None, text)
}

/// The policy does not grant it.
pub(super) fn denied(denied: &Denied) -> Status {
    let reason = match denied.kind {
        Kind::Unauthenticated => "UNKNOWN_CALLER",
        Kind::PermissionDenied => "NOT_GRANTED",
    };
    status(denied.kind.code(), reason, None, denied.message.clone())
}

/// What is asked for may not be seen.
pub(super) fn out_of_scope(error: &ScopeError) -> Status {
    status(Code::PermissionDenied, "SCOPE", None, error.to_string())
}

/// A request that makes no sense.
pub(crate) fn bad_request(field: &str, text: &str) -> Status {
    status(Code::InvalidArgument, "REQUEST", Some(field), text.to_owned())
}

/// The client took nothing for so long that others need its place.
pub(crate) fn too_slow(seconds: u64) -> Status {
    let text = format!(
        "nothing was taken of the answer for {seconds} s; ask again from the last cursor, and read \
         what comes"
    );
    status(Code::Aborted, "SLOW_READER", None, text)
}

/// The time that the client gave is over.
pub(crate) fn deadline() -> Status {
    let text = "the request's time is over; ask again from the last cursor, or for less";
    status(Code::DeadlineExceeded, "DEADLINE", None, text.to_owned())
}

/// Something that never happens did.
pub(crate) fn internal(error: &dyn std::error::Error) -> Status {
    tracing::error!(%error, "a request failed");
    status(Code::Internal, "BUG", None, error.to_string())
}
