//! Where a command's answers come from: a store that this process opens, or a server. Commands show
//! what either says in the same words.

mod local;
mod remote;

use std::fmt::Display;
use std::io::{Read, Write};
use std::path::Path;

use tapstone::{LockError, OpenError, OpenOptions, Retention, Store, Timestamp};
use tapstone_client::{Address, proto};
use tapstone_packet::interface::Interface;

use crate::cli::{Format, Place};
use crate::exit::Failure;
use crate::export::Export;
use crate::service::convert;
use crate::text;
use remote::Remote;

/// Where answers come from.
pub(crate) enum Backend {
    Local(Store),
    Remote(Box<Remote>),
}

/// A packet of an answer, wherever it comes from.
pub(crate) struct Seen<'a> {
    pub(crate) time: Timestamp,
    pub(crate) interface: &'a Interface,
    pub(crate) data: &'a [u8],
    pub(crate) original_len: u32,
    pub(crate) options: &'a [u8],
    pub(crate) flow: &'a dyn Display,
}

/// What is done with each packet.
type Each<'a> = dyn FnMut(&Seen<'_>) -> Result<(), Failure> + 'a;

/// The socket of the server that has a store open.
pub(crate) fn socket(store: &Path) -> std::path::PathBuf {
    store.join("socket")
}

impl Backend {
    /// Opens a store, or reaches the server that has it.
    pub(crate) fn open(place: &Place, create: bool) -> Result<Backend, Failure> {
        if let Some(server) = &place.server {
            return Ok(Backend::Remote(Box::new(Remote::connect(server, place)?)));
        }
        let folder = place.store.as_deref().ok_or(Failure::NoPlace)?;
        let in_use = match open(folder, OpenOptions { create, ..OpenOptions::default() }) {
            Err(Failure::Open(OpenError::InUse(error @ LockError::Held { .. }))) => error,
            opened => return opened.map(Backend::Local),
        };
        // Nobody listens there when it is no server that has it.
        match Remote::connect(&Address::Unix(socket(folder)), place) {
            Ok(remote) => Ok(Backend::Remote(Box::new(remote))),
            Err(_) => Err(Failure::Open(OpenError::InUse(in_use))),
        }
    }

    /// Waits until metadata queries find everything.
    pub(crate) fn wait_until_indexed(&self) {
        if let Backend::Local(store) = self {
            store.wait_until_indexed();
        }
    }

    pub(crate) fn count(&self, selection: proto::Selection) -> Result<proto::Answer, Failure> {
        match self {
            Backend::Local(store) => local::count(store, selection),
            Backend::Remote(remote) => remote.count(selection),
        }
    }

    /// Packets in order; `each` is told of every one.
    pub(crate) fn packets(
        &self,
        selection: proto::Selection,
        each: &mut Each<'_>,
    ) -> Result<proto::Answer, Failure> {
        match self {
            Backend::Local(store) => local::packets(store, selection, each),
            Backend::Remote(remote) => remote.packets(selection, each),
        }
    }

    /// Packets as a capture file.
    pub(crate) fn export<W: Write>(
        &self,
        selection: proto::Selection,
        format: Format,
        mut out: W,
        what: &str,
    ) -> Result<(W, proto::Answer), Failure> {
        if let (Backend::Remote(remote), Format::Pcapng) = (self, format) {
            let written = |source| Failure::Write { what: what.to_owned(), source };
            let mut write = |piece: &[u8]| out.write_all(piece).map_err(written);
            let answer = remote.capture(selection, &mut write)?;
            out.flush().map_err(written)?;
            return Ok((out, answer));
        }
        let mut export = Export::new(out, what.to_owned(), format);
        let answer = self.packets(selection, &mut |packet| export.packet(packet))?;
        Ok((export.finish()?, answer))
    }

    /// Flows in order; `each` is told of every one.
    pub(crate) fn flows(
        &self,
        selection: proto::Selection,
        each: &mut dyn FnMut(&proto::Flow) -> Result<(), Failure>,
    ) -> Result<proto::FlowsEnd, Failure> {
        match self {
            Backend::Local(store) => local::flows(store, selection, each),
            Backend::Remote(remote) => remote.flows(selection, each),
        }
    }

    pub(crate) fn histogram(
        &self,
        request: proto::HistogramRequest,
    ) -> Result<proto::HistogramResponse, Failure> {
        match self {
            Backend::Local(store) => local::histogram(store, request),
            Backend::Remote(remote) => remote.histogram(request),
        }
    }

