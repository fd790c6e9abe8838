//! The store: opening, closing, and what it says of itself.

mod folder;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_channel::Sender;
use tapstone_index::{FlowRow, FlowSet};
use tapstone_packet::filter::Dialect;
use tapstone_packet::interface::Interface;
use tapstone_packet::names::Answer;
use tapstone_packet::predicate::{NamePattern, Predicate};
use tapstone_packet::time::Timestamp;
use tapstone_runtime::file::FileError;
use tapstone_runtime::lock::{FolderLock, LockError};
use tapstone_runtime::{Shards, StartError, TaskClass, block_on, block_on_within, blocking};

use crate::audit::{self, AuditLog};
use crate::builder::Builder;
use crate::builders::Builders;
use crate::capture::Captured;
use crate::capture::loss::Loss;
use crate::catalog::{Catalog, CatalogError};
use crate::effects::{Effects, Orders, Report};
use crate::flows::rows::rows;
use crate::flows::table::FlowTable;
use crate::holds::HeldSegments;
use crate::id::{SegmentId, StoreId};
use crate::keeper;
use crate::keys::{KeyError, KeyRing};
use crate::layout::Layout;
use crate::ledger;
use crate::limits::Sizes;
use crate::maintenance;
use crate::name_cache::NameCache;
use crate::query::Missing;
use crate::query::plan::dialect_of;
use crate::query::turns::Turns;
use crate::recent_files::RecentFiles;
use crate::recovery::{self, RecoverError};
use crate::retention::{HeldBack, Spared};
use crate::segment::reader::Segment;
use crate::shard::{Command, Context, IngestError, Look, OpenView, Published, SealFailure, Shard};
use crate::store_file::{self, StoreFileError};
use crate::unindexed::Unindexed;
use folder::{forget_what_can_be_rebuilt, make_store, prepare_folder};

/// Commands, or looks, waiting for a shard.
const COMMAND_QUEUE: usize = 4;

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is none.
    #[error("there is no store at {}; import makes one", .0.display())]
    NoStore(PathBuf),
    /// The folder holds something else.
    #[error("{} is not a store and not empty; name another folder", .0.display())]
    NotAStore(PathBuf),
    /// A backup was begun to be restored there, and that did not come to its end.
    #[error(
        "a backup was not restored to its end at {}; run the same tapstone restore again, which \
         begins anew", .0.display()
    )]
    Restoring(PathBuf),
    /// Another process has it.
    #[error("store {0}")]
    InUse(#[from] LockError),
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The file that says what store it is is damaged, or of a newer program.
    #[error(transparent)]
    StoreFile(#[from] StoreFileError),
    /// The master key cannot be had.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The catalog cannot be used.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The shards cannot be started.
    #[error(transparent)]
    Start(#[from] StartError),
    /// What a crash left could not be put in order.
    #[error(transparent)]
    Recover(#[from] RecoverError),
}

/// A shard that does not answer: it hangs, or is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("shard {shard} has not answered for {patience:?}")]
pub struct SilentShard {
    /// Its number.
    pub shard: usize,
    /// So long was waited.
    pub patience: Duration,
}

/// How to open a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenOptions {
    /// Make the store when there is none.
    pub create: bool,
    /// Cores that do the work.
    pub shards: usize,
    /// Forget catalog and splits, and make them anew from the segments.
    pub rebuild: bool,
    /// How what is taken in is cut up.
    pub sizes: Sizes,
}

impl Default for OpenOptions {
    /// An existing store, on two shards at most.
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        OpenOptions { create: false, shards: cores, rebuild: false, sizes: Sizes::default() }
    }
}

impl OpenOptions {
    /// The sizes as they are on the file system of a folder.
    fn sizes_in(&self, folder: &Path) -> Sizes {
        let total = blocking::space(folder).map_or(u64::MAX, |space| space.total);
        self.sizes.on_disk_of(total, self.shards)
    }
}

/// An open store. Cheap to clone; the last clone to go closes it.
#[derive(Clone, Debug)]
pub struct Store {
    /// It ends before what it keeps is closed: fields are dropped in this order.
    pub(crate) keeper: Arc<keeper::Handle>,
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) layout: Layout,
    pub(crate) sizes: Sizes,
    pub(crate) id: StoreId,
    pub(crate) keys: Arc<KeyRing>,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) names: Arc<NameCache>,
    pub(crate) shards: Shards,
    /// Of the next segment that is begun.
    pub(crate) next_sequence: Arc<AtomicU32>,
    commands: Vec<Sender<Command>>,
    looks: Vec<(Sender<Look>, Arc<Published>)>,
    next_shard: AtomicUsize,
    pub(crate) orders: Arc<Orders>,
    pub(crate) turns: Arc<Turns>,
    pub(crate) recent_files: RecentFiles,
    pub(crate) unindexed: Arc<Unindexed>,
    lost: Vec<Missing>,
    pub(crate) builders: Builders,
    /// What is known of the scarcest resource while the store is degraded.
    pub(crate) outlook: Mutex<Option<Report>>,
    pub(crate) audit: audit::Running,
    pub(crate) ledger: ledger::Running,
    pub(crate) captures: Mutex<Vec<Captured>>,
    /// Locked while segments expire, and while holds change.
    pub(crate) expiring: Mutex<HeldSegments>,
    /// What does not expire since a backup is about to take it.
    pub(crate) spared: Arc<Spared>,
    /// What holds kept when segments expired last.
    pub(crate) held_back: Mutex<HeldBack>,
    /// What is kept of tasks of MAINTENANCE.
    pub(crate) maintained: maintenance::KeptRecord,
    /// What is told of the store's state.
    pub(crate) board: Arc<keeper::Board>,
    _lock: FolderLock,
}

