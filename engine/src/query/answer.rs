//! Answers: packets in order, and how complete they are.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use tapstone_packet::interface::LinkType;
use tapstone_packet::time::Timestamp;
use tapstone_runtime::{Task, TaskClass, block_on};

use super::found::{Packet, Position};
use super::instant::format_instant;
use super::merge::Merge;
use super::plan::{Job, Plan, Question};
use super::run::{self, Outcome, Want};
use super::{QueryError, Selection};
use crate::id::SegmentId;
use crate::store::Store;

/// Units that are read ahead, for each shard.
const JOBS_PER_SHARD: usize = 2;

/// What an answer lacks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Completeness {
    /// Stretches of time of which packets are missing.
    pub missing: Vec<Missing>,
    /// Link types of which the filter cannot be asked: their packets do not match.
    pub refused: Vec<Refused>,
}

impl Completeness {
    /// Whether nothing that matches is missing. Link types that the filter cannot be asked of
    /// hold nothing that matches.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.missing.is_empty()
    }
}

/// A stretch of time of which packets are missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// The segment that holds them.
    pub segment: SegmentId,
    /// Time of the earliest.
    pub first: Timestamp,
    /// Time of the latest.
    pub last: Timestamp,
    /// How many packets may be missing, matching or not.
    pub packets: u64,
    /// Why, with file and offset.
    pub reason: String,
}

/// A link type of which a filter cannot be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The link type.
    pub link_type: LinkType,
    /// What libpcap says.
    pub reason: String,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Missing { segment, first, last, packets, reason } = self;
        if (*first, *last) == (Timestamp::MIN, Timestamp::MAX) {
            return write!(f, "segment {segment}, an unknown number of packets: {reason}");
        }
        let (first, last) = (format_instant(*first), format_instant(*last));
        write!(f, "segment {segment}, up to {packets} packets between {first} and {last}: {reason}")
    }
}

impl Missing {
    pub(super) fn segment(
        segment: SegmentId,
        times: (Timestamp, Timestamp),
        packets: u64,
        reason: &dyn fmt::Display,
    ) -> Missing {
        let reason = reason.to_string();
        Missing { segment, first: times.0, last: times.1, packets, reason }
    }

    /// A segment of which nothing is known but that it is there.
    pub(crate) fn whole(segment: SegmentId, reason: &dyn fmt::Display) -> Missing {
        Missing::segment(segment, (Timestamp::MIN, Timestamp::MAX), 0, reason)
    }

    pub(crate) fn unindexed(segment: SegmentId, times: (Timestamp, Timestamp)) -> Missing {
        let reason = "it is not indexed yet; ask again in a while".to_owned();
        Missing { segment, first: times.0, last: times.1, packets: 0, reason }
    }

    pub(crate) fn index(
        segment: SegmentId,
        times: (Timestamp, Timestamp),
        reason: &dyn fmt::Display,
    ) -> Missing {
        let reason = format!("the index cannot be asked: {reason}; run: tapstone rebuild");
        Missing { segment, first: times.0, last: times.1, packets: 0, reason }
    }
}

/// What came of a query.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// Packets given.
    pub packets: u64,
    /// Their captured bytes.
    pub bytes: u64,
    /// What is lacking.
    pub completeness: Completeness,
}

/// The packets of an answer, in time order, ties in order of arrival: an iterator. Dropping it
/// stops the reading.
#[derive(Debug)]
pub struct Packets {
    state: State,
}

/// The same as a stream, for any executor.
#[derive(Debug)]
pub struct PacketStream {
    state: State,
}

#[derive(Debug)]
struct State {
    store: Store,
    want: Want,
    waiting: VecDeque<Job>,
    reading: VecDeque<(Position, Task<Outcome>)>,
    merge: Merge,
    left: u64,
    next_shard: usize,
    answer: Answer,
}

impl Store {
    /// Asks for packets.
    ///
    /// # Errors
    ///
    /// When the question cannot be asked. What is found missing on the way is no error: see
    /// [`Packets::answer`].
    pub fn query(&self, selection: &Selection) -> Result<Packets, QueryError> {
        Ok(Packets { state: State::new(self, selection, Want::Packets)? })
    }

    /// Asks for packets, as a stream.
    ///
    /// # Errors
    ///
    /// As [`query`](Self::query).
    pub fn query_stream(&self, selection: &Selection) -> Result<PacketStream, QueryError> {
        Ok(PacketStream { state: State::new(self, selection, Want::Packets)? })
    }

