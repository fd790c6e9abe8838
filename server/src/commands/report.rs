//! `tapstone info`, `tapstone check`, `tapstone rebuild`, `tapstone seal`

use std::io::{self, Write};
use std::time::Instant;

use serde_json::{Map, Value, json};
use tapstone::OpenOptions;
use tapstone_client::proto;

use super::time;
use crate::backend::{self, Backend};
use crate::cli::{Rebuild, Report, Seal};
use crate::exit::{COMPLETE, Failure, INCOMPLETE, stdout};
use crate::service::convert;
use crate::text;

pub(crate) fn info(args: &Report) -> Result<u8, Failure> {
    let info = Backend::open(&args.place, false)?.info()?;
    if args.json {
        print_json(&info_json(&info))?;
    } else {
        print_info(&info)?;
    }
    Ok(COMPLETE)
}

fn name(interface: &proto::Interface) -> Option<&str> {
    Some(interface.name.as_str()).filter(|name| !name.is_empty())
}

fn info_json(info: &proto::InfoResponse) -> Value {
    let interface = |interface: &proto::Interface| {
        json!({
            "name": name(interface),
            "link_type": interface.link_type,
            "snap_len": interface.snap_length,
        })
    };
    json!({
        "store": info.store,
        "state": info.state,
        "packets": info.packets,
        "packet_bytes": info.packet_bytes,
        "stored_bytes": info.stored_bytes,
        "index_bytes": info.index_bytes,
        "flows": info.flows,
        "segments": info.segments,
        "first": time(info.first.as_ref()),
        "last": time(info.last.as_ref()),
        "interfaces": info.interfaces.iter().map(interface).collect::<Vec<_>>(),
        "lost": lost_json(&info.lost),
        "holds": info.holds,
        "held_back": info.held_back.as_ref().map(held_back_json),
        "captures": info.captures.iter().map(capture_json).collect::<Vec<_>>(),
        "damage": info.damage,
        "io": info.io,
    })
}

pub(super) fn held_back_json(it: &proto::HeldBack) -> Value {
    json!({ "segments": it.segments, "bytes": it.bytes, "falls_short": it.falls_short })
}

/// Packets that were lost, by cause.
fn lost_json(lost: &[proto::Lost]) -> Value {
    lost.iter().map(|it| (it.cause.clone(), Value::from(it.packets))).collect::<Map<_, _>>().into()
}

pub(super) fn capture_json(capture: &proto::LiveInterface) -> Value {
    json!({
        "interface": capture.interface,
        "received": capture.received,
        "stored": capture.stored,
        "stored_bytes": capture.stored_bytes,
        "filtered": capture.filtered,
        "lost": lost_json(&capture.lost),
        "shed": shed_json(&capture.shed),
        "clock_steps": capture.clock_steps,
        "last_clock_step": capture.last_clock_step.as_ref().map(|step| json!({
            "at": time(step.at.as_ref()),
            "seconds": seconds(step),
        })),
    })
}

/// Packets that were shed, by the kind of their flows.
fn shed_json(shed: &[proto::ShedFlows]) -> Value {
    shed.iter().map(|it| (it.kind.clone(), Value::from(it.packets))).collect::<Map<_, _>>().into()
}

/// How far the clock went.
fn seconds(step: &proto::ClockStep) -> f64 {
    step.by.as_ref().map_or(0.0, |by| by.seconds as f64 + f64::from(by.nanos) / 1e9)
}

