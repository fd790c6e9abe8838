//! Taking captures in.

pub(crate) mod batch;
pub(crate) mod feeder;
pub(crate) mod group;
pub(crate) mod known;

use std::io::{self, Read};
use std::sync::Arc;

use tapstone_packet::capture_file::CaptureError;
use tapstone_runtime::block_on;

use crate::account::{Account, Repeatable};
use crate::builder::checkpoints;
use crate::catalog::CatalogError;
use crate::shard::{Command, IngestError, Returned};
use crate::store::Store;
use batch::Batch;
use feeder::{Feeder, Filled};
use known::Known;

/// Batches under way between the reader and a shard.
const BATCHES: usize = 3;

/// How to import.
#[derive(Clone, Copy, Default)]
pub struct ImportOptions<'a> {
    /// What the source is called: a file's name.
    pub name: &'a str,
    /// Store what is stored already a second time.
    pub again: bool,
    /// Told of every batch that was read.
    pub progress: Option<&'a (dyn Fn(Progress) + Sync)>,
}

impl std::fmt::Debug for ImportOptions<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ImportOptions")
            .field("name", &self.name)
            .field("again", &self.again)
            .finish_non_exhaustive()
    }
}

/// How far an import is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of the capture read.
    pub bytes: u64,
    /// Packets read.
    pub packets: u64,
}

/// What an import did.
#[derive(Clone, Debug, Default)]
pub struct ImportReport {
    /// Packets stored by it; they survive a power cut.
    pub packets: u64,
    /// Their captured bytes.
    pub packet_bytes: u64,
    /// Bytes of the capture read.
    pub stream_bytes: u64,
    /// What of the capture was stored before and was not stored again.
    pub known: Option<KnownBefore>,
    /// Blocks of a pcapng file that hold no packets (names, statistics, secrets, custom ones).
    pub skipped_blocks: u64,
    /// Packets longer than their file's snapshot length, cut to it as libpcap does.
    pub cut_packets: u64,
    /// Why and where the capture could not be read on; everything before is stored.
    pub damage: Option<CaptureError>,
}

/// What of a capture was stored before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownBefore {
    /// Packets.
    pub packets: u64,
    /// What the source was called then.
    pub source: String,
    /// When, in nanoseconds since the epoch.
    pub stored_nanos: u64,
    /// Whether that is all of the capture.
    pub whole: bool,
}

impl ImportReport {
    /// Whether nothing was stored because all of the capture is stored already.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        self.packets == 0 && self.known.as_ref().is_some_and(|known| known.whole)
    }
}

/// Why an import ended early. What it had stored by then stays stored, and importing the same
/// source again goes on from there.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The source cannot be read.
    #[error("cannot read {name} at byte {offset}: {source}")]
    Read {
        /// What the source is called.
        name: String,
        /// Where in the capture.
        offset: u64,
        /// What the system said.
        source: io::Error,
    },
    /// The packets cannot be stored.
    #[error("cannot store the packets of {name}: {source}")]
    Store {
        /// What the source is called.
        name: String,
        /// Packets of it that are safely stored.
        stored: u64,
        /// Why.
        source: IngestError,
    },
    /// What is stored already cannot be looked up.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
}

