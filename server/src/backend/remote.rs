//! Answers of a server.

use std::io::Read;
use std::path::Path;
use std::{env, fs};

use bytes::Bytes;
use tapstone_client::proto::query_response::Content;
use tapstone_client::proto::{self, import_request};
use tapstone_client::{Address, Client, Credentials};
use tapstone_packet::interface::{ByteOrder, Interface, LinkType};
use tapstone_packet::time::TimeScale;
use tokio::runtime::Runtime;
use tokio_stream::wrappers::ReceiverStream;

use super::{Each, Seen};
use crate::cli::Place;
use crate::exit::Failure;
use crate::service::convert;

/// Bytes of one message of an import.
const PIECE: usize = 1 << 20;
/// Messages of an import that wait for the network.
const QUEUE: usize = 4;

/// A connection to a server, for a thread that waits.
pub(crate) struct Remote {
    runtime: Runtime,
    client: Client,
}

impl Remote {
    pub(super) fn connect(address: &Address, place: &Place) -> Result<Remote, Failure> {
        let token = match &place.token_file {
            Some(path) => Some(
                fs::read_to_string(path)
                    .map_err(|source| Failure::TokenFile { path: path.clone(), source })?,
            ),
            None => env::var("TAPSTONE_TOKEN").ok(),
        };
        let credentials = Credentials {
            ca: place.ca.clone(),
            certificate: place.cert.clone().zip(place.key.clone()),
            token: token.map(|token| token.trim().to_owned()),
        };
        // The connection is looked after while this thread reads or writes files.
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(1).enable_all().build().map_err(Failure::Runtime)?;
        let client = runtime.block_on(Client::connect(address, &credentials))?;
        Ok(Remote { runtime, client })
    }

    pub(super) fn count(&self, selection: proto::Selection) -> Result<proto::Answer, Failure> {
        let request = proto::CountRequest { selection: Some(selection) };
        let response = self.runtime.block_on(self.client.tapstone().count(request))?;
        Ok(response.into_inner().answer.unwrap_or_default())
    }

    pub(super) fn packets(
        &self,
        selection: proto::Selection,
        each: &mut Each<'_>,
    ) -> Result<proto::Answer, Failure> {
        let mut interfaces: Vec<Interface> = Vec::new();
        self.query(selection, proto::Form::Packets, &mut |content| {
            let Content::Packets(packets) = content else { return Ok(()) };
            interfaces.extend(packets.interfaces.into_iter().map(interface));
            for packet in &packets.packets {
                let interface = interfaces.get(packet.interface as usize);
                each(&Seen {
                    time: convert::timestamp(&packet.time.unwrap_or_default()),
                    interface: interface.ok_or(Failure::Protocol)?,
                    data: &packet.data,
                    original_len: packet.original_length,
                    options: &packet.options,
                    flow: &packet.flow,
                })?;
            }
            Ok(())
        })
    }

    /// Packets as the bytes of a pcapng file, in pieces.
    pub(super) fn capture(
        &self,
        selection: proto::Selection,
        write: &mut dyn FnMut(&[u8]) -> Result<(), Failure>,
    ) -> Result<proto::Answer, Failure> {
        self.query(selection, proto::Form::Pcapng, &mut |content| match content {
            Content::Capture(piece) => write(&piece.content),
            _ => Ok(()),
        })
    }

    fn query(
        &self,
        selection: proto::Selection,
        form: proto::Form,
        take: &mut dyn FnMut(Content) -> Result<(), Failure>,
    ) -> Result<proto::Answer, Failure> {
        let request =
            proto::QueryRequest { selection: Some(selection), form: form.into(), max_bytes: None };
        self.runtime.block_on(async {
            let mut messages = self.client.tapstone().query(request).await?.into_inner();
            let mut behind = Vec::new();
            loop {
                let message = messages.message().await;
                let message = message.map_err(|status| Failure::broken(status, &behind))?;
                match message.and_then(|message| message.content) {
                    Some(Content::Answer(answer)) => return Ok(answer),
                    Some(content) => {
                        if let Content::Capture(proto::Capture { cursor, .. })
                        | Content::Packets(proto::Packets { cursor, .. }) = &content
                        {
                            behind.clone_from(cursor);
                        }
                        take(content)?;
                    }
                    None => return Err(Failure::Protocol),
                }
            }
        })
    }

    pub(super) fn flows(
        &self,
        selection: proto::Selection,
        each: &mut dyn FnMut(&proto::Flow) -> Result<(), Failure>,
    ) -> Result<proto::FlowsEnd, Failure> {
        let request = proto::FlowsRequest { selection: Some(selection) };
        self.runtime.block_on(async {
            let mut messages = self.client.tapstone().flows(request).await?.into_inner();
            while let Some(message) = messages.message().await? {
                message.flows.iter().try_for_each(&mut *each)?;
                if let Some(end) = message.end {
                    return Ok(end);
                }
            }
            Err(Failure::Protocol)
        })
    }

    pub(super) fn histogram(
        &self,
        request: proto::HistogramRequest,
    ) -> Result<proto::HistogramResponse, Failure> {
        let response = self.runtime.block_on(self.client.tapstone().histogram(request))?;
        Ok(response.into_inner())
    }

