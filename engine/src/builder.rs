//! Making the split of a sealed segment, on a thread that is no shard, and telling the catalog.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;

use async_channel::{Receiver, Sender, TryRecvError};
use futures_lite::future::yield_now;
use tapstone_index::{BuildError, FlowEntry, SplitBuilder};
use tapstone_packet::flow::Path;
use tapstone_packet::names::Answer;
use tapstone_runtime::file::FileError;

use crate::capture::loss;
use crate::catalog::{Catalog, CatalogError, CheckpointRow, Sealed, SegmentRow};
use crate::effects::Orders;
use crate::erase;
use crate::flows::table::FlowTable;
use crate::id::StoreId;
use crate::keys::KeyRing;
use crate::layout::Layout;
use crate::name_cache::NameCache;
use crate::recovery::{Later, apply_later};
use crate::segment::description::Checkpoint;
use crate::segment::reader::Segment;
use crate::segment::split_file;
use crate::segment::writer::WriteError;
use crate::store::Store;
use crate::unindexed::Unindexed;

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
    /// Something in it makes the program panic.
    #[error("indexing it panicked (see the message before); please report that")]
    Panicked,
}

/// Lets a segment that makes the program panic cost its own index alone.
pub(crate) fn without_panics<T, E: From<SealError>>(
    work: impl FnOnce() -> Result<T, E>,
) -> Result<T, E> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err(SealError::Panicked.into()))
}

/// A sealed segment and its flows.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) segment: Arc<Segment>,
    /// Bytes of its file.
    pub(crate) stored_bytes: u64,
    pub(crate) table: Arc<FlowTable>,
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
    pub(crate) unindexed: Arc<Unindexed>,
    pub(crate) orders: Arc<Orders>,
}

impl Builder {
    /// One for somebody who has a store open.
    pub(crate) fn of(store: &Store) -> Builder {
        let inner = &store.inner;
        Builder {
            layout: inner.layout.clone(),
            store: inner.id,
            keys: Arc::clone(&inner.keys),
            catalog: Arc::clone(&inner.catalog),
            names: Arc::clone(&inner.names),
            unindexed: Arc::clone(&inner.unindexed),
            orders: Arc::clone(&inner.orders),
        }
    }

    /// Takes jobs until nobody can send any; while there are none, does what recovery left. What
    /// takes time of that waits for the next opening when the store is closed before.
    pub(crate) async fn run(self, jobs: Receiver<Job>, mut later: VecDeque<Later>) {
        // However it ends: nobody may wait for it then.
        struct End(Arc<Unindexed>);
        impl Drop for End {
            fn drop(&mut self) {
                self.0.give_up_all();
            }
        }
        let _end = End(Arc::clone(&self.unindexed));
        loop {
            let job = match (jobs.try_recv(), later.front()) {
                (Err(TryRecvError::Closed), None | Some(Later::Finish(..) | Later::Index(_))) => {
                    return;
                }
                (Err(TryRecvError::Empty), None) => {
                    // A helper may have taken what waited.
                    self.orders.index_waits(false);
                    jobs.recv().await.ok()
                }
                (job, _) => job.ok(),
            };
            self.orders.index_waits(!jobs.is_empty());
            // Shards wait for whoever takes the jobs.
            self.orders.pace_builder(|| jobs.is_closed() || !jobs.is_empty());
            if let Some(job) = job {
                self.build_and_tell(job).await;
            } else if let Some(step) = later.pop_front() {
                // What follows a step that failed may depend on it.
                if !apply_later(&self, step) {
                    later.retain(|step| !matches!(step, Later::Remove(_)));
                }
                yield_now().await;
            }
        }
    }

    pub(crate) async fn build_and_tell(&self, mut job: Job) {
        let done = job.done.take();
        let result = without_panics(|| self.build(&job));
        if let Err(error) = &result {
            let path = job.segment.path.display();
            let text = format!("{path} could not be indexed and is read as it is: {error}");
            self.unindexed.tell([text]);
            self.unindexed.give_up(job.segment.id());
        }
        if let Some(done) = done {
            // Whoever asked may have gone.
            done.send(result).await.ok();
        }
    }

    /// Builds one split, writes it, and records the segment.
    pub(crate) fn build(&self, job: &Job) -> Result<(), SealError> {
        let Job { segment, stored_bytes, table, answers, wal, .. } = job;
        let (opened, owner) = (&segment.opened, segment.opened.owner);
        let split = build_split(table, answers)?;
        let path = self.layout.split(owner.segment);
        let (keys, secret, bucket) = (&self.keys, &opened.secret, *opened.bucket);
        let index_bytes = split_file::write(&path, keys, owner, bucket, secret, &split.bytes)?;
        let totals = segment.map.totals(table.len() as u32);
        let row = SegmentRow {
            shard: opened.shard,
            created_nanos: opened.created_nanos,
            packets: totals.packets,
            packet_bytes: totals.packet_bytes,
            flows: totals.flows,
            blocks: totals.blocks,
            first: totals.time_min,
            last: totals.time_max,
            stored_bytes: *stored_bytes,
            index_bytes,
            interfaces: segment.interfaces.iter().map(|interface| interface.encode()).collect(),
            losses: loss::condense(segment.map.losses()),
        };
        self.catalog.add(&[Sealed {
            id: owner.segment,
            row,
            summary: split.summary,
            checkpoints: checkpoints(segment).collect(),
        }])?;
        self.unindexed.remove(owner.segment);
        self.names.learn(owner.segment.sequence(), answers);
        if let Some(wal) = wal {
            erase::log(wal)?;
        }
        Ok(())
    }
}

/// How far the sources of a segment's packets were stored with each of its units.
pub(crate) fn checkpoints(segment: &Segment) -> impl Iterator<Item = (Checkpoint, CheckpointRow)> {
    segment.map.units.iter().filter_map(|unit| {
        let checkpoint = unit.checkpoint?;
        let row = CheckpointRow {
            packets: checkpoint.packets,
            source: unit.source.clone(),
            created_nanos: segment.opened.created_nanos,
        };
        Some((checkpoint, row))
    })
}

fn build_split(
    table: &FlowTable,
    answers: &[Answer],
) -> Result<tapstone_index::SplitFile, BuildError> {
    let mut builder = SplitBuilder::new(table.len())?;
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
