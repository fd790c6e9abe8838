//! Making the split of a sealed segment, on a thread of its own, and telling the catalog.

use std::path::PathBuf;
use std::sync::Arc;

use async_channel::{Receiver, Sender};
use tapstone_index::{BuildError, FlowEntry, SplitBuilder};
use tapstone_packet::flow::Path;
use tapstone_packet::names::Answer;
use tapstone_runtime::blocking;
use tapstone_runtime::file::FileError;

use crate::catalog::{Catalog, CatalogError, CheckpointRow, Sealed, SegmentRow};
use crate::flows::table::FlowTable;
use crate::id::StoreId;
use crate::keys::{BucketId, KeyRing};
use crate::layout::Layout;
use crate::name_cache::NameCache;
use crate::segment::split_file;
use crate::segment::writer::{Finished, WriteError};

/// Why a sealed segment could not be indexed. Its packets are safe, and are found by scanning;
/// the index is made when the store is opened next.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The split could not be built.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The split could not be written.
    #[error("split: {0}")]
    Write(#[from] WriteError),
    /// The catalog refused.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// A file could not be removed.
    #[error(transparent)]
    File(#[from] FileError),
}

/// A sealed segment and its flows.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) finished: Finished,
    pub(crate) shard: u16,
    pub(crate) bucket: BucketId,
    pub(crate) table: FlowTable,
    pub(crate) answers: Vec<Answer>,
    /// The log of the segment, not needed any more once the catalog knows it.
    pub(crate) wal: Option<PathBuf>,
    pub(crate) done: Option<Sender<Result<(), SealError>>>,
}

/// What the builder needs of the store.
#[derive(Clone, Debug)]
pub(crate) struct Builder {
    pub(crate) layout: Layout,
    pub(crate) store: StoreId,
    pub(crate) keys: Arc<KeyRing>,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) names: Arc<NameCache>,
}

impl Builder {
    /// Takes jobs until nobody can send any.
    pub(crate) fn run(&self, jobs: &Receiver<Job>) {
        while let Ok(mut job) = jobs.recv_blocking() {
            let done = job.done.take();
            let result = self.build(job);
            if let Err(error) = &result {
                tracing::error!(%error, "a sealed segment could not be indexed");
            }
            if let Some(done) = done {
                // Whoever asked may have gone.
                done.send_blocking(result).ok();
            }
        }
    }

    /// Builds one split, writes it, and records the segment.
    pub(crate) fn build(&self, job: Job) -> Result<(), SealError> {
        let Job { finished, shard, bucket, table, answers, wal, .. } = job;
        let owner = finished.owner;
        let split = build_split(&table, &answers)?;
        let path = self.layout.split(owner.segment);
        let (keys, secret) = (&self.keys, &finished.secret);
        let index_bytes = split_file::write(&path, keys, owner, bucket, secret, &split.bytes)?;
        let checkpoints = finished.map.units.iter().filter_map(|unit| {
            let checkpoint = unit.checkpoint?;
            let row = CheckpointRow {
                packets: checkpoint.packets,
                source: unit.source.clone(),
                created_nanos: finished.created_nanos,
            };
            Some((checkpoint, row))
        });
        let row = SegmentRow {
            shard,
            created_nanos: finished.created_nanos,
            packets: finished.totals.packets,
            packet_bytes: finished.totals.packet_bytes,
            flows: table.len() as u32,
            blocks: finished.totals.blocks,
            first: finished.totals.time_min,
            last: finished.totals.time_max,
            stored_bytes: finished.stored_bytes,
            index_bytes,
            interfaces: finished.map.interfaces().map(|interface| interface.encode()).collect(),
        };
        self.catalog.add(&[Sealed {
            id: owner.segment,
            row,
            summary: split.summary,
            checkpoints: checkpoints.collect(),
        }])?;
        self.names.learn(&answers);
        if let Some(wal) = wal {
            blocking::remove(&wal)?;
        }
        Ok(())
    }
}

fn build_split(
    table: &FlowTable,
    answers: &[Answer],
) -> Result<tapstone_index::SplitFile, BuildError> {
    let mut builder = SplitBuilder::new()?;
    let paths: Vec<&Path> = table.path_list().collect();
    let numbers: Vec<u32> = paths.iter().map(|path| builder.add_path(path)).collect();
    let (starts, blocks) = table.blocks_by_flow();
    let mut taken = Vec::new();
    for flow in 0..table.len() as u32 {
        table.paths(flow, &mut taken);
        taken.iter_mut().for_each(|path| *path = numbers[*path as usize]);
        let it = table.flow(flow);
        let range = starts[flow as usize] as usize..starts[flow as usize + 1] as usize;
        builder.add(&FlowEntry {
            key: table.key(flow),
            first_end_started: it.first_end_started,
            paths: &taken,
            extra_ports: table.extra_ports(flow),
            names: table.names(flow),
            first: it.first,
            last: it.last,
            packets: it.packets,
            bytes: it.bytes,
            blocks: &blocks[range],
        })?;
    }
    for answer in answers {
        builder.add_answer(&answer.name, answer.address);
    }
    builder.finish()
}