    pub(crate) fn info(&self) -> Result<proto::InfoResponse, Failure> {
        match self {
            Backend::Local(store) => local::info(store),
            Backend::Remote(remote) => remote.info(),
        }
    }

    /// The state, and each change of it where that is wanted; `each` is told of every one.
    pub(crate) fn state(
        &self,
        request: proto::StateRequest,
        each: &mut dyn FnMut(proto::StateResponse) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        match self {
            Backend::Local(store) => each(local::state(store, request.history)),
            Backend::Remote(remote) => remote.state(request, each),
        }
    }

    pub(crate) fn import(
        &self,
        reader: Box<dyn Read>,
        start: proto::ImportStart,
    ) -> Result<proto::ImportResponse, Failure> {
        match self {
            Backend::Local(store) => local::import(store, reader, &start),
            Backend::Remote(remote) => remote.import(reader, start),
        }
    }

    pub(crate) fn flush(&self) -> Result<(), Failure> {
        match self {
            // Nothing has come to a store that was not open.
            Backend::Local(_) => Ok(()),
            Backend::Remote(remote) => remote.flush(),
        }
    }

    pub(crate) fn seal(&self) -> Result<(), Failure> {
        match self {
            Backend::Local(store) => Ok(store.seal()?),
            Backend::Remote(remote) => remote.seal(),
        }
    }

    pub(crate) fn check(&self) -> Result<proto::CheckResponse, Failure> {
        match self {
            Backend::Local(store) => Ok(local::check(store)),
            Backend::Remote(remote) => remote.check(),
        }
    }

    pub(crate) fn report(
        &self,
        request: proto::ReportRequest,
    ) -> Result<proto::ReportResponse, Failure> {
        match self {
            Backend::Local(store) => local::report(store, &request),
            Backend::Remote(remote) => remote.report(request),
        }
    }

    /// Copies the store into a folder, which is the server's where a server has it.
    pub(crate) fn back_up(&self, folder: &Path) -> Result<proto::BackupResponse, Failure> {
        match self {
            Backend::Local(store) => local::back_up(store, folder),
            Backend::Remote(remote) => remote.back_up(folder),
        }
    }

    /// What has to go goes; a server goes by its own settings.
    pub(crate) fn cleanup(&self, retention: Retention) -> Result<proto::CleanupResponse, Failure> {
        match self {
            Backend::Local(store) => local::cleanup(store, retention),
            Backend::Remote(_) if !retention.keeps_everything() => Err(Failure::ServersRetention),
            Backend::Remote(remote) => remote.cleanup(),
        }
    }

    /// Makes good what can be made anew, and verifies everything, for a share of the time.
    pub(crate) fn scrub(&self, share: Option<u8>) -> Result<proto::ScrubResponse, Failure> {
        match self {
            Backend::Local(store) => local::scrub(store, share),
            Backend::Remote(remote) => remote.scrub(share),
        }
    }

    pub(crate) fn add_hold(
        &self,
        selection: proto::Selection,
        reason: String,
    ) -> Result<proto::Hold, Failure> {
        match self {
            Backend::Local(store) => local::add_hold(store, selection, reason),
            Backend::Remote(remote) => remote.add_hold(selection, reason),
        }
    }

    pub(crate) fn remove_hold(&self, id: u64) -> Result<proto::Hold, Failure> {
        match self {
            Backend::Local(store) => Ok(convert::hold(&store.remove_hold(id)?)),
            Backend::Remote(remote) => remote.remove_hold(id),
        }
    }

    pub(crate) fn holds(&self) -> Result<proto::ListHoldsResponse, Failure> {
        match self {
            Backend::Local(store) => Ok(convert::holds(store)),
            Backend::Remote(remote) => remote.holds(),
        }
    }

    pub(crate) fn accept_holds(&self) -> Result<(), Failure> {
        match self {
            Backend::Local(store) => Ok(store.accept_holds()?),
            Backend::Remote(remote) => remote.accept_holds(),
        }
    }

    /// Ends what was begun: a store is sealed and closed.
    pub(crate) fn close(self) -> Result<(), Failure> {
        match self {
            Backend::Local(store) => Ok(store.close()?),
            Backend::Remote(_) => Ok(()),
        }
    }
}

/// Opens a store here.
pub(crate) fn open(folder: &Path, options: OpenOptions) -> Result<Store, Failure> {
    let store = Store::open(folder, options)?;
    if let Some(refused) = store.without_ring() {
        text::complain(&format_args!("{refused}; going on with blocking I/O, which is slower"));
    }
    Ok(store)
}
