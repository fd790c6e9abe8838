//! Asking: ranges, limits, names, several link types, streams, damage.

use std::net::Ipv4Addr;

use futures_lite::StreamExt;
use tapstone::{QueryError, Selection, Timestamp};
use tapstone_benches::packets::{self, Ends, flags};
use tapstone_benches::workload::Workload;
use tapstone_packet::capture_file::{PcapngWriter, options};
use tapstone_packet::interface::{Interface, LinkType};
use tapstone_packet::time::TimeScale;

use crate::support::{everything, import, open, raw, read};

/// A capture of packets at the given seconds.
fn capture(link_type: LinkType, packets: &[(i64, Vec<u8>)]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut writer = PcapngWriter::new("test");
    let interface = Interface::new(link_type);
    for (secs, data) in packets {
        let time = Timestamp::from_secs_nanos(*secs, 0);
        writer.packet(&interface, time, data, data.len() as u32, &[], &mut out);
    }
    out
}

fn ends(client: u8, server: u8, server_port: u16) -> Ends {
    Ends {
        client: Ipv4Addr::new(10, 0, 0, client),
        server: Ipv4Addr::new(192, 0, 2, server),
        client_port: 40_000,
        server_port,
    }
}

fn tcp(ends: Ends) -> Vec<u8> {
    let mut out = Vec::new();
    packets::tcp(&mut out, ends, true, flags::SYN, 1, b"");
    out
}

fn filter(text: &str) -> Selection {
    Selection { filter: text.into(), ..Selection::default() }
}

fn metadata(text: &str) -> Selection {
    Selection { metadata: text.into(), ..Selection::default() }
}

#[test]
fn ties_come_in_order_of_arrival_and_times_may_go_back() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let times = [5, 3, 5, 5, 1, 3, 5];
    let packets: Vec<(i64, Vec<u8>)> =
        times.iter().zip(0..).map(|(secs, n)| (*secs, tcp(ends(n, n % 3, 80)))).collect();
    import(&store, &capture(LinkType::ETHERNET, &packets), "a");
    let mut expected = packets;
    expected.sort_by_key(|(secs, _)| *secs);
    let found: Vec<(i64, Vec<u8>)> = everything(&store)
        .into_iter()
        .map(|raw| (raw.time.secs_nanos().0 as i64, raw.data))
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn ranges_are_half_open_and_limits_take_the_earliest() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let packets: Vec<_> = (0..10).map(|secs| (secs, tcp(ends(secs as u8, 1, 80)))).collect();
    import(&store, &capture(LinkType::ETHERNET, &packets), "a");
    let at = |secs| Some(Timestamp::from_secs_nanos(secs, 0));
    let check = |selection: Selection, expected: &[i64]| {
        let mut packets = store.query(&selection).unwrap();
        let seconds = packets.by_ref().map(|packet| packet.time().secs_nanos().0 as i64);
        assert_eq!(seconds.collect::<Vec<_>>(), expected, "{selection:?}");
        let (counted, given) = (store.count(&selection).unwrap(), packets.answer());
        let packets = expected.len() as u64;
        assert_eq!((given.packets, given.bytes), (packets, packets * 54));
        assert_eq!((counted.packets, counted.bytes), (packets, packets * 54));
    };
    let all = Selection::default;
    check(Selection { since: at(3), until: at(6), ..all() }, &[3, 4, 5]);
    check(Selection { since: at(9), ..all() }, &[9]);
    check(Selection { until: at(0), ..all() }, &[]);
    check(Selection { limit: Some(2), since: at(4), ..all() }, &[4, 5]);
    check(Selection { limit: Some(0), ..all() }, &[]);
    let wrong = Selection { since: at(6), until: at(3), ..all() };
    assert!(matches!(store.query(&wrong), Err(QueryError::TimeRange { .. })));
}

#[test]
fn a_filter_that_one_link_type_refuses_is_asked_of_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let packet = tcp(ends(1, 1, 80));
    import(&store, &capture(LinkType::ETHERNET, &[(1, packet.clone())]), "ethernet");
    import(&store, &capture(LinkType::RAW, &[(2, packet[14..].to_vec())]), "raw");
    assert_eq!(store.count(&filter("tcp port 80")).unwrap().packets, 2);
    // Bare IP has no MAC addresses.
    let answer = store.count(&filter("ether src 02:00:5e:00:00:01")).unwrap();
    assert_eq!(answer.packets, 1);
    assert_eq!(answer.completeness.refused.len(), 1);
    assert_eq!(answer.completeness.refused[0].link_type, LinkType::RAW);
    assert!(answer.completeness.is_complete());
    let all = store.count(&filter("wlan type mgt")).unwrap_err().to_string();
    assert!(all.contains("802.11"), "{all}");
    let position = store.count(&filter("tcp port 80 and port")).unwrap_err().to_string();
    assert!(position.contains("syntax error") && position.contains("at byte"), "{position}");
}

