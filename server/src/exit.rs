//! How a command can end, and the exit code of each way.

use std::io;

use tapstone::{
    CatalogError, FileError, FlowsError, ImportError, InstantError, OpenError, QueryError,
    SealFailure,
};

use crate::access::TokenError;

/// The answer is complete; also when nothing matched.
pub(crate) const COMPLETE: u8 = 0;
/// Bad usage, or a bad filter.
pub(crate) const USAGE: u8 = 2;
/// The answer or the import is not complete.
pub(crate) const INCOMPLETE: u8 = 3;
/// The store cannot be used.
pub(crate) const UNUSABLE: u8 = 4;

/// Why a command ended early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Query(#[from] QueryError),
    #[error(transparent)]
    Instant(#[from] InstantError),
    #[error(transparent)]
    Flows(#[from] FlowsError),
    #[error(transparent)]
    Import(#[from] ImportError),
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    #[error("closing the store: {0}; what was reported as stored is safe")]
    Close(#[from] SealFailure),
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Token(#[from] TokenError),
    #[error("cannot write {what}: {source}")]
    Write { what: String, source: io::Error },
    #[error("{0}")]
    Export(#[from] tapstone_packet::capture_file::PcapWriterError),
}

impl Failure {
    /// The exit code.
    pub(crate) fn code(&self) -> u8 {
        match self {
            Failure::Open(_) | Failure::Catalog(_) | Failure::Query(QueryError::Catalog(_)) => {
                UNUSABLE
            }
            Failure::Query(_) | Failure::Instant(_) => USAGE,
            Failure::Flows(FlowsError::Query(_)) => USAGE,
            Failure::Write { .. } if self.is_broken_pipe() => COMPLETE,
            Failure::Flows(FlowsError::Seal(_))
            | Failure::Import(_)
            | Failure::Close(_)
            | Failure::File(_)
            | Failure::Token(_)
            | Failure::Write { .. }
            | Failure::Export(_) => INCOMPLETE,
        }
    }

    /// Whether whoever read the output has seen enough.
    pub(crate) fn is_broken_pipe(&self) -> bool {
        matches!(self, Failure::Write { source, .. } if source.kind() == io::ErrorKind::BrokenPipe)
    }
}

/// Makes a failed write to the standard output a failure.
pub(crate) fn stdout(source: io::Error) -> Failure {
    Failure::Write { what: "the standard output".to_owned(), source }
}
