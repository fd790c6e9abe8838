//! Scopes as libpcap understands them.

use std::net::{IpAddr, Ipv4Addr};

use tapstone_packet::filter::{Dialect, FilterError, Program};
use tapstone_packet::interface::{ByteOrder, LinkType};

use super::super::net::Net;
use super::*;

const NETS: [&str; 3] = ["10.0.0.0/8", "2001:db8::/32", "192.0.2.1"];

fn scope(nets: &[&str]) -> Scope {
    Scope::new(nets.iter().map(|net| Net::parse(net).unwrap()).collect(), None, None)
}

/// The verdict of a filter; `None` when libpcap sees that it can match nothing.
struct Verdict(Option<Program>);

impl Verdict {
    fn matches(&self, bytes: &[u8], length: u32) -> bool {
        self.0.as_ref().is_some_and(|program| program.matches(bytes, length))
    }
}

fn compile(filter: &str) -> Verdict {
    let dialect = Dialect { link_type: LinkType::ETHERNET, byte_order: ByteOrder::Little };
    match Program::compile(filter, dialect) {
        Ok(program) => Verdict(Some(program)),
        Err(FilterError::RejectsAll(_)) => Verdict(None),
        Err(error) => panic!("{filter}: {error}"),
    }
}

/// A frame, and its outermost addresses.
struct Frame {
    bytes: Vec<u8>,
    ends: [IpAddr; 2],
    tagged: bool,
}

/// TCP from one address to another, with what a hostile sender can choose: tag, ports, length.
fn frame(ends: [IpAddr; 2], ports: [u16; 2], length: u16, tagged: bool) -> Frame {
    let mut bytes = vec![2; 12];
    if tagged {
        bytes.extend([0x81, 0, 0, 5]);
    }
    match ends {
        [IpAddr::V4(from), IpAddr::V4(to)] => {
            bytes.extend([8, 0, 0x45, 0]);
            bytes.extend(length.to_be_bytes());
            bytes.extend([0, 0, 0, 0, 64, 6, 0, 0]);
            bytes.extend(from.octets().into_iter().chain(to.octets()));
        }
        [IpAddr::V6(from), IpAddr::V6(to)] => {
            bytes.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
            bytes.extend(length.to_be_bytes());
            bytes.extend([6, 64]);
            bytes.extend(from.octets().into_iter().chain(to.octets()));
        }
        _ => panic!("one version on both ends"),
    }
    bytes.extend(ports.into_iter().flat_map(u16::to_be_bytes));
    bytes.resize(bytes.len() + 60, 0x0a);
    Frame { bytes, ends, tagged }
}

fn frames() -> Vec<Frame> {
    let v4: [IpAddr; 4] = [[10, 1, 1, 1], [192, 0, 2, 1], [192, 0, 2, 2], [203, 0, 113, 9]]
        .map(|octets| Ipv4Addr::from(octets).into());
    let v6: [IpAddr; 3] =
        ["2001:db8::1", "2001:db9::1", "fe80::a00:1"].map(|text| text.parse().unwrap());
    let pairs = |addresses: &[IpAddr]| -> Vec<[IpAddr; 2]> {
        addresses.iter().flat_map(|&from| addresses.iter().map(move |&to| [from, to])).collect()
    };
    let mut frames = Vec::new();
    for ends in [pairs(&v4), pairs(&v6)].concat() {
        for ports in [[0x0a00, 80], [443, 0x0a01], [50_000, 443]] {
            for length in [0x0800, 0x86dd, 100] {
                for tagged in [false, true] {
                    frames.push(frame(ends, ports, length, tagged));
                }
            }
        }
    }
    frames
}