/// What became of an interface's packets, in words.
pub(super) fn capture_text(capture: &proto::LiveInterface) -> String {
    let proto::LiveInterface { received, stored, filtered, .. } = capture;
    let mut text = format!("{received} packets received, {stored} stored");
    if *filtered > 0 {
        text += &format!(", {filtered} left out by the filter");
    }
    let (thinned, lost): (Vec<_>, Vec<_>) = capture.lost.iter().partition(|it| it.asked_for);
    let sum = |of: &[&proto::Lost]| of.iter().map(|it| it.packets).sum::<u64>();
    let (left_out, missing) = (sum(&thinned), sum(&lost));
    if left_out > 0 {
        text += &format!(", {left_out} left out as asked ({})", lost_text(thinned));
    }
    text += &match missing {
        0 => ", none lost".to_owned(),
        missing => format!(", {missing} lost ({})", lost_text(lost)),
    };
    let shed = capture.shed.iter().filter(|it| it.packets > 0);
    let shed: Vec<_> = shed.map(|it| format!("{} {}", it.kind, it.packets)).collect();
    if !shed.is_empty() {
        text += &format!("; shed by flows: {}", shed.join(", "));
    }
    match received.saturating_sub(stored + filtered + left_out + missing) {
        0 => {}
        under_way => text += &format!(", {under_way} under way"),
    }
    if let Some(step) = &capture.last_clock_step {
        let (at, by) = (time(step.at.as_ref()).unwrap_or_default(), seconds(step));
        let steps = capture.clock_steps;
        text += &format!("; steps of the clock: {steps}, the last one at {at} by {by:+.3} s");
    }
    text
}

fn lost_text<'l>(lost: impl IntoIterator<Item = &'l proto::Lost>) -> String {
    let lost = lost.into_iter().filter(|it| it.packets > 0);
    lost.map(|it| format!("{} {}", it.cause, it.packets)).collect::<Vec<_>>().join(", ")
}

fn print_info(info: &proto::InfoResponse) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    let ratio = |bytes: u64| 100.0 * bytes as f64 / (info.packet_bytes.max(1)) as f64;
    let at = |it: Option<&prost_types::Timestamp>| time(it).unwrap_or_else(|| "-".to_owned());
    let mut row = |name: &str, value: String| writeln!(out, "{name:<12} {value}").map_err(stdout);
    row("store", info.store.clone())?;
    row("state", info.state.clone())?;
    row("packets", info.packets.to_string())?;
    row("bytes", text::size(info.packet_bytes))?;
    row(
        "stored",
        format!("{} ({:.1} %)", text::size(info.stored_bytes), ratio(info.stored_bytes)),
    )?;
    row("index", format!("{} ({:.2} %)", text::size(info.index_bytes), ratio(info.index_bytes)))?;
    row("flows", info.flows.to_string())?;
    row("segments", info.segments.to_string())?;
    row("first", at(info.first.as_ref()))?;
    row("last", at(info.last.as_ref()))?;
    for interface in &info.interfaces {
        let name = name(interface).unwrap_or("-");
        row("interface", format!("{name}, link type {}", interface.link_type))?;
    }
    for capture in &info.captures {
        row("capture", format!("{}: {}", capture.interface, capture_text(capture)))?;
    }
    let (left_out, lost): (Vec<_>, Vec<_>) = info.lost.iter().partition(|it| it.asked_for);
    for (name, packets) in [("lost", lost), ("left out", left_out)] {
        if !packets.is_empty() {
            row(name, lost_text(packets))?;
        }
    }
    if info.holds > 0 {
        row("holds", info.holds.to_string())?;
    }
    if let Some(it) = &info.held_back {
        let alarm = if it.falls_short { "; what does not fit is lost" } else { "" };
        row("held", text::held_back(it.segments, it.bytes) + alarm)?;
    }
    info.damage.iter().try_for_each(|text| row("damage", text.clone()))
}

pub(crate) fn check(args: &Report) -> Result<u8, Failure> {
    let backend = Backend::open(&args.place, false)?;
    let started = Instant::now();
    let report = backend.check()?;
    if args.json {
        print_json(&check_json(&report))?;
    } else {
        print_check(&report, started)?;
    }
    Ok(if report.damage.is_empty() { COMPLETE } else { INCOMPLETE })
}

pub(super) fn damage_json(it: &proto::Damage) -> Value {
    json!({ "file": it.file, "offset": it.offset, "what": it.what })
}