impl Store {
    /// Takes a pcap or pcapng capture in, and returns when all of it is durable.
    ///
    /// A capture (or a beginning of one) that is stored already is recognised by its content and
    /// passed over, so an import that was cut short goes on where it was when it is run again.
    ///
    /// # Errors
    ///
    /// When the source cannot be read or the packets cannot be stored. A damaged capture is not an
    /// error: what came before the damage is stored, and the report names the damage.
    pub fn import(
        &self,
        source: impl Read,
        options: ImportOptions<'_>,
    ) -> Result<ImportReport, ImportError> {
        let known = if options.again { Known::default() } else { self.known()? };
        let mut feeder = Feeder::new(source, options.name.into(), &known, self.inner.sizes.unit);
        let mut pipe = Pipe::new(self, options.name);
        let mut effects = self.inner.orders.follow();
        let mut report = ImportReport::default();
        loop {
            let mut batch = pipe.spare()?;
            effects.keep_up();
            feeder.scale(effects.seen().unit);
            let filled = feeder.fill(&mut batch).map_err(|error| ImportError::Read {
                name: options.name.to_owned(),
                offset: error.offset,
                source: error.source,
            });
            let filled = match filled {
                Ok(filled) => filled,
                Err(error) => {
                    pipe.finish()?;
                    return Err(error);
                }
            };
            report.packets += batch.records.len() as u64;
            report.packet_bytes += batch.packet_bytes();
            if !batch.records.is_empty() {
                pipe.send(batch)?;
            }
            report.stream_bytes = feeder.offset();
            if let Some(progress) = options.progress {
                progress(Progress { bytes: report.stream_bytes, packets: report.packets });
            }
            match filled {
                Filled::Batch => {}
                Filled::End => break,
                Filled::Damaged(error) => {
                    report.damage = Some(error);
                    break;
                }
            }
        }
        pipe.finish()?;
        report.skipped_blocks = feeder.reader().skipped_blocks();
        report.cut_packets = feeder.reader().cut_packets();
        let already = feeder.already();
        report.known = already.row.as_ref().map(|row| KnownBefore {
            packets: already.packets,
            source: row.source.clone(),
            stored_nanos: row.created_nanos,
            whole: already.whole,
        });
        Ok(report)
    }

    fn known(&self) -> Result<Known, CatalogError> {
        let without_row = self.segments_without_row();
        let mut rows = self.inner.catalog.checkpoints()?;
        for segment in &without_row {
            let known = checkpoints(segment);
            rows.extend(known.map(|(it, row)| ((it.offset, it.hash), row)));
        }
        Ok(Known::new(rows))
    }
}

/// Batches on their way to a shard and back.
struct Pipe<'s> {
    commands: &'s async_channel::Sender<Command>,
    name: &'s str,
    back: (async_channel::Sender<Returned>, async_channel::Receiver<Returned>),
    made: usize,
    under_way: usize,
    account: Arc<Repeatable>,
}

impl<'s> Pipe<'s> {
    fn new(store: &'s Store, name: &'s str) -> Pipe<'s> {
        Pipe {
            commands: store.next_shard(),
            name,
            back: async_channel::bounded(BATCHES),
            made: 0,
            under_way: 0,
            account: Arc::default(),
        }
    }

    /// A batch to be filled: a new one, or one that came back.
    fn spare(&mut self) -> Result<Box<Batch>, ImportError> {
        if let Ok(returned) = self.back.1.try_recv() {
            return self.take_back(returned);
        }
        if self.made < BATCHES {
            self.made += 1;
            return Ok(Box::new(Batch::empty()));
        }
        let returned = block_on(self.back.1.recv());
        let returned = returned.map_err(|_| self.failed(IngestError::Lost))?;
        self.take_back(returned)
    }

    fn take_back(&mut self, (batch, result): Returned) -> Result<Box<Batch>, ImportError> {
        self.under_way -= 1;
        result.map_err(|error| self.failed(error))?;
        Ok(batch)
    }

    fn send(&mut self, mut batch: Box<Batch>) -> Result<(), ImportError> {
        batch.account = Some(Account::Repeatable(Arc::clone(&self.account)));
        let command = Command::Ingest(batch, self.back.0.clone());
        block_on(self.commands.send(command)).map_err(|_| self.failed(IngestError::Lost))?;
        self.under_way += 1;
        Ok(())
    }

    /// Waits until everything that was sent is durable.
    fn finish(&mut self) -> Result<(), ImportError> {
        while self.under_way > 0 {
            let returned = block_on(self.back.1.recv());
            let returned = returned.map_err(|_| self.failed(IngestError::Lost))?;
            self.take_back(returned)?;
        }
        let (done, answer) = async_channel::bounded(1);
        let asked = block_on(self.commands.send(Command::Commit(done)));
        asked.map_err(|_| self.failed(IngestError::Lost))?;
        let result = block_on(answer.recv()).unwrap_or(Err(IngestError::Lost));
        // Its last units may have gone with somebody else's that failed.
        let result = result.and(self.account.failure().map_or(Ok(()), Err));
        result.map_err(|error| self.failed(error))
    }

    fn failed(&self, source: IngestError) -> ImportError {
        let stored = self.account.stored();
        ImportError::Store { name: self.name.to_owned(), stored, source }
    }
}
