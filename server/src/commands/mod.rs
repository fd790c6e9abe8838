//! What each command does.

mod flows;
mod import;
mod query;
mod report;
mod token;

use std::path::Path;

use tapstone::{Completeness, OpenOptions, Selection, Store, Timestamp, parse_instant};

use crate::cli::{Command, Selectors};
use crate::exit::{COMPLETE, Failure, INCOMPLETE};
use crate::text;

/// Runs a command; gives its exit code.
pub(crate) fn run(command: &Command) -> Result<u8, Failure> {
    match command {
        Command::Import(args) => import::run(args),
        Command::Query(args) => query::run(args),
        Command::Flows(args) => flows::run(args),
        Command::Info(args) => report::info(args),
        Command::Check(args) => report::check(args),
        Command::Rebuild(args) => report::rebuild(args),
        Command::Token(args) => token::run(args),
    }
}

fn open(store: &Path, options: OpenOptions) -> Result<Store, Failure> {
    let store = Store::open(store, options)?;
    if let Some(refused) = store.without_ring() {
        text::complain(&format_args!("{refused}; going on with blocking I/O, which is slower"));
    }
    Ok(store)
}

fn selection(selectors: &Selectors) -> Result<Selection, Failure> {
    let now = Timestamp::from_nanos(
        jiff::Timestamp::now().as_nanosecond().try_into().unwrap_or(i64::MAX),
    );
    let instant =
        |text: &Option<String>| text.as_ref().map(|text| parse_instant(text, now)).transpose();
    Ok(Selection {
        since: instant(&selectors.since)?,
        until: instant(&selectors.until)?,
        filter: selectors.filter.join(" "),
        metadata: selectors.metadata.clone().unwrap_or_default(),
        limit: selectors.limit,
    })
}

/// Says what an answer lacks; gives the exit code.
fn tell_completeness(completeness: &Completeness) -> u8 {
    for refused in &completeness.refused {
        let link_type = refused.link_type.0;
        text::complain(&format_args!(
            "the filter cannot be asked of packets of link type {link_type}, which do not match: {}",
            refused.reason
        ));
    }
    for missing in &completeness.missing {
        text::complain(&format_args!("missing: {missing}"));
    }
    if completeness.is_complete() { COMPLETE } else { INCOMPLETE }
}
