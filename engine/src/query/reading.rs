//! Reading an answer: jobs are given to the shards ahead of their turn, and what they find is merged.

use std::collections::VecDeque;
use std::future::Future as _;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use tapstone_runtime::{Task, TaskClass, block_on};

use super::answer::Answer;
use super::completeness::{Completeness, Missing};
use super::found::{Packet, Position};
use super::histogram::Sum;
use super::merge::Merge;
use super::plan::{Job, Plan, Question};
use super::run::{self, Outcome, Want};
use super::turns::Patience;
use super::{QueryError, Selection};
use crate::catalog::SegmentRow;
use crate::effects::{Effects, Way};
use crate::exchangeable::Follower;
use crate::id::SegmentId;
use crate::store::{Inner, Store};

/// A question for which at most so many bytes of segments are read is a needle, and comes before
/// the others.
pub const NEEDLE_MAX: u64 = 4 << 20;

/// An answer that is being read.
#[derive(Debug)]
pub(super) struct Reading {
    store: Store,
    pub(super) want: Want,
    class: TaskClass,
    pub(super) waiting: VecDeque<Job>,
    reading: VecDeque<(Position, Task<Outcome>)>,
    merge: Merge,
    left: u64,
    next_shard: usize,
    pub(super) answer: Answer,
    pub(super) sum: Sum,
    /// Set when nobody wants the outcome of what is being read any more.
    unwanted: Arc<AtomicBool>,
    effects: Follower<Effects>,
}

impl Reading {
    pub(super) fn new(
        store: &Store,
        selection: &Selection,
        want: Want,
    ) -> Result<Reading, QueryError> {
        let question = Question::new(store, selection)?;
        Ok(Reading::of(store, Plan::new(store, &question)?, selection.limit, want))
    }

    pub(super) fn of(store: &Store, plan: Plan, limit: Option<u64>, want: Want) -> Reading {
        let bytes = plan.jobs.iter().map(Job::bytes).sum::<u64>();
        let completeness = Completeness { missing: plan.missing, refused: plan.refused };
        Reading {
            store: store.clone(),
            want,
            class: if bytes <= NEEDLE_MAX { TaskClass::Needle } else { TaskClass::Query },
            waiting: plan.jobs.into(),
            reading: VecDeque::new(),
            merge: Merge::default(),
            left: limit.unwrap_or(u64::MAX),
            next_shard: 0,
            answer: Answer { completeness, ..Answer::default() },
            sum: Sum::default(),
            unwanted: Arc::default(),
            effects: store.inner.orders.follow(),
        }
    }

    /// The next packet, when no more reading is needed to know it.
    pub(super) fn ready(&mut self) -> Option<Packet> {
        if self.left == 0 || self.reading.len() < self.waiting.len().min(1) {
            return None;
        }
        let horizon = self.reading.front().map(|(position, _)| *position);
        let packet = self.merge.pop(horizon)?;
        self.left -= 1;
        self.answer.packets += 1;
        self.answer.bytes += packet.data().len() as u64;
        self.answer.cursor = Some(packet.cursor());
        Some(packet)
    }

    pub(super) fn poll_packet(&mut self, cx: &mut Context<'_>) -> Poll<Option<Packet>> {
        loop {
            if self.left == 0 {
                self.waiting.clear();
                self.reading.clear();
                self.unwanted.store(true, Ordering::Relaxed);
                return Poll::Ready(None);
            }
            self.start_reading();
            if let Some(packet) = self.ready() {
                return Poll::Ready(Some(packet));
            }
            match self.poll_reading(cx) {
                Poll::Ready(Some(outcome)) => self.merge.push(outcome.found),
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    pub(super) fn poll_count(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            self.start_reading();
            match self.poll_reading(cx) {
                Poll::Ready(Some(outcome)) => {
                    self.answer.packets += outcome.count;
                    self.answer.bytes += outcome.bytes;
                    if let Some(tally) = outcome.tally {
                        self.sum.add(tally, &outcome.found.interfaces);
                    }
                }
                Poll::Ready(None) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn start_reading(&mut self) {
        self.effects.keep_up();
        let Inner { shards, orders, turns, .. } = &*self.store.inner;
        while self.reading.len() < shards.count() * self.effects.seen().read_ahead {
            let Some(job) = self.waiting.pop_front() else { break };
            let (from, want) = (job.from, self.want);
            let arena = self.merge.spare_arena();
            let shard = self.next_shard % shards.count();
            self.next_shard += 1;
            let unwanted = Arc::clone(&self.unwanted);
            let patience = match self.class {
                TaskClass::Query => Patience::on(turns, shard),
                TaskClass::Needle | TaskClass::Capture => {
                    turns.need();
                    Patience::none()
                }
            };
            let how = (Way::new(orders), patience);
            let run = move || run::run(job, want, arena, unwanted, how);
            let task = shards.spawn(shard, self.class, run);
            self.reading.push_back((from, task));
        }
    }

    pub(super) fn bytes_to_read(&self) -> u64 {
        self.waiting.iter().map(Job::bytes).sum()
    }

    /// The outcome of the job that was started first; `None` when there is none.
    fn poll_reading(&mut self, cx: &mut Context<'_>) -> Poll<Option<Outcome>> {
        let Some((_, task)) = self.reading.front_mut() else { return Poll::Ready(None) };
        let Poll::Ready(result) = Pin::new(task).poll(cx) else { return Poll::Pending };
        self.reading.pop_front();
        // A shard that panicked takes the process's promises with it.
        let outcome = result.expect("shards do not panic");
        let went = !outcome.damaged.is_empty() && self.store.is_gone(outcome.found.segment);
        for (place, reason) in &outcome.damaged {
            let path = self.store.inner.layout.segment(outcome.found.segment);
            let reason = if went { "it was let go while it was read" } else { reason };
            self.answer.completeness.missing.push(Missing {
                segment: Some(outcome.found.segment),
                first: place.time_min,
                last: place.time_max,
                packets: u64::from(place.packets),
                reason: format!("{} at offset {}: {reason}", path.display(), place.offset),
                asked_for: false,
            });
        }
        Poll::Ready(Some(outcome))
    }
}

/// Whether a sealed segment has a packet that is asked for, as far as it can be read: one that
/// cannot be read whole may have.
pub(crate) fn may_have(
    store: &Store,
    question: &Question,
    id: SegmentId,
    row: &SegmentRow,
) -> bool {
    let plan = Plan::of_segment(store, question, id, row);
    let mut reading = Reading::of(store, plan, Some(1), Want::Packets);
    let first = block_on(std::future::poll_fn(|cx| reading.poll_packet(cx)));
    first.is_some() || !reading.answer.completeness.is_complete()
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.unwanted.store(true, Ordering::Relaxed);
    }
}
