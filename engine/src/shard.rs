//! One shard: takes batches in, writes them, and makes them durable. It owns everything it
//! touches; others reach it by commands, and look at its open segment at any time.

mod inbox;
mod view;

use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_channel::{Receiver, Sender};
use futures_lite::future::zip;
use tapstone_packet::time::Timestamp;
use tapstone_runtime::clock::{self, Stopwatch};
use tapstone_runtime::{blocking, spawn_local, yield_if_needed};
use tapstone_wal::{Lsn, Wal, WalError};

use crate::account::{self, Account};
use crate::builder::{Job, SealError};
use crate::capture::loss;
use crate::effects::{Effects, Orders};
use crate::exchangeable::Follower;
use crate::flows::table::FlowTable;
use crate::flows::tracker::TOGETHER;
use crate::id::StoreId;
use crate::import::batch::Batch;
use crate::import::group;
use crate::journal::{Record, StoredUnit};
use crate::keys::KeyRing;
use crate::layout::Layout;
use crate::limits::Sizes;
use crate::query::turns::Turns;
use crate::segment::directory::Entry;
use crate::segment::reader::Segment;
use crate::segment::writer::{SegmentWriter, UnitPackets, WriteError};
use crate::unindexed::Unindexed;

pub(crate) use inbox::Inbox;
use view::View;
pub(crate) use view::{Look, OpenView, Published};

/// Why a shard cannot take packets.
#[derive(Debug, Clone, thiserror::Error)]
pub enum IngestError {
    /// The segment could not be written.
    #[error(transparent)]
    Write(Arc<WriteError>),
    /// The log could not be written.
    #[error(transparent)]
    Wal(Arc<WalError>),
    /// Packets that had come were refused.
    #[error("the disk did not take packets that had come, and they are lost; the log says why")]
    Refused,
    /// The shard is gone.
    #[error("the shard that took the packets died (see its panic message); open the store again")]
    Lost,
}

impl IngestError {
    /// Whether the file system is full.
    #[must_use]
    pub fn is_no_space(&self) -> bool {
        let file = match self {
            IngestError::Write(error) => match &**error {
                WriteError::File(error) => Some(error),
                WriteError::Key(_) => None,
            },
            IngestError::Wal(error) => Some(error.file_error()),
            IngestError::Refused | IngestError::Lost => None,
        };
        file.is_some_and(tapstone_runtime::file::FileError::is_no_space)
    }
}

impl From<WriteError> for IngestError {
    fn from(error: WriteError) -> Self {
        IngestError::Write(Arc::new(error))
    }
}

impl From<WalError> for IngestError {
    fn from(error: WalError) -> Self {
        IngestError::Wal(Arc::new(error))
    }
}

/// A batch on its way back, and what became of it.
pub(crate) type Returned = (Box<Batch>, Result<(), IngestError>);

/// What a shard can be asked.
pub(crate) enum Command {
    /// Take a batch in; it comes back with the answer.
    Ingest(Box<Batch>, Sender<Returned>),
    /// Make everything taken in durable.
    Commit(Sender<Result<(), IngestError>>),
    /// Seal the open segment and index it.
    Seal(Sender<Result<(), SealFailure>>),
    /// Seal the open segment, and have it indexed later; packets are taken meanwhile.
    SealEarly(Sender<Result<(), IngestError>>),
}

