use super::*;
use crate::flow::{KeyPart, PathPart};
use proptest::prelude::*;
use std::fmt::Write;

const MACS: [u8; 12] = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];

fn ethernet(ether_type: u16, rest: &[u8]) -> Vec<u8> {
    [&MACS[..], &ether_type.to_be_bytes(), rest].concat()
}

fn ipv4(protocol: u8, from: [u8; 4], to: [u8; 4], rest: &[u8]) -> Vec<u8> {
    let length = (20 + rest.len() as u16).to_be_bytes();
    let head = [0x45, 0, length[0], length[1], 0, 7, 0, 0, 64, protocol, 0, 0];
    [&head[..], &from, &to, rest].concat()
}

fn ipv6(next: u8, from: u8, to: u8, rest: &[u8]) -> Vec<u8> {
    let length = (rest.len() as u16).to_be_bytes();
    let mut packet = vec![0x60, 0, 0, 0, length[0], length[1], next, 64];
    for end in [from, to] {
        packet.extend([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, end]);
    }
    [&packet[..], rest].concat()
}

fn udp(from: u16, to: u16, payload: &[u8]) -> Vec<u8> {
    let length = (8 + payload.len() as u16).to_be_bytes();
    [&from.to_be_bytes()[..], &to.to_be_bytes(), &length, &[0, 0], payload].concat()
}

fn tcp(from: u16, to: u16) -> Vec<u8> {
    let rest = [0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0, 0, 0, 0, 0, 0];
    [&from.to_be_bytes()[..], &to.to_be_bytes(), &rest].concat()
}

const A: [u8; 4] = [10, 0, 0, 1];
const B: [u8; 4] = [10, 0, 0, 2];

/// Decodes a packet, and compares key and path in few words.
fn check(link_type: LinkType, packet: &[u8], expected: &str) {
    let mut decoder = Decoder::new();
    decoder.decode(link_type, ByteOrder::Little, packet);
    let mut text = String::new();
    for part in decoder.key().parts() {
        match part {
            KeyPart::Layer(layer) => {
                for end in layer.ends {
                    write!(text, "{}", end.address).unwrap();
                    end.port.map_or(Ok(()), |port| write!(text, ":{port}")).unwrap();
                    text.push(' ');
                }
            }
            KeyPart::Vlan(id) => write!(text, "vlan {id} ").unwrap(),
            KeyPart::Tunnel(kind, id) => write!(text, "tunnel {kind}/{id} ").unwrap(),
            other => write!(text, "{other:?} ").unwrap(),
        }
    }
    text.push('|');
    for part in decoder.path().parts() {
        match part {
            PathPart::LinkType(_) | PathPart::Macs(..) => {}
            PathPart::EtherType(it) => write!(text, " {it:04x}").unwrap(),
            PathPart::Protocol(it) => write!(text, " p{it}").unwrap(),
            other => write!(text, " {other:?}").unwrap(),
        }
    }
    assert_eq!(text, expected);
}

