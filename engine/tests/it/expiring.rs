//! The oldest packets are let go.

use std::fs;
use std::path::Path;
use std::time::Duration;

use tapstone::{Expired, ExpiredBy, Free, OpenOptions, Retention, Selection, Store, Timestamp};
use tapstone_benches::workload::Workload;
use tapstone_packet::capture_file::PcapWriter;
use tapstone_packet::interface::{Interface, LinkType};

use crate::support::{everything, import, open};

/// Captures of one second each, one after the other, each sealed.
fn filled(folder: &Path, captures: u32) -> (Store, Vec<Vec<u8>>) {
    let store = open(folder);
    let capture = |number: u32| {
        let mut bytes = Vec::new();
        let start_secs = 1_700_000_000 + 10 * u64::from(number);
        let workload = Workload::short_flows(200_000, u64::from(number) + 1);
        Workload { start_secs, ..workload }.write(&mut bytes).unwrap();
        bytes
    };
    let captures: Vec<Vec<u8>> = (0..captures).map(capture).collect();
    for capture in &captures {
        import(&store, capture, "a.pcap");
        store.seal().unwrap();
    }
    (store, captures)
}

fn files(folder: &Path) -> usize {
    let count = |name| fs::read_dir(folder.join(name)).unwrap().count();
    assert_eq!(count("segments"), count("splits"));
    count("segments")
}

fn packets(gone: &[Expired]) -> u64 {
    gone.iter().map(|it| it.packets).sum()
}

#[test]
fn the_oldest_packets_go_with_all_that_belongs_to_them() {
    let dir = tempfile::tempdir().unwrap();
    let (store, captures) = filled(dir.path(), 6);
    let (before, info) = (everything(&store), store.info().unwrap());
    let bytes = info.stored_bytes;
    let retention = Retention { max_size: Some(bytes / 2), ..Retention::default() };
    let gone = store.expire(&retention).unwrap().gone;
    assert!(gone.len() >= 3 && gone.iter().all(|it| it.by == ExpiredBy::Size), "{gone:?}");
    assert_eq!(files(dir.path()), 6 - gone.len());
    assert_eq!(everything(&store), before[packets(&gone) as usize..], "the newest are there");
    assert!(store.expire(&retention).unwrap().gone.is_empty(), "no more than that");
    assert_eq!(store.check().damage, []);

    // What is gone can be taken in again, what is there is refused.
    assert!(import(&store, &captures[5], "a.pcap").is_refused());
    let again = import(&store, &captures[0], "a.pcap");
    assert_eq!((again.packets, again.known), (gone[0].packets, None));
    store.close().unwrap();
    let store = open(dir.path());
    assert_eq!(store.info().unwrap().packets, before.len() as u64 - packets(&gone[1..]));
    assert_eq!(packets(&store.expired().unwrap()), packets(&gone));
}

#[test]
fn who_asks_for_that_time_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = filled(dir.path(), 3);
    let retention = Retention { max_size: Some(1), ..Retention::default() };
    let gone = store.expire(&retention).unwrap().gone;
    assert_eq!(gone.len(), 3);
    let at = |secs| Some(Timestamp::from_secs_nanos(secs, 0));
    let told = |since, until| {
        let answer = store.count(&Selection { since, until, ..Selection::default() }).unwrap();
        answer.completeness.missing.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let within = told(at(1_700_000_005), at(1_700_000_015));
    assert_eq!(within.len(), 1);
    let expected = format!("up to {} packets between 2023-11-14T22:13:20", packets(&gone));
    assert!(within[0].starts_with(&expected), "{within:?}");
    assert!(within[0].ends_with("they expired: the store was larger than what is kept"));
    assert!(told(at(1_800_000_000), None).is_empty());
    assert!(told(None, None).is_empty(), "that is a question for what there is");
}

#[test]
fn age_counts_from_when_packets_were_stored() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = filled(dir.path(), 2);
    let keep_for = |age| Retention { keep_for: Some(age), ..Retention::default() };
    assert!(store.expire(&keep_for(Duration::from_secs(3600))).unwrap().gone.is_empty());
    std::thread::sleep(Duration::from_millis(20));
    let gone = store.expire(&keep_for(Duration::from_millis(10))).unwrap().gone;
    assert_eq!(gone.iter().map(|it| it.by).collect::<Vec<_>>(), [ExpiredBy::Age; 2]);
    assert_eq!(files(dir.path()), 0);
}