impl Store {
    /// Opens a store, and puts in order what a crash may have left.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// use tapstone::{ImportOptions, OpenOptions, Selection, Store};
    ///
    /// let options = OpenOptions { create: true, ..OpenOptions::default() };
    /// let store = Store::open(folder.path(), options)?;
    /// # let capture: &[u8] = &tapstone::doc_capture();
    /// let report = store.import(capture, ImportOptions { name: "a.pcap", ..Default::default() })?;
    /// assert_eq!(report.packets, 2);
    ///
    /// let mut packets = store.query(&Selection { filter: "udp".into(), ..Selection::default() })?;
    /// for packet in &mut packets {
    ///     println!("{} {} bytes", packet.time(), packet.data().len());
    /// }
    /// assert!(packets.answer().completeness.is_complete());
    /// store.close()?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// When there is no store, another process has it, or it cannot be used; the error says what
    /// to do.
    pub fn open(folder: &Path, options: OpenOptions) -> Result<Store, OpenError> {
        let layout = Layout::new(folder);
        let (lock, id, keys) = take(&layout, options)?;
        let unindexed: Arc<Unindexed> = Arc::default();
        let (catalog, damaged) = Catalog::open_or_begin_anew(&layout.catalog())?;
        unindexed.tell(damaged);
        let (catalog, names) = (Arc::new(catalog), Arc::new(NameCache::new(layout.names())));
        let sizes = options.sizes_in(folder);
        let orders = Arc::new(Orders::new(Effects::normal(&sizes)));
        let builder = Builder {
            layout: layout.clone(),
            store: id,
            keys: Arc::clone(&keys),
            catalog: Arc::clone(&catalog),
            names: Arc::clone(&names),
            unindexed: Arc::clone(&unindexed),
            orders: Arc::clone(&orders),
        };
        let recovered = recovery::recover(&builder)?;
        let shards = Shards::start(options.shards.max(1))?;

        let (builders, jobs) = Builders::start(builder, recovered.later)?;
        let next_sequence = Arc::new(AtomicU32::new(recovered.next_sequence));
        let context = Context {
            layout: layout.clone(),
            sizes,
            store: id,
            keys: Arc::clone(&keys),
            next_sequence: Arc::clone(&next_sequence),
            builder: jobs,
            unindexed: Arc::clone(&unindexed),
            turns: Arc::new(Turns::new(shards.count())),
            orders: Arc::clone(&orders),
        };
        let started = (0..shards.count()).map(|shard| start_shard(&shards, &context, shard));
        let (commands, looks) = started.unzip();
        let audit = start_audit(&layout, id, &unindexed)?;
        let ledger = start_ledger(&layout, id, &unindexed)?;
        let inner = Arc::new(Inner {
            layout,
            sizes,
            id,
            keys,
            catalog,
            names,
            shards,
            next_sequence,
            commands,
            looks,
            next_shard: AtomicUsize::new(0),
            recent_files: RecentFiles::new(&orders.effects()),
            orders,
            turns: context.turns,
            unindexed,
            lost: recovered.lost,
            builders,
            outlook: Mutex::default(),
            audit,
            ledger,
            captures: Mutex::default(),
            expiring: Mutex::default(),
            spared: Arc::default(),
            held_back: Mutex::default(),
            maintained: Default::default(),
            board: Arc::default(),
            _lock: lock,
        });
        Ok(Store { keeper: Arc::default(), inner }.without_unneeded_keys())
    }

