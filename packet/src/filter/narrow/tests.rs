use super::super::Dialect;
use super::*;
use crate::interface::{ByteOrder, LinkType};
use std::fmt::Write;

fn check(link_type: LinkType, expression: &str, expected: &str) {
    let dialect = Dialect { link_type, byte_order: ByteOrder::Little };
    let narrowed = Program::compile(expression, dialect).unwrap().narrow();
    let mut text = String::new();
    show(&narrowed, &mut text);
    assert_eq!(text, expected, "{expression}");
}

/// A predicate in few words; the alternative of opaque flows, which is always there, is left out.
fn show(predicate: &Predicate, out: &mut String) {
    let list = |parts: &[Predicate], word: &str, out: &mut String| {
        let shown = parts.iter().filter(|part| **part != Predicate::Path(PathTest::Opaque));
        let mut shown: Vec<String> = shown
            .map(|part| {
                let mut text = String::new();
                show(part, &mut text);
                text
            })
            .collect();
        shown.sort();
        match &shown[..] {
            [one] => out.push_str(one),
            _ => write!(out, "({})", shown.join(word)).unwrap(),
        }
    };
    match predicate {
        Predicate::All => out.push_str("all"),
        Predicate::And(parts) => list(parts, " & ", out),
        Predicate::Or(parts) => list(parts, " | ", out),
        Predicate::Net(net) => write!(out, "{}/{}", net.address, net.prefix).unwrap(),
        Predicate::Port(range) if range.start() == range.end() => {
            write!(out, ":{}", range.start()).unwrap();
        }
        Predicate::Port(range) => write!(out, ":{}-{}", range.start(), range.end()).unwrap(),
        Predicate::Path(PathTest::EtherType(it)) => write!(out, "type {it:x}").unwrap(),
        Predicate::Path(PathTest::Protocol(it)) => write!(out, "proto {it}").unwrap(),
        Predicate::Path(PathTest::Vlan(it)) => write!(out, "vlan {it}").unwrap(),
        Predicate::Path(PathTest::Mac(it)) => write!(out, "mac {it:02x?}").unwrap(),
        other => write!(out, "{other:?}").unwrap(),
    }
}

#[test]
fn filters_narrow_to_what_an_index_knows() {
    let ethernet = |expression, expected| check(LinkType::ETHERNET, expression, expected);
    ethernet("", "all");
    ethernet("ip", "type 800");
    ethernet("not ip", "all");
    ethernet("less 64", "all");
    ethernet("ether[0] & 1 = 1", "all");
    ethernet("icmp", "(proto 1 & type 800)");
    ethernet("tcp", "((((proto 44 & proto 6) | proto 6) & type 86dd) | (proto 6 & type 800))");
    ethernet("ip host 10.0.0.1", "(10.0.0.1/32 & type 800)");
    ethernet("src net 10.0.0.0/8 and ip", "(10.0.0.0/8 & type 800)");
    ethernet("ip6 host 2001:db8::1", "(2001:db8::1/128 & type 86dd)");
    ethernet("ip6 net 2001:db8::/40", "(2001:db8::/40 & type 86dd)");
    ethernet("ip and tcp port 443", "(:443 & proto 6 & type 800)");
    ethernet("ip and tcp port 443 and not net 10.0.0.0/8", "(:443 & proto 6 & type 800)");
    ethernet("ip and udp src portrange 137-139", "(:137-139 & proto 17 & type 800)");
    ethernet("tcp[13] & 4 != 0", "(proto 6 & type 800)");
    ethernet("vlan 5", "((type 8100 & vlan 5) | (type 88a8 & vlan 5) | (type 9100 & vlan 5))");
    ethernet("ether src 00:0b:82:01:fc:42", "mac [00, 0b, 82, 01, fc, 42]");
    ethernet("ip[9] = 17 and ip", "(proto 17 & type 800)");
    ethernet("ip and icmp[0:2] = 80", "(proto 1 & type 800)");
    ethernet("arp host 10.0.0.1", "(10.0.0.1/32 & type 806)");
}

#[test]
fn other_link_types_have_their_own_places() {
    check(LinkType::RAW, "ip host 10.0.0.1", "(10.0.0.1/32 & type 800)");
    check(LinkType::NULL, "ip host 10.0.0.1", "(10.0.0.1/32 & type 800)");
    check(LinkType::LINUX_SLL, "ip and udp port 53", "(:53 & proto 17 & type 800)");
    check(LinkType::LINUX_SLL2, "ip proto 47", "(proto 47 & type 800)");
    check(LinkType::IEEE802_11_RADIOTAP, "ip host 10.0.0.1", "all");
    check(LinkType::PPP, "ip host 10.0.0.1", "all");
}

#[test]
fn long_lists_of_addresses_stay_lists() {
    let hosts: Vec<String> = (0..200).map(|host| format!("ip host 10.0.{host}.1")).collect();
    let dialect = Dialect { link_type: LinkType::ETHERNET, byte_order: ByteOrder::Little };
    let narrowed = Program::compile(&hosts.join(" or "), dialect).unwrap().narrow();
    let mut text = String::new();
    show(&narrowed, &mut text);
    assert_eq!(text.matches("/32").count(), 200, "{text}");
}