#[test]
fn room_is_made_and_open_segments_stay() {
    let dir = tempfile::tempdir().unwrap();
    let (store, captures) = filled(dir.path(), 2);
    let mut other = Vec::new();
    Workload::short_flows(200_000, 77).write(&mut other).unwrap();
    let left = import(&store, &other, "open.pcap").packets;
    // More than any disk has.
    let retention = Retention { keep_free: Some(Free::Bytes(1 << 60)), ..Retention::default() };
    let gone = store.expire(&retention).unwrap().gone;
    assert_eq!((gone.len(), captures.len()), (2, 2));
    assert_eq!(everything(&store).len() as u64, left);
    assert_eq!(store.check().damage, []);
}

/// The numbers of segments are part of cursors and of the names of logs.
#[test]
fn numbers_of_segments_are_not_given_again() {
    let dir = tempfile::tempdir().unwrap();
    let (store, captures) = filled(dir.path(), 3);
    store.expire(&Retention { max_size: Some(0), ..Retention::default() }).unwrap();
    store.close().unwrap();
    let store = Store::open(dir.path(), OpenOptions::default()).unwrap();
    import(&store, &captures[0], "a.pcap");
    let name = fs::read_dir(dir.path().join("segments")).unwrap().next().unwrap().unwrap();
    let name = name.file_name().into_string().unwrap();
    assert_eq!(u32::from_str_radix(&name[12..20], 16), Ok(3), "{name}");
}

/// Bytes of the files of a store, its descriptors, and this process's memory in pages.
fn footprint(folder: &Path) -> (u64, usize, u64) {
    let length = |path: &Path| fs::metadata(path).map_or(0, |it| it.len());
    let files = |folder: &Path| -> u64 {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        entries.map(|path| if path.is_dir() { 0 } else { length(&path) }).sum()
    };
    let folders = ["", "segments", "splits", "wal", "keys"].map(|name| files(&folder.join(name)));
    let memory = fs::read_to_string("/proc/self/statm").unwrap();
    let resident = memory.split_whitespace().nth(1).unwrap().parse().unwrap();
    (folders.iter().sum(), fs::read_dir("/proc/self/fd").unwrap().count(), resident)
}

/// A hundred flows of four packets each.
fn some_flows(cycle: u32) -> Vec<u8> {
    let interface = Interface { snap_len: 65_535, ..Interface::new(LinkType::RAW) };
    let mut bytes = Vec::new();
    let writer = PcapWriter::start(&interface, &mut bytes);
    for number in 0..400u16 {
        let mut data = vec![0x45, 0, 0, 228, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
        data.extend([(number % 100).to_be_bytes(), [0, 53], [0, 208], [0, 0]].concat());
        data.extend(cycle.to_le_bytes().repeat(50));
        let time = Timestamp::from_secs_nanos(1_700_000_000 + i64::from(cycle), number.into());
        writer.packet(&interface, time, &data, data.len() as u32, &mut bytes).unwrap();
    }
    bytes
}

/// Some thirty times, and with `TAPSTONE_PROVE=1`, in a process of its own, a thousand times: then
/// descriptors and memory are looked at as well.
#[test]
fn room_comes_back_cycle_after_cycle() {
    let alone = std::env::var_os("TAPSTONE_PROVE").is_some();
    let (settled, cycles) = if alone { (200, 1000) } else { (10, 30) };
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let retention = Retention { max_size: Some(200_000), ..Retention::default() };
    let mut gone = 0;
    let mut at_first = (0, 0, 0);
    for cycle in 0..cycles {
        import(&store, &some_flows(cycle), "a.pcap");
        store.seal().unwrap();
        gone += store.expire(&retention).unwrap().gone.len();
        if cycle == settled {
            at_first = footprint(dir.path());
        }
    }
    let at_last = footprint(dir.path());
    println!("{gone} segments expired; bytes, descriptors, pages: {at_first:?}, then {at_last:?}");
    assert!(gone as u32 > cycles - 10, "{gone} segments expired");
    assert!(at_last.0 < at_first.0 * 5 / 4, "{at_first:?}, then {at_last:?}");
    if alone {
        assert_eq!(at_last.1, at_first.1, "descriptors");
        assert!(at_last.2 < at_first.2 + 4096, "{at_first:?}, then {at_last:?}");
    }
    assert_eq!(store.check().damage, []);
}
