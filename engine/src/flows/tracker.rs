//! From packets to flows: decoding, fragments, names.

use tapstone_packet::decode::{Decoded, Decoder, Fragment, Transport};
use tapstone_packet::flow::FlowKey;
use tapstone_packet::interface::Interface;
use tapstone_packet::names::{Answer, FragmentJoiner};

use super::fragments::Fragments;
use super::names::Listener;
use super::table::{FlowTable, Found};

/// Packets that are decoded before the flow of the first of them is looked up.
pub(crate) const TOGETHER: usize = 16;
/// What of a packet is decoded first lies there, mostly: behind the addresses of Ethernet.
const TOUCHED_AT: usize = 12;

/// Follows the flows of one segment.
#[derive(Debug, Default)]
pub(crate) struct Tracker {
    /// Each keeps the key and the path of one packet.
    decoders: [Decoder; TOGETHER],
    pub(crate) table: FlowTable,
    fragments: Fragments,
    joiner: FragmentJoiner,
    listener: Listener,
}

impl Tracker {
    /// Takes the next packet of the current unit; gives its flow.
    pub(crate) fn packet(&mut self, interface: &Interface, data: &[u8]) -> Found {
        let (decoded, hash) = self.decode(0, interface, data);
        self.follow(0, hash, interface, &decoded)
    }

    /// Takes the next packets of the current unit, [`TOGETHER`] of them at most; tells the flow of
    /// each.
    pub(crate) fn packets<'p>(
        &mut self,
        packets: impl Iterator<Item = (&'p Interface, &'p [u8])> + Clone,
        mut tell: impl FnMut(Found),
    ) {
        // Nothing of these packets is in a cache near this core. Touching them together lets the
        // memory fetch them at the same time instead of one after the other.
        let touched = packets
            .clone()
            .fold(0u8, |touched, (_, data)| touched ^ data.get(TOUCHED_AT).copied().unwrap_or(0));
        std::hint::black_box(touched);
        let mut decoded = [const { None }; TOGETHER];
        let mut hashes = [0; TOGETHER];
        let mut count = 0;
        for (interface, data) in packets {
            let (it, hash) = self.decode(count, interface, data);
            decoded[count] = Some((interface, it));
            hashes[count] = hash;
            count += 1;
        }
        self.table.fetch(&hashes[..count]);
        for (number, it) in decoded.iter().enumerate() {
            let Some((interface, decoded)) = it else { break };
            tell(self.follow(number, hashes[number], interface, decoded));
        }
    }

    /// Has a decoder decode a packet; gives what its flow is looked up by too.
    fn decode<'p>(
        &mut self,
        decoder: usize,
        interface: &Interface,
        data: &'p [u8],
    ) -> (Decoded<'p>, u64) {
        let decoder = &mut self.decoders[decoder];
        let decoded = decoder.decode(interface.link_type, interface.byte_order, data);
        (decoded, self.table.hash(decoder.key()))
    }

    /// Takes a packet that a decoder has decoded.
    fn follow(
        &mut self,
        decoder: usize,
        hash: u64,
        interface: &Interface,
        decoded: &Decoded<'_>,
    ) -> Found {
        let first = decoded.from_first_end;
        if let Some(fragment) = &decoded.fragment {
            return self.fragment(decoder, interface, fragment, decoded.transport, first);
        }
        let decoder = &self.decoders[decoder];
        let found = self.table.look_up_hashed(hash, decoder.key(), decoder.path(), first);
        if found.is_new {
            self.listener.greet(found.flow, &mut self.table);
        }
        if !found.silent
            && let Some(transport) = &decoded.transport
            && !(transport.payload.is_empty() && transport.tcp.is_none_or(|tcp| !tcp.syn))
        {
            self.listener.hear(found.flow, transport, first, &mut self.table);
        }
        found
    }

    /// A fragment belongs to the flow of its datagram's first fragment. When the datagram is whole,
    /// what it says is heard by the flow that it would have belonged to in one piece.
    fn fragment(
        &mut self,
        decoder: usize,
        interface: &Interface,
        fragment: &Fragment<'_>,
        transport: Option<Transport<'_>>,
        first: bool,
    ) -> Found {
        let known = self.fragments.flow(&fragment.datagram).filter(|_| fragment.offset > 0);
        let decoder = &mut self.decoders[decoder];
        let path = decoder.path();
        let found = match known {
            Some(flow) => {
                let key = self.table.key(flow).as_bytes().to_vec();
                self.table.look_up(FlowKey::from_bytes(&key), path, first)
            }
            None => self.table.look_up(decoder.key(), path, first),
        };
        if fragment.offset == 0 {
            let ports = transport
                .map_or([0, 0], |transport| [transport.source_port, transport.destination_port]);
            for orphan in self.fragments.first(fragment.datagram, found.flow, ports) {
                self.table.add_ports(orphan, ports);
            }
        } else if known.is_none() {
            self.fragments.orphan(fragment.datagram, found.flow);
        }
        if let Some(whole) = self.joiner.add(fragment) {
            let link_type = interface.link_type;
            let decoded = decoder.reassembled(link_type, &fragment.datagram, &whole);
            if let Some(transport) = &decoded.transport {
                let flow = self.table.find(decoder.key()).unwrap_or(found.flow);
                self.listener.hear(flow, transport, decoded.from_first_end, &mut self.table);
            }
        }
        found
    }

    /// Ends the segment: gives its flows and the DNS answers in it, and goes on with an empty
    /// table.
    pub(crate) fn end_segment(&mut self) -> (FlowTable, Vec<Answer>) {
        let answers = self.listener.end_segment(&self.table);
        self.fragments.clear();
        (std::mem::take(&mut self.table), answers)
    }
}
