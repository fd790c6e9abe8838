//! A report as it is written: JSON, version 1 (docs/format/report.md).

use serde::Serialize;
use serde_json::Value;
use tapstone_packet::time::Timestamp;

use super::expired::Expiry;
use super::losses::DayOfLoss;
use super::states::States;
use crate::audit::AuditReport;
use crate::holds::Hold;
use crate::query::format_instant;

/// Breaks of the audit log that are listed; `more_breaks` counts the others.
const BREAKS_MAX: usize = 100;

/// All of it. Fields are only ever added.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Report {
    pub(super) report: &'static str,
    pub(super) version: u32,
    pub(super) store: String,
    pub(super) program: &'static str,
    pub(super) since: String,
    pub(super) until: String,
    pub(super) made: String,
    /// The fingerprint of the key that signs it.
    pub(super) key: String,
    pub(super) kept: Kept,
    pub(super) held: Held,
    pub(super) expired: Expiry,
    pub(super) lost: Lost,
    /// What the audit log's entries say, as whoever writes them sums them up.
    pub(super) read: Option<Value>,
    pub(super) states: States,
    pub(super) damage: Vec<String>,
    pub(super) audit: Audit,
}

/// What the store holds when the report is made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Kept {
    pub(super) segments: u64,
    pub(super) packets: u64,
    pub(super) packet_bytes: u64,
    pub(super) stored_bytes: u64,
    pub(super) index_bytes: u64,
    pub(super) first: Option<String>,
    pub(super) last: Option<String>,
}

/// Holds in force when the report is made, and what they keep from retention.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Held {
    pub(super) in_doubt: bool,
    pub(super) in_force: Vec<HoldInForce>,
    pub(super) held_back_segments: u64,
    pub(super) held_back_bytes: u64,
}

/// A hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct HoldInForce {
    pub(super) id: u64,
    pub(super) added: String,
    /// Whether that was in the period.
    pub(super) added_in_period: bool,
    pub(super) by: String,
    pub(super) reason: String,
    pub(super) since: Option<String>,
    pub(super) until: Option<String>,
    pub(super) filter: String,
    #[serde(rename = "where")]
    pub(super) metadata: String,
}

/// Packets that came and are not stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Lost {
    /// As segments tell it that are kept; those that expired took it along.
    pub(super) in_period: Vec<DayOfLoss>,
    /// Live interfaces since the store was opened, which may be longer or shorter than the period.
    pub(super) interfaces: Vec<Interface>,
}

/// What became of a live interface's packets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Interface {
    pub(super) name: String,
    pub(super) received: u64,
    pub(super) stored: u64,
    pub(super) stored_bytes: u64,
    pub(super) filtered: u64,
    pub(super) lost: Vec<Cause>,
}

/// Packets that were not stored for one cause.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Cause {
    pub(super) cause: &'static str,
    pub(super) packets: u64,
}

/// The audit log as it was verified, all of it and not the period's alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Audit {
    pub(super) sound: bool,
    pub(super) records: u64,
    pub(super) first: Option<String>,
    pub(super) last: Option<String>,
    pub(super) head: Option<Head>,
    /// The archived record that the verification began behind.
    pub(super) behind: Option<Head>,
    pub(super) breaks: Vec<String>,
    pub(super) more_breaks: u64,
}

/// A record's number and hash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Head {
    pub(super) number: u64,
    pub(super) hash: String,
}

impl Report {
    /// The bytes that are signed: for people to look at, too.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec_pretty(self).expect("it has texts for keys");
        bytes.push(b'\n');
        bytes
    }
}

impl Audit {
    pub(super) fn of(report: &AuditReport) -> Audit {
        let head =
            |it: crate::audit::AuditHead| Head { number: it.sequence, hash: it.hash.to_string() };
        let breaks = report.breaks.iter().take(BREAKS_MAX).map(ToString::to_string);
        let left_out = report.breaks.len().saturating_sub(BREAKS_MAX) as u64;
        Audit {
            sound: report.is_sound(),
            records: report.records,
            first: report.first.map(instant),
            last: report.last.map(instant),
            head: report.head.map(head),
            behind: report.behind.map(head),
            breaks: breaks.collect(),
            more_breaks: report.more_breaks + left_out,
        }
    }
}

impl HoldInForce {
    pub(super) fn of(hold: Hold, added_in_period: bool) -> HoldInForce {
        HoldInForce {
            id: hold.id,
            added: instant(hold.added),
            added_in_period,
            by: hold.by,
            reason: hold.reason,
            since: hold.since.map(instant),
            until: hold.until.map(instant),
            filter: hold.filter,
            metadata: hold.metadata,
        }
    }
}

/// An instant as it is written in a report.
pub(super) fn instant(time: Timestamp) -> String {
    format_instant(time)
}
