//! `tapstone state`

use std::io::{self, Write};

use serde_json::{Value, json};
use tapstone_client::proto;

use super::report::print_json;
use super::time;
use crate::backend::Backend;
use crate::cli::StateArgs;
use crate::exit::{COMPLETE, Failure, INCOMPLETE, stdout};
use crate::text;

pub(crate) fn run(args: &StateArgs) -> Result<u8, Failure> {
    let backend = Backend::open(&args.place, false)?;
    let request = proto::StateRequest { watch: args.watch, history: args.history };
    let mut is_first = true;
    backend.state(request, &mut |state| {
        let first = std::mem::replace(&mut is_first, false);
        match args.json {
            true if args.watch => print_line(&state_json(&state)),
            true => print_json(&state_json(&state)),
            false if first => print_state(&state, args.history),
            false => print_change(&state),
        }
    })?;
    if args.watch && matches!(backend, Backend::Local(_)) {
        text::complain(&"no process keeps the store, so nothing changes");
        return Ok(INCOMPLETE);
    }
    Ok(COMPLETE)
}

/// One state on one line, for those who read line by line.
fn print_line(value: &Value) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    writeln!(out, "{value}").and_then(|()| out.flush()).map_err(stdout)
}

fn print_state(state: &proto::StateResponse, history: bool) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    let mut write = |text: String| writeln!(out, "{text}").map_err(stdout);
    if history {
        state.transitions.iter().try_for_each(|it| write(line(it)))?;
    }
    rows(state)
        .into_iter()
        .try_for_each(|(name, value)| write(format!("{name:<12} {}", text::line(&value))))?;
    out.flush().map_err(stdout)
}

/// What is known of the state, name by name.
fn rows(state: &proto::StateResponse) -> Vec<(&'static str, String)> {
    if state.state.is_empty() {
        return vec![("state", "nobody has kept the store yet".to_owned())];
    }
    let mut rows = vec![
        ("state", state.state.clone()),
        ("since", time(state.since.as_ref()).unwrap_or_default()),
        ("why", state.why.clone()),
    ];
    if !state.kept {
        rows.push(("kept", "no: this is what was recorded last".to_owned()));
    }
    let beside = state.active.iter().filter(|it| **it != state.state);
    rows.extend(beside.map(|it| ("beside it", it.clone())));
    let reading = |it: &proto::Reading| format!("{}: {} ({})", it.source, it.text, it.level);
    rows.extend(state.readings.iter().map(|it| ("reading", reading(it))));
    rows.extend(state.consequences.iter().map(|it| ("so", it.clone())));
    rows.extend(state.troubles.iter().map(|it| ("trouble", it.clone())));
    if state.unrecorded > 0 {
        rows.push(("unrecorded", format!("{} transitions", state.unrecorded)));
    }
    rows
}

fn print_change(state: &proto::StateResponse) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    let mut write = |text: String| writeln!(out, "{text}").map_err(stdout);
    state.transitions.iter().try_for_each(|it| write(line(it)))?;
    state.troubles.iter().try_for_each(|it| write(format!("trouble: {}", text::line(it))))?;
    out.flush().map_err(stdout)
}

/// A transition on one line.
fn line(it: &proto::Transition) -> String {
    let at = time(it.at.as_ref()).unwrap_or_default();
    text::line(&format!("{}  {at}  {}  {}", it.sequence, it.to, it.why))
}

fn state_json(state: &proto::StateResponse) -> Value {
    let reading = |it: &proto::Reading| json!({ "source": it.source, "level": it.level, "used": it.used, "text": it.text });
    let transition = |it: &proto::Transition| {
        json!({
            "sequence": it.sequence,
            "at": time(it.at.as_ref()),
            "from": Some(&it.from).filter(|from| !from.is_empty()),
            "to": it.to,
            "event": it.event,
            "why": it.why,
        })
    };
    json!({
        "kept": state.kept,
        "state": Some(&state.state).filter(|it| !it.is_empty()),
        "since": time(state.since.as_ref()),
        "why": state.why,
        "sequence": state.sequence,
        "active": state.active,
        "readings": state.readings.iter().map(reading).collect::<Vec<_>>(),
        "consequences": state.consequences,
        "unrecorded": state.unrecorded,
        "troubles": state.troubles,
        "transitions": state.transitions.iter().map(transition).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> proto::StateResponse {
        let path = "NORMAL / OptimalFlow / IndexActive".to_owned();
        let beside = "NORMAL / MonitoringActive / HealthCheck".to_owned();
        let reading = proto::Reading {
            source: "memory".into(),
            level: "calm".into(),
            used: 250,
            text: "25.0 % of the memory is used".into(),
        };
        proto::StateResponse {
            kept: true,
            state: path.clone(),
            since: Some(prost_types::Timestamp { seconds: 1, nanos: 0 }),
            why: "CompressActive is\nat work".into(),
            active: vec![beside, path],
            readings: vec![reading],
            troubles: vec!["not recorded: the disk does not answer".into()],
            unrecorded: 2,
            ..proto::StateResponse::default()
        }
    }

    #[test]
    fn the_state_is_told_row_by_row() {
        let rows: Vec<String> =
            rows(&state()).into_iter().map(|(name, value)| format!("{name}: {value}")).collect();
        assert_eq!(
            rows,
            [
                "state: NORMAL / OptimalFlow / IndexActive",
                "since: 1970-01-01T00:00:01.000000000Z",
                "why: CompressActive is\nat work",
                "beside it: NORMAL / MonitoringActive / HealthCheck",
                "reading: memory: 25.0 % of the memory is used (calm)",
                "trouble: not recorded: the disk does not answer",
                "unrecorded: 2 transitions",
            ]
        );
    }

    #[test]
    fn what_was_recorded_last_is_said_to_be_that() {
        let told = |state: &proto::StateResponse| rows(state).iter().any(|row| row.0 == "kept");
        assert!(!told(&state()));
        assert!(told(&proto::StateResponse { kept: false, ..state() }));
        assert_eq!(rows(&proto::StateResponse::default()).len(), 1);
        assert_eq!(state_json(&proto::StateResponse::default())["state"], Value::Null);
    }

    #[test]
    fn a_transition_takes_one_line() {
        let transition = proto::Transition {
            sequence: 7,
            at: Some(prost_types::Timestamp { seconds: 1, nanos: 0 }),
            to: "INIT / ConfigValidation".into(),
            why: "NetworkInit\nis done".into(),
            ..proto::Transition::default()
        };
        let expected =
            "7  1970-01-01T00:00:01.000000000Z  INIT / ConfigValidation  NetworkInit is done";
        assert_eq!(line(&transition), expected);
    }
}