    /// Asks how many packets there are.
    ///
    /// # Errors
    ///
    /// As [`query`](Self::query).
    pub fn count(&self, selection: &Selection) -> Result<Answer, QueryError> {
        if selection.limit.is_some() {
            // Which packets a limit leaves is known when they have been put in order.
            let mut packets = self.query(selection)?;
            packets.by_ref().for_each(drop);
            return Ok(packets.state.answer);
        }
        let mut state = State::new(self, selection, Want::Count)?;
        block_on(std::future::poll_fn(|cx| state.poll_count(cx)));
        Ok(state.answer)
    }
}

impl Packets {
    /// What has come of the query so far; final once the iterator has ended.
    #[must_use]
    pub fn answer(&self) -> &Answer {
        &self.state.answer
    }
}

impl PacketStream {
    /// What has come of the query so far; final once the stream has ended.
    #[must_use]
    pub fn answer(&self) -> &Answer {
        &self.state.answer
    }
}

impl Iterator for Packets {
    type Item = Packet;

    fn next(&mut self) -> Option<Packet> {
        // Most packets are at hand; waiting for one costs more than taking it.
        if let Some(packet) = self.state.ready() {
            return Some(packet);
        }
        block_on(std::future::poll_fn(|cx| self.state.poll_packet(cx)))
    }
}

impl Stream for PacketStream {
    type Item = Packet;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Packet>> {
        self.state.poll_packet(cx)
    }
}

impl State {
    fn new(store: &Store, selection: &Selection, want: Want) -> Result<State, QueryError> {
        let question = Question::new(store, selection)?;
        let plan = Plan::new(store, &question)?;
        let completeness = Completeness { missing: plan.missing, refused: plan.refused };
        Ok(State {
            store: store.clone(),
            want,
            waiting: plan.jobs.into(),
            reading: VecDeque::new(),
            merge: Merge::default(),
            left: selection.limit.unwrap_or(u64::MAX),
            next_shard: 0,
            answer: Answer { completeness, ..Answer::default() },
        })
    }

    /// The next packet, when no more reading is needed to know it.
    fn ready(&mut self) -> Option<Packet> {
        if self.left == 0 || self.reading.len() < self.waiting.len().min(1) {
            return None;
        }
        let horizon = self.reading.front().map(|(position, _)| *position);
        let packet = self.merge.pop(horizon)?;
        self.left -= 1;
        self.answer.packets += 1;
        self.answer.bytes += packet.data().len() as u64;
        Some(packet)
    }

    fn poll_packet(&mut self, cx: &mut Context<'_>) -> Poll<Option<Packet>> {
        loop {
            if self.left == 0 {
                self.waiting.clear();
                self.reading.clear();
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

    fn poll_count(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            self.start_reading();
            match self.poll_reading(cx) {
                Poll::Ready(Some(outcome)) => {
                    self.answer.packets += outcome.count;
                    self.answer.bytes += outcome.bytes;
                }
                Poll::Ready(None) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn start_reading(&mut self) {
        let shards = &self.store.inner.shards;
        while self.reading.len() < shards.count() * JOBS_PER_SHARD {
            let Some(job) = self.waiting.pop_front() else { break };
            let (from, want) = (job.from, self.want);
            let arena = self.merge.spare_arena();
            let shard = self.next_shard % shards.count();
            self.next_shard += 1;
            let task = shards.spawn(shard, TaskClass::Query, move || run::run(job, want, arena));
            self.reading.push_back((from, task));
        }
    }

    /// The outcome of the job that was started first; `None` when there is none.
    fn poll_reading(&mut self, cx: &mut Context<'_>) -> Poll<Option<Outcome>> {
        let Some((_, task)) = self.reading.front_mut() else { return Poll::Ready(None) };
        let Poll::Ready(result) = Pin::new(task).poll(cx) else { return Poll::Pending };
        self.reading.pop_front();
        // A shard that panicked takes the process's promises with it.
        let outcome = result.expect("shards do not panic");
        for (place, reason) in &outcome.damaged {
            let path = self.store.inner.layout.segment(outcome.found.segment);
            self.answer.completeness.missing.push(Missing {
                segment: outcome.found.segment,
                first: place.time_min,
                last: place.time_max,
                packets: u64::from(place.packets),
                reason: format!("{} at offset {}: {reason}", path.display(), place.offset),
            });
        }
        Poll::Ready(Some(outcome))
    }
}

use std::future::Future as _;
