//! The verdict of every filter over every capture, against tcpdump's.

use std::collections::HashMap;
use std::fs;
use std::time::Instant;

use tapstone_packet::filter::{Dialect, FilterError, Program};
use tapstone_testkit::oracle::{Answer, Oracle, hash_of_numbers};
use tapstone_testkit::shared_captures;

use crate::captures::{Capture, names, read};

#[test]
fn every_filter_gives_tcpdump_s_answer_over_every_capture() {
    let test = "every_filter_gives_tcpdump_s_answer_over_every_capture";
    let Some(folder) = shared_captures(test) else { return };
    let oracle = Oracle::load(&folder);
    let mut programs: HashMap<(usize, Dialect), Result<Program, FilterError>> = HashMap::new();
    let (mut compared, mut wrong) = (0, Vec::new());
    let started = Instant::now();
    for name in names(&folder) {
        let capture = read(&fs::read(folder.join(&name)).unwrap(), 1 << 20);
        for (filter, expression) in oracle.filters.iter().enumerate() {
            let mut compile = |dialect| {
                let program = || Program::compile(expression, dialect);
                programs.entry((filter, dialect)).or_insert_with(program).clone()
            };
            if oracle.gives_up_on(&name) {
                let mut link_types: Vec<u16> =
                    capture.interfaces.iter().map(|interface| interface.link_type.0).collect();
                link_types.sort_unstable();
                link_types.dedup();
                for link_type in link_types {
                    let Some(expected) = oracle.split.get(&((name.clone(), filter), link_type))
                    else {
                        continue;
                    };
                    let answer = ask(&capture, Some(link_type), &mut compile);
                    compared += 1;
                    if answer != *expected {
                        wrong.push(format!(
                            "{name} [{link_type}] '{expression}': {answer:?}, tcpdump {expected:?}"
                        ));
                    }
                }
            } else if let Some(expected) = oracle.results.get(&(name.clone(), filter)) {
                let answer = ask(&capture, None, &mut compile);
                compared += 1;
                if answer != *expected {
                    wrong.push(format!("{name} '{expression}': {answer:?}, tcpdump {expected:?}"));
                }
            }
        }
    }
    println!("compared {compared} answers in {:?}, {} wrong", started.elapsed(), wrong.len());
    assert!(compared > 12_000, "only {compared} compared");
    assert!(wrong.is_empty(), "{} of {compared}:\n{}", wrong.len(), wrong.join("\n"));
}

fn ask(
    capture: &Capture,
    link_type: Option<u16>,
    compile: &mut impl FnMut(Dialect) -> Result<Program, FilterError>,
) -> Answer {
    let mut numbers = Vec::new();
    let wanted = |interface: &tapstone_packet::interface::Interface| {
        link_type.is_none_or(|link_type| interface.link_type.0 == link_type)
    };
    for interface in capture.interfaces.iter().filter(|interface| wanted(interface)) {
        let dialect = Dialect { link_type: interface.link_type, byte_order: interface.byte_order };
        match compile(dialect) {
            Ok(_) => {}
            Err(FilterError::RejectsAll(_)) => return Answer::RejectsAll,
            Err(FilterError::Refused { .. }) => return Answer::Refused,
            Err(error) => panic!("{error}"),
        }
    }
    for (number, packet) in (1..).zip(&capture.packets) {
        let interface = &capture.interfaces[packet.interface as usize];
        if !wanted(interface) {
            continue;
        }
        let dialect = Dialect { link_type: interface.link_type, byte_order: interface.byte_order };
        if compile(dialect).unwrap().matches(&packet.data, packet.original_len) {
            numbers.push(number);
        }
    }
    Answer::Packets(numbers.len() as u64, hash_of_numbers(numbers))
}
