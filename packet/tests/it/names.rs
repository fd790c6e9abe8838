//! Every name that tshark shows in a packet is carried by that packet's flow.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;

use tapstone_packet::decode::Decoder;
use tapstone_packet::interface::{ByteOrder, LinkType};
use tapstone_packet::names::{Findings, FragmentJoiner, Name, NameKind, NameState};
use tapstone_testkit::oracle::{Oracle, hash_of_numbers};
use tapstone_testkit::shared_captures;

use crate::captures::{Capture, read};

/// The flow of each packet, and the names of each flow.
struct Flows {
    of_packet: Vec<Vec<u8>>,
    names: HashMap<Vec<u8>, BTreeSet<Name>>,
}

fn follow(capture: &Capture) -> Flows {
    let mut decoder = Decoder::new();
    let mut joiner = FragmentJoiner::default();
    let mut first_of = HashMap::new();
    let mut states: HashMap<Vec<u8>, NameState> = HashMap::new();
    let mut flows = Flows { of_packet: Vec::new(), names: HashMap::new() };
    for packet in &capture.packets {
        let interface = &capture.interfaces[packet.interface as usize];
        let decoded = decoder.decode(interface.link_type, interface.byte_order, &packet.data);
        let mut key = decoder.key().as_bytes().to_vec();
        let mut found = Findings::default();
        let fragment = decoded.fragment;
        let whole = fragment.as_ref().and_then(|fragment| joiner.add(fragment));
        if let Some(fragment) = &fragment {
            if fragment.offset == 0 {
                first_of.insert(fragment.datagram, key.clone());
            } else if let Some(first) = first_of.get(&fragment.datagram) {
                key.clone_from(first);
            }
        }
        let mut listener = key.clone();
        let (transport, from_first_end) = match (&fragment, &whole) {
            (Some(fragment), Some(whole)) => {
                let decoded = decoder.reassembled(interface.link_type, &fragment.datagram, whole);
                if flows.names.contains_key(decoder.key().as_bytes()) {
                    listener = decoder.key().as_bytes().to_vec();
                }
                (decoded.transport, decoded.from_first_end)
            }
            (Some(_), None) => (None, false),
            (None, _) => (decoded.transport, decoded.from_first_end),
        };
        if let Some(transport) = transport {
            let state = states.entry(listener.clone()).or_default();
            if !state.is_done() {
                state.feed(&transport, from_first_end, &mut found);
            }
        }
        flows.names.entry(key.clone()).or_default();
        flows.names.entry(listener).or_default().extend(found.names);
        flows.of_packet.push(key);
    }
    flows
}

/// What tshark prints of a name matches it: `\ooo` for some bytes, U+FFFD for one it cannot show.
fn same(shown: &str, name: &[u8]) -> bool {
    let mut rest = name;
    let mut shown = shown.chars().peekable();
    if shown.clone().eq("<Root>".chars()) {
        return name.is_empty();
    }
    while let Some(next) = shown.next() {
        let octal: String = shown.clone().take(3).collect();
        let escaped = next == '\\' && octal.len() == 3 && u8::from_str_radix(&octal, 8).is_ok();
        let Some((&byte, behind)) = rest.split_first() else { return false };
        rest = behind;
        if next == '\\' && shown.peek() == Some(&'r') && byte == b'\r' {
            shown.next();
        } else if escaped {
            shown.nth(2);
            if byte != u8::from_str_radix(&octal, 8).unwrap() {
                return false;
            }
        } else if next != '\u{fffd}'
            && !(next.is_ascii() && byte == next.to_ascii_lowercase() as u8)
        {
            return false;
        }
    }
    rest.is_empty()
}

#[test]
fn every_name_that_tshark_shows_is_carried_by_the_packet_s_flow() {
    let test = "every_name_that_tshark_shows_is_carried_by_the_packet_s_flow";
    let Some(folder) = shared_captures(test) else { return };
    let oracle = Oracle::load(&folder);
    let mut by_file: BTreeMap<&str, Vec<_>> = BTreeMap::new();
    for shown in &oracle.shown {
        by_file.entry(&shown.file).or_default().push(shown);
    }
    let (mut checked, mut missing) = (0, Vec::new());
    for (file, shown) in by_file {
        let capture = read(&fs::read(folder.join(file)).unwrap(), 1 << 20);
        let flows = follow(&capture);
        for shown in shown {
            let kind = match shown.kind.as_str() {
                "dns.qry.name" => NameKind::Dns,
                "http.host" => NameKind::Http,
                _ => NameKind::Sni,
            };
            // tshark's words for names that are none, and the one packet whose contents are
            // compressed (IPComp with DEFLATE), which is not undone here.
            let no_name = shown.value.starts_with("<Unknown") || shown.value.starts_with("<Name");
            if no_name || file == "libpcap-AH-IPcomp-IPv6.pcap" {
                continue;
            }
            checked += 1;
            let value = match kind {
                NameKind::Http => {
                    shown.value.rsplit_once(':').map_or(&*shown.value, |(host, port)| {
                        if port.bytes().all(|byte| byte.is_ascii_digit()) {
                            host
                        } else {
                            &shown.value
                        }
                    })
                }
                _ => &shown.value,
            };
            let carries = |key: &Vec<u8>| {
                flows.names[key].iter().any(|name| name.kind == kind && same(value, &name.name))
            };
            let found: Vec<u64> = (1..)
                .zip(&flows.of_packet)
                .filter_map(|(number, key)| carries(key).then_some(number))
                .collect();
            // A name's frames are some of its flows' packets; that they are among them can be
            // told exactly only where they are all, so the count must do elsewhere.
            let enough = hash_of_numbers(found.iter().copied()) == shown.hash
                || found.len() as u64 >= shown.packets;
            if !enough {
                missing.push(format!(
                    "{file} {} '{}': {} of {} packets",
                    shown.kind,
                    shown.value,
                    found.len(),
                    shown.packets
                ));
            }
        }
    }
    println!("{checked} names checked, {} missing", missing.len());
    assert!(missing.is_empty(), "{} of {checked}:\n{}", missing.len(), missing.join("\n"));
}

/// The count of what was nothing known overflowed.
#[test]
fn a_conversation_that_says_nothing_may_be_followed_for_ever() {
    let mut decoder = Decoder::new();
    let (mut state, mut found) = (NameState::default(), Findings::default());
    let mut sequences = [1u32; 2];
    for number in 0..2_000 {
        let back = number % 2;
        let mut packet =
            vec![0x45, 0, 0, 44, 0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 35, 0, 35, 1];
        if back == 1 {
            packet[12..20].rotate_left(4);
            packet[20..24].rotate_left(2);
        }
        packet.extend(sequences[back].to_be_bytes());
        packet.extend([0, 0, 0, 0, 0x50, 0x10, 0, 0, 0, 0, 0, 0, 9, 9, 9, 9]);
        sequences[back] += 4;
        let decoded = decoder.decode(LinkType::RAW, ByteOrder::Little, &packet);
        state.feed(&decoded.transport.unwrap(), decoded.from_first_end, &mut found);
    }
    assert!(state.is_done() && found == Findings::default());
}
