//! Where it is booked what became of a source's packets.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use tapstone_packet::time::Timestamp;

use crate::capture::Counters;
use crate::capture::loss::{Loss, LossCause};
use crate::import::batch::Batch;
use crate::shard::IngestError;

/// What becomes of a source's packets is booked here.
#[derive(Clone, Debug)]
pub(crate) enum Account {
    /// The source can be asked again: nothing of it is stored behind a gap.
    Repeatable(Arc<Repeatable>),
    /// It cannot: what is not stored is lost.
    Live(Arc<Counters>),
}

/// How far a source is that can be asked again.
#[derive(Debug, Default)]
pub(crate) struct Repeatable {
    stored: AtomicU64,
    failure: OnceLock<IngestError>,
}

impl Repeatable {
    /// Packets that are durable.
    pub(crate) fn stored(&self) -> u64 {
        self.stored.load(Ordering::Relaxed)
    }

    /// Why some could not be stored.
    pub(crate) fn failure(&self) -> Option<IngestError> {
        self.failure.get().cloned()
    }
}

impl Account {
    /// Why no more may be stored: each unit says that all of its source before it is stored.
    pub(crate) fn failure(&self) -> Option<IngestError> {
        match self {
            Account::Repeatable(it) => it.failure(),
            Account::Live(_) => None,
        }
    }
}

/// A batch that was written, until it is durable.
#[derive(Debug)]
pub(crate) struct Entry {
    account: Option<Account>,
    packets: u64,
    bytes: u64,
    times: (Timestamp, Timestamp),
    /// What was lost before, and is told with it.
    losses: Vec<Loss>,
}

impl Entry {
    pub(crate) fn of(batch: &Batch, losses: Vec<Loss>) -> Entry {
        Entry {
            account: batch.account.clone(),
            packets: batch.records.len() as u64,
            bytes: batch.packet_bytes(),
            times: batch.times(),
            losses,
        }
    }

    /// The packets are durable.
    pub(crate) fn store(&self) {
        match &self.account {
            Some(Account::Repeatable(it)) => {
                it.stored.fetch_add(self.packets, Ordering::Relaxed);
            }
            Some(Account::Live(counters)) => counters.store(self.packets, self.bytes),
            None => {}
        }
    }

    /// The packets cannot be stored. Gives what is to be told of then.
    pub(crate) fn refuse(&self, error: &IngestError) -> Vec<Loss> {
        let mut losses = self.losses.clone();
        match &self.account {
            Some(Account::Repeatable(it)) => {
                it.failure.get_or_init(|| error.clone());
            }
            Some(Account::Live(counters)) if self.packets > 0 => {
                let (cause, (first, last)) = (LossCause::DiskRefused, self.times);
                counters.lose(cause, self.packets);
                counters.settle(self.bytes);
                losses.push(Loss { cause, packets: self.packets, first, last });
            }
            Some(Account::Live(_)) | None => {}
        }
        losses
    }
}
