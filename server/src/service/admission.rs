//! Who may read how much at once, so that memory keeps its bound and nobody starves.
//!
//! A question that must look at little of the store is answered at once. One that must look at much
//! (an export, a count by full scan) waits for one of few places. A client can stand in either queue
//! only so often: the others' turns come whatever it asks for, and however slowly it takes the
//! answers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use serde::{Deserialize, Serialize};
use tapstone::NEEDLE_MAX;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::places::Places;
use crate::monitoring::Load;

/// How much may be done at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Limits {
    /// Questions about little.
    pub(crate) needles: usize,
    /// Of these, for one client.
    pub(crate) needles_per_client: usize,
    /// Questions about much; each may take some 200 MiB of memory.
    pub(crate) scans: usize,
    /// Of these, for one client.
    pub(crate) scans_per_client: usize,
    /// Questions that are being planned.
    pub(crate) plans: usize,
    /// Captures that are taken in.
    pub(crate) imports: usize,
    /// Most flows of one answer.
    pub(crate) flows: u64,
    /// A client that takes nothing for so long loses its place, in seconds.
    pub(crate) slow_reader_secs: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            needles: 64,
            needles_per_client: 32,
            scans: 4,
            scans_per_client: 2,
            plans: 8,
            imports: 8,
            flows: 1_000_000,
            slow_reader_secs: 60,
        }
    }
}

impl Limits {
    /// The name of a limit that nothing could be done under.
    pub(crate) fn without_room(&self) -> Option<&'static str> {
        let limits = [
            ("needles", self.needles),
            ("needles_per_client", self.needles_per_client),
            ("scans", self.scans),
            ("scans_per_client", self.scans_per_client),
            ("plans", self.plans),
            ("imports", self.imports),
        ];
        limits.into_iter().find(|(_, limit)| *limit == 0).map(|(name, _)| name)
    }
}

/// Whom a request comes from: an identity.
type Client = Arc<str>;

/// Hands out places.
#[derive(Debug)]
pub(super) struct Admission {
    pub(super) limits: Limits,
    needles: Places,
    scans: Places,
    plans: Places,
    imports: Places,
    /// Places in the queues, by client; forgotten when the client has none.
    clients: Mutex<HashMap<Client, Weak<OfClient>>>,
}

/// How often a client can stand in each queue.
#[derive(Debug)]
struct OfClient {
    needles: Arc<Semaphore>,
    scans: Arc<Semaphore>,
}

/// A place; dropping it gives it back.
#[derive(Debug)]
pub(super) struct Slot {
    _place: OwnedSemaphorePermit,
    _permit: OwnedSemaphorePermit,
    _client: Arc<OfClient>,
}

impl Admission {
    pub(super) fn new(limits: Limits) -> Admission {
        Admission {
            limits,
            needles: Places::new("needle", limits.needles),
            scans: Places::new("scan", limits.scans),
            plans: Places::new("plan", limits.plans),
            imports: Places::new("import", limits.imports),
            clients: Mutex::default(),
        }
    }

    /// Waits for a place for a question about so many bytes.
    pub(super) async fn enter(&self, client: &Client, bytes: u64) -> Slot {
        let of_client = self.of_client(client);
        let (queue, own) = if bytes <= NEEDLE_MAX {
            (&self.needles, Arc::clone(&of_client.needles))
        } else {
            (&self.scans, Arc::clone(&of_client.scans))
        };
        let permit = {
            let _waiting = queue.wait();
            own.acquire_owned().await.expect("it is never closed")
        };
        Slot { _place: queue.take().await, _permit: permit, _client: of_client }
    }

    /// What is under way, and what waits.
    pub(super) fn load(&self) -> [Load; 4] {
        [&self.needles, &self.scans, &self.plans, &self.imports].map(Places::load)
    }

    /// Waits until a question may be planned.
    pub(super) async fn planning(&self) -> OwnedSemaphorePermit {
        self.plans.take().await
    }

    /// Waits until a capture may be taken in.
    pub(super) async fn importing(&self) -> OwnedSemaphorePermit {
        self.imports.take().await
    }

    fn of_client(&self, client: &Client) -> Arc<OfClient> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(places) = clients.get(client).and_then(Weak::upgrade) {
            return places;
        }
        clients.retain(|_, places| places.strong_count() > 0);
        let queue = |places| Arc::new(Semaphore::new(places));
        let Limits { needles_per_client, scans_per_client, .. } = self.limits;
        let (needles, scans) = (queue(needles_per_client), queue(scans_per_client));
        let places = Arc::new(OfClient { needles, scans });
        clients.insert(Arc::clone(client), Arc::downgrade(&places));
        places
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    /// Answers that nobody took held every place.
    #[tokio::test]
    async fn whoever_asks_for_little_very_often_leaves_room_for_the_others() {
        let limits = Limits { needles: 3, needles_per_client: 2, ..Limits::default() };
        let admission = Admission::new(limits);
        let (greedy, modest): (Client, Client) = ("a".into(), "b".into());
        let _held: Vec<Slot> =
            (0..2).map(|_| admission.enter(&greedy, 1).now_or_never().unwrap()).collect();
        assert!(admission.enter(&greedy, 1).now_or_never().is_none());
        assert!(admission.enter(&modest, 1).now_or_never().is_some());
    }

    #[tokio::test]
    async fn whoever_asks_for_much_leaves_room_for_the_others() {
        let limits = Limits { scans: 3, scans_per_client: 2, ..Limits::default() };
        let admission = Admission::new(limits);
        let (greedy, modest): (Client, Client) = ("a".into(), "b".into());
        let much = NEEDLE_MAX + 1;
        let first = admission.enter(&greedy, much).now_or_never().unwrap();
        let _second = admission.enter(&greedy, much).now_or_never().unwrap();
        assert!(admission.enter(&greedy, much).now_or_never().is_none());
        assert!(admission.enter(&greedy, NEEDLE_MAX).now_or_never().is_some());
        let scans = Load { kind: "scan", underway: 2, waiting: 0 };
        assert_eq!(admission.load()[1], scans);
        let third = admission.enter(&modest, much).now_or_never().unwrap();
        drop(first);
        assert!(admission.enter(&greedy, much).now_or_never().is_some());
        drop(third);
        assert_eq!(admission.clients.lock().unwrap().len(), 2);
        assert!(admission.enter(&"c".into(), much).now_or_never().is_some());
        assert!(!admission.clients.lock().unwrap().contains_key(&modest));
    }
}