/// Filters that move the place where headers are looked for, and others.
const FILTERS: [&str; 16] = [
    "",
    "tcp",
    "not tcp",
    "ip or ip6",
    "tcp port 443 or udp",
    "host 203.0.113.9 or 192.0.2.2",
    "(host 203.0.113.9) or (net 192.0.2.0/24)",
    "not net 10.0.0.0/8",
    "vlan",
    "not vlan",
    "not (vlan and vlan)",
    "not mpls",
    "not (mpls or mpls)",
    "not pppoes",
    "not geneve",
    "ether[0] = 2 or (not vlan 7)",
];

/// What may be seen of what a filter matches, as a query decides it.
fn seen(filter: &str, scope: &Scope, bytes: &[u8]) -> bool {
    let length = bytes.len() as u32;
    let mut visible = scope.within().into_iter();
    compile(filter).matches(bytes, length) && visible.any(|it| compile(&it).matches(bytes, length))
}

#[test]
fn no_filter_widens_a_scope_and_none_narrows_it() {
    let scope = scope(&NETS);
    let nets = NETS.map(|net| Net::parse(net).unwrap());
    let (frames, mut count) = (frames(), 0);
    for filter in FILTERS {
        let alone = compile(filter);
        for Frame { bytes, ends, tagged } in &frames {
            let inside = ends.iter().any(|&end| nets.iter().any(|net| net.contains(end)));
            let wanted = alone.matches(bytes, bytes.len() as u32) && inside;
            let given = seen(filter, &scope, bytes);
            assert_eq!(given, wanted, "'{filter}' and {ends:?} (tagged: {tagged})");
            count += usize::from(given);
        }
    }
    assert!(count > 500, "{count}");
}

/// Why the scope is compiled by itself: behind `not vlan` a net reads other bytes as addresses.
#[test]
fn a_vlan_in_the_filter_does_not_move_the_scope() {
    let ends = [[203, 0, 113, 9], [192, 0, 2, 2]].map(|octets| Ipv4Addr::from(octets).into());
    let Frame { bytes, .. } = frame(ends, [0x0a00, 80], 0x0800, false);
    let length = bytes.len() as u32;
    assert!(compile("(not vlan) and (net 10.0.0.0/8)").matches(&bytes, length));
    assert!(!seen("not vlan", &scope(&["10.0.0.0/8"]), &bytes));
}

#[test]
fn whoever_may_see_everything_is_asked_nothing_more() {
    assert_eq!(Scope::everything().within(), Vec::<String>::new());
}

#[test]
fn what_is_asked_outside_the_time_is_told_with_the_scope() {
    let day = |day: i64| Some(Timestamp::from_secs_nanos(day * 86_400, 0));
    let scope = Scope::new(Vec::new(), day(10), day(20));
    assert_eq!(scope.clamp(None, None), Ok((day(10), day(20))));
    assert_eq!(scope.clamp(day(12), day(30)), Ok((day(12), day(20))));
    assert_eq!(scope.clamp(day(15), day(13)), Ok((day(15), day(13))));
    let told = scope.clamp(day(1), day(10)).unwrap_err().to_string();
    assert!(told.starts_with("you may see all packets, at 1970-01-11T"), "{told}");
    assert!(Scope::nothing().clamp(None, None).is_err());
    assert!(Scope::everything().is_everything());
}

#[test]
fn the_last_days_are_counted_from_the_call() {
    let policy = policy(
        "[[identity]]\nname = \"x\"\nuid = 5\nroles = [\"metadata-search\"]\nlast = \"1d 12h\"\n\
         since = \"1970-01-03T00:00:00Z\"",
    );
    let since = |now: i64| {
        let now = Timestamp::from_secs_nanos(now, 0);
        let grant = policy.decide(&unix(5), None, METHODS[1], now).unwrap();
        grant.scope.clamp(None, None).unwrap().0
    };
    assert_eq!(since(10 * 86_400), Some(Timestamp::from_secs_nanos(10 * 86_400 - 129_600, 0)));
    assert_eq!(since(2 * 86_400), Some(Timestamp::from_secs_nanos(2 * 86_400, 0)));
}
