//! The rule that the index rests on: the flow of every packet that matches a filter satisfies what
//! the filter was narrowed to.

use std::collections::HashMap;
use std::fs;

use tapstone_packet::decode::Decoder;
use tapstone_packet::filter::{Dialect, Program};
use tapstone_packet::interface::Interface;
use tapstone_packet::predicate::{FlowView, PathTest, Predicate};
use tapstone_testkit::oracle::Oracle;
use tapstone_testkit::shared_captures;

use crate::captures::{names, read};

struct Check {
    filters: Vec<String>,
    programs: HashMap<Dialect, Vec<(usize, Program, Predicate)>>,
    decoder: Decoder,
    matches: u64,
    narrowed: u64,
    opaque: u64,
    packets: u64,
    wrong: Vec<String>,
}

impl Check {
    fn packet(&mut self, what: &str, interface: &Interface, data: &[u8], original_len: u32) {
        let (link_type, byte_order) = (interface.link_type, interface.byte_order);
        let dialect = Dialect { link_type, byte_order };
        let filters = &self.filters;
        let programs = self.programs.entry(dialect).or_insert_with(|| {
            let compiled = filters.iter().enumerate().filter_map(|(number, filter)| {
                let program = Program::compile(filter, dialect).ok()?;
                let narrowed = program.narrow();
                Some((number, program, narrowed))
            });
            compiled.collect()
        });
        self.decoder.decode(link_type, byte_order, data);
        let (key, path) = (self.decoder.key(), self.decoder.path());
        self.packets += 1;
        self.opaque += u64::from(path.test(&PathTest::Opaque));
        let view = FlowView {
            key,
            paths: &[path],
            extra_ports: &[],
            names: &[],
            packets: 1,
            bytes: 1,
            duration_nanos: 0,
        };
        for (number, program, narrowed) in programs {
            if !program.matches(data, original_len) {
                continue;
            }
            self.matches += 1;
            self.narrowed += u64::from(*narrowed != Predicate::All);
            if !narrowed.matches(&view) {
                let filter = &self.filters[*number];
                let parts: Vec<_> = path.parts().collect();
                let key: Vec<_> = key.parts().collect();
                self.wrong.push(format!("{what} '{filter}': {key:?} {parts:?} {data:02x?}"));
            }
        }
    }
}

#[test]
fn whatever_matches_was_a_candidate() {
    let Some(folder) = shared_captures("whatever_matches_was_a_candidate") else { return };
    let mut filters = Oracle::load(&folder).filters;
    filters.extend(
        [
            "host 192.168.1.1 or host 10.0.0.6 or host 172.16.0.1",
            "ip6 host fe80::1 or net 2001::/16",
            "src portrange 1024-65535 and dst portrange 1-1023",
            "vlan and host 10.0.0.1",
            "ether host 00:0b:82:01:fc:42 and port 67",
            "ip proto 17 and net 192.168.0.0/16",
            "mpls and ip host 10.0.0.1",
            "pppoes and port 80",
        ]
        .map(str::to_owned),
    );
    let mut check = Check {
        filters,
        programs: HashMap::new(),
        decoder: Decoder::new(),
        matches: 0,
        narrowed: 0,
        opaque: 0,
        packets: 0,
        wrong: Vec::new(),
    };
    // The same seed every time: what it finds is found again.
    let mut random = 7;
    for name in names(&folder) {
        let capture = read(&fs::read(folder.join(&name)).unwrap(), 1 << 20);
        for (number, packet) in capture.packets.iter().enumerate() {
            let interface = &capture.interfaces[packet.interface as usize];
            let what = format!("{name} packet {}", number + 1);
            check.packet(&what, interface, &packet.data, packet.original_len);
            if number < 300 {
                let mut data = packet.data.clone();
                mutate(&mut data, &mut random);
                check.packet(&format!("{what} mutated"), interface, &data, packet.original_len);
            }
        }
    }
    println!(
        "{} packets ({} opaque), {} matches, {} narrowed, {} wrong",
        check.packets,
        check.opaque,
        check.matches,
        check.narrowed,
        check.wrong.len()
    );
    let shown = check.wrong.iter().take(20).cloned().collect::<Vec<_>>().join("\n");
    assert!(check.wrong.is_empty(), "{} wrong:\n{shown}", check.wrong.len());
}

/// Changes a byte or two of the first headers, or cuts the packet.
fn mutate(data: &mut Vec<u8>, random: &mut u64) {
    let mut below = |limit: usize| {
        *random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (*random >> 33) as usize % limit.max(1)
    };
    for _ in 0..=below(2) {
        let near = data.len().min(64);
        if near == 0 {
            return;
        }
        let at = below(near);
        data[at] = match below(3) {
            0 => below(256) as u8,
            1 => data[at] ^ (1 << below(8)),
            _ => [0, 1, 4, 6, 8, 17, 44, 0x60, 0x81, 0x86, 0xdd, 0xff][below(12)],
        };
    }
    if below(4) == 0 {
        let length = below(data.len());
        data.truncate(length);
    }
}
