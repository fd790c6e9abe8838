//! Between the store's terms and those of the interface. What the command line shows comes through
//! here too, so a server's answer and the store's own look the same.

use tapstone::{
    CaptureCounts, CheckReport, ClockStep, Completeness, Cursor, Expired, Flow, Flows, Group,
    GroupBy, HeldBack, Histogram, Hold, ImportReport, Info, LossCause, Maintained, Missing,
    NewHold, ParseCursorError, Refused, Selection, ShedFlow, Store, Timestamp,
};
use tapstone_client::{instant, proto};
use tapstone_packet::flow::{Endpoint, KeyPart};
use tapstone_packet::interface::{ByteOrder, Interface};
use tapstone_packet::names::{self, NameKind};
use tapstone_packet::summary::protocol_name;

use crate::text;

/// This instant.
pub(crate) fn now() -> Timestamp {
    let nanos = jiff::Timestamp::now().as_nanosecond();
    Timestamp::from_nanos(i64::try_from(nanos).unwrap_or(i64::MAX))
}

/// An instant, to the nanosecond.
pub(crate) fn time(time: Timestamp) -> prost_types::Timestamp {
    let (seconds, nanos) = time.secs_nanos();
    let bound = if seconds < 0 { i64::MIN } else { i64::MAX };
    instant(i64::try_from(seconds).unwrap_or(bound), nanos)
}

/// An instant of the interface; nanoseconds beyond a second are carried, negative ones are none.
pub(crate) fn timestamp(time: &prost_types::Timestamp) -> Timestamp {
    Timestamp::from_secs_nanos(time.seconds, u32::try_from(time.nanos).unwrap_or(0))
}

/// What is asked for, in the store's terms.
pub(crate) fn selection(
    selection: Option<proto::Selection>,
) -> Result<Selection, ParseCursorError> {
    let it = selection.unwrap_or_default();
    let after = if it.after.is_empty() { None } else { Some(Cursor::from_bytes(&it.after)?) };
    Ok(Selection {
        since: it.since.as_ref().map(timestamp),
        until: it.until.as_ref().map(timestamp),
        filter: it.filter,
        metadata: it.metadata,
        limit: it.limit,
        within: Vec::new(),
        after,
    })
}

pub(crate) fn cursor(cursor: Option<Cursor>) -> Vec<u8> {
    cursor.map_or_else(Vec::new, Cursor::to_bytes)
}

pub(crate) fn completeness(completeness: &Completeness) -> proto::Completeness {
    let missing = |it: &Missing| {
        let known = (it.first, it.last) != (Timestamp::MIN, Timestamp::MAX);
        proto::Missing {
            segment: it.segment.map(|id| id.to_string()).unwrap_or_default(),
            first: known.then(|| time(it.first)),
            last: known.then(|| time(it.last)),
            packets: it.packets,
            reason: it.reason.clone(),
            text: it.to_string(),
            asked_for: it.asked_for,
        }
    };
    let refused = |it: &Refused| proto::Refused {
        link_type: u32::from(it.link_type.0),
        reason: it.reason.clone(),
    };
    proto::Completeness {
        missing: completeness.missing.iter().map(missing).collect(),
        refused: completeness.refused.iter().map(refused).collect(),
    }
}

pub(crate) fn interface(interface: &Interface) -> proto::Interface {
    proto::Interface {
        name: text::interface(interface).unwrap_or_default(),
        link_type: u32::from(interface.link_type.0),
        snap_length: interface.snap_len,
        time_resolution: u32::from(interface.scale.resolution),
        time_offset: interface.scale.offset_secs,
        big_endian: interface.byte_order == ByteOrder::Big,
        options: interface.options.clone(),
    }
}

pub(crate) fn flow(flow: &Flow) -> proto::Flow {
    let row = &flow.row;
    let key = row.flow_key();
    let (from, to, protocol) = match key.innermost() {
        Some(layer) => {
            let [first, second] = layer.ends;
            let (from, to) = if row.first_end_started { (first, second) } else { (second, first) };
            let protocol = layer.protocol.map_or("arp".to_owned(), protocol_name);
            (Some(from), Some(to), protocol)
        }
        None => {
            let protocol = key.parts().find_map(|part| match part {
                KeyPart::EtherType(it) => Some(format!("0x{it:04x}")),
                KeyPart::LinkType(it) => Some(format!("link {it}")),
                _ => None,
            });
            (None, None, protocol.unwrap_or_default())
        }
    };
    let name = |name: &names::Name| proto::Name {
        kind: word(name.kind).to_owned(),
        name: names::display(&name.name),
    };
    proto::Flow {
        flow: flow.id.to_string(),
        first: Some(time(row.first)),
        last: Some(time(row.last)),
        from: from.map(endpoint),
        to: to.map(endpoint),
        protocol,
        packets: row.packets,
        bytes: row.bytes,
        community_id: key.community_id().unwrap_or_default(),
        names: row.names.iter().map(name).collect(),
    }
}