    /// As a crash may have come between the last segment of a day and its key.
    fn without_unneeded_keys(self) -> Store {
        let destroyed = self.destroy_unneeded_keys();
        self.inner.unindexed.tell(destroyed.err().map(|error| error.to_string()));
        self
    }

    /// Seals what is open, indexes it, and closes the store. Other clones of the handle can be
    /// used no more for importing until the store is opened again, but dropping them is all that
    /// is needed.
    ///
    /// # Errors
    ///
    /// When something could not be made durable or indexed. Packets that were reported as stored
    /// are safe all the same.
    pub fn close(self) -> Result<(), SealFailure> {
        self.seal()
    }

    /// Seals and indexes what was taken in so far, and waits until what was sealed before or left
    /// by a crash is indexed too.
    ///
    /// # Errors
    ///
    /// As [`close`](Self::close).
    pub fn seal(&self) -> Result<(), SealFailure> {
        for answer in self.ask_all(Command::Seal) {
            answer.unwrap_or_else(|| Err(IngestError::Lost.into()))?;
        }
        self.wait_until_indexed();
        Ok(())
    }

    /// Asks every shard, and then waits for the answers; one that is gone gives none.
    pub(crate) fn ask_all<T>(&self, command: impl Fn(Sender<T>) -> Command) -> Vec<Option<T>> {
        let ask = |commands: &Sender<Command>| {
            let (done, answer) = async_channel::bounded(1);
            block_on(commands.send(command(done))).ok();
            answer
        };
        let answers: Vec<_> = self.inner.commands.iter().map(ask).collect();
        answers.into_iter().map(|answer| block_on(answer.recv()).ok()).collect()
    }

    /// Waits until what was sealed or left by a crash is indexed. Meanwhile packets are found, but
    /// metadata queries may miss some, and say so.
    pub fn wait_until_indexed(&self) {
        self.inner.unindexed.wait();
    }

    /// Where to record what is done with the store, for good. The handle does not keep the store
    /// open: once that is closed, it refuses.
    #[must_use]
    pub fn audit(&self) -> AuditLog {
        self.inner.audit.log()
    }

    /// The store's identity.
    #[must_use]
    pub fn id(&self) -> StoreId {
        self.inner.id
    }

    /// What was found wrong since the store was opened: acknowledged packets that are gone,
    /// segments that could not be finished or indexed.
    #[must_use]
    pub fn damage(&self) -> Vec<String> {
        self.inner.unindexed.damage()
    }

    /// Why files are read and written by blocking calls, where io_uring is refused; all works, and
    /// slower.
    #[must_use]
    pub fn without_ring(&self) -> Option<&StartError> {
        self.inner.shards.without_ring()
    }

    /// The shard that takes the next source.
    pub(crate) fn next_shard(&self) -> &Sender<Command> {
        let next = self.inner.next_shard.fetch_add(1, Ordering::Relaxed);
        &self.inner.commands[next % self.inner.commands.len()]
    }

    /// What a shard can be asked.
    pub(crate) fn commands_of(&self, shard: usize) -> &Sender<Command> {
        &self.inner.commands[shard]
    }

    /// Whether a shard waits for the disk.
    pub(crate) fn is_at_disk(&self, shard: usize) -> bool {
        self.inner.looks[shard].1.at_disk.is_waiting()
    }

    /// What can be read of the segments that are being written.
    fn open_segments(&self) -> impl Iterator<Item = Arc<Segment>> {
        self.inner.looks.iter().filter_map(|(_, published)| published.durable())
    }

