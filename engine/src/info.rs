//! What is in a store.

use std::collections::BTreeMap;

use tapstone_packet::interface::Interface;
use tapstone_packet::time::Timestamp;
use tapstone_runtime::blocking::{self, Space};

use crate::capture::CaptureCounts;
use crate::capture::loss::{Loss, LossCause};
use crate::catalog::CatalogError;
use crate::id::StoreId;
use crate::keeper::StateReport;
use crate::query::FlowId;
use crate::retention::HeldBack;
use crate::store::{Store, span};

/// What a store holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    /// Its identity.
    pub store: StoreId,
    /// The state that it is in; `None` when nobody has ever kept it.
    pub state: Option<StateReport>,
    /// Packets.
    pub packets: u64,
    /// Their captured bytes.
    pub packet_bytes: u64,
    /// Bytes of the segment files.
    pub stored_bytes: u64,
    /// Bytes of the splits and the catalog.
    pub index_bytes: u64,
    /// Flows, counted once for each segment that they have packets in.
    pub flows: u64,
    /// Segments, open ones included.
    pub segments: u64,
    /// The earliest packet's time.
    pub first: Option<Timestamp>,
    /// The latest packet's time.
    pub last: Option<Timestamp>,
    /// The interfaces that packets were captured on.
    pub interfaces: Vec<Interface>,
    /// Sealed segments that no split is made of yet.
    pub unindexed: u64,
    /// Room where the store is; `None` when the system does not say.
    pub space: Option<Space>,
    /// Packets that came and could not be stored, by cause.
    pub lost: BTreeMap<LossCause, u64>,
    /// Holds in force.
    pub holds: u64,
    /// What retention would have let go when it was last looked, and holds keep.
    pub held_back: HeldBack,
    /// What became of the packets of live interfaces since the store was opened.
    pub captures: Vec<CaptureCounts>,
    /// What opening the store found wrong.
    pub damage: Vec<String>,
    /// Why files are read and written by blocking calls, where io_uring is refused.
    pub without_ring: Option<String>,
}

impl Store {
    /// What the store holds.
    ///
    /// # Errors
    ///
    /// When the catalog cannot be read.
    pub fn info(&self) -> Result<Info, CatalogError> {
        let without_row = self.segments_without_row();
        let rows = &self.inner.catalog.segments()?.rows;
        let mut info = Info {
            store: self.id(),
            state: self.state(),
            packets: rows.values().map(|row| row.packets).sum(),
            packet_bytes: rows.values().map(|row| row.packet_bytes).sum(),
            stored_bytes: rows.values().map(|row| row.stored_bytes).sum(),
            index_bytes: rows.values().map(|row| row.index_bytes).sum(),
            flows: rows.values().map(|row| u64::from(row.flows)).sum(),
            segments: rows.len() as u64,
            first: None,
            last: None,
            interfaces: self.interfaces()?,
            unindexed: self.inner.unindexed.list().len() as u64,
            space: blocking::space(self.inner.layout.root()),
            lost: BTreeMap::new(),
            holds: self.inner.ledger.state().holds.len() as u64,
            held_back: *self.inner.held_back.lock().expect("no holder of the lock panics"),
            captures: self.captures(),
            damage: self.damage(),
            without_ring: self.without_ring().map(ToString::to_string),
        };
        let catalog = blocking::file_len(self.inner.catalog.path());
        info.index_bytes += catalog.ok().flatten().unwrap_or(0);
        rows.values().flat_map(|row| &row.losses).for_each(|loss| info.lose(loss));
        self.pending_losses().iter().for_each(|loss| info.lose(loss));
        let mut times: Vec<_> = rows.values().map(|row| (row.first, row.last)).collect();
        for segment in without_row.iter().filter(|segment| !rows.contains_key(&segment.id())) {
            info.segments += 1;
            for unit in &segment.map.units {
                info.packets += u64::from(unit.packets());
                info.packet_bytes += unit.packet_bytes;
                info.stored_bytes += unit.blocks_length();
                times.push(unit.times());
                unit.losses.iter().for_each(|loss| info.lose(loss));
            }
        }
        let span = span(times.into_iter().filter(|(first, last)| first <= last));
        (info.first, info.last) = (span.map(|span| span.0), span.map(|span| span.1));
        Ok(info)
    }
}

impl Info {
    fn lose(&mut self, loss: &Loss) {
        *self.lost.entry(loss.cause).or_default() += loss.packets;
    }
}

/// A flow of an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Flow {
    /// Where it is.
    pub id: FlowId,
    /// What is known of it.
    pub row: tapstone_index::FlowRow,
}
