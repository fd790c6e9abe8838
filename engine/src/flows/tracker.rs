//! From packets to flows: decoding, fragments, names.

use tapstone_packet::decode::{Decoder, Fragment, Transport};
use tapstone_packet::flow::FlowKey;
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
        if let Some(fragment) = &decoded.fragment {
            return self.fragment(interface, fragment, decoded.transport, decoded.from_first_end);
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

    /// A fragment belongs to the flow of its datagram's first fragment. When the datagram is whole,
    /// what it says is heard by the flow that it would have belonged to in one piece.
    fn fragment(
        &mut self,
        interface: &Interface,
        fragment: &Fragment<'_>,
        transport: Option<Transport<'_>>,
        first: bool,
    ) -> Found {
        let known = self.fragments.flow(&fragment.datagram).filter(|_| fragment.offset > 0);
        let path = self.decoder.path();
        let found = match known {
            Some(flow) => {
                let key = self.table.key(flow).as_bytes().to_vec();
                self.table.look_up(FlowKey::from_bytes(&key), path, first)
            }
            None => self.table.look_up(self.decoder.key(), path, first),
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
            let decoded = self.decoder.reassembled(link_type, &fragment.datagram, &whole);
            if let Some(transport) = &decoded.transport {
                let flow = self.table.find(self.decoder.key()).unwrap_or(found.flow);
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
