//! A report in words: pure.

use serde_json::Value;

use crate::text::{self, size};

/// The report, line by line.
pub(super) fn lines(report: &Value) -> Vec<String> {
    let mut lines = Lines::default();
    let at = |name: &str| words(&report[name]);
    lines.row("period", format!("{} to {}", at("since"), at("until")));
    lines.row("store", at("store"));
    lines.row("made", format!("{} by tapstone {}", at("made"), at("program")));
    kept(&mut lines, &report["kept"]);
    held(&mut lines, report);
    expired(&mut lines, &report["expired"]);
    lost(&mut lines, &report["lost"]);
    read(&mut lines, &report["read"]);
    states(&mut lines, &report["states"]);
    for damage in list(&report["damage"]) {
        lines.row("damage", words(damage));
    }
    audit(&mut lines, &report["audit"]);
    lines.row("signed by", at("key"));
    lines.0
}

/// Names on the left, what they are on the right.
#[derive(Default)]
struct Lines(Vec<String>);

impl Lines {
    fn row(&mut self, name: &str, value: impl AsRef<str>) {
        self.0.push(format!("{name:<12} {}", value.as_ref()));
    }
}

fn kept(lines: &mut Lines, it: &Value) {
    let amount = amount(it);
    let span = span(it).map_or_else(String::new, |span| format!(", {span}"));
    lines.row("kept", format!("{amount}{span}"));
}

fn held(lines: &mut Lines, report: &Value) {
    let (held, read) = (&report["held"], &report["read"]);
    if held["in_doubt"] == true {
        lines.row("held", "holds may be missing: the ledger was damaged");
    }
    lines.row("held", format!("{} holds in force", list(&held["in_force"]).len()));
    for it in list(&held["in_force"]) {
        let (id, by, reason) = (words(&it["id"]), words(&it["by"]), words(&it["reason"]));
        let filter = match (words(&it["filter"]), words(&it["where"])) {
            (filter, meta) if filter.is_empty() && meta.is_empty() => "all".to_owned(),
            (filter, meta) => format!("{filter} {meta}").trim().to_owned(),
        };
        lines.row("", format!("{id}  {} {by}: {filter} ({reason})", words(&it["added"])));
    }
    for (name, word) in [("holds_placed", "placed"), ("holds_lifted", "lifted")] {
        for it in list(&read[name]) {
            let (at, by) = (words(&it["at"]), words(&it["by"]));
            let (id, reason) = (words(&it["hold"]["id"]), words(&it["hold"]["reason"]));
            lines.row("", format!("{word}: {id}  {at} {by} ({reason})"));
        }
    }
}

fn expired(lines: &mut Lines, it: &Value) {
    if list(&it["in_period"]).is_empty() {
        lines.row("expired", "nothing");
    }
    for it in list(&it["in_period"]) {
        let span = span(it).unwrap_or_default();
        lines.row("expired", format!("by {}: {}, {span}", words(&it["cause"]), amount(it)));
    }
    for it in list(&it["at_unknown_times"]) {
        lines.row("", format!("by {}, nobody knows when: {}", words(&it["cause"]), amount(it)));
    }
}

fn lost(lines: &mut Lines, it: &Value) {
    if list(&it["in_period"]).is_empty() {
        lines.row("lost", "nothing that segments tell of which are kept");
    }
    for it in list(&it["in_period"]) {
        let asked_for = if it["asked_for"] == true { ", as asked" } else { "" };
        let (day, cause, packets) = (words(&it["day"]), words(&it["cause"]), words(&it["packets"]));
        lines.row("lost", format!("{day} {cause}: {packets} packets{asked_for}"));
    }
    for it in list(&it["interfaces"]) {
        let causes = list(&it["lost"]).iter();
        let causes = causes.map(|it| format!("{} {}", words(&it["cause"]), words(&it["packets"])));
        let causes: Vec<String> = causes.collect();
        let lost = if causes.is_empty() { "none".to_owned() } else { causes.join(", ") };
        lines.row(
            "",
            format!(
                "{} since the store was opened: {} received, {} stored, lost: {lost}",
                words(&it["name"]),
                words(&it["received"]),
                words(&it["stored"]),
            ),
        );
    }
}

fn read(lines: &mut Lines, it: &Value) {
    let (requests, refused) = (list(&it["requests"]), list(&it["refused"]));
    if requests.is_empty() && refused.is_empty() {
        lines.row("read", "nobody asked through a server");
    }
    for it in requests {
        let outcomes = it["outcomes"].as_object().into_iter().flatten();
        let outcomes: Vec<String> = outcomes.map(|(name, n)| format!("{name} {n}")).collect();
        let given = match it["packets"].as_u64().unwrap_or(0) {
            0 => String::new(),
            packets => format!("; {packets} packets, {}", size(number(&it["bytes"]))),
        };
        let (who, method, asked) =
            (words(&it["identity"]), words(&it["method"]), words(&it["asked"]));
        lines.row("read", format!("{who} {method}: {asked} ({}){given}", outcomes.join(", ")));
    }
    for it in refused {
        let who = it["identity"].as_str().map_or_else(|| "(unknown)".to_owned(), text::line);
        let (method, times, reason) =
            (words(&it["method"]), words(&it["times"]), words(&it["last_reason"]));
        lines.row("refused", format!("{who} {method}: {times} ({reason})"));
    }
}

