//! From packets to flows: decoding, fragments, names.

use tapstone_packet::decode::{Decoded, Decoder, Transport};
use tapstone_packet::interface::Interface;
use tapstone_packet::names::{Answer, FragmentJoiner};

use super::fragments::Fragments;
use super::names::Listener;
use super::table::{FlowTable, Found};

/// Follows the flows of one segment.
#[derive(Debug, Default)]
pub(crate) struct Tracker {
    decoder: Decoder,
    pub(crate) table: FlowTable,
    fragments: Fragments,
    joiner: FragmentJoiner,
    listener: Listener,
}

impl Tracker {
    /// Takes the next packet of the current unit; gives its flow.
    pub(crate) fn packet(&mut self, interface: &Interface, data: &[u8]) -> Found {
        let decoded = self.decoder.decode(interface.link_type, interface.byte_order, data);
        if decoded.fragment.is_some() {
            return self.fragment(&decoded);
        }
        let first = decoded.from_first_end;
        let found = self.table.look_up(self.decoder.key(), self.decoder.path(), first);
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

    /// A fragment belongs to the flow of its datagram's first fragment, and what the datagram says
    /// is heard when it is whole.
    fn fragment(&mut self, decoded: &Decoded<'_>) -> Found {
        let fragment = decoded.fragment.expect("the caller saw one");
        let known = self.fragments.flow(&fragment.datagram).filter(|_| fragment.offset > 0);
        let (path, first) = (self.decoder.path(), decoded.from_first_end);
        let found = match known {
            Some(flow) => {
                let key = self.table.key(flow).as_bytes().to_vec();
                let key = tapstone_packet::flow::FlowKey::from_bytes(&key);
                self.table.look_up(key, path, first)
            }
            None => self.table.look_up(self.decoder.key(), path, first),
        };
        if fragment.offset == 0 {
            let ports = decoded
                .transport
                .map_or([0, 0], |transport| [transport.source_port, transport.destination_port]);
            for orphan in self.fragments.first(fragment.datagram, found.flow, ports) {
                self.table.add_ports(orphan, ports);
            }
        } else if known.is_none() {
            self.fragments.orphan(fragment.datagram, found.flow);
        }
        if let Some(whole) = self.joiner.add(&fragment)
            && let Some(transport) = Transport::of_datagram(fragment.datagram.protocol(), &whole)
        {
            self.listener.hear(found.flow, &transport, first, &mut self.table);
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