    pub(super) fn info(&self) -> Result<proto::InfoResponse, Failure> {
        let request = proto::InfoRequest {};
        Ok(self.runtime.block_on(self.client.tapstone().info(request))?.into_inner())
    }

    pub(super) fn state(
        &self,
        request: proto::StateRequest,
        each: &mut dyn FnMut(proto::StateResponse) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        self.runtime.block_on(async {
            let mut messages = self.client.tapstone().state(request).await?.into_inner();
            while let Some(message) = messages.message().await? {
                each(message)?;
            }
            Ok(())
        })
    }

    /// Reading the capture blocks, so it has a thread of its own.
    pub(super) fn import(
        &self,
        reader: Box<dyn Read>,
        start: proto::ImportStart,
    ) -> Result<proto::ImportResponse, Failure> {
        let (pieces, queue) = tokio::sync::mpsc::channel(QUEUE);
        let request = |content| proto::ImportRequest { content: Some(content) };
        let first = request(import_request::Content::Start(start));
        pieces.try_send(first).expect("the queue is empty");
        let client = self.client.clone();
        let call = self
            .runtime
            .spawn(async move { client.tapstone().import(ReceiverStream::new(queue)).await });
        let mut reader = reader;
        let mut read_all = || loop {
            let mut piece = vec![0; PIECE];
            let length = reader.read(&mut piece)?;
            piece.truncate(length);
            let content = import_request::Content::Bytes(Bytes::from(piece));
            // The server takes no more when it has an answer already.
            if length == 0 || pieces.blocking_send(request(content)).is_err() {
                return Ok(());
            }
        };
        let read: std::io::Result<()> = read_all();
        if let Err(source) = read {
            call.abort();
            return Err(Failure::Source(source));
        }
        drop(pieces);
        let response = self.runtime.block_on(call).map_err(|_| Failure::Protocol)?;
        Ok(response?.into_inner())
    }

    pub(super) fn flush(&self) -> Result<(), Failure> {
        self.runtime.block_on(self.client.admin().flush(proto::FlushRequest {}))?;
        Ok(())
    }

    pub(super) fn seal(&self) -> Result<(), Failure> {
        self.runtime.block_on(self.client.admin().seal(proto::SealRequest {}))?;
        Ok(())
    }

    pub(super) fn check(&self) -> Result<proto::CheckResponse, Failure> {
        let request = proto::CheckRequest {};
        Ok(self.runtime.block_on(self.client.admin().check(request))?.into_inner())
    }

    pub(super) fn report(
        &self,
        request: proto::ReportRequest,
    ) -> Result<proto::ReportResponse, Failure> {
        Ok(self.runtime.block_on(self.client.admin().report(request))?.into_inner())
    }

    pub(super) fn back_up(&self, folder: &Path) -> Result<proto::BackupResponse, Failure> {
        let request = proto::BackupRequest { folder: folder.display().to_string() };
        Ok(self.runtime.block_on(self.client.admin().backup(request))?.into_inner())
    }

    pub(super) fn cleanup(&self) -> Result<proto::CleanupResponse, Failure> {
        let request = proto::CleanupRequest {};
        Ok(self.runtime.block_on(self.client.admin().cleanup(request))?.into_inner())
    }

    pub(super) fn scrub(&self, share: Option<u8>) -> Result<proto::ScrubResponse, Failure> {
        let request = proto::ScrubRequest { disk_share: share.map_or(0, u32::from) };
        Ok(self.runtime.block_on(self.client.admin().scrub(request))?.into_inner())
    }

    pub(super) fn add_hold(
        &self,
        selection: proto::Selection,
        reason: String,
    ) -> Result<proto::Hold, Failure> {
        let request = proto::AddHoldRequest { selection: Some(selection), reason };
        let response = self.runtime.block_on(self.client.admin().add_hold(request))?;
        response.into_inner().hold.ok_or(Failure::Protocol)
    }

    pub(super) fn remove_hold(&self, id: u64) -> Result<proto::Hold, Failure> {
        let request = proto::RemoveHoldRequest { id };
        let response = self.runtime.block_on(self.client.admin().remove_hold(request))?;
        response.into_inner().hold.ok_or(Failure::Protocol)
    }

    pub(super) fn holds(&self) -> Result<proto::ListHoldsResponse, Failure> {
        let request = proto::ListHoldsRequest {};
        Ok(self.runtime.block_on(self.client.admin().list_holds(request))?.into_inner())
    }

    pub(super) fn accept_holds(&self) -> Result<(), Failure> {
        let request = proto::AcceptHoldsRequest {};
        self.runtime.block_on(self.client.admin().accept_holds(request))?;
        Ok(())
    }
}

fn interface(it: proto::Interface) -> Interface {
    Interface {
        // What does not fit was never an interface's.
        link_type: LinkType(it.link_type as u16),
        snap_len: it.snap_length,
        scale: TimeScale { resolution: it.time_resolution as u8, offset_secs: it.time_offset },
        byte_order: if it.big_endian { ByteOrder::Big } else { ByteOrder::Little },
        options: it.options,
    }
}