#[test]
fn headers_are_followed_from_the_link_to_the_transport() {
    let eth = LinkType::ETHERNET;
    let plain = ipv4(6, A, B, &tcp(40000, 80));
    check(eth, &ethernet(0x0800, &plain), "10.0.0.1:40000 10.0.0.2:80 | 0800 p6");
    let tags = [&[0x20, 5, 0x81, 0, 0, 6, 8, 0][..], &plain].concat();
    check(
        eth,
        &ethernet(0x88a8, &tags),
        "vlan 5 vlan 6 10.0.0.1:40000 10.0.0.2:80 | 88a8 Vlan(5) 8100 Vlan(6) 0800 p6",
    );
    let labels = [&[0, 1, 0x00, 64, 0, 1, 0xd1, 64][..], &plain].concat();
    check(
        eth,
        &ethernet(0x8847, &labels),
        "10.0.0.1:40000 10.0.0.2:80 | 8847 Mpls(16) Mpls(29) 0800 p6",
    );
    let session = [&[0x11, 0, 0, 9, 0, 0, 0, 0x21][..], &plain].concat();
    check(
        eth,
        &ethernet(0x8864, &session),
        "tunnel 8/9 10.0.0.1:40000 10.0.0.2:80 | 8864 Tunnel(Pppoe, 9) 0800 p6",
    );
    let options = [&[17, 0, 1, 4, 0, 0, 0, 0][..], &udp(1, 2, b"")].concat();
    check(
        eth,
        &ethernet(0x86dd, &ipv6(0, 9, 1, &options)),
        "2001:db8::1:2 2001:db8::9:1 | 86dd p0 p17",
    );
    check(LinkType::RAW, &plain, "10.0.0.1:40000 10.0.0.2:80 | 0800 p6");
    check(
        LinkType::NULL,
        &[&[2, 0, 0, 0][..], &plain].concat(),
        "10.0.0.1:40000 10.0.0.2:80 | 0800 p6",
    );
    let mut arp = vec![0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 1, 10, 0, 0, 9];
    arp.extend([0, 0, 0, 0, 0, 0, 10, 0, 0, 1]);
    check(eth, &ethernet(0x0806, &arp), "10.0.0.1 10.0.0.9 | 0806");
}

#[test]
fn what_is_inside_tunnels_is_added_to_what_is_outside() {
    let eth = LinkType::ETHERNET;
    let inside = ipv4(6, [192, 168, 0, 1], [192, 168, 0, 2], &tcp(5, 6));
    let frame = ethernet(0x0800, &inside);
    let vxlan = [&[8, 0, 0, 0, 0, 0, 42, 0][..], &frame].concat();
    check(
        eth,
        &ethernet(0x0800, &ipv4(17, A, B, &udp(777, 4789, &vxlan))),
        "tunnel 4/42 10.0.0.1:777 10.0.0.2:4789 192.168.0.1:5 192.168.0.2:6 | 0800 p17 \
         Tunnel(Vxlan, 42) 0800 p6",
    );
    let gre = [&[0x20, 0, 8, 0, 0, 0, 0, 7][..], &inside].concat();
    check(
        eth,
        &ethernet(0x0800, &ipv4(47, A, B, &gre)),
        "10.0.0.1 10.0.0.2 192.168.0.1:5 192.168.0.2:6 | 0800 p47 Tunnel(Gre, 7) 0800 p6",
    );
    let gtp = [&[0x30, 255, 0, 0, 0, 0, 0, 3][..], &inside].concat();
    check(
        eth,
        &ethernet(0x0800, &ipv4(17, A, B, &udp(2152, 2152, &gtp))),
        "10.0.0.1:2152 10.0.0.2:2152 192.168.0.1:5 192.168.0.2:6 | 0800 p17 Tunnel(Gtp, 3) 0800 p6",
    );
    // A tunnel's port without a tunnel is just a port.
    check(
        eth,
        &ethernet(0x0800, &ipv4(17, A, B, &udp(777, 4789, b"?"))),
        "10.0.0.1:777 10.0.0.2:4789 | 0800 p17",
    );
}

#[test]
fn what_a_filter_may_see_otherwise_is_opaque() {
    let eth = LinkType::ETHERNET;
    let opaque = |packet: &[u8]| {
        let mut decoder = Decoder::new();
        decoder.decode(eth, ByteOrder::Little, packet).opaque
    };
    let good = ethernet(0x0800, &ipv4(6, A, B, &tcp(1, 2)));
    assert!(!opaque(&good));
    let mut version = good.clone();
    version[14] = 0x65;
    assert!(opaque(&version));
    let mut length = good.clone();
    length[14] = 0x44;
    assert!(opaque(&length));
    // Cut in the addresses, between the ports, and behind them.
    assert!(opaque(&good[..30]));
    assert!(opaque(&good[..36]));
    assert!(!opaque(&good[..34]));
    assert!(!opaque(&good[..38]));
}

