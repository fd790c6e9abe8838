//! What the audit log's entries say of a period, all of them together: the part of a report that is
//! about who asked what (docs/format/report.md, "read"). Pure.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tapstone::{AuditRecord, Summarise, Summary, format_instant};

/// Rows of a table; what comes beyond is summed up in one.
const ROWS_MAX: usize = 1000;
/// Changes of holds that are listed.
const CHANGES_MAX: usize = 10_000;
/// Characters of a method that nobody knows, or of a reason.
const TEXT_MAX: usize = 300;
const OTHERS: &str = "(others)";

/// For a report.
pub(crate) const SUMMARY: Summary = Summary(|| Box::<Sums>::default());

/// An entry, as [`super::audit`] writes it.
#[derive(Debug, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
enum Entry {
    Asked {
        identity: String,
        method: String,
        #[serde(default)]
        query: Value,
    },
    Answered {
        of: u64,
        outcome: String,
        packets: u64,
        bytes: u64,
        #[serde(default)]
        hold: Value,
    },
    Refused {
        identity: Option<String>,
        method: String,
        reason: String,
    },
}

/// Who asked for what.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Who {
    identity: Option<String>,
    method: String,
}

/// How often, and what came of it.
#[derive(Debug, Default)]
struct Row {
    asked: u64,
    outcomes: BTreeMap<String, u64>,
    packets: u64,
    bytes: u64,
}

/// A hold was placed or lifted.
#[derive(Debug, Serialize)]
struct Change {
    at: String,
    by: String,
    #[serde(flatten)]
    what: Value,
}

/// Of a request that has no answer yet.
#[derive(Debug)]
struct Open {
    who: Who,
    time: String,
    query: Value,
}

#[derive(Debug, Default)]
struct Sums {
    rows: BTreeMap<Who, Row>,
    refused: BTreeMap<Who, (u64, String)>,
    open: HashMap<u64, Open>,
    placed: Vec<Change>,
    lifted: Vec<Change>,
    vouched: Vec<Change>,
    more_changes: u64,
    of_earlier: u64,
    unreadable: u64,
}

impl Summarise for Sums {
    fn take(&mut self, record: &AuditRecord) {
        let time = || format_instant(record.time);
        match serde_json::from_slice(&record.content) {
            Ok(Entry::Asked { identity, method, query }) => {
                let who = Who { identity: Some(identity), method };
                let who = row(&mut self.rows, who, |it: &mut Row| it.asked += 1);
                self.open.insert(record.sequence, Open { who, time: time(), query });
            }
            Ok(Entry::Answered { of, outcome, packets, bytes, hold }) => {
                let Some(open) = self.open.remove(&of) else {
                    self.of_earlier += 1;
                    return;
                };
                let is_done = outcome == "done";
                row(&mut self.rows, open.who.clone(), |it| {
                    *it.outcomes.entry(outcome).or_default() += 1;
                    it.packets += packets;
                    it.bytes += bytes;
                });
                if is_done {
                    self.change(open, hold);
                }
            }
            Ok(Entry::Refused { identity, method, reason }) => {
                let who = Who { identity, method: shortened(&method) };
                row(&mut self.refused, who, |it| {
                    it.0 += 1;
                    it.1 = shortened(&reason);
                });
            }
            Err(_) => self.unreadable += 1,
        }
    }

    fn finish(self: Box<Self>) -> Value {
        let request = |(who, it): (Who, Row)| {
            json!({
                "identity": who.identity, "method": who.method, "asked": it.asked,
                "outcomes": it.outcomes, "packets": it.packets, "bytes": it.bytes,
            })
        };
        let refusal = |(who, (times, reason)): (Who, (u64, String))| {
            json!({
                "identity": who.identity, "method": who.method, "times": times,
                "last_reason": reason,
            })
        };
        json!({
            "requests": self.rows.into_iter().map(request).collect::<Vec<_>>(),
            "refused": self.refused.into_iter().map(refusal).collect::<Vec<_>>(),
            "holds_placed": self.placed,
            "holds_lifted": self.lifted,
            "holds_accepted": self.vouched,
            "more_changes_of_holds": self.more_changes,
            "without_answer": self.open.len(),
            "answers_to_earlier_requests": self.of_earlier,
            "unreadable_entries": self.unreadable,
        })
    }
}

impl Sums {
    /// Lists what changes holds.
    fn change(&mut self, open: Open, hold: Value) {
        let Open { who, time, query } = open;
        let all: usize =
            [&self.placed, &self.lifted, &self.vouched].iter().map(|it| it.len()).sum();
        let (list, what) = match who.method.as_str() {
            "AddHold" => (&mut self.placed, json!({ "hold": hold, "asked": query })),
            "RemoveHold" => (&mut self.lifted, json!({ "hold": hold, "asked": query })),
            "AcceptHolds" => (&mut self.vouched, json!({})),
            _ => return,
        };
        if CHANGES_MAX <= all {
            self.more_changes += 1;
            return;
        }
        list.push(Change { at: time, by: who.identity.unwrap_or_default(), what });
    }
}

/// Adds to a row, or to that of all others where there are too many; says whose it is.
fn row<T: Default>(rows: &mut BTreeMap<Who, T>, who: Who, add: impl FnOnce(&mut T)) -> Who {
    let has_room = rows.len() < ROWS_MAX || rows.contains_key(&who);
    let others = || Who { identity: Some(OTHERS.to_owned()), method: OTHERS.to_owned() };
    let who = if has_room { who } else { others() };
    add(rows.entry(who.clone()).or_default());
    who
}

