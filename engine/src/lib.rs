//! Tapstone: a packet store.
//!
//! A [`Store`] takes captures in ([`Store::import`]), keeps them encrypted and checksummed, and
//! gives packets back in order ([`Store::query`]): exactly those that tcpdump's filter matches,
//! found through an index. What is reported as stored survives a power cut; what is missing from
//! an answer is said ([`Completeness`]).
//!
//! The handle is `Send + Sync` and cheap to clone. See `docs/architecture.md` for how a packet gets
//! in and out.

#![forbid(unsafe_code)]

mod account;
mod audit;
mod bits;
mod builder;
mod builders;
mod capture;
mod catalog;
mod check;
pub mod effects;
mod erase;
mod exchangeable;
mod flow_list;
mod flows;
mod fuzzing;
mod head_file;
mod holds;
mod id;
mod import;
mod info;
mod journal;
mod keeper;
mod keys;
mod layout;
mod ledger;
mod limits;
mod log_files;
mod maintenance;
mod name_cache;
mod pace;
mod query;
mod recent;
mod recent_files;
mod recovery;
mod replay;
mod restore;
mod retention;
mod segment;
mod shard;
pub mod state;
mod store;
mod store_file;
mod unindexed;

pub use audit::{
    AUDIT_ENTRY_MAX, ArchiveError, ArchiveOptions, ArchivedFiles, AuditBreak, AuditBreakKind,
    AuditError, AuditHash, AuditHead, AuditLog, AuditPlace, AuditRecord, AuditRecords, AuditReport,
    read_audit, read_audit_with_archive, verify_audit, verify_audit_with_archive,
};
pub use builder::SealError;
pub use capture::loss::{Loss, LossCause};
pub use capture::{
    Capture, CaptureCounts, CaptureError, CaptureOptions, ClockStep, CutOff, LiveSource,
    OpenInterfaceError, ShedFlow, ThinError, Thinning,
};
pub use catalog::CatalogError;
pub use check::{CheckReport, Damage};
pub use flow_list::{FlowSearch, Flows, FoundFlows};
#[doc(hidden)]
pub use fuzzing::parse_for_fuzzing;
pub use holds::{HOLD_TEXT_MAX, HOLDS_MAX, Hold, HoldError, NewHold};
pub use id::{ParseIdError, SegmentId, StoreId};
pub use import::{ImportError, ImportOptions, ImportReport, KnownBefore, Progress};
pub use info::{Flow, Info};
pub use keeper::{KeepError, KeepOptions, StateReport, StateWatch};
pub use keys::KeyError;
pub use ledger::LedgerError;
pub use limits::Sizes;
pub use maintenance::{
    BackupError, BackupOptions, BackupReport, Chore, CleanupError, CleanupReport, ComplianceError,
    ComplianceOptions, ComplianceReport, KeyFingerprint, MaintainError, Maintained, ManifestError,
    Period, RecoveryError, RecoveryOptions, RecoveryReport, SignatureError, Summarise, Summary,
    verify_report,
};
pub use query::{
    Answer, Bar, Completeness, Counting, Cursor, FlowId, Group, GroupBy, Histogram, InstantError,
    Missing, NEEDLE_MAX, Packet, PacketStream, Packets, ParseCursorError, QueryError, Refused,
    Selection, Tallying, format_instant, parse_instant,
};
pub use recovery::RecoverError;
pub use restore::{RestoreError, RestoreReport, restore};
pub use retention::{ExpireError, ExpireReport, Expired, ExpiredBy, Free, HeldBack, Retention};
pub use segment::block::BlockError;
pub use segment::format::FormatError;
pub use segment::reader::OpenSegmentError;
pub use segment::region::RegionError;
pub use segment::writer::WriteError;
pub use shard::{IngestError, SealFailure};
pub use store::{OpenError, OpenOptions, SilentShard, Store};
pub use store_file::StoreFileError;
pub use tapstone_index::FlowRow;
pub use tapstone_packet::time::Timestamp;
pub use tapstone_runtime::blocking::Space;
pub use tapstone_runtime::clock::unix_nanos;
pub use tapstone_runtime::direct_writer::DirectWriter;
pub use tapstone_runtime::file::FileError;
pub use tapstone_runtime::lock::LockError;
pub use tapstone_runtime::privileges::give_up as give_up_privileges;
pub use tapstone_runtime::{StartError, TaskLost};

/// A capture of two UDP packets, for the examples in this documentation.
#[doc(hidden)]
#[must_use]
pub fn doc_capture() -> Vec<u8> {
    use tapstone_packet::capture_file::PcapWriter;
    use tapstone_packet::interface::{Interface, LinkType};
    let mut bytes = Vec::new();
    let interface = Interface { snap_len: 65535, ..Interface::new(LinkType::RAW) };
    let writer = PcapWriter::start(&interface, &mut bytes);
    for (second, last) in [(1, 2), (2, 3)] {
        let packet = [
            0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, last, 0, 53, 0, 53, 0,
            8, 0, 0,
        ];
        let time = Timestamp::from_secs_nanos(second, 0);
        writer
            .packet(&interface, time, &packet, 28, &mut bytes)
            .expect("the first seconds of 1970 fit a pcap file");
    }
    bytes
}