#[test]
fn both_directions_are_one_flow_over_one_path() {
    let mut there = Decoder::new();
    let first = ethernet(0x0800, &ipv4(6, A, B, &tcp(40000, 80)));
    let answer = {
        let mut packet = ethernet(0x0800, &ipv4(6, B, A, &tcp(80, 40000)));
        packet[..6].copy_from_slice(&MACS[6..]);
        packet[6..12].copy_from_slice(&MACS[..6]);
        packet
    };
    let mut back = Decoder::new();
    let sent = there.decode(LinkType::ETHERNET, ByteOrder::Little, &first);
    let answered = back.decode(LinkType::ETHERNET, ByteOrder::Little, &answer);
    assert_eq!(there.key(), back.key());
    assert_eq!(there.path(), back.path());
    assert!(sent.from_first_end && !answered.from_first_end);
}

#[test]
fn fragments_know_their_datagram_and_later_ones_have_no_ports() {
    let mut decoder = Decoder::new();
    let mut first = ipv4(17, A, B, &udp(53, 9, b"abcdefgh"));
    first[6] = 0x20;
    let mut second = ipv4(17, A, B, b"ijkl");
    second[7] = 2;
    let one = decoder.decode(LinkType::RAW, ByteOrder::Little, &first).fragment.unwrap();
    assert_eq!((one.offset, one.more, decoder.key().ports().count()), (0, true, 2));
    let decoded = decoder.decode(LinkType::RAW, ByteOrder::Little, &second);
    let two = decoded.fragment.unwrap();
    assert_eq!((two.offset, two.more, two.payload), (16, false, &b"ijkl"[..]));
    assert_eq!(one.datagram, two.datagram);
    assert_eq!(decoder.key().ports().count(), 0);
    assert!(!decoded.opaque);
}

#[test]
fn community_ids_are_the_specification_s() {
    let mut decoder = Decoder::new();
    for (packet, expected) in [
        (
            ipv4(6, [128, 232, 110, 120], [66, 35, 250, 204], &tcp(34855, 80)),
            "1:LQU9qZlK+B5F3KDmev6m5PMibrg=",
        ),
        (
            ipv4(17, [192, 168, 1, 52], [8, 8, 8, 8], &udp(54585, 53, b"")),
            "1:d/FP5EW3wiY1vCndhwleRRKHowQ=",
        ),
        (
            ipv4(1, [192, 168, 0, 89], [192, 168, 0, 1], &[8, 0, 0, 0, 0, 1, 0, 1]),
            "1:X0snYXpgwiv9TZtqg64sgzUn6Dk=",
        ),
    ] {
        decoder.decode(LinkType::RAW, ByteOrder::Little, &packet);
        assert_eq!(decoder.key().community_id().as_deref(), Some(expected));
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(
        link_type in prop_oneof![0u16..300],
        big: bool,
        mut bytes in proptest::collection::vec(any::<u8>(), 0..200),
        ether_type in proptest::sample::select(vec![
            0x0800u16, 0x86dd, 0x0806, 0x8100, 0x8847, 0x8864, 0x6558, 4,
        ]),
    ) {
        if bytes.len() > 24 {
            bytes[12..14].copy_from_slice(&ether_type.to_be_bytes());
            bytes[14] = if ether_type == 0x86dd { 0x60 } else { 0x45 };
        }
        let order = if big { ByteOrder::Big } else { ByteOrder::Little };
        let mut decoder = Decoder::new();
        for link_type in [LinkType(link_type), LinkType::ETHERNET] {
            decoder.decode(link_type, order, &bytes);
            let _ = (decoder.key().parts().count(), decoder.key().community_id());
            let _ = decoder.path().parts().count();
        }
        let _ = FlowKey::from_bytes(&bytes).parts().count();
        let _ = Path::from_bytes(&bytes).parts().count();
    }
}
