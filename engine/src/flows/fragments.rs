//! Which flow the later fragments of a datagram belong to: that of the first.

use std::collections::{HashMap, VecDeque};

use tapstone_packet::decode::DatagramId;

/// Most datagrams remembered; the oldest gives way.
const DATAGRAMS_MAX: usize = 4096;

/// The flows of datagrams that came in fragments.
#[derive(Debug, Default)]
pub(crate) struct Fragments {
    datagrams: HashMap<DatagramId, Known>,
    order: VecDeque<DatagramId>,
}

#[derive(Debug, Default)]
struct Known {
    /// The flow and ports of the first fragment.
    first: Option<(u32, [u16; 2])>,
    /// Flows made for later fragments that came before it.
    orphans: Vec<u32>,
}

impl Fragments {
    /// The flow of the first fragment, when it has been seen.
    pub(crate) fn flow(&self, datagram: &DatagramId) -> Option<u32> {
        Some(self.datagrams.get(datagram)?.first?.0)
    }

    /// Takes note of a first fragment; gives the flows of later ones that came before it, which
    /// are to be found by its ports too.
    pub(crate) fn first(&mut self, datagram: DatagramId, flow: u32, ports: [u16; 2]) -> Vec<u32> {
        let known = self.remember(datagram);
        known.first = Some((flow, ports));
        std::mem::take(&mut known.orphans)
    }

    /// Takes note of a later fragment that has a flow of its own.
    pub(crate) fn orphan(&mut self, datagram: DatagramId, flow: u32) {
        let known = self.remember(datagram);
        if !known.orphans.contains(&flow) {
            known.orphans.push(flow);
        }
    }

    fn remember(&mut self, datagram: DatagramId) -> &mut Known {
        if !self.datagrams.contains_key(&datagram) {
            if self.datagrams.len() == DATAGRAMS_MAX
                && let Some(oldest) = self.order.pop_front()
            {
                self.datagrams.remove(&oldest);
            }
            self.order.push_back(datagram);
        }
        self.datagrams.entry(datagram).or_default()
    }

    /// Forgets everything: flow numbers mean nothing in the next segment.
    pub(crate) fn clear(&mut self) {
        self.datagrams.clear();
        self.order.clear();
    }
}
