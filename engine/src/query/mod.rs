//! Finding packets: what is asked, how it is planned, and how the answer comes out in order.

mod answer;
mod completeness;
mod cursor;
pub(crate) mod found;
mod histogram;
mod instant;
mod merge;
pub(crate) mod plan;
mod reading;
mod run;
pub(crate) mod turns;

pub use answer::{Answer, Counting, PacketStream, Packets, Tallying};
pub use completeness::{Completeness, Missing, Refused};
pub use cursor::{Cursor, ParseCursorError};
pub use found::{FlowId, Packet};
pub use histogram::{Bar, Group, GroupBy, Histogram};
pub use instant::{InstantError, format_instant, parse_instant};
pub use plan::QueryError;
pub use reading::NEEDLE_MAX;
pub(crate) use reading::may_have;

use tapstone_packet::time::Timestamp;

/// What is asked for: packets that satisfy all of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Packets at this instant or later.
    pub since: Option<Timestamp>,
    /// Packets before this instant.
    pub until: Option<Timestamp>,
    /// A pcap filter (`pcap-filter(7)`); libpcap's verdict decides. Empty means all.
    pub filter: String,
    /// A metadata query on the packets' flows ([`tapstone_index::FIELDS`]). Empty means all.
    pub metadata: String,
    /// At most so many packets, the earliest.
    pub limit: Option<u64>,
    /// What the asker may see: pcap filters, each compiled by itself, one of which must match besides
    /// `filter`. Empty means all.
    pub within: Vec<String>,
    /// Packets behind this place of an earlier answer to the same question.
    pub after: Option<Cursor>,
}
