//! Answers in parts, counts over time, flows of what is still being written, and what may be seen.

use std::time::Duration;

use proptest::prelude::*;
use tapstone::{Cursor, Group, GroupBy, OpenOptions, QueryError, Selection, Sizes, Store};
use tapstone_benches::workload::Workload;

use crate::support::{Raw, everything, import, open, raw};

fn capture(bytes: u64, seed: u64) -> Vec<u8> {
    let mut capture = Vec::new();
    Workload::short_flows(bytes, seed).write(&mut capture).unwrap();
    capture
}

/// Two captures of the same time, in many units and some segments, the last of them open.
fn store_of_many_units(dir: &tempfile::TempDir) -> Store {
    let sizes = Sizes { block: 8 << 10, unit: 64 << 10, segment: 1 << 20, ..Sizes::default() };
    let options = OpenOptions { create: true, shards: 2, sizes, ..OpenOptions::default() };
    let store = Store::open(dir.path(), options).unwrap();
    import(&store, &capture(1 << 20, 1), "a");
    store.seal().unwrap();
    import(&store, &capture(1 << 20, 2), "b");
    store
}

/// An answer by pages of the given sizes, over and over.
fn paged(store: &Store, selection: &Selection, pages: &[u64]) -> Vec<Raw> {
    let (mut all, mut after): (Vec<Raw>, Option<Cursor>) = (Vec::new(), None);
    for limit in pages.iter().copied().cycle() {
        let page = Selection { limit: Some(limit), after, ..selection.clone() };
        let mut packets = store.query(&page).unwrap();
        let before = all.len();
        all.extend((&mut packets).map(|packet| raw(&packet)));
        let answer = packets.answer();
        assert_eq!(store.count(&page).unwrap().packets, answer.packets);
        if all.len() == before {
            break;
        }
        // As it would come back from whoever kept it.
        after = answer.cursor.map(|cursor| cursor.to_string().parse().unwrap());
    }
    all
}

#[test]
fn pages_of_any_size_are_the_answer_without_loss_or_repetition() {
    let dir = tempfile::tempdir().unwrap();
    let store = store_of_many_units(&dir);
    let whole = everything(&store);
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(6));
    let sizes = proptest::collection::vec(200u64..4000, 1..5);
    runner
        .run(&sizes, |sizes| {
            prop_assert!(paged(&store, &Selection::default(), &sizes) == whole);
            Ok(())
        })
        .unwrap();
    // Behind a place, time begins there, whatever else is asked for.
    let udp = Selection { filter: "udp".into(), ..Selection::default() };
    let expected: Vec<Raw> = store.query(&udp).unwrap().map(|packet| raw(&packet)).collect();
    assert!(!expected.is_empty());
    assert!(paged(&store, &udp, &[7]) == expected);
    // A rebuilt store has every packet in its place.
    let middle = store.query(&Selection::default()).unwrap().nth(whole.len() / 2).unwrap();
    let after = Selection { after: Some(middle.cursor()), ..Selection::default() };
    drop(store);
    let options = OpenOptions { rebuild: true, ..OpenOptions::default() };
    let store = Store::open(dir.path(), options).unwrap();
    let rest: Vec<Raw> = store.query(&after).unwrap().map(|packet| raw(&packet)).collect();
    assert!(rest == whole[whole.len() / 2 + 1..]);
}

#[test]
fn a_cursor_of_another_store_is_refused() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (one, other) = (open(one.path()), open(other.path()));
    import(&one, &capture(10_000, 1), "a");
    let after = one.query(&Selection::default()).unwrap().next().unwrap().cursor();
    let selection = Selection { after: Some(after), ..Selection::default() };
    let error = other.query(&selection).unwrap_err();
    assert!(matches!(error, QueryError::ForeignCursor(id) if id == one.id()), "{error}");
}