fn word(kind: NameKind) -> &'static str {
    NameKind::ALL.into_iter().find(|(it, _)| *it == kind).map_or("", |(_, word)| word)
}

fn endpoint(end: Endpoint) -> proto::Endpoint {
    proto::Endpoint { address: end.address.to_string(), port: end.port.map(u32::from) }
}

/// The end of a list of flows, of which a limit may have left some out.
pub(crate) fn flows_end(flows: &Flows, limit: Option<u64>) -> proto::FlowsEnd {
    let count = flows.flows.len() as u64;
    proto::FlowsEnd {
        flows: count,
        completeness: Some(completeness(&flows.completeness)),
        cut: limit.is_some_and(|limit| count >= limit),
    }
}

/// The state that a store is in, in words.
fn state(info: &Info) -> String {
    match &info.state {
        Some(report) if report.is_kept => report.state.to_string(),
        Some(report) => format!("{} (recorded last; nobody keeps the store)", report.state),
        None => "nobody has kept the store yet".to_owned(),
    }
}

/// An instant, in nanoseconds since the epoch.
pub(crate) fn unix_nanos(nanos: u64) -> prost_types::Timestamp {
    time(Timestamp::from_nanos(i64::try_from(nanos).unwrap_or(i64::MAX)))
}

pub(crate) fn info(info: &Info) -> proto::InfoResponse {
    proto::InfoResponse {
        store: info.store.to_string(),
        state: state(info),
        packets: info.packets,
        packet_bytes: info.packet_bytes,
        stored_bytes: info.stored_bytes,
        index_bytes: info.index_bytes,
        flows: info.flows,
        segments: info.segments,
        first: info.first.map(time),
        last: info.last.map(time),
        interfaces: info.interfaces.iter().map(interface).collect(),
        damage: info.damage.clone(),
        io: if info.without_ring.is_none() { "io_uring" } else { "blocking" }.to_owned(),
        unindexed: info.unindexed,
        disk_free: info.space.map(|space| space.free),
        disk_total: info.space.map(|space| space.total),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        lost: info.lost.iter().map(|(cause, packets)| lost(*cause, *packets)).collect(),
        captures: info.captures.iter().map(capture).collect(),
        holds: info.holds,
        held_back: Some(info.held_back).filter(|it| it.segments > 0).map(held_back),
    }
}

fn held_back(it: HeldBack) -> proto::HeldBack {
    let HeldBack { segments, bytes, falls_short } = it;
    proto::HeldBack { segments, bytes, falls_short }
}

pub(crate) fn new_hold(selection: Selection, reason: String, by: String) -> NewHold {
    let Selection { since, until, filter, metadata, .. } = selection;
    NewHold { since, until, filter, metadata, reason, by }
}

pub(crate) fn hold(hold: &Hold) -> proto::Hold {
    proto::Hold {
        id: hold.id,
        since: hold.since.map(time),
        until: hold.until.map(time),
        filter: hold.filter.clone(),
        metadata: hold.metadata.clone(),
        reason: hold.reason.clone(),
        by: hold.by.clone(),
        added: Some(time(hold.added)),
    }
}

pub(crate) fn holds(store: &Store) -> proto::ListHoldsResponse {
    let holds = store.holds().iter().map(hold).collect();
    proto::ListHoldsResponse { holds, in_doubt: store.holds_in_doubt() }
}

fn lost(cause: LossCause, packets: u64) -> proto::Lost {
    proto::Lost { cause: cause.name().to_owned(), packets, asked_for: cause.is_asked_for() }
}

pub(crate) fn capture(counts: &CaptureCounts) -> proto::LiveInterface {
    let by_cause = LossCause::ALL.into_iter().zip(counts.lost);
    let by_kind = ShedFlow::ALL.into_iter().zip(counts.shed);
    let shed = |(kind, packets): (ShedFlow, u64)| {
        let kind = kind.name().to_owned();
        proto::ShedFlows { kind, packets }
    };
    proto::LiveInterface {
        interface: counts.interface.clone(),
        received: counts.received,
        stored: counts.stored,
        stored_bytes: counts.stored_bytes,
        filtered: counts.filtered,
        lost: by_cause.map(|(cause, packets)| lost(cause, packets)).collect(),
        shed: by_kind.map(shed).collect(),
        clock_steps: counts.clock_steps,
        last_clock_step: counts.last_clock_step.map(clock_step),
    }
}

