//! How a command can end, and the exit code of each way.

use std::io;
use std::path::PathBuf;

use tapstone::{
    AuditError, BackupError, CaptureError, CatalogError, CleanupError, Cursor, ExpireError,
    FileError, HoldError, ImportError, IngestError, InstantError, MaintainError, ManifestError,
    OpenError, OpenInterfaceError, QueryError, RestoreError, SealFailure, SignatureError,
};
use tapstone_client::ConnectError;
use tonic::{Code, Status};

use crate::access::TokenError;
use crate::commands::serve::ServeError;
use crate::config::RetentionError;

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
    Import(#[from] ImportError),
    #[error(transparent)]
    OpenInterface(#[from] OpenInterfaceError),
    #[error("cannot give up the privileges that capturing needed: {0}")]
    Privileges(io::Error),
    #[error(transparent)]
    Capture(#[from] CaptureError),
    #[error("not everything is durable: {0}")]
    Flush(#[from] IngestError),
    #[error(transparent)]
    Hold(#[from] HoldError),
    #[error(transparent)]
    Maintain(#[from] MaintainError),
    #[error(
        "the server has the store, and keeps what its own settings say: leave out --keep-free, \
         --keep-for and --max-size"
    )]
    ServersRetention,
    #[error(transparent)]
    Retention(#[from] RetentionError),
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    #[error("closing the store: {0}; what was reported as stored is safe")]
    Close(#[from] SealFailure),
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Restore(#[from] RestoreError),
    #[error(
        "a backup does not hold the store's master key, and cannot be read without it: say where \
         it is kept (--key-file FILE)"
    )]
    NoKeyFile,
    #[error(transparent)]
    Audit(#[from] AuditError),
    #[error("{}: {source}", path.display())]
    Signature { path: PathBuf, source: SignatureError },
    #[error("cannot read {}: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Token(#[from] TokenError),
    #[error("cannot write {what}: {source}")]
    Write { what: String, source: io::Error },
    /// What a server said.
    #[error("{}", .0.message())]
    Server(#[from] Status),
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("{}; the packets so far are whole: go on behind them with --after {after}", .status.message())]
    Broken { status: Status, after: Cursor },
    #[error("say where the packets are: --store DIR, or --server HOST:PORT")]
    NoPlace,
    #[error("--capture needs --fifo; Wireshark gives both")]
    NoFifo,
    #[error(
        "neither tshark nor wireshark says where its extcaps are; say where to: --install DIR, the \
         Extcap path of Wireshark's Help, About, Folders"
    )]
    NoExtcapFolder,
    #[error("a bar must have some width; write it like 10s, 5m, or 1h")]
    Width,
    #[error("the server's answer makes no sense; is it of another version?")]
    Protocol,
    #[error("cannot read the token from {}: {source}", path.display())]
    TokenFile { path: PathBuf, source: io::Error },
    #[error("cannot read it: {0}")]
    Source(io::Error),
    #[error("cannot start: {0}")]
    Runtime(io::Error),
    #[error(transparent)]
    Serve(#[from] ServeError),
    #[error("{0}")]
    Export(#[from] tapstone_packet::capture_file::PcapWriterError),
}

impl Failure {
    /// The exit code.
    pub(crate) fn code(&self) -> u8 {
        match self {
            Failure::Open(_)
            | Failure::Audit(_)
            | Failure::Catalog(_)
            | Failure::Hold(HoldError::Ledger(_) | HoldError::Query(QueryError::Catalog(_)))
            | Failure::Query(QueryError::Catalog(_)) => UNUSABLE,
            Failure::Hold(HoldError::TooMany) => INCOMPLETE,
            Failure::Maintain(error) => code_of_task(error),
            Failure::Restore(error) => code_of_restore(error),
            Failure::Query(_)
            | Failure::Hold(_)
            | Failure::Instant(_)
            | Failure::Read { .. }
            | Failure::NoPlace
            | Failure::NoKeyFile
            | Failure::ServersRetention
            | Failure::Retention(_)
            | Failure::NoFifo
            | Failure::NoExtcapFolder
            | Failure::Width
            | Failure::OpenInterface(_)
            | Failure::Serve(ServeError::Config(_) | ServeError::Thin(_)) => USAGE,
            Failure::Server(status) => code_of(status),
            Failure::Connect(_)
            | Failure::Protocol
            | Failure::TokenFile { .. }
            | Failure::Runtime(_)
            | Failure::Privileges(_)
            | Failure::Serve(ServeError::Serve(_) | ServeError::Listen(_) | ServeError::Keep(_)) => {
                UNUSABLE
            }
            Failure::Write { .. } if self.is_broken_pipe() => COMPLETE,
            Failure::Import(_)
            | Failure::Capture(_)
            | Failure::Flush(_)
            | Failure::Close(_)
            | Failure::File(_)
            | Failure::Token(_)
            | Failure::Signature { .. }
            | Failure::Write { .. }
            | Failure::Broken { .. }
            | Failure::Source(_)
            | Failure::Export(_) => INCOMPLETE,
        }
    }

    /// An answer that broke off behind a cursor.
    pub(crate) fn broken(status: Status, cursor: &[u8]) -> Failure {
        match Cursor::from_bytes(cursor) {
            Ok(after) => Failure::Broken { status, after },
            Err(_) => Failure::Server(status),
        }
    }

    /// Whether an import failed because nothing can be stored, whatever it is.
    pub(crate) fn is_of_the_store(&self) -> bool {
        match self {
            Failure::Import(error) => matches!(error, ImportError::Store { .. }),
            Failure::Server(_) | Failure::Protocol => true,
            _ => false,
        }
    }

    /// Whether whoever read the output has seen enough.
    pub(crate) fn is_broken_pipe(&self) -> bool {
        matches!(self, Failure::Write { source, .. } if source.kind() == io::ErrorKind::BrokenPipe)
    }
}

fn code_of_task(error: &MaintainError) -> u8 {
    match error {
        MaintainError::Backup(BackupError::Inside(_)) => USAGE,
        MaintainError::Closed | MaintainError::Backup(BackupError::Catalog(_)) => UNUSABLE,
        MaintainError::Backup(_)
        | MaintainError::Cleanup(CleanupError::Expire(ExpireError::HoldsInDoubt)) => INCOMPLETE,
        _ if error.is_over_soon() => INCOMPLETE,
        _ => UNUSABLE,
    }
}

fn code_of_restore(error: &RestoreError) -> u8 {
    match error {
        RestoreError::Manifest(ManifestError::Missing(_))
        | RestoreError::NotEmpty(_)
        | RestoreError::Key(_) => USAGE,
        RestoreError::Manifest(_) | RestoreError::Open(_) => UNUSABLE,
        RestoreError::InUse(_) | RestoreError::NoRoom { .. } | RestoreError::File(_) => INCOMPLETE,
    }
}

/// The exit code for what a server said: the same as when the store itself says it.
fn code_of(status: &Status) -> u8 {
    match status.code() {
        Code::InvalidArgument | Code::NotFound | Code::FailedPrecondition => USAGE,
        Code::DeadlineExceeded | Code::Aborted | Code::Cancelled | Code::ResourceExhausted => {
            INCOMPLETE
        }
        _ => UNUSABLE,
    }
}

/// Makes a failed write to the standard output a failure.
pub(crate) fn stdout(source: io::Error) -> Failure {
    Failure::Write { what: "the standard output".to_owned(), source }
}
