//! Flows of a table as a split would tell them.

use tapstone_index::{FlowRow, FlowSet};

use super::table::FlowTable;

/// The rows of some flows, or of all.
pub(crate) fn rows(table: &FlowTable, flows: Option<&FlowSet>) -> Vec<FlowRow> {
    let (starts, blocks) = table.blocks_by_flow();
    let row = |flow: u32| {
        let it = table.flow(flow);
        let mut paths = Vec::new();
        table.paths(flow, &mut paths);
        FlowRow {
            row: flow,
            key: table.key(flow).as_bytes().to_vec(),
            first_end_started: it.first_end_started,
            paths,
            extra_ports: table.extra_ports(flow).to_vec(),
            names: table.names(flow).to_vec(),
            first: it.first,
            last: it.last,
            packets: it.packets,
            bytes: it.bytes,
            blocks: blocks[starts[flow as usize] as usize..starts[flow as usize + 1] as usize]
                .to_vec(),
        }
    };
    let count = table.len() as u32;
    match flows {
        Some(flows) => flows.iter().take_while(|flow| *flow < count).map(row).collect(),
        None => (0..count).map(row).collect(),
    }
}
