//! How much of each flow was stored: a table of fixed size, whose oldest entries make room.

use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use tapstone_packet::decode::{Decoder, TcpHeader};
use tapstone_packet::interface::{ByteOrder, LinkType};
use tapstone_packet::time::Timestamp;

/// Flows that are remembered (3 MiB). One that was forgotten has its whole budget again.
const FLOWS: usize = 1 << 17;
/// Places that a flow may be in.
const PLACES: usize = 8;
/// A flow of which nothing came for so long is another one when it goes on.
const IDLE_SECS: u32 = 300;

/// The ACK flag of a TCP header.
const ACK: u8 = 0x10;

#[derive(Clone, Copy)]
struct Entry {
    /// Hash of the flow's key; 0 for nobody.
    flow: u64,
    /// Bytes that may still be stored; more than ever come where there is no bound.
    left: u64,
    /// Second of the last packet.
    seen: u32,
}

const NOBODY: Entry = Entry { flow: 0, left: 0, seen: 0 };

/// The budgets of the flows of one ring.
pub(super) struct Budgets {
    link_type: LinkType,
    decoder: Decoder,
    hasher: RandomState,
    entries: Box<[[Entry; PLACES]]>,
}

impl Budgets {
    pub(super) fn new(link_type: LinkType) -> Budgets {
        Budgets {
            link_type,
            decoder: Decoder::default(),
            hasher: RandomState::default(),
            entries: vec![[NOBODY; PLACES]; FLOWS / PLACES].into(),
        }
    }

    /// Whether the packet's flow has spent its budget. Otherwise the packet counts as stored.
    /// `budget` gives what a flow has that begins with this packet, none for no bound.
    pub(super) fn is_spent(
        &mut self,
        data: &[u8],
        time: Timestamp,
        budget: impl FnOnce() -> Option<u64>,
    ) -> bool {
        let decoded = self.decoder.decode(self.link_type, ByteOrder::Little, data);
        let tcp = decoded.transport.and_then(|transport| transport.tcp);
        let opens = tcp.is_some_and(|TcpHeader { syn, flags, .. }| syn && flags & ACK == 0);
        let flow = self.hasher.hash_one(self.decoder.key()).max(1);
        let now = time.secs_nanos().0 as u32;
        let places = &mut self.entries[flow as usize % (FLOWS / PLACES)];
        let known = places.iter().position(|entry| entry.flow == flow);
        let oldest = || (0..PLACES).min_by_key(|place| places[*place].seen);
        let place = known.or_else(oldest).expect("there are places");
        let entry = &mut places[place];
        if known.is_none() || opens || now.saturating_sub(entry.seen) > IDLE_SECS {
            *entry = Entry { flow, left: budget().unwrap_or(u64::MAX), seen: now };
        }
        entry.seen = now;
        if entry.left == 0 {
            return true;
        }
        entry.left = entry.left.saturating_sub(data.len() as u64);
        false
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

    fn is_spent(budgets: &mut Budgets, data: &[u8], secs: i64) -> bool {
        budgets.is_spent(data, Timestamp::from_secs_nanos(secs, 0), || Some(40))
    }

    #[test]
    fn a_connection_that_is_opened_anew_has_its_whole_budget() {
        let mut budgets = Budgets::new(LinkType::RAW);
        let mut is_spent = |flags, secs| is_spent(&mut budgets, &tcp(5, flags), secs);
        assert!(!is_spent(ACK, 0));
        assert!(is_spent(ACK, 1));
        assert!(is_spent(2 | ACK, 1), "the answer opens nothing");
        assert!(!is_spent(2, 1));
        assert!(is_spent(ACK, 1));
        assert!(is_spent(ACK, 1 + i64::from(IDLE_SECS)));
        assert!(!is_spent(ACK, 2 + 2 * i64::from(IDLE_SECS)), "it was idle for long");
    }

    /// Forgetting may only mean to store more than asked.
    #[test]
    fn a_flood_of_flows_makes_none_lose_its_first_packets() {
        let mut budgets = Budgets::new(LinkType::RAW);
        for flow in 0..3 * FLOWS as u32 {
            let mut data = tcp(5, ACK);
            data[12..16].copy_from_slice(&flow.to_be_bytes());
            assert!(!is_spent(&mut budgets, &data, 7), "flow {flow}");
        }
    }
}