#[test]
fn a_histogram_counts_every_packet_once() {
    let dir = tempfile::tempdir().unwrap();
    let store = store_of_many_units(&dir);
    let width = Duration::from_micros(250);
    for filter in ["", "tcp", "udp port 53 or arp"] {
        let selection = Selection { filter: filter.into(), ..Selection::default() };
        let mut expected = std::collections::BTreeMap::<i128, (u64, u64)>::new();
        for packet in store.query(&selection).unwrap() {
            let bar = packet.time().attos().div_euclid(250_000_000_000_000);
            let sum = expected.entry(bar).or_default();
            *sum = (sum.0 + 1, sum.1 + packet.data().len() as u64);
        }
        for by in [GroupBy::Nothing, GroupBy::Interface, GroupBy::Protocol] {
            let histogram = store.histogram(&selection, width, by).unwrap();
            assert!(histogram.completeness.is_complete());
            let mut bars = std::collections::BTreeMap::<i128, (u64, u64)>::new();
            for bar in &histogram.bars {
                let sum = bars.entry(bar.start.attos() / 250_000_000_000_000).or_default();
                *sum = (sum.0 + bar.packets, sum.1 + bar.bytes);
                let fits = match (&bar.group, by) {
                    (Group::All, GroupBy::Nothing) | (Group::Interface(_), GroupBy::Interface) => {
                        true
                    }
                    (Group::Protocol(it), GroupBy::Protocol) => filter != "tcp" || it == "tcp",
                    _ => false,
                };
                assert!(fits, "{bar:?} by {by:?}");
            }
            assert_eq!(bars, expected, "'{filter}' by {by:?}");
        }
    }
    let all = Selection::default();
    let error = store.histogram(&all, Duration::from_nanos(1), GroupBy::Nothing).unwrap_err();
    assert!(matches!(error, QueryError::TooManyBars(_)), "{error}");
}

#[test]
fn flows_are_listed_before_their_segment_is_sealed_as_afterwards() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    import(&store, &capture(1 << 20, 5), "a");
    let questions = [
        Selection::default(),
        Selection { metadata: "port:443".into(), ..Selection::default() },
        Selection { filter: "udp port 53".into(), ..Selection::default() },
        Selection { filter: "tcp".into(), limit: Some(9), ..Selection::default() },
    ];
    let list = |selection: &Selection| {
        let found = store.flows(selection).unwrap();
        assert!(found.completeness.is_complete(), "{:?}", found.completeness);
        let known = found.flows.into_iter().map(|mut flow| {
            // A split numbers paths its own way, and rounds times.
            flow.row.paths = Vec::new();
            (flow.id, flow.row.key, flow.row.names, flow.row.packets, flow.row.bytes)
        });
        known.collect::<Vec<_>>()
    };
    let open: Vec<_> = questions.iter().map(list).collect();
    assert_eq!(store.info().unwrap().segments, 1);
    store.seal().unwrap();
    let sealed: Vec<_> = questions.iter().map(list).collect();
    assert!(open == sealed);
    assert!(open.iter().all(|flows| !flows.is_empty()) && open[3].len() == 9);
}

#[test]
fn what_may_not_be_seen_is_in_no_answer() {
    let dir = tempfile::tempdir().unwrap();
    let store = store_of_many_units(&dir);
    let asked = |filter: &str, within: &[&str]| Selection {
        filter: filter.into(),
        within: within.iter().map(|it| (*it).to_owned()).collect(),
        ..Selection::default()
    };
    for filter in ["", "tcp", "not vlan", "udp or net 198.51.0.0/16"] {
        let within = asked(filter, &["net 10.0.0.0/20", "vlan and net 10.0.0.0/20"]);
        let joined = match filter {
            "" => asked("net 10.0.0.0/20", &[]),
            filter => asked(&format!("net 10.0.0.0/20 and ({filter})"), &[]),
        };
        let expected = store.count(&joined).unwrap();
        assert!(expected.packets > 0);
        assert_eq!(store.count(&within).unwrap().packets, expected.packets, "'{filter}'");
        assert_eq!(store.query(&within).unwrap().count() as u64, expected.packets);
        let rows = store.flows(&within).unwrap().flows.len();
        assert_eq!(rows, store.flows(&joined).unwrap().flows.len(), "'{filter}'");
    }
    let nothing = asked("", &["net 203.0.113.0/24"]);
    assert_eq!(store.count(&nothing).unwrap().packets, 0);
}