/// Why a segment could not be sealed.
#[derive(Debug, thiserror::Error)]
pub enum SealFailure {
    /// Its last packets could not be made durable.
    #[error(transparent)]
    Ingest(#[from] IngestError),
    /// It is durable, but could not be indexed.
    #[error(transparent)]
    Index(#[from] SealError),
}

/// What a shard needs of the store.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    pub(crate) layout: Layout,
    pub(crate) sizes: Sizes,
    pub(crate) store: StoreId,
    pub(crate) keys: Arc<KeyRing>,
    pub(crate) next_sequence: Arc<AtomicU32>,
    pub(crate) builder: Sender<Job>,
    pub(crate) unindexed: Arc<Unindexed>,
    pub(crate) turns: Arc<Turns>,
    pub(crate) orders: Arc<Orders>,
}

/// The shard itself.
pub(crate) struct Shard {
    context: Context,
    number: u16,
    /// How it works now.
    effects: Follower<Effects>,
    view: Rc<View>,
    open: Option<Open>,
    /// Why nothing can be taken any more.
    failure: Option<IngestError>,
    flow_of: Vec<u32>,
    ranks: Vec<u32>,
    order: Vec<u32>,
    entries: Vec<Entry>,
    offsets: Vec<u32>,
}

/// The open segment and its log.
struct Open {
    writer: SegmentWriter,
    wal: Wal,
    uncommitted: Vec<(StoredUnit, account::Entry)>,
    /// Units that are durable.
    durable_units: usize,
    /// Since it was begun.
    age: Stopwatch,
}

impl Shard {
    pub(crate) fn new(context: Context, number: u16, published: Arc<Published>) -> Shard {
        Shard {
            effects: context.orders.follow(),
            context,
            number,
            view: Rc::new(View { tracker: RefCell::default(), published }),
            open: None,
            failure: None,
            flow_of: Vec::new(),
            ranks: Vec::new(),
            order: Vec::new(),
            entries: Vec::new(),
            offsets: Vec::new(),
        }
    }

    /// Takes commands, and lets others look, until nobody can ask for either.
    pub(crate) async fn run(self, commands: Receiver<Command>, looks: Receiver<Look>) {
        let view = Rc::clone(&self.view);
        // A task of its own: within one, each look would wake what waits for the disk as well, and
        // glommio remembers every time that a read or write was asked for and not done; it has room
        // for 32,767 of them.
        let answering = spawn_local(async move { view.answer(Inbox(looks)).await });
        zip(self.take(Inbox(commands)), answering).await;
    }

    async fn take(mut self, commands: Inbox<Command>) {
        while let Ok(command) = commands.0.recv().await {
            // Whoever asked may have gone; that is theirs to decide.
            match command {
                Command::Ingest(batch, done) => {
                    let result = self.ingest(&batch).await;
                    done.send((batch, result)).await.ok();
                }
                Command::Commit(done) => {
                    let result = self.commit().await;
                    done.send(result).await.ok();
                }
                Command::Seal(done) => self.seal_and_tell(done).await,
                Command::SealEarly(done) => {
                    let result = self.seal_early().await;
                    done.send(result).await.ok();
                }
            }
        }
    }

    async fn ingest(&mut self, batch: &Batch) -> Result<(), IngestError> {
        self.context.turns.need();
        if let Some(failure) = batch.account.as_ref().and_then(Account::failure) {
            return Err(failure);
        }
        if let Some(failure) = self.failure.clone() {
            self.refuse(&account::Entry::of(batch, batch.losses.clone()), &failure);
            return Err(failure);
        }
        let mut result = self.begin_and_write(batch).await;
        match &result {
            Ok(()) => result = self.seal_or_commit().await,
            Err(error) => self.refuse(&account::Entry::of(batch, batch.losses.clone()), error),
        }
        if let Err(error) = &result {
            self.give_up(error).await;
        }
        result
    }

    async fn begin_and_write(&mut self, batch: &Batch) -> Result<(), IngestError> {
        // What comes now is not as old as the segment.
        if self.open.as_ref().is_some_and(|open| open.age.elapsed() >= self.context.sizes.age) {
            self.seal(None).await?;
        }
        if self.open.is_none() {
            self.open = Some(self.begin().await?);
        }
        self.write(batch).await
    }

    async fn seal_or_commit(&mut self) -> Result<(), IngestError> {
        self.effects.keep_up();
        let open = self.open.as_ref().expect("it was begun above");
        let sizes = self.context.sizes;
        let flows = self.view.tracker.borrow().table.len();
        let full = open.writer.size() >= sizes.segment || flows >= sizes.flows;
        if full {
            self.seal(None).await?;
        } else if open.uncommitted.len() >= self.effects.seen().units_per_commit {
            self.try_commit().await?;
        }
        Ok(())
    }

