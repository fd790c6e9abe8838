//! The store's answers are tcpdump's, packet for packet.

use std::fs;

use tapstone::{ImportOptions, QueryError, Selection};
use tapstone_testkit::oracle::{Answer, Oracle, hash_of_numbers};
use tapstone_testkit::shared_captures;

use crate::support::{everything, import, numbered, open, read};

fn captures(folder: &std::path::Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<String> = names.map(|name| name.into_string().unwrap()).collect();
    names.retain(|name| name.contains(".pcap"));
    names.sort();
    names
}

#[test]
fn every_filter_finds_in_every_capture_what_tcpdump_finds() {
    let test = "every_filter_finds_in_every_capture_what_tcpdump_finds";
    let Some(folder) = shared_captures(test) else { return };
    let oracle = Oracle::load(&folder);
    let (mut compared, mut wrong) = (0, Vec::new());
    for name in captures(&folder) {
        let capture = read(&fs::read(folder.join(&name)).unwrap());
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        import(&store, &numbered(&capture), &name);
        // Half of the captures are asked while their segment is still open.
        if compared % 2 == 0 {
            store.seal().unwrap();
        }
        for (filter, expression) in oracle.filters.iter().enumerate() {
            let expected = expected(&oracle, &name, filter);
            let Some(expected) = expected else { continue };
            let selection = Selection { filter: expression.clone(), ..Selection::default() };
            let answer = match store.query(&selection) {
                Ok(mut packets) => {
                    let numbers: Vec<u64> =
                        (&mut packets).map(|packet| packet.time().secs_nanos().0 as u64).collect();
                    assert!(packets.answer().completeness.is_complete());
                    assert!(numbers.is_sorted(), "{name} '{expression}'");
                    let count = store.count(&selection).unwrap().packets;
                    assert_eq!(count, numbers.len() as u64, "{name} '{expression}'");
                    Answer::Packets(count, hash_of_numbers(numbers))
                }
                Err(QueryError::Filter(_)) => Answer::Refused,
                Err(error) => panic!("{name} '{expression}': {error}"),
            };
            compared += 1;
            // A filter that nothing can match may be answered with nothing.
            let nothing = Answer::Packets(0, hash_of_numbers([]));
            let same = answer == expected || (expected == Answer::RejectsAll && answer == nothing);
            if !same {
                wrong.push(format!("{name} '{expression}': {answer:?}, tcpdump {expected:?}"));
            }
        }
    }
    println!("pairs compared: {compared}, mismatches: {}", wrong.len());
    assert!(compared > 10_000, "only {compared} compared");
    assert!(wrong.is_empty(), "{} of {compared}:\n{}", wrong.len(), wrong.join("\n"));
}

/// What tcpdump says; for files of which it reads only a part, the answers for each link type put
/// together are compared by `verdicts` in the packet crate, and here where there is one link type.
fn expected(oracle: &Oracle, name: &str, filter: usize) -> Option<Answer> {
    let question = (name.to_owned(), filter);
    if oracle.gives_up_on(name) {
        let range = (question.clone(), 0)..=(question, u16::MAX);
        let mut answers = oracle.split.range(range).map(|(_, answer)| answer.clone());
        let first = answers.next()?;
        return answers.next().is_none().then_some(first);
    }
    oracle.results.get(&question).cloned()
}

#[test]
fn every_packet_comes_back_as_it_was() {
    let Some(folder) = shared_captures("every_packet_comes_back_as_it_was") else { return };
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut expected = Vec::new();
    for name in captures(&folder) {
        let bytes = fs::read(folder.join(&name)).unwrap();
        let capture = read(&bytes);
        let report = import(&store, &bytes, &name);
        assert_eq!(report.packets, capture.packets.len() as u64, "{name}");
        expected.extend(capture.packets.into_iter().map(|(_, raw)| raw));
    }
    // A stable sort by time: ties stay in order of arrival, as far as one shard took them.
    let mut found = everything(&store);
    assert!(found.is_sorted_by_key(|raw| raw.time));
    found.sort();
    expected.sort();
    assert_eq!(found.len(), expected.len());
    let differing = found.iter().zip(&expected).position(|(found, expected)| found != expected);
    assert_eq!(differing, None);
    let report = store.check();
    assert_eq!(report.damage, []);
    store.seal().unwrap();
    let report = store.check();
    assert_eq!(report.damage, []);
    assert_eq!(report.packets, expected.len() as u64);
}

#[test]
fn of_every_damaged_capture_what_came_before_the_damage_is_stored() {
    let test = "of_every_damaged_capture_what_came_before_the_damage_is_stored";
    let Some(folder) = shared_captures(test) else { return };
    let oracle = Oracle::load(&folder);
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut stored = 0;
    for name in captures(&folder.join("broken")) {
        let bytes = fs::read(folder.join("broken").join(&name)).unwrap();
        // Some of them begin alike, and would be gone on with.
        let options = ImportOptions { name: &name, again: true, progress: None };
        let report = store.import(&bytes[..], options).unwrap();
        let (exit, packets, says) = &oracle.broken[&name];
        assert_eq!(report.packets, *packets, "{name}: tcpdump says {says}");
        assert_eq!(report.damage.is_some(), *exit != 0, "{name}: tcpdump says {says}");
        stored += report.packets;
        assert_eq!(store.count(&Selection::default()).unwrap().packets, stored, "{name}");
    }
    assert!(stored > 50, "{stored}");
    let report = store.check();
    assert_eq!((report.damage, report.packets), (vec![], stored));
}
