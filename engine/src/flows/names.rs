//! What the flows of an open segment have said about names so far.

use std::collections::{BTreeSet, HashMap};

use tapstone_packet::decode::Transport;
use tapstone_packet::names::{Answer, Findings, Name, NameState};

use super::by_flow::ByFlow;
use super::table::FlowTable;

/// Bytes of incomplete messages that are held in all; beyond it flows are given up.
const BUFFERED_MAX: usize = 16 << 20;
/// Flows of the last segment whose names are taken along.
const CARRIED_MAX: usize = 100_000;

/// Feeds payloads to the flows that may still say something.
#[derive(Debug, Default)]
pub(crate) struct Listener {
    states: ByFlow<NameState>,
    buffered: usize,
    found: Findings,
    answers: BTreeSet<Answer>,
    /// Names of the previous segment's flows, by key: a flow that goes on takes them along.
    carried: HashMap<Box<[u8]>, Vec<Name>>,
}

impl Listener {
    /// Gives a new flow the names that it had in the previous segment.
    pub(crate) fn greet(&mut self, flow: u32, table: &mut FlowTable) {
        if self.carried.is_empty() {
            return;
        }
        if let Some(names) = self.carried.remove(table.key(flow).as_bytes()) {
            names.into_iter().for_each(|name| table.add_name(flow, name));
        }
    }

    /// Listens to a packet's payload.
    pub(crate) fn hear(
        &mut self,
        flow: u32,
        transport: &Transport<'_>,
        from_first_end: bool,
        table: &mut FlowTable,
    ) {
        let state = self.states.get_or_default(flow);
        let before = state.buffered();
        state.feed(transport, from_first_end, &mut self.found);
        self.buffered = self.buffered + state.buffered() - before;
        if self.buffered > BUFFERED_MAX {
            self.buffered -= state.buffered();
            state.forget();
        }
        if state.is_done() {
            self.buffered -= state.buffered();
            self.states.remove(flow);
            table.silence(flow);
        }
        if self.found.names.is_empty() && self.found.answers.is_empty() {
            return;
        }
        for name in self.found.names.drain(..) {
            table.add_name(flow, name);
        }
        self.answers.extend(self.found.answers.drain(..));
    }

    /// Ends a segment: gives the DNS answers seen in it, and keeps the names of its flows for
    /// those that go on.
    pub(crate) fn end_segment(&mut self, table: &FlowTable) -> Vec<Answer> {
        self.carried = table
            .flows_with_names()
            .take(CARRIED_MAX)
            .map(|(flow, names)| (table.key(flow).as_bytes().into(), names.to_vec()))
            .collect();
        self.states = ByFlow::default();
        self.buffered = 0;
        std::mem::take(&mut self.answers).into_iter().collect()
    }
}