    /// Ends the open segment, which could not be written on, and takes what comes into another. What
    /// the disk holds of what was refused is unknown: it is cut off, so that nothing of it is ever
    /// found. Where that cannot be done, nothing is taken any more until the store is opened again.
    async fn give_up(&mut self, error: &IngestError) {
        let Some(open) = self.open.take() else { return };
        open.uncommitted.iter().for_each(|(_, entry)| self.refuse(entry, error));
        self.view.tracker.borrow_mut().end_segment();
        // From here on queries find it there. Its flows are not known: the table has those of what
        // was refused as well.
        let left = Arc::new(open.writer.durable_part(open.durable_units));
        let (unindexed, id) = (Arc::clone(&self.context.unindexed), left.id());
        unindexed.add(Arc::clone(&left), None);
        self.view.published.set_durable(None);
        unindexed.give_up(id);
        // The log first: it may vouch for what is cut off then.
        let cut = match open.wal.give_up().await {
            Ok(log) => open.writer.give_up(open.durable_units).await.map(|()| log),
            Err(error) => Err(error),
        };
        let path = left.path.display();
        match cut {
            Ok(log) if left.map.units.is_empty() => {
                tracing::warn!(%error, "{path} could not be written, and holds nothing");
                // What cannot be removed now means nothing when the store is opened next.
                blocking::remove(&log).ok();
                blocking::remove(&left.path).ok();
                unindexed.remove(id);
            }
            Ok(_) => unindexed.tell([format!(
                "{path} could not be written on: {error}; what it holds is served, and it is \
                 finished when the store is opened next"
            )]),
            Err(cut) => {
                unindexed
                    .tell([format!("{path} could not be written on: {error}; nor cut: {cut}")]);
                self.failure = Some(error.clone());
            }
        }
    }

    /// Books packets that were taken and cannot be stored.
    fn refuse(&mut self, entry: &account::Entry, error: &IngestError) {
        let before = self.view.published.losses().into_iter();
        self.view.published.set_losses(loss::condense(before.chain(entry.refuse(error))));
    }

    async fn begin(&self) -> Result<Open, IngestError> {
        let sequence = self.context.next_sequence.fetch_add(1, Ordering::Relaxed);
        let context = &self.context;
        let mut writer = SegmentWriter::create(
            &context.layout.segments(),
            &context.keys,
            context.store,
            self.number,
            sequence,
            clock::unix_nanos(),
            context.sizes.block,
        )
        .await?;
        writer.at_disk = Arc::clone(&self.view.published.at_disk);
        let wal = self.begin_log(&writer, sequence).await;
        // A segment without a log means nothing, and more would come as long as the disk is full.
        let wal = wal.inspect_err(|_| drop(blocking::remove(writer.path())))?;
        let age = Stopwatch::start();
        Ok(Open { writer, wal, uncommitted: Vec::new(), durable_units: 0, age })
    }

    async fn begin_log(&self, writer: &SegmentWriter, sequence: u32) -> Result<Wal, IngestError> {
        // Each segment has a log of its own; records count from its sequence number, so that two
        // files never share a name.
        let first = first_record(sequence);
        let (folder, store) = (self.context.layout.wal(), self.context.store.0);
        let mut wal = Wal::create(&folder, store, self.number, first).await?;
        let header = Box::new(*writer.header());
        wal.append(Record::Begun(writer.owner.segment, header).encode());
        match wal.commit().await {
            Ok(_) => Ok(wal),
            Err(error) => {
                drop(wal.give_up().await.map(|path| blocking::remove(&path)));
                Err(error.into())
            }
        }
    }

