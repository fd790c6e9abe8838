//! `tapstone query`

use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::Path;
use std::time::Instant;

use serde_json::json;
use tapstone::{DirectWriter, OpenOptions, Packet, Packets, format_instant};
use tapstone_packet::decode::Decoder;
use tapstone_packet::summary::{Summary, summarise};

use super::{open, selection, tell_completeness};
use crate::cli::Query;
use crate::exit::{COMPLETE, Failure, stdout};
use crate::export::Export;
use crate::text;

pub(crate) fn run(args: &Query) -> Result<u8, Failure> {
    let selection = selection(&args.selectors)?;
    let store = open(&args.selectors.store, OpenOptions::default())?;
    let started = Instant::now();
    if !selection.metadata.is_empty() {
        store.wait_until_indexed();
    }
    let answer = if args.count {
        let answer = store.count(&selection)?;
        writeln!(io::stdout(), "{}", answer.packets).map_err(stdout)?;
        answer
    } else {
        let mut packets = store.query(&selection)?;
        match &args.write {
            _ if args.json => json_lines(&mut packets)?,
            Some(path) if path != Path::new("-") => {
                let what = path.display().to_string();
                let file = DirectWriter::create(path)?;
                let file = export(&mut packets, Export::new(file, what.clone(), args.format))?;
                file.finish().map_err(|source| Failure::Write { what, source })?;
            }
            None if io::stdout().is_terminal() => lines(&mut packets)?,
            _ => {
                let what = "the standard output".to_owned();
                drop(export(&mut packets, Export::new(io::stdout().lock(), what, args.format))?);
            }
        }
        packets.answer().clone()
    };
    let code = tell_completeness(&answer.completeness);
    text::say(&format_args!(
        "{} packets, {} bytes, {}, {}",
        answer.packets,
        answer.bytes,
        text::duration(started.elapsed()),
        if code == COMPLETE { "complete" } else { "NOT complete" },
    ));
    Ok(code)
}

fn export<W: Write>(packets: &mut Packets, mut export: Export<W>) -> Result<W, Failure> {
    for packet in packets {
        export.packet(&packet)?;
    }
    export.finish()
}

fn lines(packets: &mut Packets) -> Result<(), Failure> {
    let mut out = BufWriter::new(io::stdout().lock());
    let mut decoder = Decoder::new();
    for packet in packets {
        let summary = look(&mut decoder, &packet);
        writeln!(out, "{} {summary}", format_instant(packet.time())).map_err(stdout)?;
    }
    out.flush().map_err(stdout)
}

fn json_lines(packets: &mut Packets) -> Result<(), Failure> {
    let mut out = BufWriter::new(io::stdout().lock());
    let mut decoder = Decoder::new();
    for packet in packets {
        let summary = look(&mut decoder, &packet);
        let interface = packet.interface();
        let line = json!({
            "time": format_instant(packet.time()),
            "src": summary.source.map(|end| end.address.to_string()),
            "src_port": summary.source.and_then(|end| end.port),
            "dst": summary.destination.map(|end| end.address.to_string()),
            "dst_port": summary.destination.and_then(|end| end.port),
            "protocol": summary.protocol,
            "vlan": summary.vlans,
            "captured": packet.data().len(),
            "length": packet.original_len(),
            "interface": text::interface(interface),
            "link_type": interface.link_type.0,
            "flow": packet.flow().to_string(),
        });
        writeln!(out, "{line}").map_err(stdout)?;
    }
    out.flush().map_err(stdout)
}

fn look(decoder: &mut Decoder, packet: &Packet) -> Summary {
    summarise(decoder, packet.interface(), packet.data())
}
