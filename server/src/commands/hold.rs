//! `tapstone hold add`, `tapstone hold list`, `tapstone hold remove`, `tapstone hold accept`

use std::io::{self, Write};

use serde_json::{Value, json};
use tapstone_client::proto;

use super::report::print_json;
use super::{about, time};
use crate::backend::Backend;
use crate::cli::{Hold, HoldAdd, HoldRemove, Report, Seal};
use crate::exit::{COMPLETE, Failure, INCOMPLETE, stdout};
use crate::text;

pub(crate) fn run(command: &Hold) -> Result<u8, Failure> {
    match command {
        Hold::Add(args) => add(args),
        Hold::List(args) => list(args),
        Hold::Remove(args) => remove(args),
        Hold::Accept(args) => accept(args),
    }
}

fn add(args: &HoldAdd) -> Result<u8, Failure> {
    let selection = proto::Selection { filter: args.filter.join(" "), ..about(&args.about)? };
    let backend = Backend::open(&args.place, false)?;
    let hold = backend.add_hold(selection, args.reason.clone())?;
    match args.json {
        true => print_json(&hold_json(&hold))?,
        false => print(&[hold])?,
    }
    Ok(COMPLETE)
}

fn list(args: &Report) -> Result<u8, Failure> {
    let proto::ListHoldsResponse { holds, in_doubt } =
        Backend::open(&args.place, false)?.holds()?;
    if args.json {
        let holds: Vec<Value> = holds.iter().map(hold_json).collect();
        print_json(&json!({ "holds": holds, "in_doubt": in_doubt }))?;
    } else {
        print(&holds)?;
    }
    if !in_doubt {
        return Ok(COMPLETE);
    }
    text::complain(
        &"the ledger was damaged and holds may be missing, so nothing is let go: add what is missing, \
          and then run: tapstone hold accept",
    );
    Ok(INCOMPLETE)
}

fn remove(args: &HoldRemove) -> Result<u8, Failure> {
    let hold = Backend::open(&args.place, false)?.remove_hold(args.id)?;
    text::say(&format_args!("removed: {}", line(&hold)));
    Ok(COMPLETE)
}

fn accept(args: &Seal) -> Result<u8, Failure> {
    Backend::open(&args.place, false)?.accept_holds()?;
    Ok(COMPLETE)
}

fn print(holds: &[proto::Hold]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    holds.iter().try_for_each(|hold| writeln!(out, "{}", line(hold))).map_err(stdout)
}

/// A hold on one line, whatever its texts have in them.
fn line(hold: &proto::Hold) -> String {
    let added = time(hold.added.as_ref()).unwrap_or_default();
    let mut what = Vec::new();
    what.extend(time(hold.since.as_ref()).map(|it| format!("since {it}")));
    what.extend(time(hold.until.as_ref()).map(|it| format!("until {it}")));
    what.extend(Some(&hold.filter).filter(|it| !it.is_empty()).cloned());
    what.extend(Some(&hold.metadata).filter(|it| !it.is_empty()).map(|it| format!("where {it}")));
    let what = if what.is_empty() { "everything".to_owned() } else { what.join(", ") };
    text::line(&format!("{}  {added}  {}  {what}  ({})", hold.id, hold.by, hold.reason))
}

fn hold_json(hold: &proto::Hold) -> Value {
    json!({
        "id": hold.id,
        "since": time(hold.since.as_ref()),
        "until": time(hold.until.as_ref()),
        "filter": hold.filter,
        "where": hold.metadata,
        "reason": hold.reason,
        "by": hold.by,
        "added": time(hold.added.as_ref()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hold_takes_one_line() {
        let at = |seconds| Some(prost_types::Timestamp { seconds, nanos: 0 });
        let hold = proto::Hold {
            id: 7,
            since: at(0),
            filter: "tcp\nport 80".into(),
            metadata: "sni:x".into(),
            reason: "case \u{1b}[2J 12".into(),
            by: "alice".into(),
            added: at(1),
            ..proto::Hold::default()
        };
        assert_eq!(
            line(&hold),
            "7  1970-01-01T00:00:01.000000000Z  alice  since 1970-01-01T00:00:00.000000000Z, \
             tcp port 80, where sni:x  (case  [2J 12)"
        );
        let all = proto::Hold { id: 8, by: "bob".into(), added: at(1), ..proto::Hold::default() };
        assert_eq!(line(&all), "8  1970-01-01T00:00:01.000000000Z  bob  everything  ()");
    }
}