    /// Decodes a batch, groups it by flow, and writes it as a unit.
    async fn write(&mut self, batch: &Batch) -> Result<(), IngestError> {
        let open = self.open.as_mut().expect("the caller began a segment");
        let tracker = &self.view.tracker;
        tracker.borrow_mut().table.begin_unit();
        self.flow_of.clear();
        for records in batch.records.chunks(TOGETHER) {
            yield_if_needed().await;
            let packets = records
                .iter()
                .map(|record| (&batch.interfaces[record.interface as usize], batch.data(record)));
            tracker.borrow_mut().packets(packets, |found| self.flow_of.push(found.local));
        }
        let of_unit = tracker.borrow().table.of_unit().to_vec();
        group::by_flow(&self.flow_of, of_unit.len(), &mut self.order);
        group::ranks(&batch.records, &mut self.ranks);

        let mut new_interfaces = Vec::new();
        let mut numbers = vec![None; batch.interfaces.len()];
        self.entries.clear();
        self.offsets.clear();
        for &index in &self.order {
            let record = &batch.records[index as usize];
            let number = &mut numbers[record.interface as usize];
            let interface = match *number {
                Some(number) => number,
                None => {
                    let interface = &batch.interfaces[record.interface as usize];
                    *number.insert(open.writer.interface(interface, &mut new_interfaces))
                }
            };
            self.entries.push(Entry {
                flow: of_unit[self.flow_of[index as usize] as usize],
                time: record.time,
                rank: self.ranks[index as usize],
                interface,
                captured: record.captured,
                original: record.original,
            });
            self.offsets.push(record.offset);
        }
        count(&mut tracker.borrow_mut().table, &self.entries);
        let options = ordered_options(batch, &self.order);
        let used = numbers.iter().zip(&*batch.interfaces).filter(|(number, _)| number.is_some());
        let before = self.view.published.losses();
        let losses = loss::condense(batch.losses.iter().chain(&before).copied());
        let unit = UnitPackets {
            arena: &batch.arena,
            entries: &self.entries,
            offsets: &self.offsets,
            options: &options,
            time_unit: group::time_unit(used.map(|(_, interface)| interface.scale)),
            new_interfaces,
            source: &batch.source,
            checkpoint: batch.checkpoint,
            losses: &losses,
        };
        let add_run = |flow, block| tracker.borrow_mut().table.add_block(flow, block);
        let stored = open.writer.write_unit(unit, add_run).await?;
        self.view.published.set_losses(Vec::new());
        open.uncommitted.push((stored, account::Entry::of(batch, losses)));
        Ok(())
    }

    /// Makes everything written so far durable: the segment first, then the log that vouches for
    /// it.
    async fn commit(&mut self) -> Result<(), IngestError> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        let mut result = self.write_losses().await;
        if result.is_ok() {
            result = self.try_commit().await;
        }
        if let Err(error) = &result {
            self.give_up(error).await;
        }
        result
    }

    /// Writes what was lost and nothing came after.
    async fn write_losses(&mut self) -> Result<(), IngestError> {
        if self.view.published.losses().is_empty() {
            return Ok(());
        }
        self.begin_and_write(&Batch::empty()).await
    }

    async fn try_commit(&mut self) -> Result<(), IngestError> {
        let Some(open) = &mut self.open else { return Ok(()) };
        if open.uncommitted.is_empty() {
            return Ok(());
        }
        open.writer.sync().await?;
        for (unit, _) in &open.uncommitted {
            open.wal.append(Record::Stored(unit.clone()).encode());
        }
        open.writer.at_disk.during(open.wal.commit()).await?;
        open.uncommitted.drain(..).for_each(|(_, entry)| entry.store());
        open.durable_units = open.writer.map().units.len();
        let durable = Arc::new(open.writer.durable_part(open.durable_units));
        self.view.published.set_durable(Some(durable));
        Ok(())
    }

    async fn seal_and_tell(&mut self, done: Sender<Result<(), SealFailure>>) {
        if let Some(failure) = &self.failure {
            done.send(Err(failure.clone().into())).await.ok();
            return;
        }
        if let Err(error) = self.commit().await {
            done.send(Err(error.into())).await.ok();
            return;
        }
        if self.open.is_none() {
            done.send(Ok(())).await.ok();
            return;
        }
        let (indexed, index) = async_channel::bounded(1);
        let result = match self.seal(Some(indexed)).await {
            Ok(()) => match index.recv().await {
                Ok(result) => result.map_err(SealFailure::from),
                Err(_) => Err(IngestError::Lost.into()),
            },
            Err(error) => {
                self.give_up(&error).await;
                Err(error.into())
            }
        };
        done.send(result).await.ok();
    }

