//! Query: packets on their way to a client, no faster than it takes them.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::Stream;
use tapstone::{Answer, PacketStream};
use tapstone_client::proto::query_response::Content;
use tapstone_client::{duration, proto};
use tokio::time::Instant;
use tonic::Status;

use super::admission::Slot;
use super::audit::{self, Asked, Asker};
use super::deadline::Deadline;
use super::form::Form;
use super::watch::Watched;
use super::{Messages, Service, convert};
use crate::monitoring::count;

/// Plans a query and waits for its turn; gives the messages of its answer.
pub(super) async fn start(
    service: &Service,
    request: proto::QueryRequest,
    asker: Asker,
    deadline: Deadline,
) -> Result<Messages<proto::QueryResponse>, Status> {
    let began = Instant::now();
    let (form, bytes_left) = (Form::new(request.form()), request.max_bytes.unwrap_or(u64::MAX));
    let selection = service.selection(request.selection, &asker)?;
    let asked = service.asked(&asker, "Query", &selection).await?;
    let told = began.elapsed();
    let limit = selection.limit;
    let packets = service.plan(move |store| store.query_stream(&selection)).await?;
    let planned = began.elapsed();
    let bytes_searched = packets.bytes_to_read();
    let slot = service.admission.enter(&asker.grant.identity, bytes_searched).await;
    let let_in = began.elapsed();
    tracing::debug!(?told, ?planned, ?let_in, bytes_searched, "a query begins");
    let giving = Giving {
        packets,
        form,
        limit,
        bytes_left,
        began,
        bytes_searched,
        end: None,
        began_to_give: false,
        asked,
        _slot: slot,
    };
    let patience = Duration::from_secs(service.admission.limits.slow_reader_secs);
    Ok(Box::pin(Watched::new(giving, patience, deadline)))
}

/// An answer on its way out.
struct Giving {
    packets: PacketStream,
    form: Form,
    limit: Option<u64>,
    bytes_left: u64,
    began: Instant,
    bytes_searched: u64,
    end: Option<End>,
    /// Whether any packet is on its way.
    began_to_give: bool,
    asked: Asked,
    _slot: Slot,
}

enum End {
    /// All packets are gathered, for this reason no more.
    Gathered(proto::Ended),
    /// The answer was given.
    Told,
}

impl Giving {
    /// Gathers what is at hand, or waits for the first of it.
    fn gather(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while !self.form.is_full() {
            if self.bytes_left == 0 {
                self.end(proto::Ended::ByteLimit);
                break;
            }
            match Pin::new(&mut self.packets).poll_next(cx) {
                Poll::Ready(Some(packet)) => {
                    self.form.add(&packet);
                    self.bytes_left = self.bytes_left.saturating_sub(packet.data().len() as u64);
                }
                Poll::Ready(None) => {
                    self.end(ended(self.limit, self.packets.answer().packets));
                    break;
                }
                // What was gathered goes out; when that is nothing, the waker is set.
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(())
    }

    fn end(&mut self, ended: proto::Ended) {
        self.form.finish();
        self.end = Some(End::Gathered(ended));
    }
}

impl Stream for Giving {
    type Item = Result<proto::QueryResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let gathered = match self.end {
            None => self.gather(cx),
            Some(_) => Poll::Ready(()),
        };
        let message =
            |content| Poll::Ready(Some(Ok(proto::QueryResponse { content: Some(content) })));
        let cursor = self.packets.answer().cursor;
        if let Some(content) = self.form.take(cursor) {
            if cursor.is_some() && !std::mem::replace(&mut self.began_to_give, true) {
                let took = self.began.elapsed();
                count::first_packet(took);
                self.asked.tell_first(took);
            }
            return message(content);
        }
        match (&self.end, gathered) {
            (Some(End::Gathered(ended)), _) => {
                let (took, bytes) = (self.began.elapsed(), self.bytes_searched);
                let answer = answer(self.packets.answer(), *ended, took, bytes);
                self.end = Some(End::Told);
                message(Content::Answer(answer))
            }
            (Some(End::Told), _) => Poll::Ready(None),
            (None, _) => Poll::Pending,
        }
    }
}

impl Drop for Giving {
    /// However it ended: the log is told what was given.
    fn drop(&mut self) {
        let answer = self.packets.answer();
        let outcome = match self.end {
            Some(End::Told) => audit::whole(&answer.completeness),
            Some(End::Gathered(_)) | None => "broken off",
        };
        count::answer("Query", answer.packets, answer.bytes);
        self.asked.outcome(outcome, answer.packets, answer.bytes);
    }
}

/// Why there are no more packets when the store gives none.
pub(crate) fn ended(limit: Option<u64>, given: u64) -> proto::Ended {
    let is_cut = limit.is_some_and(|limit| given >= limit);
    if is_cut { proto::Ended::PacketLimit } else { proto::Ended::All }
}

/// What came of a query, for its last message.
pub(crate) fn answer(
    answer: &Answer,
    ended: proto::Ended,
    time: Duration,
    bytes_searched: u64,
) -> proto::Answer {
    proto::Answer {
        packets: answer.packets,
        bytes: answer.bytes,
        completeness: Some(convert::completeness(&answer.completeness)),
        ended: ended.into(),
        cursor: convert::cursor(answer.cursor),
        took: Some(duration(time)),
        bytes_searched,
    }
}
