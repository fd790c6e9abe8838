//! `tapstone import`

use std::io::{self, IsTerminal};
use std::path::Path;
use std::rc::Rc;
use std::time::Instant;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use tapstone_client::proto;

use super::time;
use crate::backend::Backend;
use crate::cli::Import;
use crate::exit::{COMPLETE, Failure, INCOMPLETE, stdout};
use crate::{input, text};

type Result<T> = std::result::Result<T, Failure>;

pub(crate) fn run(args: &Import) -> Result<u8> {
    let backend = Backend::open(&args.place, true)?;
    let mut files = Vec::new();
    let mut outcome = Outcome::default();
    for path in &args.files {
        let started = Instant::now();
        let result = import(&backend, path, args.again);
        outcome.add(&result);
        let seconds = started.elapsed();
        if args.json {
            files.push(as_json(path, &result));
        } else {
            tell(path, &result, seconds);
        }
        if result.as_ref().is_err_and(Failure::is_of_the_store) {
            // What cannot be stored of one file cannot be stored of the next.
            break;
        }
    }
    backend.close()?;
    if args.json {
        let report = json!({
            "complete": outcome.code() == COMPLETE,
            "packets": outcome.packets,
            "packet_bytes": outcome.packet_bytes,
            "files": files,
        });
        let mut out = io::stdout().lock();
        serde_json::to_writer_pretty(&mut out, &report).map_err(|error| stdout(error.into()))?;
        io::Write::write_all(&mut out, b"\n").map_err(stdout)?;
    }
    Ok(outcome.code())
}

#[derive(Default)]
struct Outcome {
    packets: u64,
    packet_bytes: u64,
    refused: u64,
    incomplete: bool,
}

impl Outcome {
    fn add(&mut self, result: &Result<proto::ImportResponse>) {
        match result {
            Ok(report) => {
                self.packets += report.packets;
                self.packet_bytes += report.packet_bytes;
                self.refused += u64::from(report.refused);
                self.incomplete |= report.damage.is_some();
            }
            Err(_) => self.incomplete = true,
        }
    }

    /// A command that only met what is stored already has imported nothing, and says so.
    fn code(&self) -> u8 {
        let nothing_new = self.refused > 0 && self.packets == 0;
        if self.incomplete || nothing_new { INCOMPLETE } else { COMPLETE }
    }
}

fn import(backend: &Backend, path: &Path, again: bool) -> Result<proto::ImportResponse> {
    let bar = Rc::new(progress_bar());
    let told = Rc::clone(&bar);
    let input = input::open(path, move |bytes| told.inc(bytes)).map_err(Failure::Source)?;
    if let Some(length) = input.length {
        bar.set_length(length);
    }
    let name = path.to_string_lossy().into_owned();
    bar.set_message(name.clone());
    let report = backend.import(input.reader, proto::ImportStart { name, again });
    bar.finish_and_clear();
    report
}

fn progress_bar() -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template(
        "{msg} {bytes}/{total_bytes} {wide_bar} {bytes_per_sec} {eta}",
    );
    ProgressBar::new(0).with_style(style.expect("the template is a constant"))
}

fn tell(path: &Path, result: &Result<proto::ImportResponse>, took: std::time::Duration) {
    let path = path.display();
    let report = match result {
        Ok(report) => report,
        Err(error) => return text::complain(&format_args!("{path}: {error}")),
    };
    if report.refused {
        let known = report.known.clone().unwrap_or_default();
        text::complain(&format_args!(
            "{path}: already in this store (as {}, {}, {} packets); nothing was added; use --again \
             to store it a second time",
            known.source,
            time(known.stored.as_ref()).unwrap_or_default(),
            known.packets,
        ));
    } else {
        let size = text::size(report.packet_bytes);
        let took = text::duration(took);
        let mut line = format!("{path}: {} packets, {size} stored in {took}", report.packets);
        if let Some(known) = &report.known {
            line += &format!("; {} packets were stored before", known.packets);
        }
        if report.cut_packets > 0 {
            line += &format!("; {} packets cut to the file's snapshot length", report.cut_packets);
        }
        if report.skipped_blocks > 0 {
            line += &format!("; {} blocks without packets passed over", report.skipped_blocks);
        }
        text::say(&line);
    }
    if let Some(damage) = &report.damage {
        let proto::CaptureDamage { what, offset } = damage;
        text::complain(&format_args!(
            "{path}: at byte {offset}: {what}; what comes before is stored"
        ));
    }
}

fn as_json(path: &Path, result: &Result<proto::ImportResponse>) -> Value {
    let file = path.to_string_lossy();
    match result {
        Ok(report) => json!({
            "file": file,
            "packets": report.packets,
            "packet_bytes": report.packet_bytes,
            "stream_bytes": report.stream_bytes,
            "already_stored": report.known.as_ref().map_or(0, |known| known.packets),
            "refused": report.refused,
            "skipped_blocks": report.skipped_blocks,
            "cut_packets": report.cut_packets,
            "damage": report.damage.as_ref().map(|damage| json!({
                "offset": damage.offset,
                "what": damage.what,
            })),
        }),
        Err(error) => json!({ "file": file, "error": error.to_string() }),
    }
}