#[test]
fn flows_are_found_by_the_names_they_carry_and_by_those_that_dns_gave() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let dns = ends(1, 53, 53);
    let (mut question, mut answer) = (Vec::new(), Vec::new());
    packets::udp(&mut question, dns, true, &packets::dns_query(7, "www.example.com"));
    let address = Ipv4Addr::new(192, 0, 2, 9);
    packets::udp(&mut answer, dns, false, &packets::dns_answer(7, "www.example.com", address));
    let silent = tcp(ends(1, 9, 4433));
    let mut hello = Vec::new();
    let message = packets::client_hello("mail.example.org", [0; 32]);
    let (first, second) = message.split_at(20);
    let tls = ends(2, 8, 443);
    packets::tcp(&mut hello, tls, true, flags::ACK, 100, first);
    let mut rest = Vec::new();
    packets::tcp(&mut rest, tls, true, flags::ACK, 120, second);
    let all =
        [(1, question), (2, answer), (3, silent), (4, hello), (5, rest), (6, tcp(ends(3, 7, 22)))];
    import(&store, &capture(LinkType::ETHERNET, &all), "a");
    for sealed in [false, true] {
        if sealed {
            store.seal().unwrap();
        }
        let check = |text: &str, expected: &[i64]| {
            // The name cache learns when a segment is sealed.
            let packets = store.query(&metadata(text)).unwrap();
            let secs: Vec<i64> = packets.map(|it| it.time().secs_nanos().0 as i64).collect();
            assert_eq!(secs, expected, "{text}, sealed {sealed}");
        };
        check("dns:example.com", &[1, 2]);
        check("dns:\"www.example.com\"", &[1, 2]);
        check("dns:\"example.com\"", &[]);
        check("sni:example.org", &[4, 5]);
        check("sni:*.example.org AND port:443", &[4, 5]);
        check("sni:example.com", &[]);
        check("NOT proto:udp AND NOT sni:example.org", &[3, 6]);
        if sealed {
            check("name:example.com", &[1, 2, 3]);
        }
    }
    let both = Selection { filter: "tcp[13] & 2 != 0".into(), ..metadata("ip:192.0.2.9") };
    assert_eq!(store.count(&both).unwrap().packets, 1);
    // The cache is safe to delete: the splits fill it again.
    store.close().unwrap();
    std::fs::remove_dir_all(dir.path().join("names")).unwrap();
    let store = open(dir.path());
    assert_eq!(store.count(&metadata("name:example.com")).unwrap().packets, 3);
}

#[test]
fn comments_directions_and_interfaces_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut out = Vec::new();
    let mut writer = PcapngWriter::new("test");
    let mut named = Interface::new(LinkType::ETHERNET);
    options::push(&mut named.options, options::INTERFACE_NAME, b"eth7");
    named.scale = TimeScale { resolution: 12, offset_secs: -5 };
    let mut list = Vec::new();
    options::push(&mut list, options::COMMENT, "schön".as_bytes());
    options::push(&mut list, options::PACKET_FLAGS, &2u32.to_le_bytes());
    let time = Timestamp::from_attos(7_000_000);
    let data = tcp(ends(1, 1, 80));
    writer.packet(&named, time, &data, 99, &list, &mut out);
    writer.packet(&named, time, &data, 99, &[], &mut out);
    import(&store, &out, "a");
    let found: Vec<_> = store.query(&Selection::default()).unwrap().collect();
    assert_eq!(found.len(), 2);
    assert_eq!((found[0].time(), found[0].options()), (time, &list[..]));
    assert_eq!(options::direction(found[0].options()), Some(options::Direction::Outbound));
    assert_eq!((found[1].options(), found[1].original_len()), (&[][..], 99));
    assert_eq!(found[0].interface(), &named);
}

#[test]
fn a_stream_gives_what_the_iterator_gives() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut bytes = Vec::new();
    Workload::short_flows(40 << 20, 2).write(&mut bytes).unwrap();
    import(&store, &bytes, "a");
    let selection = filter("tcp port 443");
    let by_iterator: Vec<_> = store.query(&selection).unwrap().map(|it| raw(&it)).collect();
    let mut stream = store.query_stream(&selection).unwrap();
    let by_stream = futures_lite::future::block_on(async {
        let mut all = Vec::new();
        while let Some(packet) = stream.next().await {
            all.push(raw(&packet));
        }
        all
    });
    assert!(by_iterator.len() > 1000);
    assert!(by_iterator == by_stream);
    assert_eq!(stream.answer().packets, by_stream.len() as u64);
}

#[test]
fn a_damaged_block_is_told_and_everything_else_is_given() {
    let dir = tempfile::tempdir().unwrap();
    let mut bytes = Vec::new();
    Workload::short_flows(8 << 20, 3).write(&mut bytes).unwrap();
    let all = read(&bytes).packets.len() as u64;
    let store = open(dir.path());
    import(&store, &bytes, "a");
    store.close().unwrap();
    let folder = dir.path().join("segments");
    let path = std::fs::read_dir(folder).unwrap().next().unwrap().unwrap().path();
    let mut segment = std::fs::read(&path).unwrap();
    segment[3_000_000] ^= 1;
    std::fs::write(&path, &segment).unwrap();

    let store = open(dir.path());
    let mut packets = store.query(&Selection::default()).unwrap();
    let given = (&mut packets).count() as u64;
    let missing = &packets.answer().completeness.missing;
    assert_eq!(missing.len(), 1);
    assert_eq!(given + missing[0].packets, all);
    assert!(missing[0].reason.contains("at offset"), "{}", missing[0].reason);
    let damage = store.check().damage;
    assert_eq!(damage.len(), 1, "{damage:?}");
    assert_eq!(damage[0].path, path);
    assert!(damage[0].offset.is_some_and(|offset| offset <= 3_000_000));
}
