//! Packets whose clock was set while they came: they keep the times they have.

use std::time::Duration;

use tapstone::{GroupBy, OpenOptions, Selection, Sizes, Store, Timestamp};
use tapstone_packet::capture_file::PcapWriter;
use tapstone_packet::interface::{Interface, LinkType};

use crate::support::{Raw, everything, import, raw, read};

const START: i64 = 1_700_000_000;

/// Datagrams a tenth of a second apart, in the order in which they came; before each of these, the
/// clock went so many seconds.
fn capture(count: u32, steps: &[(u32, i64)]) -> Vec<u8> {
    let interface = Interface { snap_len: 65_535, ..Interface::new(LinkType::ETHERNET) };
    let mut bytes = Vec::new();
    let writer = PcapWriter::start(&interface, &mut bytes);
    let mut set = 0;
    for number in 0..count {
        set += steps.iter().filter(|(at, _)| *at == number).map(|(_, by)| by).sum::<i64>();
        let secs = START + set + i64::from(number) / 10;
        let time = Timestamp::from_secs_nanos(secs, number % 10 * 100_000_000);
        let mut frame = vec![2; 12];
        frame.extend([8, 0, 0x45, 0, 0, 40, 0, 0, 0, 0, 64, 17, 0, 0, 10, 9, 0, 1, 10, 9, 0, 2]);
        frame.extend([0x30, 0x39, 0x23, (number % 4) as u8, 0, 20, 0, 0]);
        frame.extend(u64::from(number).to_le_bytes());
        frame.extend([0xa5; 900]);
        let length = frame.len() as u32;
        writer.packet(&interface, time, &frame, length, &mut bytes).unwrap();
    }
    bytes
}

/// The packets in the order of an answer: by time, and within one time as they came.
fn in_order(bytes: &[u8]) -> Vec<Raw> {
    let mut packets: Vec<Raw> = read(bytes).packets.into_iter().map(|(_, it)| it).collect();
    packets.sort_by_key(|it| it.time);
    packets
}

fn time(secs: i64) -> Option<Timestamp> {
    Some(Timestamp::from_secs_nanos(START + secs, 0))
}

/// Sealed again and again on the way, so that some segments lie over times of others.
#[test]
fn packets_are_found_by_the_times_that_they_have() {
    for (steps, small, name) in [
        (&[(300, -20), (600, 35)][..], true, "back and forth"),
        (&[(300, -3600)], false, "an hour back"),
        (&[(300, 3600), (500, -3600)], true, "an hour forth and back"),
        (&[(100, -5), (200, -5), (300, -5), (400, -5)], false, "back again and again"),
    ] {
        let bytes = capture(1_000, steps);
        let expected = in_order(&bytes);
        let dir = tempfile::tempdir().unwrap();
        let sizes = Sizes { block: 4096, unit: 32 << 10, segment: 8 << 10, ..Sizes::default() };
        let sizes = if small { sizes } else { Sizes::default() };
        let options = OpenOptions { create: true, shards: 1, sizes, ..OpenOptions::default() };
        let store = Store::open(dir.path(), options).unwrap();
        import(&store, &bytes, "a.pcap");
        check(&store, &expected, name);
        store.seal().unwrap();
        assert_eq!(store.info().unwrap().segments > 3, small);
        check(&store, &expected, name);
        store.close().unwrap();
        // The index is made anew of what the segments have.
        let store = Store::open(dir.path(), OpenOptions { rebuild: true, ..options }).unwrap();
        store.wait_until_indexed();
        check(&store, &expected, name);
        assert_eq!(store.check().damage, []);
    }
}

fn check(store: &Store, expected: &[Raw], name: &str) {
    let info = store.info().unwrap();
    let ends = (expected.first().map(|it| it.time), expected.last().map(|it| it.time));
    assert_eq!((info.first, info.last), ends, "{name}");
    assert!(everything(store) == expected, "{name}");
    for (since, until) in [(0, 10), (5, 6), (-20, 0), (20, 45), (-3600, -3580), (-3590, 3700)] {
        let (since, until) = (time(since), time(until));
        let is_within = |it: &&Raw| Some(it.time) >= since && Some(it.time) < until;
        let is_wanted = |it: &&Raw| is_within(it) && it.data[37] == 2;
        let selection = Selection { since, until, ..Selection::default() };
        let within: Vec<_> = expected.iter().filter(is_within).cloned().collect();
        let mut packets = store.query(&selection).unwrap();
        let found: Vec<_> = (&mut packets).map(|it| raw(&it)).collect();
        assert!(packets.answer().completeness.is_complete(), "{name}");
        assert!(found == within, "{name}: {since:?} to {until:?}");
        for selection in [
            Selection { filter: "udp port 8962".to_owned(), ..selection.clone() },
            Selection { metadata: "port:8962".to_owned(), ..selection.clone() },
        ] {
            let answer = store.count(&selection).unwrap();
            let wanted = expected.iter().filter(is_wanted).count() as u64;
            assert_eq!(
                (answer.packets, answer.completeness.is_complete()),
                (wanted, true),
                "{name}: {answer:?}, {selection:?}"
            );
        }
        let bars = store.histogram(&selection, Duration::from_secs(1), GroupBy::Nothing).unwrap();
        assert_eq!(bars.bars.iter().map(|it| it.packets).sum::<u64>(), within.len() as u64);
    }
}
