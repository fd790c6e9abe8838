//! `tapstone capture`, and `tapstone serve -i`: the packets of network interfaces.

use std::io::{self, IsTerminal};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tapstone::{
    Capture, CaptureCounts, CaptureError, CaptureOptions, LiveSource, Store, Thinning,
    give_up_privileges,
};

use super::report::{capture_json, capture_text, print_json};
use crate::cli;
use crate::exit::Failure;
use crate::service::convert;
use crate::text;

/// How often it is shown how a capture goes.
const SHOWN: Duration = Duration::from_secs(1);

/// Opens the interfaces, before anything else is touched; gives up every privilege then.
pub(super) fn open(
    args: &cli::Live,
    thinning: &Thinning,
    shards: usize,
) -> Result<Vec<LiveSource>, Failure> {
    let options = |interface: &String| CaptureOptions {
        interface: interface.clone(),
        filter: args.filter.clone(),
        snap_len: args.snap_len,
        buffer: args.buffer.map_or(CaptureOptions::BUFFER, |size| size as usize),
        promiscuous: !args.no_promisc,
        thinning: thinning.clone(),
    };
    let opened = args.interfaces.iter().map(|it| LiveSource::open(&options(it), shards));
    let opened = opened.collect::<Result<Vec<_>, _>>()?;
    if !opened.is_empty() {
        give_up_privileges().map_err(Failure::Privileges)?;
    }
    Ok(opened)
}

/// A capture that goes on while this process does something else.
pub(super) struct Live {
    capture: Option<Capture>,
    json: bool,
}

impl Live {
    pub(super) fn start(store: &Store, sources: Vec<LiveSource>, json: bool) -> Live {
        for source in &sources {
            tracing::info!("capturing from {}", source.name());
        }
        let capture = (!sources.is_empty()).then(|| store.capture(sources));
        Live { capture, json }
    }

    /// Whether anything is captured.
    pub(super) fn is_there(&self) -> bool {
        self.capture.is_some()
    }

    /// Shows how it goes, on a terminal; returns when it ended by itself, since packets cannot be
    /// stored any more.
    pub(super) async fn watch(&self) {
        let Some(capture) = &self.capture else { return std::future::pending().await };
        let line = progress_line();
        let mut before = capture.counts();
        while !capture.is_over() {
            tokio::time::sleep(SHOWN).await;
            let now = capture.counts();
            line.set_message(progress(&before, &now));
            before = now;
        }
    }

    /// Lets no more packets come, stores those that have come, and reports.
    pub(super) fn stop(self) -> Result<(), Failure> {
        let Some(capture) = self.capture else { return Ok(()) };
        let counts = capture.counts();
        let (counts, result) = match capture.stop() {
            Ok(counts) => (counts, Ok(())),
            Err(error) => (counts, Err(error)),
        };
        let counts: Vec<_> = counts.iter().map(convert::capture).collect();
        if self.json {
            print_json(&counts.iter().map(capture_json).collect::<Vec<_>>().into())?;
        } else {
            for capture in &counts {
                let text = capture_text(capture);
                text::say(&format_args!("{}: {text}", capture.interface));
            }
        }
        result.map_err(|error: CaptureError| error.into())
    }
}

fn progress_line() -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{msg}").expect("the template is one");
    ProgressBar::new_spinner().with_style(style)
}

/// What came in the second between.
fn progress(before: &[CaptureCounts], now: &[CaptureCounts]) -> String {
    let sum = |counts: &[CaptureCounts], count: fn(&CaptureCounts) -> u64| -> u64 {
        counts.iter().map(count).sum()
    };
    let since = |count| sum(now, count) - sum(before, count);
    let gigabits = since(|it| it.stored_bytes) as f64 * 8.0 / 1e9 / SHOWN.as_secs_f64();
    format!(
        "{} packets/s, {gigabits:.2} Gbit/s; {} received, {} stored ({}), {} left out, {} lost",
        since(|it| it.received),
        sum(now, |it| it.received),
        sum(now, |it| it.stored),
        text::size(sum(now, |it| it.stored_bytes)),
        sum(now, |it| it.filtered + it.thinned()),
        sum(now, CaptureCounts::lost),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_of_all_interfaces_together() {
        let counts = |received, stored_bytes| CaptureCounts {
            received,
            stored: received - 1,
            stored_bytes,
            lost: [1, 0, 0, 0, 0, 0],
            ..CaptureCounts::default()
        };
        let before = [counts(10, 1000), counts(20, 0)];
        let now = [counts(40, 125_001_000), counts(20, 0)];
        let expected =
            "30 packets/s, 1.00 Gbit/s; 60 received, 58 stored (119.21 MiB), 0 left out, 2 lost";
        assert_eq!(progress(&before, &now), expected);
    }
}
