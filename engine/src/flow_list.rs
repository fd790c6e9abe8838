//! Listing flows.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use tapstone_index::{FlowRow, FlowSet};
use tapstone_packet::time::Timestamp;
use tapstone_runtime::block_on;

use crate::id::SegmentId;
use crate::info::Flow;
use crate::query::plan::{Plan, Question};
use crate::query::{Completeness, FlowId, Missing, PacketStream, QueryError, Selection};
use crate::store::Store;

/// The flows that have packets in an answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Flows {
    /// The flows, ordered by their first packet.
    pub flows: Vec<Flow>,
    /// What is lacking.
    pub completeness: Completeness,
}

/// Finding the flows that packets selected belong to: a future, for any executor. Dropping it stops
/// the reading.
#[derive(Debug)]
pub struct FlowSearch {
    /// Packets that say which flows have some that match.
    packets: Option<PacketStream>,
    /// So far; taken when the search is done.
    found: Option<FoundFlows>,
}

/// The flows were found; their names and numbers are still to be looked up.
#[derive(Debug)]
pub struct FoundFlows {
    store: Store,
    limit: Option<u64>,
    segments: BTreeMap<SegmentId, Found>,
    range: (Timestamp, Timestamp),
    completeness: Completeness,
}

/// Flows of one segment.
#[derive(Debug)]
enum Found {
    All,
    Some(FlowSet),
    /// So far.
    Rows(BTreeSet<u32>),
}

impl Store {
    /// The flows that packets selected belong to, once for each segment that they have packets in.
    ///
    /// With a pcap filter, packets are read to see which flows have some that match.
    ///
    /// # Errors
    ///
    /// When the question cannot be asked.
    pub fn flows(&self, selection: &Selection) -> Result<Flows, QueryError> {
        Ok(block_on(self.flow_search(selection)?).list())
    }

    /// The same in two steps, of which the first can be awaited and given up.
    ///
    /// # Errors
    ///
    /// As [`flows`](Self::flows).
    pub fn flow_search(&self, selection: &Selection) -> Result<FlowSearch, QueryError> {
        let mut found = FoundFlows {
            store: self.clone(),
            limit: selection.limit,
            segments: BTreeMap::new(),
            range: (Timestamp::MIN, Timestamp::MAX),
            completeness: Completeness::default(),
        };
        if !selection.filter.trim().is_empty() || !selection.within.is_empty() {
            let all = Selection { limit: None, ..selection.clone() };
            return Ok(FlowSearch { packets: Some(self.query_stream(&all)?), found: Some(found) });
        }
        let question = Question::new(self, selection)?;
        let plan = Plan::new(self, &question)?;
        found.range = plan.range;
        found.completeness.missing = plan.missing;
        for job in &plan.jobs {
            let flows = || job.target.flows.clone().map_or(Found::All, Found::Some);
            found.segments.entry(job.target.segment.id()).or_insert_with(flows);
        }
        Ok(FlowSearch { packets: None, found: Some(found) })
    }
}

impl FlowSearch {
    /// At most so many bytes of segments will be read.
    #[must_use]
    pub fn bytes_to_read(&self) -> u64 {
        self.packets.as_ref().map_or(0, PacketStream::bytes_to_read)
    }
}

impl Future for FlowSearch {
    type Output = FoundFlows;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<FoundFlows> {
        let search = &mut *self;
        let found = search.found.as_mut().expect("nobody polls what is done");
        if let Some(packets) = &mut search.packets {
            while let Some(packet) = ready!(Pin::new(&mut *packets).poll_next(cx)) {
                let FlowId { segment, row } = packet.flow();
                let flows = found.segments.entry(segment);
                if let Found::Rows(rows) = flows.or_insert(Found::Rows(BTreeSet::new())) {
                    rows.insert(row);
                }
            }
            found.completeness = packets.answer().completeness.clone();
        }
        Poll::Ready(search.found.take().expect("it was there above"))
    }
}

impl FoundFlows {
    /// Looks them up, and puts them in order.
    #[must_use]
    pub fn list(self) -> Flows {
        let FoundFlows { store, limit, segments, range, completeness } = self;
        let limit = limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
        let mut list = List { limit, flows: Flows { flows: Vec::new(), completeness } };
        for (segment, found) in segments {
            let flows = match found {
                Found::All => None,
                Found::Some(flows) => Some(flows),
                Found::Rows(rows) => {
                    let mut flows = FlowSet::empty(rows.last().map_or(0, |last| last + 1));
                    rows.into_iter().for_each(|row| flows.insert(row));
                    Some(flows)
                }
            };
            list.add(&store, segment, flows.as_ref(), range);
        }
        list.finish()
    }
}

/// The earliest flows so far.
struct List {
    limit: usize,
    flows: Flows,
}

impl List {
    /// Adds a segment's flows, or why there are none of it.
    fn add(
        &mut self,
        store: &Store,
        segment: SegmentId,
        flows: Option<&FlowSet>,
        range: (Timestamp, Timestamp),
    ) {
        match store.rows(segment, flows) {
            Ok(rows) => {
                // All packets of a flow may have been in a block that is damaged.
                let wanted =
                    |row: &FlowRow| row.packets > 0 && row.first < range.1 && row.last >= range.0;
                let rows = rows.into_iter().filter(wanted);
                let flow = |row: FlowRow| Flow { id: FlowId { segment, row: row.row }, row };
                self.flows.flows.extend(rows.map(flow));
                self.cut();
            }
            Err(error) => {
                self.flows.completeness.missing.push(Missing::index(segment, range, &error));
            }
        }
    }

    fn cut(&mut self) {
        if self.flows.flows.len() > self.limit {
            self.flows.flows.sort_by_key(|flow| (flow.row.first, flow.id));
            self.flows.flows.truncate(self.limit);
        }
    }

    fn finish(mut self) -> Flows {
        self.flows.flows.sort_by_key(|flow| (flow.row.first, flow.id));
        self.cut();
        self.flows
    }
}
