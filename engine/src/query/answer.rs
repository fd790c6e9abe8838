//! Answers: packets in order, and how complete they are.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_core::Stream;
use tapstone_runtime::block_on;

use super::completeness::Completeness;
use super::cursor::Cursor;
use super::found::Packet;
use super::histogram::{Bars, GroupBy, Histogram};
use super::plan::Job;
use super::reading::Reading;
use super::run::Want;
use super::{QueryError, Selection};
use crate::store::{Store, span};

/// What came of a query.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// Packets given.
    pub packets: u64,
    /// Their captured bytes.
    pub bytes: u64,
    /// What is lacking.
    pub completeness: Completeness,
    /// The place behind the last packet that was given.
    pub cursor: Option<Cursor>,
}

/// The packets of an answer, in time order, ties in order of arrival: an iterator. Dropping it
/// stops the reading.
#[derive(Debug)]
pub struct Packets {
    reading: Reading,
}

/// The same as a stream, for any executor.
#[derive(Debug)]
pub struct PacketStream {
    reading: Reading,
}

/// Counting the packets of an answer: a future, for any executor. Dropping it stops the reading.
#[derive(Debug)]
pub struct Counting {
    reading: Reading,
}

/// Counting packets over time: likewise a future.
#[derive(Debug)]
pub struct Tallying {
    reading: Reading,
    bars: Bars,
}

impl Store {
    /// Asks for packets.
    ///
    /// # Errors
    ///
    /// When the question cannot be asked. What is found missing on the way is no error: see
    /// [`Packets::answer`].
    pub fn query(&self, selection: &Selection) -> Result<Packets, QueryError> {
        Ok(Packets { reading: Reading::new(self, selection, Want::Packets)? })
    }

    /// Asks for packets, as a stream.
    ///
    /// # Errors
    ///
    /// As [`query`](Self::query).
    pub fn query_stream(&self, selection: &Selection) -> Result<PacketStream, QueryError> {
        Ok(PacketStream { reading: Reading::new(self, selection, Want::Packets)? })
    }

    /// Asks how many packets there are.
    ///
    /// # Errors
    ///
    /// As [`query`](Self::query).
    pub fn count(&self, selection: &Selection) -> Result<Answer, QueryError> {
        Ok(block_on(self.counting(selection)?))
    }

    /// Asks how many packets there are, as a future.
    ///
    /// # Errors
    ///
    /// As [`query`](Self::query).
    pub fn counting(&self, selection: &Selection) -> Result<Counting, QueryError> {
        // Which packets a limit leaves is known when they have been put in order.
        let want = if selection.limit.is_some() { Want::Packets } else { Want::Count };
        Ok(Counting { reading: Reading::new(self, selection, want)? })
    }

    /// Asks how many packets there are when, in bars of `width`; a limit has no meaning here.
    ///
    /// # Errors
    ///
    /// As [`query`](Self::query), and when there would be more than 10,000 bars.
    pub fn histogram(
        &self,
        selection: &Selection,
        width: Duration,
        by: GroupBy,
    ) -> Result<Histogram, QueryError> {
        Ok(block_on(self.tallying(selection, width, by)?))
    }

    /// Asks how many packets there are when, as a future.
    ///
    /// # Errors
    ///
    /// As [`histogram`](Self::histogram).
    pub fn tallying(
        &self,
        selection: &Selection,
        width: Duration,
        by: GroupBy,
    ) -> Result<Tallying, QueryError> {
        let bars = Bars::new(width, by);
        let reading = Reading::new(self, selection, Want::Histogram(bars))?;
        let span = span(reading.waiting.iter().map(Job::times));
        match span.and_then(|(first, last)| bars.too_many(first, last)) {
            Some(bars) => Err(QueryError::TooManyBars(bars)),
            None => Ok(Tallying { reading, bars }),
        }
    }
}

impl Packets {
    /// What has come of the query so far; final once the iterator has ended.
    #[must_use]
    pub fn answer(&self) -> &Answer {
        &self.reading.answer
    }
}

impl PacketStream {
    /// What has come of the query so far; final once the stream has ended.
    #[must_use]
    pub fn answer(&self) -> &Answer {
        &self.reading.answer
    }
}

impl PacketStream {
    /// At most so many bytes of segments will be read for what is still to come.
    #[must_use]
    pub fn bytes_to_read(&self) -> u64 {
        self.reading.bytes_to_read()
    }
}

impl Counting {
    /// At most so many bytes of segments will be read.
    #[must_use]
    pub fn bytes_to_read(&self) -> u64 {
        self.reading.bytes_to_read()
    }
}

impl Tallying {
    /// At most so many bytes of segments will be read.
    #[must_use]
    pub fn bytes_to_read(&self) -> u64 {
        self.reading.bytes_to_read()
    }
}

impl Future for Counting {
    type Output = Answer;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Answer> {
        let reading = &mut self.reading;
        if reading.want == Want::Packets {
            while ready!(reading.poll_packet(cx)).is_some() {}
        } else {
            ready!(reading.poll_count(cx));
        }
        Poll::Ready(std::mem::take(&mut reading.answer))
    }
}

impl Future for Tallying {
    type Output = Histogram;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Histogram> {
        let bars = self.bars;
        let reading = &mut self.reading;
        ready!(reading.poll_count(cx));
        let bars = std::mem::take(&mut reading.sum).finish(bars);
        let completeness = std::mem::take(&mut reading.answer.completeness);
        Poll::Ready(Histogram { bars, completeness })
    }
}

impl Iterator for Packets {
    type Item = Packet;

    fn next(&mut self) -> Option<Packet> {
        // Most packets are at hand; waiting for one costs more than taking it.
        if let Some(packet) = self.reading.ready() {
            return Some(packet);
        }
        block_on(std::future::poll_fn(|cx| self.reading.poll_packet(cx)))
    }
}

impl Stream for PacketStream {
    type Item = Packet;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Packet>> {
        self.reading.poll_packet(cx)
    }
}