    /// Seals what is open, and gives back the memory that it and the units before needed.
    async fn seal_early(&mut self) -> Result<(), IngestError> {
        self.commit().await?;
        if let Err(error) = self.seal(None).await {
            self.give_up(&error).await;
            return Err(error);
        }
        for scratch in [&mut self.flow_of, &mut self.ranks, &mut self.order, &mut self.offsets] {
            *scratch = Vec::new();
        }
        self.entries = Vec::new();
        Ok(())
    }

    /// Ends the open segment and hands it to the builder.
    async fn seal(
        &mut self,
        done: Option<Sender<Result<(), SealError>>>,
    ) -> Result<(), IngestError> {
        self.try_commit().await?;
        let Some(open) = self.open.take() else { return Ok(()) };
        let (table, answers) = self.view.tracker.borrow_mut().end_segment();
        let table = Arc::new(table);
        // From here on queries find it there, until they find it in the catalog.
        let unindexed = &self.context.unindexed;
        let segment = Arc::new(open.writer.durable_part(open.durable_units));
        unindexed.add(Arc::clone(&segment), Some(Arc::clone(&table)));
        self.view.published.set_durable(None);
        let finished = Self::finish(open, table.len() as u32).await;
        let (segment, stored_bytes, wal) = finished.inspect_err(|error| {
            unindexed.tell([format!("{} could not be sealed: {error}", segment.path.display())]);
            unindexed.give_up(segment.id());
        })?;
        let segment = Arc::new(segment);
        let job = Job { segment, stored_bytes, table, answers, wal: Some(wal), done };
        // The builder lives as long as the store; when it died, the segment is indexed at the
        // next opening.
        if let Err(job) = self.context.builder.send(job).await {
            unindexed.give_up(job.0.segment.id());
        }
        Ok(())
    }

    /// Ends a segment's file and its log; gives the segment, its bytes, and where the log is.
    async fn finish(mut open: Open, flows: u32) -> Result<(Segment, u64, PathBuf), IngestError> {
        let (segment, stored_bytes) = open.writer.finish(flows).await?;
        open.wal.append(Record::Sealed(segment.id()).encode());
        open.wal.commit().await?;
        Ok((segment, stored_bytes, open.wal.close().await?))
    }
}

/// The number of the first record in the log of segment number `sequence`.
pub(crate) fn first_record(sequence: u32) -> Lsn {
    Lsn(u64::from(sequence) << 32 | 1)
}

/// The number of the segment whose log has this name.
pub(crate) fn sequence_of(log: &str) -> Option<u32> {
    let first = log.strip_suffix(".log")?.rsplit_once('-')?.1.parse::<u64>().ok()?;
    u32::try_from(first >> 32).ok()
}

/// Counts a unit's packets, which are grouped by flow.
fn count(table: &mut FlowTable, entries: &[Entry]) {
    for run in entries.chunk_by(|a, b| a.flow == b.flow) {
        let times = run.iter().fold((Timestamp::MAX, Timestamp::MIN), |(min, max), entry| {
            (min.min(entry.time), max.max(entry.time))
        });
        let bytes = run.iter().map(|entry| u64::from(entry.captured)).sum();
        table.count(run[0].flow, times, run.len() as u64, bytes);
    }
}

/// The options of a batch's packets, numbered as the packets are after grouping.
fn ordered_options<'b>(batch: &'b Batch, order: &[u32]) -> Vec<(u32, &'b [u8])> {
    if batch.options.is_empty() {
        return Vec::new();
    }
    let mut place = vec![0; order.len()];
    for (at, index) in order.iter().enumerate() {
        place[*index as usize] = at as u32;
    }
    let mut options: Vec<(u32, &[u8])> = batch
        .options
        .iter()
        .map(|(index, options)| (place[*index as usize], options.as_slice()))
        .collect();
    options.sort_unstable_by_key(|(at, _)| *at);
    options
}
