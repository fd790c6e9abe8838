//! What is known of the flows of a ring: of what class each is, and how much of it was stored.

use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use tapstone_packet::decode::{Decoder, TcpHeader};
use tapstone_packet::interface::{ByteOrder, LinkType};
use tapstone_packet::time::Timestamp;

use super::table::{Entry, Table};

/// A flow of which nothing came for so long is another one when it goes on.
const IDLE_SECS: u32 = 300;

/// The ACK flag of a TCP header.
const ACK: u8 = 0x10;

/// A flow, as far as it matters to what is stored of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Flow {
    /// Hash of its key; 0 for nobody.
    hash: u64,
    /// Bytes stored of it.
    pub(super) stored: u64,
    /// Second of its last packet.
    seen: u32,
    /// The class that bounds it, if there is one.
    pub(super) class: Option<ClassNumber>,
    pub(super) standing: Standing,
}

/// A class of flows that are cut off, by its number from 1.
pub(super) type ClassNumber = std::num::NonZeroU16;

/// What a flow is worth while not everything can be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Nobody has asked.
    Unknown,
    /// It is of a critical class.
    Critical,
    /// It is not.
    Other,
    /// It is not, and began when no more flows were let in.
    TurnedAway,
}

const _: () = assert!(size_of::<Flow>() == 24, "it decides what the tables take");

impl Entry for Flow {
    const NOTHING: Flow =
        Flow { hash: 0, stored: 0, seen: 0, class: None, standing: Standing::Unknown };

    fn hash(&self) -> u64 {
        self.hash
    }

    fn seen(&self) -> i64 {
        if self.hash == 0 { i64::MIN } else { self.seen.into() }
    }
}

/// The flows of one ring.
pub(super) struct Flows {
    link_type: LinkType,
    decoder: Decoder,
    hasher: RandomState,
    table: Table<Flow>,
}

impl Flows {
    /// None yet, with room for so many. One that was forgotten is met as if for the first time.
    pub(super) fn new(link_type: LinkType, flows: usize) -> Flows {
        Flows {
            link_type,
            decoder: Decoder::default(),
            hasher: RandomState::default(),
            table: Table::new(flows),
        }
    }

    /// Has room for so many from now on.
    pub(super) fn resize(&mut self, flows: usize) {
        self.table.resize(flows);
    }

    /// The packet's flow. `class` gives that of a flow that begins with this packet.
    pub(super) fn of(
        &mut self,
        data: &[u8],
        time: Timestamp,
        class: impl FnOnce() -> Option<ClassNumber>,
    ) -> &mut Flow {
        let decoded = self.decoder.decode(self.link_type, ByteOrder::Little, data);
        let tcp = decoded.transport.and_then(|transport| transport.tcp);
        let opens = tcp.is_some_and(|TcpHeader { syn, flags, .. }| syn && flags & ACK == 0);
        let hash = self.hasher.hash_one(self.decoder.key()).max(1);
        let now = time.secs_nanos().0 as u32;
        let (flow, known) = self.table.place(hash, |flow| flow.hash == hash);
        if !known || opens || now.saturating_sub(flow.seen) > IDLE_SECS {
            *flow = Flow { hash, class: class(), ..Flow::NOTHING };
        }
        flow.seen = now;
        flow
    }
}

#[cfg(test)]
impl Flows {
    pub(super) fn room(&self) -> usize {
        self.table.room()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(port: u16, flags: u8) -> Vec<u8> {
        let mut data = vec![0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
        data.extend(port.to_be_bytes());
        data.extend([0, 80, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, flags, 0, 0, 0, 0, 0, 0]);
        data
    }

    /// Whether a packet begins a flow.
    fn begins(flows: &mut Flows, data: &[u8], secs: i64) -> bool {
        let flow = flows.of(data, Timestamp::from_secs_nanos(secs, 0), || ClassNumber::new(1));
        assert_eq!(flow.class, ClassNumber::new(1));
        std::mem::replace(&mut flow.stored, 1) == 0
    }

    #[test]
    fn a_connection_that_is_opened_anew_is_another_flow() {
        let mut flows = Flows::new(LinkType::RAW, 1 << 10);
        let mut begins = |flags, secs| begins(&mut flows, &tcp(5, flags), secs);
        assert!(begins(ACK, 0));
        assert!(!begins(ACK, 1));
        assert!(!begins(2 | ACK, 1), "the answer opens nothing");
        assert!(begins(2, 1));
        assert!(!begins(ACK, 1));
        assert!(!begins(ACK, 1 + i64::from(IDLE_SECS)));
        assert!(begins(ACK, 2 + 2 * i64::from(IDLE_SECS)), "it was idle for long");
    }

    /// Forgetting may only mean to store more than asked.
    #[test]
    fn a_flood_of_flows_makes_none_lose_its_first_packets() {
        const FLOWS: usize = 1 << 12;
        let mut flows = Flows::new(LinkType::RAW, FLOWS);
        for flow in 0..3 * FLOWS as u32 {
            let mut data = tcp(5, ACK);
            data[12..16].copy_from_slice(&flow.to_be_bytes());
            assert!(begins(&mut flows, &data, 7), "flow {flow}");
        }
    }
}
