//! Whose turn it is at the disk. Questions about much could ask for more than the disk gives, and
//! whatever comes then waits behind all of it. While packets come, or questions about little are
//! asked, they read one after the other on each shard, and less at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_channel::{Receiver, Sender};
use tapstone_runtime::clock::Stopwatch;

/// Others count as long after they needed the disk last. Packets come in batches, some of them
/// twice a second.
const RECENT: Duration = Duration::from_millis(600);
/// Bytes that are read at once; blocks that lie together are read together.
const READ_SIZE: u64 = 4 << 20;
/// The same, while others need the disk: it is theirs again after a millisecond.
const SHORT_READ_SIZE: u64 = 1 << 20;

/// Shared by all that read for a store.
#[derive(Debug)]
pub(crate) struct Turns {
    since_start: Stopwatch,
    /// Milliseconds since then when somebody needed the disk last.
    needed: AtomicU64,
    /// Each shard's one turn.
    of_shards: Vec<(Sender<()>, Receiver<()>)>,
}

impl Turns {
    pub(crate) fn new(shards: usize) -> Turns {
        let turn = |_| {
            let (back, turn) = async_channel::bounded(1);
            back.try_send(()).expect("there is room for one");
            (back, turn)
        };
        let of_shards = (0..shards).map(turn).collect();
        Turns { since_start: Stopwatch::start(), needed: AtomicU64::new(0), of_shards }
    }

    /// Somebody needs the disk who must not wait.
    pub(crate) fn need(&self) {
        self.needed.store(self.now().max(1), Ordering::Relaxed);
    }

    fn is_needed(&self) -> bool {
        let needed = self.needed.load(Ordering::Relaxed);
        needed > 0 && self.now().saturating_sub(needed) < RECENT.as_millis() as u64
    }

    fn now(&self) -> u64 {
        self.since_start.elapsed().as_millis() as u64
    }
}

/// How a job comes to its turns; one that reads little has no need of them.
#[derive(Clone, Debug)]
pub(crate) struct Patience(Option<(Arc<Turns>, usize)>);

impl Patience {
    pub(crate) fn none() -> Patience {
        Patience(None)
    }

    pub(crate) fn on(turns: &Arc<Turns>, shard: usize) -> Patience {
        Patience(Some((Arc::clone(turns), shard)))
    }

    /// Bytes to be read at once now.
    pub(crate) fn read_size(&self) -> u64 {
        let waits = self.0.as_ref().is_some_and(|(turns, _)| turns.is_needed());
        if waits { SHORT_READ_SIZE } else { READ_SIZE }
    }

    /// Waits until it may read; that is over when the turn is dropped.
    pub(crate) async fn turn(&self) -> Option<Turn> {
        let (turns, shard) = self.0.as_ref().filter(|(turns, _)| turns.is_needed())?;
        let (back, turn) = &turns.of_shards[*shard];
        turn.recv().await.ok().map(|()| Turn(back.clone()))
    }
}

/// The right to read, until it is dropped.
#[derive(Debug)]
pub(crate) struct Turn(Sender<()>);

impl Drop for Turn {
    fn drop(&mut self) {
        // There is room for the one that was taken.
        self.0.try_send(()).ok();
    }
}

#[cfg(test)]
mod tests {
    use futures_lite::future::{block_on, poll_once};

    use super::*;

    #[test]
    fn while_others_need_the_disk_one_reads_at_a_time_and_less() {
        let turns = Arc::new(Turns::new(2));
        let (a, b) = (Patience::on(&turns, 0), Patience::on(&turns, 0));
        let at_once = |patience: &Patience| block_on(poll_once(patience.turn()));
        assert!(matches!(at_once(&a), Some(None)), "nobody needs it");
        assert_eq!(a.read_size(), READ_SIZE);
        turns.need();
        let mine = at_once(&a).flatten();
        assert!(mine.is_some());
        assert!(at_once(&b).is_none(), "it is another's turn");
        assert!(at_once(&Patience::on(&turns, 1)).flatten().is_some(), "each shard has its own");
        assert!(matches!(at_once(&Patience::none()), Some(None)), "little needs no turn");
        assert_eq!((a.read_size(), Patience::none().read_size()), (SHORT_READ_SIZE, READ_SIZE));
        drop(mine);
        assert!(at_once(&b).flatten().is_some());
    }

    #[test]
    fn whoever_gives_up_waiting_takes_no_turn_along() {
        let turns = Arc::new(Turns::new(1));
        turns.need();
        let patience = Patience::on(&turns, 0);
        let mine = block_on(patience.turn());
        assert!(block_on(poll_once(patience.turn())).is_none());
        drop(mine);
        assert!(block_on(poll_once(patience.turn())).flatten().is_some());
    }
}
