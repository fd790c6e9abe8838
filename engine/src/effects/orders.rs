//! What those who work look at: the effects that hold, and whether live packets wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tapstone_runtime::clock::{self, Stopwatch};
use tapstone_runtime::sleep;

use super::Effects;
use crate::exchangeable::{Exchangeable, Follower};

/// How long a question waits before a block, at most: it goes on under any load, if slowly.
const QUESTION_WAITS: Duration = Duration::from_millis(20);
/// How long a builder waits before a split, at most: shards wait for it in the end.
const BUILDER_WAITS: Duration = Duration::from_secs(1);
/// How often they look whether they may go on.
const LOOK: Duration = Duration::from_millis(4);

/// Shared by everybody who works for a store.
#[derive(Debug)]
pub(crate) struct Orders {
    effects: Arc<Exchangeable<Effects>>,
    /// Rings that hold more packets than could be taken at once.
    behind: AtomicUsize,
    /// Whether a segment waits for its index.
    index_waits: AtomicBool,
}

impl Orders {
    pub(crate) fn new(effects: Effects) -> Orders {
        let effects = Arc::new(Exchangeable::new(effects));
        Orders { effects, behind: AtomicUsize::new(0), index_waits: AtomicBool::new(false) }
    }

    pub(crate) fn effects(&self) -> Effects {
        self.effects.get()
    }

    pub(crate) fn follow(&self) -> Follower<Effects> {
        Follower::new(Arc::clone(&self.effects))
    }

    pub(crate) fn exchange(&self, effects: Effects) {
        self.effects.exchange(effects);
    }

    fn is_behind(&self) -> bool {
        self.behind.load(Ordering::Relaxed) > 0
    }

    /// A builder says whether a segment waits for its index.
    pub(crate) fn index_waits(&self, waits: bool) {
        self.index_waits.store(waits, Ordering::Relaxed);
    }

    pub(crate) fn does_index_wait(&self) -> bool {
        self.index_waits.load(Ordering::Relaxed)
    }

    /// Lets live packets go first where they do, and rests when that is asked for, on a builder's
    /// thread. It waits no longer once `hurry` says so.
    pub(crate) fn pace_builder(&self, hurry: impl Fn() -> bool) {
        let effects = self.effects();
        let waited = Stopwatch::start();
        let rests = || waited.elapsed() < effects.builder_pause;
        let gives_way =
            || effects.packets_first && self.is_behind() && waited.elapsed() < BUILDER_WAITS;
        while tapstone_runtime::is_real() && !hurry() && (rests() || gives_way()) {
            clock::wait(LOOK);
        }
    }
}

/// A ring's word on whether packets wait in it.
#[derive(Debug)]
pub(crate) struct Behind {
    orders: Arc<Orders>,
    said: bool,
}

impl Behind {
    pub(crate) fn new(orders: &Arc<Orders>) -> Behind {
        Behind { orders: Arc::clone(orders), said: false }
    }

    pub(crate) fn say(&mut self, behind: bool) {
        if std::mem::replace(&mut self.said, behind) == behind {
            return;
        }
        if behind {
            self.orders.behind.fetch_add(1, Ordering::Relaxed);
        } else {
            self.orders.behind.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Behind {
    fn drop(&mut self) {
        self.say(false);
    }
}

/// How a question goes its way.
#[derive(Debug)]
pub(crate) struct Way {
    orders: Arc<Orders>,
    effects: Follower<Effects>,
}

impl Way {
    pub(crate) fn new(orders: &Arc<Orders>) -> Way {
        Way { orders: Arc::clone(orders), effects: orders.follow() }
    }

    /// Lets live packets and the index go first, for a while, where they do; on a shard.
    pub(crate) async fn give(&mut self) {
        self.effects.keep_up();
        if !self.effects.seen().packets_first {
            return;
        }
        let orders = &self.orders;
        let others_wait = || orders.is_behind() || orders.does_index_wait();
        let waited = Stopwatch::start();
        while others_wait() && waited.elapsed() < QUESTION_WAITS {
            sleep(LOOK).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use futures_lite::future::poll_once;
    use tapstone_runtime::{Shards, TaskClass};

    use super::*;
    use crate::limits::Sizes;

    fn packets_first(packets_first: bool) -> Arc<Orders> {
        Arc::new(Orders::new(Effects { packets_first, ..Effects::normal(&Sizes::default()) }))
    }

    #[test]
    fn a_ring_is_counted_once_and_no_longer_than_it_lives() {
        let orders = packets_first(true);
        let (mut one, mut other) = (Behind::new(&orders), Behind::new(&orders));
        for behind in [true, true, false, false, true] {
            one.say(behind);
            assert_eq!(orders.is_behind(), behind);
        }
        other.say(true);
        drop(one);
        assert!(orders.is_behind());
        drop(other);
        assert!(!orders.is_behind());
    }

    /// Whether a question goes on at once, and how long it waits before a block.
    fn question(orders: &Arc<Orders>) -> (bool, Duration) {
        let shards = Shards::start(1).unwrap();
        let orders = Arc::clone(orders);
        let task = shards.spawn(0, TaskClass::Query, move || async move {
            let mut way = Way::new(&orders);
            let at_once = poll_once(way.give()).await.is_some();
            let waited = Stopwatch::start();
            way.give().await;
            (at_once, waited.elapsed())
        });
        task.wait().unwrap()
    }

    #[test]
    fn a_question_waits_for_others_only_where_they_go_first_and_not_for_ever() {
        let orders = packets_first(true);
        assert!(question(&orders).0, "nothing waits");
        let mut behind = Behind::new(&orders);
        behind.say(true);
        let (at_once, waited) = question(&orders);
        assert!(!at_once && waited >= QUESTION_WAITS);
        behind.say(false);
        orders.index_waits(true);
        assert!(!question(&orders).0);
        behind.say(true);
        orders.exchange(Effects::default());
        assert!(question(&orders).0, "side by side");
    }

    #[test]
    fn a_builder_rests_and_gives_way_unless_it_must_hurry() {
        // How often it looked, and for how long.
        let paces = |orders: &Orders, hurry| {
            let (looks, waited) = (Cell::new(0), Stopwatch::start());
            orders.pace_builder(|| {
                looks.set(looks.get() + 1);
                hurry
            });
            (looks.get(), waited.elapsed())
        };
        let orders = packets_first(true);
        let mut behind = Behind::new(&orders);
        assert_eq!(paces(&orders, false).0, 1);
        behind.say(true);
        assert!(paces(&orders, false).1 >= BUILDER_WAITS);
        assert_eq!(paces(&orders, true).0, 1);
        let builder_pause = Duration::from_millis(50);
        orders.exchange(Effects { builder_pause, ..Effects::default() });
        assert!(paces(&orders, false).1 >= builder_pause);
        assert_eq!(paces(&orders, true).0, 1);
    }
}
