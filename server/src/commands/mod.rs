//! What each command does.

mod audit;
mod backup;
mod cleanup;
mod compliance;
mod config;
mod expiring;
mod extcap;
mod flows;
mod histogram;
mod hold;
mod import;
mod live;
mod query;
mod report;
mod schedule;
mod scrub;
pub(crate) mod serve;
mod state;
mod token;

use tapstone::parse_instant;
use tapstone_client::proto;

use crate::cli::{About, Command, Range, Selectors};
use crate::exit::{COMPLETE, Failure, INCOMPLETE};
use crate::service::convert;
use crate::text;

/// Runs a command; gives its exit code.
pub(crate) fn run(command: &Command) -> Result<u8, Failure> {
    match command {
        Command::Import(args) => import::run(args),
        Command::Query(args) => query::run(args),
        Command::Flows(args) => flows::run(args),
        Command::Histogram(args) => histogram::run(args),
        Command::Info(args) => report::info(args),
        Command::State(args) => state::run(args),
        Command::Check(args) => report::check(args),
        Command::Cleanup(args) => cleanup::run(args),
        Command::Scrub(args) => scrub::run(args),
        Command::Rebuild(args) => report::rebuild(args),
        Command::Seal(args) => report::seal(args),
        Command::Capture(args) | Command::Serve(args) => serve::run(args),
        Command::Flush(args) => report::flush(args),
        Command::Report(args) => compliance::run(args),
        Command::Backup(args) => backup::back_up(args),
        Command::Restore(args) => backup::restore(args),
        Command::Hold(args) => hold::run(args),
        Command::Audit(args) => audit::run(args),
        Command::Config(args) => config::run(args),
        Command::Extcap(args) => extcap::run(args),
        Command::Token(args) => token::run(args),
    }
}

fn selection(selectors: &Selectors) -> Result<proto::Selection, Failure> {
    Ok(proto::Selection { filter: selectors.filter.join(" "), ..within(&selectors.range)? })
}

/// Everything of a range, whatever the filter.
fn within(range: &Range) -> Result<proto::Selection, Failure> {
    let after = range.after.map_or_else(Vec::new, tapstone::Cursor::to_bytes);
    Ok(proto::Selection { limit: range.limit, after, ..about(&range.about)? })
}

/// Everything of a time and a metadata query.
fn about(about: &About) -> Result<proto::Selection, Failure> {
    let now = convert::now();
    let instant =
        |text: &Option<String>| text.as_ref().map(|text| parse_instant(text, now)).transpose();
    Ok(proto::Selection {
        since: instant(&about.since)?.map(convert::time),
        until: instant(&about.until)?.map(convert::time),
        metadata: about.metadata.clone().unwrap_or_default(),
        ..proto::Selection::default()
    })
}

/// Says what an answer lacks; gives the exit code.
fn tell_completeness(completeness: Option<&proto::Completeness>) -> u8 {
    let nothing = proto::Completeness::default();
    let completeness = completeness.unwrap_or(&nothing);
    for refused in &completeness.refused {
        text::complain(&format_args!(
            "the filter cannot be asked of packets of link type {}, which do not match: {}",
            refused.link_type, refused.reason
        ));
    }
    for missing in &completeness.missing {
        let what = if missing.asked_for { "left out" } else { "missing" };
        text::complain(&format_args!("{what}: {}", missing.text));
    }
    if completeness.missing.iter().all(|it| it.asked_for) { COMPLETE } else { INCOMPLETE }
}

/// The word for it.
fn complete(code: u8) -> &'static str {
    if code == COMPLETE { "complete" } else { "NOT complete" }
}

/// An instant that a message holds.
fn time(time: Option<&prost_types::Timestamp>) -> Option<String> {
    time.map(|time| tapstone::format_instant(convert::timestamp(time)))
}
