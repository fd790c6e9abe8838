//! `tapstone backup`, `tapstone restore`

use std::io::{self, Write};
use std::path::{Path, PathBuf, absolute};
use std::time::Instant;

use serde_json::{Value, json};
use tapstone::RestoreReport;
use tapstone_client::proto;

use super::report::{damage_json, damage_line, print_json};
use super::time;
use crate::backend::Backend;
use crate::cli::{Backup, Restore};
use crate::exit::{COMPLETE, Failure, INCOMPLETE, stdout};
use crate::service::convert;
use crate::text;

pub(crate) fn back_up(args: &Backup) -> Result<u8, Failure> {
    let started = Instant::now();
    let backend = Backend::open(&args.place, false)?;
    let made = backend.back_up(&folder(args)?)?;
    if args.json {
        print_json(&made_json(&made))?;
    } else {
        print_made(&made, started)?;
    }
    backend.close()?;
    Ok(if made.damage.is_empty() { COMPLETE } else { INCOMPLETE })
}

/// What is named from here is named from the root to whoever has the store on this machine; to a
/// server elsewhere it is named as it was typed.
fn folder(args: &Backup) -> Result<PathBuf, Failure> {
    if args.place.server.is_some() {
        return Ok(args.folder.clone());
    }
    absolute(&args.folder).map_err(Failure::Source)
}

fn made_json(made: &proto::BackupResponse) -> Value {
    json!({
        "path": made.path,
        "taken": time(made.taken.as_ref()),
        "segments": made.segments,
        "packets": made.packets,
        "packet_bytes": made.packet_bytes,
        "files": made.files,
        "bytes": made.bytes,
        "copied_bytes": made.copied_bytes,
        "shared_bytes": made.shared_bytes,
        "carried_bytes": made.carried_bytes,
        "damage": made.damage.iter().map(damage_json).collect::<Vec<_>>(),
    })
}

fn print_made(made: &proto::BackupResponse, started: Instant) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    for it in &made.damage {
        writeln!(out, "the store is damaged: {}", damage_line(it)).map_err(stdout)?;
    }
    let parts = [
        (made.copied_bytes, "copied"),
        (made.carried_bytes, "shared with the backup before"),
        (made.shared_bytes, "shared with the store"),
    ];
    let parts = parts.iter().filter(|(bytes, _)| *bytes > 0);
    let parts: Vec<_> = parts.map(|(bytes, how)| format!("{} {how}", text::size(*bytes))).collect();
    writeln!(
        out,
        "{}: {} segments, {} packets, {} ({}), verified in {}",
        made.path,
        made.segments,
        made.packets,
        text::size(made.bytes),
        parts.join(", "),
        text::duration(started.elapsed()),
    )
    .map_err(stdout)
}

pub(crate) fn restore(args: &Restore) -> Result<u8, Failure> {
    let started = Instant::now();
    let key = args.key_file.as_deref().ok_or(Failure::NoKeyFile)?;
    let report = tapstone::restore(&args.backup, &args.store, key)?;
    if args.json {
        print_json(&restored_json(&report))?;
    } else {
        print_restored(&report, &args.store, started)?;
    }
    Ok(if report.damage.is_empty() { COMPLETE } else { INCOMPLETE })
}

fn restored_json(report: &RestoreReport) -> Value {
    let damage = |it| damage_json(&convert::damage(it));
    json!({
        "store": report.store.to_string(),
        "taken": time(Some(&convert::unix_nanos(report.taken_nanos))),
        "segments": report.segments,
        "packets": report.packets,
        "expected_packets": report.expected_packets,
        "files": report.files,
        "bytes": report.bytes,
        "damage": report.damage.iter().map(damage).collect::<Vec<_>>(),
    })
}

fn print_restored(report: &RestoreReport, store: &Path, started: Instant) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    report.damage.iter().try_for_each(|it| writeln!(out, "{it}")).map_err(stdout)?;
    let sound = match report.damage.len() {
        0 => "sound".to_owned(),
        count => format!("{count} damages"),
    };
    writeln!(
        out,
        "{}: {} of {} packets restored, as of {}, and checked in {}: {sound}",
        store.display(),
        report.packets,
        report.expected_packets,
        time(Some(&convert::unix_nanos(report.taken_nanos))).unwrap_or_default(),
        text::duration(started.elapsed()),
    )
    .map_err(stdout)
}
