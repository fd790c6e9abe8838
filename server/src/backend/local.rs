//! Answers of a store that this process has open.

use std::io::Read;
use std::path::Path;
use std::time::{Duration, Instant};

use tapstone::state::Occasion;
use tapstone::{BackupOptions, Chore, ImportOptions, RecoveryOptions, Retention, Selection, Store};
use tapstone_client::proto;

use super::{Each, Seen};
use crate::exit::Failure;
use crate::service::{self, convert};

fn selection(selection: proto::Selection) -> Selection {
    convert::selection(Some(selection)).expect("the command line has read the cursor")
}

pub(super) fn count(store: &Store, question: proto::Selection) -> Result<proto::Answer, Failure> {
    let began = Instant::now();
    let answer = store.count(&selection(question))?;
    Ok(service::answer(&answer, proto::Ended::All, began.elapsed(), 0))
}

pub(super) fn packets(
    store: &Store,
    question: proto::Selection,
    each: &mut Each<'_>,
) -> Result<proto::Answer, Failure> {
    let (began, limit) = (Instant::now(), question.limit);
    let mut packets = store.query(&selection(question))?;
    for packet in &mut packets {
        each(&Seen {
            time: packet.time(),
            interface: packet.interface(),
            data: packet.data(),
            original_len: packet.original_len(),
            options: packet.options(),
            flow: &packet.flow(),
        })?;
    }
    let ended = service::ended(limit, packets.answer().packets);
    Ok(service::answer(packets.answer(), ended, began.elapsed(), 0))
}

pub(super) fn flows(
    store: &Store,
    question: proto::Selection,
    each: &mut dyn FnMut(&proto::Flow) -> Result<(), Failure>,
) -> Result<proto::FlowsEnd, Failure> {
    let limit = question.limit;
    let flows = store.flows(&selection(question))?;
    flows.flows.iter().try_for_each(|flow| each(&convert::flow(flow)))?;
    Ok(convert::flows_end(&flows, limit))
}

pub(super) fn histogram(
    store: &Store,
    request: proto::HistogramRequest,
) -> Result<proto::HistogramResponse, Failure> {
    let by = convert::group_by(request.by());
    let width = request.width.and_then(|width| Duration::try_from(width).ok());
    let question = selection(request.selection.unwrap_or_default());
    let histogram = store.histogram(&question, width.unwrap_or_default(), by)?;
    Ok(convert::histogram(&histogram))
}

pub(super) fn info(store: &Store) -> Result<proto::InfoResponse, Failure> {
    Ok(convert::info(&store.info()?))
}

/// What was recorded last: nobody keeps a store that was opened for one question.
pub(super) fn state(store: &Store, history: bool) -> proto::StateResponse {
    let history = if history { store.state_history() } else { Vec::new() };
    service::state::response(store.state().as_ref(), &history)
}

pub(super) fn import(
    store: &Store,
    reader: Box<dyn Read>,
    start: &proto::ImportStart,
) -> Result<proto::ImportResponse, Failure> {
    let options = ImportOptions { name: &start.name, again: start.again, progress: None };
    Ok(convert::imported(&store.import(reader, options)?))
}

pub(super) fn check(store: &Store) -> proto::CheckResponse {
    convert::checked(&store.check())
}

/// Nothing is archived: only a server's configuration says what is due.
pub(super) fn report(
    store: &Store,
    request: &proto::ReportRequest,
) -> Result<proto::ReportResponse, Failure> {
    let chore = service::report::chore(service::report::period(request)?, None);
    Ok(service::report::response(store.maintain(chore, Occasion::Manual)?))
}

pub(super) fn back_up(store: &Store, folder: &Path) -> Result<proto::BackupResponse, Failure> {
    let chore = Chore::Backup(BackupOptions { folder: folder.to_owned() });
    Ok(convert::backed_up(store.maintain(chore, Occasion::Manual)?))
}

pub(super) fn cleanup(
    store: &Store,
    retention: Retention,
) -> Result<proto::CleanupResponse, Failure> {
    Ok(convert::cleaned(store.maintain(Chore::Cleanup(retention), Occasion::Manual)?))
}

pub(super) fn scrub(store: &Store, share: Option<u8>) -> Result<proto::ScrubResponse, Failure> {
    store.wait_until_indexed();
    let mut options = RecoveryOptions::default();
    options.disk_share = share.unwrap_or(options.disk_share);
    Ok(convert::scrubbed(store.maintain(Chore::Recovery(options), Occasion::Manual)?))
}

/// In the name that a server would know this user by.
pub(super) fn add_hold(
    store: &Store,
    question: proto::Selection,
    reason: String,
) -> Result<proto::Hold, Failure> {
    let by = format!("uid:{}", rustix::process::getuid().as_raw());
    let new = convert::new_hold(selection(question), reason, by);
    Ok(convert::hold(&store.add_hold(&new)?))
}
