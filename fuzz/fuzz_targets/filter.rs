//! The verdict of our interpreter is that of libpcap's, and whatever matches was a candidate.

#![no_main]

use std::cell::RefCell;

use libfuzzer_sys::fuzz_target;
use pcap::{BpfProgram, Capture, Linktype};
use tapstone_packet::decode::Decoder;
use tapstone_packet::filter::{Dialect, Program};
use tapstone_packet::interface::{ByteOrder, LinkType};
use tapstone_packet::predicate::{FlowView, Predicate};

/// Link types as capture files and as libpcap number them. NULL is not among them: libpcap compiles
/// it otherwise for a file than for no file, which is all that this asks it for.
const LINK_TYPES: [(u16, i32); 6] = [(1, 1), (101, 12), (9, 9), (105, 105), (113, 113), (276, 276)];

const FILTERS: [&str; 32] = [
    "tcp",
    "udp port 53",
    "host 192.168.1.1",
    "not net 10.0.0.0/8",
    "src portrange 1024-65535 and dst portrange 1-1023",
    "tcp[13] & 4 != 0",
    "tcp[tcpflags] & (tcp-syn|tcp-fin) != 0",
    "ip6 host fe80::1 or net 2001::/16",
    "ip6 proto 17",
    "ip6 protochain 6",
    "ip protochain 17",
    "vlan and host 10.0.0.1",
    "vlan 5 and vlan 7 and tcp",
    "mpls and ip host 10.0.0.1",
    "pppoes and port 80",
    "ether host 00:0b:82:01:fc:42",
    "ether proto 0x88cc",
    "ether multicast or ip multicast or broadcast",
    "arp host 10.0.0.1",
    "icmp[icmptype] == icmp-echo",
    "icmp6",
    "sctp port 36412",
    "greater 100 and less 1000",
    "len > 1500",
    "ip[6:2] & 0x1fff != 0",
    "ip[0] & 0xf != 5 and udp",
    "geneve and port 80",
    "port 80 or port 443 or port 8080",
    "not tcp and not udp",
    "link[0] == 2",
    "(ip and tcp[2:2] = ip[2:2]) or icmp",
    "tcp port 80 and (((ip[2:2] - ((ip[0]&0xf)<<2)) - ((tcp[12]&0xf0)>>2)) != 0)",
];

struct Compiled {
    link_type: LinkType,
    filters: Vec<(&'static str, Program, Predicate, BpfProgram)>,
}

thread_local! {
    static COMPILED: RefCell<Vec<Compiled>> = RefCell::new(LINK_TYPES.map(compile).into());
}

fn compile((link_type, theirs): (u16, i32)) -> Compiled {
    let link = LinkType(link_type);
    let dialect = Dialect { link_type: link, byte_order: ByteOrder::Little };
    let filters = FILTERS.iter().filter_map(|filter| {
        let program = Program::compile(filter, dialect).ok()?;
        let dead = Capture::dead(Linktype(theirs)).unwrap();
        let theirs = dead.compile(filter, true).unwrap();
        let narrowed = program.narrow();
        Some((*filter, program, narrowed, theirs))
    });
    Compiled { link_type: link, filters: filters.collect() }
}

fuzz_target!(|bytes: &[u8]| {
    let Some((&kind, packet)) = bytes.split_first() else { return };
    if packet.is_empty() {
        return;
    }
    COMPILED.with_borrow(|compiled| {
        let compiled = &compiled[usize::from(kind) % compiled.len()];
        let mut decoder = Decoder::new();
        decoder.decode(compiled.link_type, ByteOrder::Little, packet);
        let path = decoder.path();
        let view = FlowView {
            key: decoder.key(),
            paths: &[path],
            extra_ports: &[],
            names: &[],
            packets: 1,
            bytes: 1,
            duration_nanos: 0,
        };
        for (filter, program, narrowed, theirs) in &compiled.filters {
            let matches = program.matches(packet, packet.len() as u32);
            // libpcap's own interpreter never ends where a chain of headers leads back to itself.
            if !filter.contains("protochain") {
                assert_eq!(matches, theirs.filter(packet), "{filter}");
            }
            assert!(!matches || narrowed.matches(&view), "{filter} was narrowed too far");
        }
    });
});