fn states(lines: &mut Lines, it: &Value) {
    let times = list(&it["time"]).iter();
    let times = times.map(|it| format!("{} {} s", words(&it["state"]), words(&it["seconds"])));
    let times: Vec<String> = times.collect();
    match it["known_since"].as_str() {
        Some(since) if it["older_are_forgotten"] == true => {
            lines.row("states", format!("{}; known since {since}", times.join(", ")));
        }
        Some(_) => lines.row("states", times.join(", ")),
        None => lines.row("states", "not known: nobody kept the store, or it is forgotten"),
    }
}

fn audit(lines: &mut Lines, it: &Value) {
    let verdict = if it["sound"] == true { "sound" } else { "BROKEN" };
    let head = |it: &Value| format!("{}, {}", words(&it["number"]), words(&it["hash"]));
    lines.row("audit log", format!("{} records: {verdict}", words(&it["records"])));
    if !it["head"].is_null() {
        lines.row("", format!("the last is number {}", head(&it["head"])));
    }
    if !it["behind"].is_null() {
        lines.row("", format!("verified behind archived number {}", head(&it["behind"])));
    }
    for it in list(&it["breaks"]) {
        lines.row("", words(it));
    }
    if number(&it["more_breaks"]) > 0 {
        lines.row("", format!("and {} more breaks", number(&it["more_breaks"])));
    }
}

fn amount(it: &Value) -> String {
    let (segments, packets) = (number(&it["segments"]), number(&it["packets"]));
    format!("{segments} segments, {packets} packets, {}", size(number(&it["packet_bytes"])))
}

fn span(it: &Value) -> Option<String> {
    Some(format!("from {} to {}", it["first"].as_str()?, it["last"].as_str()?))
}

fn list(it: &Value) -> &[Value] {
    it.as_array().map_or(&[], Vec::as_slice)
}

fn number(it: &Value) -> u64 {
    it.as_u64().unwrap_or(0)
}

/// A text or a number; others wrote it, so nothing of it may reach a terminal that it would follow.
fn words(it: &Value) -> String {
    match it {
        Value::String(text) => text::line(text),
        Value::Null => "-".to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_report_is_told_in_words() {
        let report = json!({
            "since": "A", "until": "B", "made": "C", "program": "0.1.0", "store": "5e",
            "key": "sha256:ab",
            "kept": { "segments": 2, "packets": 10, "packet_bytes": 2048, "first": "F", "last": "L" },
            "held": {
                "in_doubt": false,
                "in_force": [{
                    "id": 3, "added": "T", "by": "carl", "reason": "case\u{1b}[2J", "filter": "tcp",
                    "where": "",
                }],
            },
            "expired": {
                "in_period": [{
                    "cause": "age", "segments": 1, "packets": 5, "packet_bytes": 7, "first": "f",
                    "last": "l",
                }],
                "at_unknown_times": [],
            },
            "lost": { "in_period": [], "interfaces": [] },
            "read": {
                "requests": [{
                    "identity": "ann", "method": "Query", "asked": 2, "packets": 4, "bytes": 400,
                    "outcomes": { "complete": 2 },
                }],
                "refused": [{
                    "identity": null, "method": "/x", "times": 9, "last_reason": "unknown token",
                }],
                "holds_lifted": [{ "at": "X", "by": "dora", "hold": { "id": 1, "reason": "r" } }],
            },
            "states": {
                "known_since": "K", "older_are_forgotten": true,
                "time": [{ "state": "NORMAL", "seconds": 60 }],
            },
            "damage": ["a segment is gone"],
            "audit": {
                "sound": false, "records": 8, "head": { "number": 9, "hash": "cd" },
                "behind": null, "breaks": ["record 4 is missing"], "more_breaks": 0,
            },
        });
        let text = lines(&report).join("\n");
        let expected = [
            "period       A to B",
            "kept         2 segments, 10 packets, 2.00 KiB, from F to L",
            "held         1 holds in force",
            "             3  T carl: tcp (case [2J)",
            "             lifted: 1  X dora (r)",
            "expired      by age: 1 segments, 5 packets, 7 B, from f to l",
            "lost         nothing that segments tell of which are kept",
            "read         ann Query: 2 (complete 2); 4 packets, 400 B",
            "refused      (unknown) /x: 9 (unknown token)",
            "states       NORMAL 60 s; known since K",
            "damage       a segment is gone",
            "audit log    8 records: BROKEN",
            "             the last is number 9, cd",
            "             record 4 is missing",
            "signed by    sha256:ab",
        ];
        for line in expected {
            assert!(text.lines().any(|it| it == line), "{line:?} is not in\n{text}");
        }
    }
}
