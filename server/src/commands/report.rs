//! `tapstone info`, `tapstone check`, `tapstone rebuild`

use std::io::{self, Write};
use std::time::Instant;

use serde_json::{Value, json};
use tapstone::{Info, OpenOptions, format_instant};

use super::open;
use crate::cli::Report;
use crate::exit::{COMPLETE, Failure, INCOMPLETE, stdout};
use crate::text;

pub(crate) fn info(args: &Report) -> Result<u8, Failure> {
    let store = open(&args.store, OpenOptions::default())?;
    let info = store.info()?;
    if args.json {
        print_json(&info_json(&info))?;
    } else {
        print_info(&info)?;
    }
    Ok(COMPLETE)
}

/// What the store's state is called; more states come with live capture.
fn state(info: &Info) -> &'static str {
    if info.damage.is_empty() { "NORMAL" } else { "DEGRADED" }
}

fn info_json(info: &Info) -> Value {
    let interfaces: Vec<Value> = info
        .interfaces
        .iter()
        .map(|interface| {
            json!({
                "name": text::interface(interface),
                "link_type": interface.link_type.0,
                "snap_len": interface.snap_len,
            })
        })
        .collect();
    json!({
        "store": info.store.to_string(),
        "state": state(info),
        "packets": info.packets,
        "packet_bytes": info.packet_bytes,
        "stored_bytes": info.stored_bytes,
        "index_bytes": info.index_bytes,
        "flows": info.flows,
        "segments": info.segments,
        "first": info.first.map(format_instant),
        "last": info.last.map(format_instant),
        "interfaces": interfaces,
        "damage": info.damage,
        "io": if info.without_ring.is_none() { "io_uring" } else { "blocking" },
    })
}

fn print_info(info: &Info) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    let ratio = |bytes: u64| 100.0 * bytes as f64 / (info.packet_bytes.max(1)) as f64;
    let time = |time: Option<_>| time.map_or("-".to_owned(), format_instant);
    let mut row = |name: &str, value: String| writeln!(out, "{name:<12} {value}").map_err(stdout);
    row("store", info.store.to_string())?;
    row("state", state(info).to_owned())?;
    row("packets", info.packets.to_string())?;
    row("bytes", text::size(info.packet_bytes))?;
    row(
        "stored",
        format!("{} ({:.1} %)", text::size(info.stored_bytes), ratio(info.stored_bytes)),
    )?;
    row("index", format!("{} ({:.2} %)", text::size(info.index_bytes), ratio(info.index_bytes)))?;
    row("flows", info.flows.to_string())?;
    row("segments", info.segments.to_string())?;
    row("first", time(info.first))?;
    row("last", time(info.last))?;
    for interface in &info.interfaces {
        let name = text::interface(interface).unwrap_or_else(|| "-".to_owned());
        row("interface", format!("{name}, link type {}", interface.link_type.0))?;
    }
    info.damage.iter().try_for_each(|text| row("damage", text.clone()))
}

pub(crate) fn check(args: &Report) -> Result<u8, Failure> {
    let store = open(&args.store, OpenOptions::default())?;
    let started = Instant::now();
    let report = store.check();
    if args.json {
        let damage: Vec<Value> = report
            .damage
            .iter()
            .map(|it| json!({ "file": it.path, "offset": it.offset, "what": it.what }))
            .collect();
        print_json(&json!({
            "sound": report.damage.is_empty(),
            "segments": report.segments,
            "blocks": report.blocks,
            "packets": report.packets,
            "flows": report.flows,
            "damage": damage,
        }))?;
    } else {
        let mut out = io::stdout().lock();
        for damage in &report.damage {
            writeln!(out, "{damage}").map_err(stdout)?;
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
        .map_err(stdout)?;
    }
    Ok(if report.damage.is_empty() { COMPLETE } else { INCOMPLETE })
}

pub(crate) fn rebuild(args: &Report) -> Result<u8, Failure> {
    let started = Instant::now();
    let options = OpenOptions { rebuild: true, ..OpenOptions::default() };
    let store = open(&args.store, options)?;
    store.wait_until_indexed();
    let info = store.info()?;
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

fn print_json(value: &Value) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, value).map_err(|error| stdout(error.into()))?;
    writeln!(out).map_err(stdout)
}