fn shortened(text: &str) -> String {
    text.chars().take(TEXT_MAX).collect()
}

#[cfg(test)]
mod tests {
    use tapstone::{AuditHash, Timestamp};

    use super::*;

    /// From number 10 on, a second apart.
    fn sums(entries: &[Value]) -> Value {
        let mut sums = SUMMARY.0();
        for (number, entry) in (10..).zip(entries) {
            let content = entry.as_str().map_or_else(|| entry.to_string(), str::to_owned);
            sums.take(&AuditRecord {
                sequence: number,
                time: Timestamp::from_secs_nanos(number as i64, 0),
                previous: AuditHash::NONE,
                hash: AuditHash::NONE,
                content: content.into_bytes(),
            });
        }
        sums.finish()
    }

    fn asked(identity: &str, method: &str, query: Value) -> Value {
        json!({
            "event": "asked", "identity": identity, "peer": "unix", "request": "r",
            "method": method, "query": query,
        })
    }

    fn answered(of: u64, outcome: &str, packets: u64) -> Value {
        json!({
            "event": "answered", "of": of, "outcome": outcome, "packets": packets,
            "bytes": 100 * packets,
        })
    }

    #[test]
    fn requests_are_summed_up_by_who_asked_for_what() {
        let said = sums(&[
            asked("ann", "Query", json!({ "filter": "tcp" })),
            asked("ann", "Query", Value::Null),
            asked("bob", "Count", Value::Null),
            answered(10, "complete", 3),
            answered(12, "complete", 9),
            asked("ann", "Query", Value::Null),
            answered(15, "incomplete", 4),
            answered(3, "complete", 1),
            "no JSON".into(),
        ]);
        let expected = json!([
            { "identity": "ann", "method": "Query", "asked": 3, "packets": 7, "bytes": 700,
              "outcomes": { "complete": 1, "incomplete": 1 } },
            { "identity": "bob", "method": "Count", "asked": 1, "packets": 9, "bytes": 900,
              "outcomes": { "complete": 1 } },
        ]);
        assert_eq!(said["requests"], expected);
        assert_eq!(said["without_answer"], 1);
        assert_eq!(said["answers_to_earlier_requests"], 1);
        assert_eq!(said["unreadable_entries"], 1);
    }

    #[test]
    fn refusals_are_counted_with_their_last_reason() {
        let refused = |identity: Option<&str>, method: &str, reason: &str| {
            json!({
                "event": "refused", "identity": identity, "peer": "x", "request": "r",
                "method": method, "reason": reason,
            })
        };
        let said = sums(&[
            refused(Some("ann"), "/tapstone.v1.Admin/Seal", "first"),
            refused(Some("ann"), "/tapstone.v1.Admin/Seal", "second"),
            refused(None, &"x".repeat(9000), "nobody"),
        ]);
        let refused = said["refused"].as_array().unwrap();
        assert_eq!(refused.len(), 2);
        assert_eq!(refused[0]["identity"], Value::Null);
        assert_eq!(refused[0]["method"].as_str().unwrap().len(), TEXT_MAX);
        assert_eq!(
            (&refused[1]["times"], &refused[1]["last_reason"]),
            (&2.into(), &"second".into())
        );
    }

    #[test]
    fn holds_that_were_placed_and_lifted_are_listed_and_those_that_failed_are_not() {
        let hold = |of: u64, hold: Value| {
            let mut entry = answered(of, "done", 0);
            entry["hold"] = hold;
            entry
        };
        let said = sums(&[
            asked("carl", "AddHold", json!({ "filter": "tcp", "reason": "case 1" })),
            hold(10, json!({ "id": 1 })),
            asked("carl", "AddHold", json!({ "reason": "" })),
            answered(12, "failed", 0),
            asked("dora", "RemoveHold", json!({ "hold": 1 })),
            hold(14, json!({ "id": 1, "by": "carl", "reason": "case 1" })),
            asked("dora", "AcceptHolds", Value::Null),
            answered(16, "done", 0),
        ]);
        let placed = &said["holds_placed"];
        assert_eq!(placed.as_array().unwrap().len(), 1);
        assert_eq!((&placed[0]["by"], &placed[0]["hold"]["id"]), (&"carl".into(), &1.into()));
        assert_eq!(placed[0]["asked"]["reason"], "case 1");
        assert_eq!(placed[0]["at"], "1970-01-01T00:00:10.000000000Z");
        let lifted = &said["holds_lifted"];
        assert_eq!((&lifted[0]["by"], &lifted[0]["hold"]["by"]), (&"dora".into(), &"carl".into()));
        assert_eq!(said["holds_accepted"].as_array().unwrap().len(), 1);
    }

    #[test]
    fn whoever_asks_in_many_names_makes_no_long_report() {
        let many: Vec<Value> =
            (0..3000).map(|it| asked(&format!("n{it:04}"), "Count", Value::Null)).collect();
        let said = sums(&many);
        let rows = said["requests"].as_array().unwrap();
        assert_eq!(rows.len(), ROWS_MAX + 1);
        assert_eq!((&rows[0]["identity"], &rows[0]["asked"]), (&OTHERS.into(), &2000.into()));
    }
}
