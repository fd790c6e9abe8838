//! `tapstone flows`

use std::io::{self, BufWriter, Write};
use std::time::{Duration, Instant};

use serde_json::json;
use tapstone_client::proto;

use super::{complete, selection, tell_completeness, time};
use crate::backend::Backend;
use crate::cli::FlowsArgs;
use crate::exit::{Failure, stdout};
use crate::text;

const HEADER: [&str; 8] = ["FIRST", "DURATION", "PROTO", "FROM", "TO", "PACKETS", "BYTES", "NAMES"];

pub(crate) fn run(args: &FlowsArgs) -> Result<u8, Failure> {
    let selection = selection(&args.selectors)?;
    let backend = Backend::open(&args.selectors.place, false)?;
    let started = Instant::now();
    backend.wait_until_indexed();
    let mut out = BufWriter::new(io::stdout().lock());
    let mut is_first = true;
    let end = backend.flows(selection, &mut |flow| {
        if args.json {
            return writeln!(out, "{}", as_json(flow)).map_err(stdout);
        }
        if std::mem::take(&mut is_first) {
            write_row(&mut out, HEADER.map(str::to_owned))?;
        }
        write_row(&mut out, as_row(flow))
    })?;
    out.flush().map_err(stdout)?;
    let code = tell_completeness(end.completeness.as_ref());
    let took = text::duration(started.elapsed());
    text::say(&format_args!("{} flows, {took}, {}", end.flows, complete(code)));
    if end.cut && args.selectors.range.limit.is_none() {
        text::complain(&"the server gives no more at once; ask for less time");
    }
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

fn end_text(end: Option<&proto::Endpoint>) -> String {
    end.map_or("-".to_owned(), |end| match (end.address.contains(':'), end.port) {
        (true, Some(port)) => format!("[{}]:{port}", end.address),
        (false, Some(port)) => format!("{}:{port}", end.address),
        (_, None) => end.address.clone(),
    })
}

/// From the first packet to the last.
fn duration(flow: &proto::Flow) -> Duration {
    let nanos = |time: Option<prost_types::Timestamp>| {
        time.map_or(0, |time| i128::from(time.seconds) * 1_000_000_000 + i128::from(time.nanos))
    };
    Duration::from_nanos(u64::try_from(nanos(flow.last) - nanos(flow.first)).unwrap_or(0))
}

fn as_row(flow: &proto::Flow) -> [String; 8] {
    let mut shown: Vec<&str> = flow.names.iter().map(|name| name.name.as_str()).collect();
    shown.dedup();
    [
        time(flow.first.as_ref()).unwrap_or_default(),
        text::duration(duration(flow)),
        flow.protocol.clone(),
        end_text(flow.from.as_ref()),
        end_text(flow.to.as_ref()),
        flow.packets.to_string(),
        flow.bytes.to_string(),
        shown.join(" "),
    ]
}

fn as_json(flow: &proto::Flow) -> serde_json::Value {
    let (from, to) = (flow.from.as_ref(), flow.to.as_ref());
    let community_id = Some(&flow.community_id).filter(|id| !id.is_empty());
    let name = |name: &proto::Name| json!({ "kind": name.kind, "name": name.name });
    json!({
        "flow": flow.flow,
        "first": time(flow.first.as_ref()),
        "last": time(flow.last.as_ref()),
        "src": from.map(|end| &end.address),
        "src_port": from.and_then(|end| end.port),
        "dst": to.map(|end| &end.address),
        "dst_port": to.and_then(|end| end.port),
        "protocol": flow.protocol,
        "packets": flow.packets,
        "bytes": flow.bytes,
        "community_id": community_id,
        "names": flow.names.iter().map(name).collect::<Vec<_>>(),
    })
}
