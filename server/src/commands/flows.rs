//! `tapstone flows`

use std::io::{self, BufWriter, Write};
use std::time::{Duration, Instant};

use serde_json::json;
use tapstone::{Flow, OpenOptions, format_instant};
use tapstone_packet::flow::{Endpoint, KeyPart};
use tapstone_packet::names;
use tapstone_packet::summary::protocol_name;

use super::{open, selection, tell_completeness};
use crate::cli::FlowsArgs;
use crate::exit::{COMPLETE, Failure, stdout};
use crate::text;

pub(crate) fn run(args: &FlowsArgs) -> Result<u8, Failure> {
    let selection = selection(&args.selectors)?;
    let store = open(&args.selectors.store, OpenOptions::default())?;
    let started = Instant::now();
    let flows = store.flows(&selection)?;
    let mut out = BufWriter::new(io::stdout().lock());
    if !args.json && !flows.flows.is_empty() {
        let header = ["FIRST", "DURATION", "PROTO", "FROM", "TO", "PACKETS", "BYTES", "NAMES"];
        write_row(&mut out, header.map(str::to_owned))?;
    }
    for flow in &flows.flows {
        if args.json {
            writeln!(out, "{}", as_json(flow)).map_err(stdout)?;
        } else {
            write_row(&mut out, as_row(flow))?;
        }
    }
    out.flush().map_err(stdout)?;
    let code = tell_completeness(&flows.completeness);
    text::say(&format_args!(
        "{} flows, {}, {}",
        flows.flows.len(),
        text::duration(started.elapsed()),
        if code == COMPLETE { "complete" } else { "NOT complete" },
    ));
    Ok(code)
}

fn write_row(out: &mut impl Write, cells: [String; 8]) -> Result<(), Failure> {
    let [first, duration, protocol, from, to, packets, bytes, names] = cells;
    writeln!(
        out,
        "{first:<30} {duration:>10} {protocol:<6} {from:<28} {to:<28} {packets:>8} {bytes:>12} {names}"
    )
    .map_err(stdout)
}

/// Who began and who answered, and the protocol.
fn ends(flow: &Flow) -> (Option<Endpoint>, Option<Endpoint>, String) {
    let key = flow.row.flow_key();
    match key.innermost() {
        Some(layer) => {
            let [first, second] = layer.ends;
            let (from, to) =
                if flow.row.first_end_started { (first, second) } else { (second, first) };
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
    }
}

fn end_text(end: Option<Endpoint>) -> String {
    end.map_or("-".to_owned(), |end| match (end.address.is_ipv6(), end.port) {
        (true, Some(port)) => format!("[{}]:{port}", end.address),
        (false, Some(port)) => format!("{}:{port}", end.address),
        (_, None) => end.address.to_string(),
    })
}

fn as_row(flow: &Flow) -> [String; 8] {
    let (from, to, protocol) = ends(flow);
    let row = &flow.row;
    let mut shown: Vec<String> = row.names.iter().map(|name| names::display(&name.name)).collect();
    shown.dedup();
    [
        format_instant(row.first),
        text::duration(Duration::from_nanos(row.duration_nanos())),
        protocol,
        end_text(from),
        end_text(to),
        row.packets.to_string(),
        row.bytes.to_string(),
        shown.join(" "),
    ]
}

fn as_json(flow: &Flow) -> serde_json::Value {
    let (from, to, protocol) = ends(flow);
    let row = &flow.row;
    let kind = |kind: names::NameKind| {
        let found = names::NameKind::ALL.into_iter().find(|(it, _)| *it == kind);
        found.map_or("", |(_, word)| word)
    };
    json!({
        "flow": flow.id.to_string(),
        "first": format_instant(row.first),
        "last": format_instant(row.last),
        "src": from.map(|end| end.address.to_string()),
        "src_port": from.and_then(|end| end.port),
        "dst": to.map(|end| end.address.to_string()),
        "dst_port": to.and_then(|end| end.port),
        "protocol": protocol,
        "packets": row.packets,
        "bytes": row.bytes,
        "community_id": row.flow_key().community_id(),
        "names": row.names.iter().map(|name| json!({
            "kind": kind(name.kind),
            "name": names::display(&name.name),
        })).collect::<Vec<_>>(),
    })
}