pub(super) fn check_json(report: &proto::CheckResponse) -> Value {
    json!({
        "sound": report.damage.is_empty(),
        "segments": report.segments,
        "blocks": report.blocks,
        "packets": report.packets,
        "flows": report.flows,
        "damage": report.damage.iter().map(damage_json).collect::<Vec<_>>(),
    })
}

pub(super) fn damage_line(proto::Damage { file, offset, what }: &proto::Damage) -> String {
    let offset = offset.map_or_else(String::new, |offset| format!(" at offset {offset}"));
    format!("{file}{offset}: {what}")
}

pub(super) fn print_check(report: &proto::CheckResponse, started: Instant) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    for damage in &report.damage {
        writeln!(out, "{}", damage_line(damage)).map_err(stdout)?;
    }
    writeln!(
        out,
        "{} segments, {} blocks, {} packets, {} flows checked in {}: {}",
        report.segments,
        report.blocks,
        report.packets,
        report.flows,
        text::duration(started.elapsed()),
        match report.damage.len() {
            0 => "sound".to_owned(),
            count => format!("{count} damages"),
        }
    )
    .map_err(stdout)
}

/// Only a store that nobody has open can be rebuilt.
pub(crate) fn rebuild(args: &Rebuild) -> Result<u8, Failure> {
    let started = Instant::now();
    let options = OpenOptions { rebuild: true, ..OpenOptions::default() };
    let store = backend::open(&args.store, options)?;
    store.wait_until_indexed();
    let info = convert::info(&store.info()?);
    if args.json {
        print_json(&info_json(&info))?;
    } else {
        text::say(&format_args!(
            "rebuilt catalog and splits of {} segments, {} packets, in {}",
            info.segments,
            info.packets,
            text::duration(started.elapsed())
        ));
        info.damage.iter().for_each(text::complain);
    }
    Ok(if info.damage.is_empty() { COMPLETE } else { INCOMPLETE })
}

pub(crate) fn flush(args: &Seal) -> Result<u8, Failure> {
    Backend::open(&args.place, false)?.flush()?;
    Ok(COMPLETE)
}

pub(crate) fn seal(args: &Seal) -> Result<u8, Failure> {
    Backend::open(&args.place, false)?.seal()?;
    Ok(COMPLETE)
}

pub(super) fn print_json(value: &Value) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, value).map_err(|error| stdout(error.into()))?;
    writeln!(out).map_err(stdout)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn capture() -> proto::LiveInterface {
        let lost = |cause: &str, packets, asked_for| proto::Lost {
            cause: cause.to_owned(),
            packets,
            asked_for,
        };
        proto::LiveInterface {
            interface: "eth0".to_owned(),
            received: 100,
            stored: 80,
            filtered: 5,
            lost: vec![lost("ring-full", 3, false), lost("cut-off", 4, true)],
            ..proto::LiveInterface::default()
        }
    }

    #[test]
    fn what_became_of_packets_is_told_in_words() {
        let expected = "100 packets received, 80 stored, 5 left out by the filter, \
                        4 left out as asked (cut-off 4), 3 lost (ring-full 3), 8 under way";
        assert_eq!(capture_text(&capture()), expected);
    }

    #[test]
    fn that_the_clock_was_set_is_told_too() {
        let at = prost_types::Timestamp { seconds: 1_700_000_000, nanos: 0 };
        let by = prost_types::Duration { seconds: -3, nanos: -250_000_000 };
        let step = proto::ClockStep { at: Some(at), by: Some(by) };
        let capture =
            proto::LiveInterface { clock_steps: 2, last_clock_step: Some(step), ..capture() };
        let text = capture_text(&capture);
        let expected =
            "; steps of the clock: 2, the last one at 2023-11-14T22:13:20.000000000Z by -3.250 s";
        assert!(text.ends_with(expected), "{text}");
        let json = capture_json(&capture);
        assert_eq!(json["clock_steps"], 2);
        assert_eq!(json["last_clock_step"]["seconds"], -3.25);
        assert_eq!(json["last_clock_step"]["at"], "2023-11-14T22:13:20.000000000Z");
    }
}