fn clock_step(step: ClockStep) -> proto::ClockStep {
    let (seconds, nanos) = (step.by_nanos / 1_000_000_000, (step.by_nanos % 1_000_000_000) as i32);
    let by = prost_types::Duration { seconds, nanos };
    proto::ClockStep { at: Some(time(step.at)), by: Some(by) }
}

pub(crate) fn group_by(by: proto::GroupBy) -> GroupBy {
    match by {
        proto::GroupBy::Unspecified => GroupBy::Nothing,
        proto::GroupBy::Interface => GroupBy::Interface,
        proto::GroupBy::Protocol => GroupBy::Protocol,
    }
}

pub(crate) fn histogram(histogram: &Histogram) -> proto::HistogramResponse {
    let bar = |bar: &tapstone::Bar| proto::Bar {
        start: Some(time(bar.start)),
        group: match &bar.group {
            Group::All => String::new(),
            Group::Interface(it) => text::interface(it).unwrap_or_else(|| "-".to_owned()),
            Group::Protocol(protocol) => protocol.clone(),
        },
        packets: bar.packets,
        bytes: bar.bytes,
    };
    proto::HistogramResponse {
        bars: histogram.bars.iter().map(bar).collect(),
        completeness: Some(completeness(&histogram.completeness)),
    }
}

pub(crate) fn imported(report: &ImportReport) -> proto::ImportResponse {
    proto::ImportResponse {
        packets: report.packets,
        packet_bytes: report.packet_bytes,
        stream_bytes: report.stream_bytes,
        known: report.known.as_ref().map(|known| proto::KnownBefore {
            source: known.source.clone(),
            stored: Some(time(Timestamp::from_nanos(
                i64::try_from(known.stored_nanos).unwrap_or(0),
            ))),
            packets: known.packets,
        }),
        refused: report.is_refused(),
        skipped_blocks: report.skipped_blocks,
        cut_packets: report.cut_packets,
        damage: report.damage.as_ref().map(|damage| proto::CaptureDamage {
            offset: damage.offset,
            what: damage.damage.to_string(),
        }),
    }
}

pub(crate) fn damage(it: &tapstone::Damage) -> proto::Damage {
    let file = it.path.display().to_string();
    proto::Damage { file, offset: it.offset, what: it.what.clone() }
}

/// What came of a backup.
pub(crate) fn backed_up(done: Maintained) -> proto::BackupResponse {
    let Maintained::Backup(report) = done else { unreachable!("a backup gave {done:?}") };
    proto::BackupResponse {
        path: report.path.display().to_string(),
        taken: Some(unix_nanos(report.taken_nanos)),
        segments: report.segments,
        packets: report.packets,
        packet_bytes: report.packet_bytes,
        files: report.files,
        bytes: report.bytes,
        copied_bytes: report.copied_bytes,
        shared_bytes: report.shared_bytes,
        carried_bytes: report.carried_bytes,
        damage: report.damage.iter().map(damage).collect(),
    }
}

/// What came of a cleanup.
pub(crate) fn cleaned(done: Maintained) -> proto::CleanupResponse {
    let Maintained::Cleanup(report) = done else { unreachable!("a cleanup gave {done:?}") };
    let let_go = |it: &Expired| proto::LetGo {
        by: it.by.name().to_owned(),
        segments: it.segments,
        packets: it.packets,
        packet_bytes: it.packet_bytes,
        first: Some(time(it.first)),
        last: Some(time(it.last)),
    };
    proto::CleanupResponse {
        due: report.due,
        gone: report.gone.iter().map(let_go).collect(),
        finished: report.finished,
        given_back: report.given_back,
        held_back: Some(held_back(report.held_back)),
        keys_destroyed: report.keys_destroyed,
        splits: report.splits,
        logs: report.logs,
        rows: report.rows,
        names: report.names,
        leftovers: report.leftovers,
    }
}

/// What came of a scrub.
pub(crate) fn scrubbed(done: Maintained) -> proto::ScrubResponse {
    let Maintained::Recovery(report) = done else { unreachable!("a scrub gave {done:?}") };
    proto::ScrubResponse {
        check: Some(checked(&report.check)),
        audit_records: report.check.audit_records,
        mended: report.mended.iter().map(damage).collect(),
        resumed: report.resumed,
    }
}

pub(crate) fn checked(report: &CheckReport) -> proto::CheckResponse {
    proto::CheckResponse {
        segments: report.segments,
        blocks: report.blocks,
        packets: report.packets,
        flows: report.flows,
        damage: report.damage.iter().map(damage).collect(),
    }
}
