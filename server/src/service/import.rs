//! Import: a capture's bytes on their way from a client into the store.

use std::io::{self, Read};

use bytes::{Buf, Bytes};
use serde_json::json;
use tapstone::ImportOptions;
use tapstone_client::proto;
use tapstone_client::proto::import_request::Content;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tonic::{Status, Streaming};

use super::audit::{self, Asker};
use super::{Service, convert, errors};
use crate::monitoring::count;

/// Messages under way between the network and the store.
const QUEUE: usize = 4;

/// Takes a capture in.
pub(super) async fn take(
    service: &Service,
    mut requests: Streaming<proto::ImportRequest>,
    asker: &Asker,
) -> Result<proto::ImportResponse, Status> {
    let _turn = service.admission.importing().await;
    let first = requests.message().await?.and_then(|request| request.content);
    let Some(Content::Start(start)) = first else {
        return Err(errors::bad_request("start", "the first message says what the capture is"));
    };
    let what = json!({ "name": audit::shortened(&start.name) });
    let mut asked = service.audit.asked(asker, "Import", what).await?;
    let (pieces, queue) = mpsc::channel(QUEUE);
    let stored = service.blocking(move |store| {
        let reader = Pieces { queue, piece: Bytes::new(), ended: false };
        let options = ImportOptions { name: &start.name, again: start.again, progress: None };
        store.import(reader, options)
    });
    let (stored, ()) = tokio::join!(stored, forward(requests, pieces));
    let report = stored?.map_err(|error| errors::import(&error))?;
    count::import(&report);
    let outcome = if report.damage.is_some() { "damaged" } else { "stored" };
    asked.outcome(outcome, report.packets, report.packet_bytes);
    Ok(convert::imported(&report))
}

/// A message on its way; without bytes it is the capture's end.
type Piece = io::Result<Option<Bytes>>;

async fn forward(mut requests: Streaming<proto::ImportRequest>, pieces: Sender<Piece>) {
    loop {
        let piece = match requests.message().await {
            Ok(Some(proto::ImportRequest { content: Some(Content::Bytes(bytes)) })) => {
                Ok(Some(bytes))
            }
            Ok(Some(_)) => Err(io::Error::other("a message that is not bytes of the capture")),
            Ok(None) => Ok(None),
            Err(status) => Err(io::Error::other(status.message().to_owned())),
        };
        let goes_on = matches!(piece, Ok(Some(_)));
        // The store takes no more when the capture is damaged or the disk refuses.
        if pieces.send(piece).await.is_err() || !goes_on {
            return;
        }
    }
}

/// The capture's bytes, for a thread that may block.
struct Pieces {
    queue: Receiver<Piece>,
    piece: Bytes,
    ended: bool,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() && !self.ended {
            match self.queue.blocking_recv() {
                Some(Ok(Some(piece))) => self.piece = piece,
                Some(Ok(None)) => self.ended = true,
                Some(Err(error)) => return Err(error),
                // The request was given up without an end.
                None => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
        }
        let length = self.piece.len().min(buffer.len());
        self.piece.copy_to_slice(&mut buffer[..length]);
        Ok(length)
    }
}
