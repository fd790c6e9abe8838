//! Words for people: times, sizes, names of interfaces; and the only place that writes to the
//! standard error.

use std::fmt::Display;
use std::time::Duration;

use tapstone::{Free, Retention};
use tapstone_packet::capture_file::options;
use tapstone_packet::interface::Interface;
use tapstone_packet::names;

/// Tells a person what went wrong, or how it went.
#[expect(clippy::print_stderr, reason = "this is where the program speaks to its user")]
pub(crate) fn say(text: &impl Display) {
    eprintln!("{text}");
}

/// Tells a person what went wrong.
pub(crate) fn complain(text: &impl Display) {
    say(&format_args!("tapstone: {text}"));
}

/// A number of bytes.
pub(crate) fn size(bytes: u64) -> String {
    indicatif::HumanBytes(bytes).to_string()
}

/// What is kept, as a sentence.
pub(crate) fn retention(retention: &Retention) -> String {
    let mut until = Vec::new();
    until.extend(retention.keep_free.map(|free| match free {
        Free::Percent(percent) => format!("less than {percent} % of the disk is free"),
        Free::Bytes(bytes) => format!("less than {} of the disk are free", size(bytes)),
    }));
    until.extend(retention.keep_for.map(|age| {
        let hours = age.as_secs_f64() / 3600.0;
        format!("they are {hours:.1} hours old")
    }));
    until
        .extend(retention.max_size.map(|most| format!("the store takes more than {}", size(most))));
    format!("the oldest packets are let go when {}", until.join(", or "))
}

/// What holds keep, as a sentence.
pub(crate) fn held_back(segments: u64, bytes: u64) -> String {
    let bytes = size(bytes);
    format!("holds keep {segments} segments ({bytes}) that retention would let go")
}

/// A text on one line, and nothing in it that a terminal would follow.
pub(crate) fn line(text: &str) -> String {
    text.chars().map(|it| if it.is_control() { ' ' } else { it }).collect()
}

/// A stretch of time.
pub(crate) fn duration(duration: Duration) -> String {
    let millis = duration.as_secs_f64() * 1000.0;
    if millis < 1000.0 { format!("{millis:.1} ms") } else { format!("{:.2} s", millis / 1000.0) }
}

/// An interface's name: its own, or its number's.
pub(crate) fn interface(interface: &Interface) -> Option<String> {
    options::find(&interface.options, options::INTERFACE_NAME).map(names::display)
}