    /// What can be read of the segments that are being written, and which of their flows satisfy a
    /// predicate.
    pub(crate) fn look_at_open_segments(&self, predicate: &Predicate) -> Vec<OpenView> {
        if *predicate == Predicate::All {
            let whole = |segment| OpenView { segment, flows: None };
            return self.open_segments().map(whole).collect();
        }
        self.look(|done| Look::Open(predicate.clone(), done))
    }

    /// What is known of flows of a segment, of all of them or of some.
    pub(crate) fn rows(
        &self,
        segment: SegmentId,
        flows: Option<&FlowSet>,
    ) -> Result<Vec<FlowRow>, String> {
        // In the order in which a segment wanders.
        let rows_of = |done| Look::Rows(segment, flows.cloned(), done);
        if let Some(rows) = self.look(rows_of).pop() {
            return Ok(rows);
        }
        let mut unindexed = self.inner.unindexed.list().into_iter();
        if let Some(unindexed) = unindexed.find(|it| it.segment.id() == segment) {
            let flows_of = |table: Arc<FlowTable>| rows(&table, flows);
            return unindexed.flows.map(flows_of).ok_or_else(|| "it is not indexed yet".to_owned());
        }
        let split = self.split(segment).map_err(|error| error.to_string())?;
        let all = FlowSet::full(split.flow_count());
        let rows = flows.unwrap_or(&all).iter().map(|row| split.row(row));
        rows.collect::<Result<_, _>>().map_err(|error| error.to_string())
    }

    /// Asks the shards that have an open segment; gives what those have to say that have something
    /// to say.
    fn look<T>(&self, look: impl Fn(Sender<Option<T>>) -> Look) -> Vec<T> {
        let ask = |(looks, _): &(Sender<Look>, Arc<Published>)| {
            let (done, answer) = async_channel::bounded(1);
            block_on(looks.send(look(done))).ok();
            answer
        };
        let looks = self.inner.looks.iter().filter(|(_, it)| it.durable().is_some());
        let answers: Vec<_> = looks.map(ask).collect();
        answers.into_iter().filter_map(|answer| block_on(answer.recv()).ok().flatten()).collect()
    }

    /// Waits until every shard has answered.
    ///
    /// # Errors
    ///
    /// When one does not within so long.
    pub fn ask_shards(&self, patience: Duration) -> Result<(), SilentShard> {
        self.inner.looks.iter().enumerate().try_for_each(|(shard, (looks, _))| {
            let (done, answer) = async_channel::bounded(1);
            let asked =
                async { looks.send(Look::Anything(done)).await.ok().zip(answer.recv().await.ok()) };
            block_on_within(patience, asked)
                .flatten()
                .map(drop)
                .ok_or(SilentShard { shard, patience })
        })
    }

    /// Keeps no key but the master key in memory. What needs another gets it again.
    pub(crate) fn forget_keys(&self) {
        self.inner.recent_files.clear();
        self.inner.keys.forget_buckets();
    }

    /// What was lost, and no segment tells of yet.
    pub(crate) fn pending_losses(&self) -> Vec<Loss> {
        self.inner.looks.iter().flat_map(|(_, published)| published.losses()).collect()
    }

    /// Acknowledged packets that opening the store did not find in their place.
    pub(crate) fn lost(&self) -> &[Missing] {
        &self.inner.lost
    }

    /// Segments that the catalog may not know. Ask the catalog afterwards, and leave out here what
    /// it knows.
    pub(crate) fn segments_without_row(&self) -> Vec<Arc<Segment>> {
        let mut segments: Vec<_> = self.open_segments().collect();
        for unindexed in self.inner.unindexed.list() {
            if !segments.iter().any(|it| it.id() == unindexed.segment.id()) {
                segments.push(unindexed.segment);
            }
        }
        segments
    }

    /// Every interface in the store, described.
    pub(crate) fn interfaces(&self) -> Result<Vec<Interface>, CatalogError> {
        let without_row = self.segments_without_row();
        let mut interfaces = self.inner.catalog.segments()?.interfaces.clone();
        for interface in without_row.iter().flat_map(|segment| segment.interfaces.iter()) {
            if !interfaces.contains(interface) {
                interfaces.push(interface.clone());
            }
        }
        Ok(interfaces)
    }

