//! Listing flows.

use tapstone_index::{FlowRow, SearchError};
use tapstone_packet::time::Timestamp;

use crate::info::Flow;
use crate::query::plan::{Plan, Question};
use crate::query::{Completeness, FlowId, Missing, QueryError, Selection};
use crate::shard::SealFailure;
use crate::store::Store;

/// The flows that have packets in an answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Flows {
    /// The flows, ordered by their first packet.
    pub flows: Vec<Flow>,
    /// What is lacking.
    pub completeness: Completeness,
}

/// Why flows cannot be listed.
#[derive(Debug, thiserror::Error)]
pub enum FlowsError {
    /// The question cannot be asked.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// The flows of open segments are listed once they are sealed, and they could not be.
    #[error(transparent)]
    Seal(#[from] SealFailure),
}

impl Store {
    /// The flows that packets selected belong to.
    ///
    /// With a pcap filter, packets are read to see which flows have some that match. Open segments
    /// are sealed first.
    ///
    /// # Errors
    ///
    /// When the question cannot be asked.
    pub fn flows(&self, selection: &Selection) -> Result<Flows, FlowsError> {
        self.seal()?;
        let mut flows = Flows::default();
        if selection.filter.trim().is_empty() {
            self.flows_by_metadata(selection, &mut flows)?;
        } else {
            self.flows_of_packets(selection, &mut flows)?;
        }
        flows.flows.sort_by_key(|flow| (flow.row.first, flow.id));
        let limit = selection.limit.unwrap_or(u64::MAX);
        flows.flows.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        Ok(flows)
    }

    fn flows_by_metadata(
        &self,
        selection: &Selection,
        flows: &mut Flows,
    ) -> Result<(), QueryError> {
        let question = Question::new(self, selection)?;
        let plan = Plan::new(self, &question)?;
        flows.completeness.missing = plan.missing;
        let mut targets: Vec<_> = plan.jobs.iter().map(|job| job.target.segment.id()).collect();
        targets.sort_unstable();
        targets.dedup();
        for id in targets {
            let found = self.split(id).map_err(|error| error.to_string()).and_then(|split| {
                let found = split.candidates(question.flows());
                let rows = found.and_then(|set| set.iter().map(|row| split.row(row)).collect());
                rows.map_err(|error: SearchError| error.to_string())
            });
            match found {
                Ok(rows) => {
                    let rows: Vec<FlowRow> = rows;
                    // All packets of a flow may have been in a block that is damaged.
                    let in_range = |row: &FlowRow| {
                        row.packets > 0 && row.first < plan.range.1 && row.last >= plan.range.0
                    };
                    flows.flows.extend(
                        rows.into_iter()
                            .filter(in_range)
                            .map(|row| Flow { id: FlowId { segment: id, row: row.row }, row }),
                    );
                }
                Err(error) => {
                    flows.completeness.missing.push(Missing::index(id, plan.range, &error));
                }
            }
        }
        Ok(())
    }

    fn flows_of_packets(&self, selection: &Selection, flows: &mut Flows) -> Result<(), QueryError> {
        let all = Selection { limit: None, ..selection.clone() };
        let mut packets = self.query(&all)?;
        let mut seen = std::collections::BTreeSet::new();
        for packet in &mut packets {
            seen.insert(packet.flow());
        }
        flows.completeness = packets.answer().completeness.clone();
        for id in seen {
            let row = self.split(id.segment).map_err(|error| error.to_string());
            match row.and_then(|split| split.row(id.row).map_err(|error| error.to_string())) {
                Ok(row) => flows.flows.push(Flow { id, row }),
                Err(error) => {
                    let range = (Timestamp::MIN, Timestamp::MAX);
                    flows.completeness.missing.push(Missing::index(id.segment, range, &error));
                }
            }
        }
        Ok(())
    }
}
