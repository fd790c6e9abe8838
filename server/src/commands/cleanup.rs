//! `tapstone cleanup`

use std::io::{self, Write};

use serde_json::{Value, json};
use tapstone_client::proto;

use super::report::{held_back_json, print_json};
use super::time;
use crate::backend::Backend;
use crate::cli::CleanupArgs;
use crate::config::RetentionSettings;
use crate::exit::{COMPLETE, Failure, INCOMPLETE, stdout};
use crate::text;

pub(crate) fn run(args: &CleanupArgs) -> Result<u8, Failure> {
    let settings = RetentionSettings {
        keep_free: args.keep_free.clone(),
        keep_for: args.keep_for.clone(),
        max_size: args.max_size.clone(),
    };
    let retention = settings.retention(false)?;
    let backend = Backend::open(&args.place, false)?;
    let report = backend.cleanup(retention)?;
    backend.close()?;
    if args.json {
        print_json(&json(&report))?;
    } else {
        let mut out = io::stdout().lock();
        lines(&report).iter().try_for_each(|line| writeln!(out, "{line}")).map_err(stdout)?;
    }
    let falls_short = report.held_back.is_some_and(|it| it.falls_short);
    Ok(if falls_short { INCOMPLETE } else { COMPLETE })
}

fn json(report: &proto::CleanupResponse) -> Value {
    let gone = |it: &proto::LetGo| {
        json!({
            "by": it.by,
            "segments": it.segments,
            "packets": it.packets,
            "packet_bytes": it.packet_bytes,
            "first": time(it.first.as_ref()),
            "last": time(it.last.as_ref()),
        })
    };
    json!({
        "due": report.due,
        "gone": report.gone.iter().map(gone).collect::<Vec<_>>(),
        "finished": report.finished,
        "given_back": report.given_back,
        "held_back": report.held_back.as_ref().map(held_back_json),
        "keys_destroyed": report.keys_destroyed,
        "splits": report.splits,
        "logs": report.logs,
        "rows": report.rows,
        "names": report.names,
        "leftovers": report.leftovers,
    })
}

/// What happened, in words; what did not is not said.
fn lines(report: &proto::CleanupResponse) -> Vec<String> {
    let mut lines = Vec::new();
    for it in &report.gone {
        lines.push(format!(
            "{} segments with {} packets ({}) were let go, by {}",
            it.segments,
            it.packets,
            text::size(it.packet_bytes),
            it.by
        ));
    }
    if let Some(held) = report.held_back.as_ref().filter(|held| held.segments > 0) {
        lines.push(text::held_back(held.segments, held.bytes));
    }
    let counted = [
        (report.finished, "segments that had gone before were removed"),
        (report.keys_destroyed, "days' keys were destroyed: nothing of them is left"),
        (report.splits, "indexes of no segment were removed"),
        (report.logs, "logs that nothing needs were removed"),
        (report.rows, "rows about what is gone were taken out of the catalog"),
        (report.names, "names that nothing was found by any more were forgotten"),
        (report.leftovers, "files that a crash had left were removed"),
    ];
    let some = counted.into_iter().filter(|(count, _)| *count > 0);
    lines.extend(some.map(|(count, what)| format!("{count} {what}")));
    lines.push(format!("{} given back", text::size(report.given_back)));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_did_not_happen_is_not_said() {
        let nothing = proto::CleanupResponse::default();
        assert_eq!(lines(&nothing), ["0 B given back"]);
        let report = proto::CleanupResponse {
            gone: vec![proto::LetGo { by: "age".into(), segments: 2, ..Default::default() }],
            held_back: Some(proto::HeldBack { segments: 1, bytes: 5, falls_short: true }),
            keys_destroyed: 1,
            given_back: 1 << 20,
            ..nothing
        };
        let lines = lines(&report);
        assert_eq!(lines.len(), 4, "{lines:?}");
        assert!(lines[0].starts_with("2 segments") && lines[0].ends_with("by age"), "{lines:?}");
        assert!(lines[2].starts_with("1 days' keys"), "{lines:?}");
        assert_eq!(lines[3], "1.00 MiB given back");
        assert_eq!(json(&report)["held_back"]["falls_short"], true);
    }
}