    /// What filters must be compiled for.
    pub(crate) fn dialects(&self) -> Result<Vec<Dialect>, CatalogError> {
        let mut dialects: Vec<Dialect> = Vec::new();
        for interface in self.interfaces()? {
            let dialect = dialect_of(&interface);
            if !dialects.contains(&dialect) {
                dialects.push(dialect);
            }
        }
        Ok(dialects)
    }

    /// The addresses that DNS gave for a name. A cache that was deleted is filled first, from the
    /// answers that the splits keep.
    pub(crate) fn addresses_of(
        &self,
        pattern: &NamePattern,
    ) -> Result<BTreeSet<IpAddr>, CatalogError> {
        if self.inner.names.is_empty() {
            self.refill_name_cache()?;
        }
        Ok(self.inner.names.addresses(pattern))
    }

    fn refill_name_cache(&self) -> Result<(), CatalogError> {
        for id in self.inner.catalog.segments()?.rows.keys() {
            let answers = self.answers_of(*id).unwrap_or_default();
            self.inner.names.learn(id.sequence(), &answers);
        }
        Ok(())
    }

    /// The DNS answers of a sealed segment; none where its split cannot be read.
    pub(crate) fn answers_of(&self, id: SegmentId) -> Option<Vec<Answer>> {
        let answers = self.split(id).ok()?.answers().ok()?.into_iter();
        Some(answers.map(|(name, address)| Answer { name, address }).collect())
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Shards end when nobody can ask anything of them, and the builder when no shard can.
        self.looks.clear();
        for commands in std::mem::take(&mut self.commands) {
            let (done, answer) = async_channel::bounded(1);
            if block_on(commands.send(Command::Seal(done))).is_ok()
                && let Ok(Err(error)) = block_on(answer.recv())
            {
                tracing::warn!(%error, "the open segment is finished when the store is next opened");
            }
        }
        self.builders.join();
    }
}

/// Takes a store's folder for this process: its identity, and its keys.
fn take(
    layout: &Layout,
    options: OpenOptions,
) -> Result<(FolderLock, StoreId, Arc<KeyRing>), OpenError> {
    prepare_folder(layout, options.create)?;
    let lock = FolderLock::take(layout.root())?;
    let id = store_file::read(&layout.store_file())?;
    let id = id.map_or_else(|| make_store(layout), Ok)?;
    let keys = Arc::new(KeyRing::open(&layout.master_key(), &layout.keys())?);
    if options.rebuild {
        forget_what_can_be_rebuilt(layout)?;
    }
    Ok((lock, id, keys))
}

fn start_audit(
    layout: &Layout,
    store: StoreId,
    unindexed: &Arc<Unindexed>,
) -> Result<audit::Running, StartError> {
    audit::Running::start(audit::Context {
        layout: layout.clone(),
        store,
        unindexed: Arc::clone(unindexed),
        file_size: audit::FILE_SIZE,
        records_per_head: audit::RECORDS_PER_HEAD,
    })
}

fn start_ledger(
    layout: &Layout,
    store: StoreId,
    unindexed: &Unindexed,
) -> Result<ledger::Running, StartError> {
    let (layout, file_size) = (layout.clone(), ledger::FILE_SIZE);
    ledger::Running::start(ledger::Context { layout, store, file_size }, unindexed)
}

fn start_shard(
    shards: &Shards,
    context: &Context,
    number: usize,
) -> (Sender<Command>, (Sender<Look>, Arc<Published>)) {
    let (commands, taken) = async_channel::bounded(COMMAND_QUEUE);
    let (looks, looked) = async_channel::bounded(COMMAND_QUEUE);
    let context = context.clone();
    let published = Arc::new(Published::default());
    let by_shard = Arc::clone(&published);
    let task = shards.spawn(number, TaskClass::Capture, move || async move {
        Shard::new(context, number as u16, by_shard).run(taken, looked).await;
    });
    // The task ends with its commands; nobody waits for it.
    drop(task);
    (commands, (looks, published))
}

/// Where a store's time begins and ends.
pub(crate) fn span(
    times: impl IntoIterator<Item = (Timestamp, Timestamp)>,
) -> Option<(Timestamp, Timestamp)> {
    times.into_iter().reduce(|all, times| (all.0.min(times.0), all.1.max(times.1)))
}
