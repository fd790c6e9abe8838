//! `tapstone histogram`

use std::io::{self, BufWriter, Write};
use std::time::{Duration, Instant};

use serde_json::json;
use tapstone_client::{duration, proto};

use super::{complete, selection, tell_completeness, time};
use crate::backend::Backend;
use crate::cli::{By, Histogram};
use crate::exit::{Failure, stdout};
use crate::text;

/// Characters of the longest bar.
const WIDTH: u64 = 40;

pub(crate) fn run(args: &Histogram) -> Result<u8, Failure> {
    let selection = selection(&args.selectors)?;
    let width = Duration::try_from(args.width).ok().filter(|width| !width.is_zero());
    let width = width.ok_or(Failure::Width)?;
    let by = match args.by {
        None => proto::GroupBy::Unspecified,
        Some(By::Interface) => proto::GroupBy::Interface,
        Some(By::Protocol) => proto::GroupBy::Protocol,
    };
    let backend = Backend::open(&args.selectors.place, false)?;
    let started = Instant::now();
    if !selection.metadata.is_empty() {
        backend.wait_until_indexed();
    }
    let histogram = backend.histogram(proto::HistogramRequest {
        selection: Some(selection),
        width: Some(duration(width)),
        by: by.into(),
    })?;
    let mut out = BufWriter::new(io::stdout().lock());
    let most = histogram.bars.iter().map(|bar| bar.packets).max().unwrap_or(0);
    for bar in &histogram.bars {
        let line = if args.json { as_json(bar) } else { as_line(bar, most) };
        writeln!(out, "{line}").map_err(stdout)?;
    }
    out.flush().map_err(stdout)?;
    let code = tell_completeness(histogram.completeness.as_ref());
    text::say(&format_args!(
        "{} packets in {} bars, {}, {}",
        histogram.bars.iter().map(|bar| bar.packets).sum::<u64>(),
        histogram.bars.len(),
        text::duration(started.elapsed()),
        complete(code),
    ));
    Ok(code)
}

fn as_line(bar: &proto::Bar, most: u64) -> String {
    let length = (bar.packets * WIDTH).div_ceil(most.max(1));
    format!(
        "{:<30} {:<12} {:>10} {:>14} {}",
        time(bar.start.as_ref()).unwrap_or_default(),
        bar.group,
        bar.packets,
        bar.bytes,
        "#".repeat(usize::try_from(length).unwrap_or(0)),
    )
}

fn as_json(bar: &proto::Bar) -> String {
    json!({
        "start": time(bar.start.as_ref()),
        "group": bar.group,
        "packets": bar.packets,
        "bytes": bar.bytes,
    })
    .to_string()
}
