//! `tapstone query`

use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::Path;
use std::time::Instant;

use serde_json::json;
use tapstone::{Cursor, DirectWriter, format_instant};
use tapstone_client::proto;
use tapstone_packet::decode::Decoder;
use tapstone_packet::summary::{Summary, summarise};

use super::{complete, selection, tell_completeness};
use crate::backend::{Backend, Seen};
use crate::cli::Query;
use crate::exit::{Failure, stdout};
use crate::text;

pub(crate) fn run(args: &Query) -> Result<u8, Failure> {
    let selection = selection(&args.selectors)?;
    let backend = Backend::open(&args.selectors.place, false)?;
    let started = Instant::now();
    if !selection.metadata.is_empty() {
        backend.wait_until_indexed();
    }
    let answer = if args.count {
        let answer = backend.count(selection)?;
        writeln!(io::stdout(), "{}", answer.packets).map_err(stdout)?;
        answer
    } else {
        give(&backend, selection, args)?
    };
    let code = tell_completeness(answer.completeness.as_ref());
    text::say(&format_args!(
        "{} packets, {} bytes, {}, {}",
        answer.packets,
        answer.bytes,
        text::duration(started.elapsed()),
        complete(code),
    ));
    if answer.ended() == proto::Ended::PacketLimit
        && let Ok(cursor) = Cursor::from_bytes(&answer.cursor)
        && !args.count
    {
        text::say(&format_args!("the limit was reached; go on with --after {cursor}"));
    }
    Ok(code)
}

/// Writes or shows packets.
fn give(
    backend: &Backend,
    selection: proto::Selection,
    args: &Query,
) -> Result<proto::Answer, Failure> {
    match &args.write {
        _ if args.json => lines(backend, selection, as_json),
        Some(path) if path != Path::new("-") => {
            let what = path.display().to_string();
            let file = DirectWriter::create(path)?;
            let (file, answer) = backend.export(selection, args.format, file, &what)?;
            file.finish().map_err(|source| Failure::Write { what, source })?;
            Ok(answer)
        }
        None if io::stdout().is_terminal() => lines(backend, selection, as_line),
        _ => {
            let out = io::stdout().lock();
            Ok(backend.export(selection, args.format, out, "the standard output")?.1)
        }
    }
}

fn lines(
    backend: &Backend,
    selection: proto::Selection,
    line: impl Fn(&Seen<'_>, &Summary) -> String,
) -> Result<proto::Answer, Failure> {
    let mut out = BufWriter::new(io::stdout().lock());
    let mut decoder = Decoder::new();
    let answer = backend.packets(selection, &mut |packet| {
        let summary = summarise(&mut decoder, packet.interface, packet.data);
        writeln!(out, "{}", line(packet, &summary)).map_err(stdout)
    })?;
    out.flush().map_err(stdout)?;
    Ok(answer)
}

fn as_line(packet: &Seen<'_>, summary: &Summary) -> String {
    format!("{} {summary}", format_instant(packet.time))
}

fn as_json(packet: &Seen<'_>, summary: &Summary) -> String {
    json!({
        "time": format_instant(packet.time),
        "src": summary.source.map(|end| end.address.to_string()),
        "src_port": summary.source.and_then(|end| end.port),
        "dst": summary.destination.map(|end| end.address.to_string()),
        "dst_port": summary.destination.and_then(|end| end.port),
        "protocol": summary.protocol,
        "vlan": summary.vlans,
        "captured": packet.data.len(),
        "length": packet.original_len,
        "interface": text::interface(packet.interface),
        "link_type": packet.interface.link_type.0,
        "flow": packet.flow.to_string(),
    })
    .to_string()
}
