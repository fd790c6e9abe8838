//! What is held is not let go.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tapstone::{
    ExpireError, Free, HeldBack, Hold, HoldError, NewHold, OpenOptions, Retention, Selection,
    Store, Timestamp,
};
use tapstone_packet::capture_file::PcapWriter;
use tapstone_packet::interface::{Interface, LinkType};

use crate::support::{copy, import, open};

const PACKETS: u64 = 20;

/// Packets to the host 10.0.0.`host`, a second apart; those of the next host come 1000 s later.
fn capture(host: u8) -> Vec<u8> {
    let interface = Interface { snap_len: 65535, ..Interface::new(LinkType::RAW) };
    let mut bytes = Vec::new();
    let writer = PcapWriter::start(&interface, &mut bytes);
    for number in 0..PACKETS {
        let packet = [
            0x45, 0, 0, 29, 0, 0, 0, 0, 64, 17, 0, 0, 10, 1, 1, 1, 10, 0, 0, host, 0, 80, 0, 81, 0,
            9, 0, 0, host,
        ];
        let time = at(1000 * i64::from(host) + number as i64);
        writer.packet(&interface, time, &packet, 29, &mut bytes).unwrap();
    }
    bytes
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_secs_nanos(second, 0)
}

/// A sealed segment for each of the hosts 0 to 4.
fn filled(folder: &Path) -> Store {
    let store = open(folder);
    for host in 0..5 {
        import(&store, &capture(host), "a.pcap");
        store.seal().unwrap();
    }
    store
}

fn new_hold() -> NewHold {
    NewHold { reason: "an incident".into(), by: "alice".into(), ..NewHold::default() }
}

fn filter(filter: &str) -> NewHold {
    NewHold { filter: filter.into(), ..new_hold() }
}

/// The hosts whose packets are there; all of them, or none.
fn hosts(store: &Store) -> Vec<u8> {
    let mut packets = store.query(&Selection::default()).unwrap();
    let mut hosts: Vec<u8> = (&mut packets).map(|packet| packet.data()[19]).collect();
    assert!(packets.answer().completeness.is_complete(), "{:?}", packets.answer());
    let count = hosts.len() as u64;
    hosts.dedup();
    assert_eq!(count, PACKETS * hosts.len() as u64);
    hosts
}

/// Nothing may stay.
const NOTHING: Retention = Retention { max_size: Some(0), keep_free: None, keep_for: None };

/// What is left when nothing may stay.
fn left(store: &Store) -> Vec<u8> {
    store.expire(&NOTHING).unwrap();
    assert_eq!(store.check().damage, []);
    hosts(store)
}

#[test]
fn what_is_held_stays_whatever_the_reason_to_let_it_go() {
    let by_age = Retention { keep_for: Some(Duration::from_millis(1)), ..Retention::default() };
    let by_space = Retention { keep_free: Some(Free::Bytes(1 << 60)), ..Retention::default() };
    for (retention, has_an_aim) in [(NOTHING, true), (by_space, true), (by_age, false)] {
        let dir = tempfile::tempdir().unwrap();
        let store = filled(dir.path());
        let hold = store.add_hold(&filter("host 10.0.0.1")).unwrap();
        std::thread::sleep(Duration::from_millis(20));
        let report = store.expire(&retention).unwrap();
        assert_eq!((report.gone.len(), report.held_back.segments), (4, 1));
        assert_eq!(report.held_back.falls_short, has_an_aim, "{retention:?}");
        assert_eq!(hosts(&store), [1]);
        let again = store.expire(&retention).unwrap();
        assert!(again.gone.is_empty() && again.held_back == report.held_back);
        let info = store.info().unwrap();
        assert_eq!((info.holds, info.held_back), (1, report.held_back));
        assert_eq!(info.held_back.bytes, info.stored_bytes + split_bytes(dir.path()));

        assert_eq!(store.remove_hold(hold.id).unwrap(), hold);
        let report = store.expire(&retention).unwrap();
        assert_eq!((report.gone.len(), report.held_back), (1, HeldBack::default()));
        assert!(hosts(&store).is_empty());
    }
}

fn split_bytes(folder: &Path) -> u64 {
    let splits = fs::read_dir(folder.join("splits")).unwrap();
    splits.map(|it| it.unwrap().metadata().unwrap().len()).sum()
}

#[test]
fn newer_segments_go_in_place_of_a_held_one() {
    let dir = tempfile::tempdir().unwrap();
    let store = filled(dir.path());
    store.add_hold(&filter("host 10.0.0.0")).unwrap();
    let info = store.info().unwrap();
    let bytes = info.stored_bytes + split_bytes(dir.path());
    let max_size = Some(bytes - bytes / 5);
    let report = store.expire(&Retention { max_size, ..Retention::default() }).unwrap();
    assert!(!report.held_back.falls_short && report.held_back.segments == 1);
    assert!(report.gone.len() <= 2);
    let left = hosts(&store);
    assert!(left[0] == 0 && left[1] > 1 && left.ends_with(&[4]), "{left:?}");
}

#[test]
fn a_hold_is_about_what_a_query_would_find() {
    let times = |since: Option<i64>, until: Option<i64>| NewHold {
        since: since.map(at),
        until: until.map(at),
        ..new_hold()
    };
    let metadata = |text: &str| NewHold { metadata: text.into(), ..new_hold() };
    let cases: [(NewHold, &[u8]); 12] = [
        (new_hold(), &[0, 1, 2, 3, 4]),
        (filter("host 10.9.9.9"), &[]),
        (filter("udp dst port 81 and udp[8] = 3"), &[3]),
        (filter("tcp"), &[]),
        (metadata("ip:10.0.0.2 AND port:81"), &[2]),
        (metadata("sni:example.com"), &[]),
        (times(Some(3000), None), &[3, 4]),
        (times(None, Some(1000)), &[0]),
        (times(Some(1019), Some(2001)), &[1, 2]),
        // Between two segments.
        (times(Some(500), Some(900)), &[]),
        (NewHold { filter: "udp".into(), ..times(Some(2019), Some(2020)) }, &[2]),
        (NewHold { filter: "host 10.0.0.2".into(), ..times(Some(2020), None) }, &[]),
    ];
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path()).close().unwrap();
    for (hold, expected) in cases {
        let folder = tempfile::tempdir().unwrap();
        copy(dir.path(), folder.path());
        let store = open(folder.path());
        store.add_hold(&hold).unwrap();
        assert_eq!(left(&store), expected, "{hold:?}");
    }
}

#[test]
fn holds_survive_restarts_crashes_and_rebuilding() {
    let dir = tempfile::tempdir().unwrap();
    let store = filled(dir.path());
    let added: Vec<Hold> = ["host 10.0.0.1", "host 10.0.0.2", "host 10.0.0.3"]
        .map(|it| store.add_hold(&filter(it)).unwrap())
        .into();
    assert_eq!(added.iter().map(|it| it.id).collect::<Vec<_>>(), [1, 2, 3]);
    store.remove_hold(3).unwrap();
    assert!(matches!(store.remove_hold(3), Err(HoldError::Unknown(3))));
    // As a crash leaves it.
    let crashed = tempfile::tempdir().unwrap();
    copy(dir.path(), crashed.path());
    let store = open(crashed.path());
    assert_eq!(store.holds(), added[..2]);
    store.close().unwrap();
    let options = OpenOptions { rebuild: true, ..OpenOptions::default() };
    let store = Store::open(crashed.path(), options).unwrap();
    store.wait_until_indexed();
    assert_eq!(store.holds(), added[..2]);
    // The number of one that was removed is not given again.
    let id = store.add_hold(&filter("host 10.0.0.4")).unwrap().id;
    assert_eq!(id, 4);
    assert_eq!(left(&store), [1, 2, 4]);
    store.close().unwrap();
    let store = open(crashed.path());
    assert_eq!(left(&store), [1, 2, 4]);
    assert_eq!(store.holds().len(), 3);
    assert!(store.damage().is_empty());
}

#[test]
fn what_makes_no_sense_is_refused_in_a_querys_words() {
    let dir = tempfile::tempdir().unwrap();
    let store = filled(dir.path());
    let refused = |hold: &NewHold| store.add_hold(hold).unwrap_err().to_string();
    let times =
        |since, until| NewHold { since: Some(at(since)), until: Some(at(until)), ..new_hold() };
    for (hold, selection) in [
        (
            filter("no such filter"),
            Selection { filter: "no such filter".into(), ..Selection::default() },
        ),
        (
            NewHold { metadata: "color:red".into(), ..new_hold() },
            Selection { metadata: "color:red".into(), ..Selection::default() },
        ),
        (times(2, 1), Selection { since: Some(at(2)), until: Some(at(1)), ..Selection::default() }),
    ] {
        assert_eq!(refused(&hold), store.query(&selection).unwrap_err().to_string());
    }
    assert!(refused(&times(1, 1)).contains("empty"));
    assert!(refused(&NewHold { reason: " ".into(), ..new_hold() }).contains("reason"));
    assert!(store.holds().is_empty());
    assert!(!dir.path().join("ledger").try_exists().unwrap(), "nothing was recorded");
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

fn only_file(folder: &Path) -> PathBuf {
    let mut files = fs::read_dir(folder).unwrap();
    let file = files.next().unwrap().unwrap().path();
    assert!(files.next().is_none());
    file
}

#[test]
fn a_segment_that_cannot_be_read_is_held_for_what_may_be_in_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    import(&store, &capture(1), "a.pcap");
    store.seal().unwrap();
    flip(&only_file(&dir.path().join("segments")), 4200);
    // The index says that there is no such packet, whatever else is in the segment.
    store.add_hold(&filter("host 10.9.9.9")).unwrap();
    let needs_reading = store.add_hold(&filter("udp[8] = 99")).unwrap();
    assert_eq!(store.expire(&NOTHING).unwrap().held_back.segments, 1);
    store.remove_hold(needs_reading.id).unwrap();
    assert_eq!(store.expire(&NOTHING).unwrap().gone.len(), 1);
}

#[test]
fn a_bad_byte_of_the_ledger_keeps_everything_until_somebody_has_looked() {
    let dir = tempfile::tempdir().unwrap();
    let store = filled(dir.path());
    store.add_hold(&filter("host 10.0.0.1")).unwrap();
    store.add_hold(&filter("host 10.0.0.2")).unwrap();
    store.close().unwrap();
    let ledger = only_file(&dir.path().join("ledger"));
    flip(&ledger, 2 * 4096 + 60);
    let store = open(dir.path());
    assert!(store.holds_in_doubt());
    let told = store.damage().join("\n");
    assert!(told.contains(ledger.to_str().unwrap()) && told.contains("hold accept"), "{told}");
    let damage = store.check().damage;
    assert!(damage.iter().any(|it| it.path == ledger && it.offset == Some(8192)), "{damage:?}");
    // What verifies is in force.
    assert_eq!(store.holds().iter().map(|it| it.id).collect::<Vec<_>>(), [1]);
    let refused = || matches!(store.expire(&NOTHING), Err(ExpireError::HoldsInDoubt));
    assert!(refused());
    // The one that is missing is added before anything goes, also by one who does not know.
    store.add_hold(&filter("host 10.0.0.2")).unwrap();
    assert!(refused());
    store.close().unwrap();
    let store = open(dir.path());
    assert!(matches!(store.expire(&NOTHING), Err(ExpireError::HoldsInDoubt)));
    assert_eq!(hosts(&store).len(), 5);
    store.accept_holds().unwrap();
    store.expire(&NOTHING).unwrap();
    assert_eq!(hosts(&store), [1, 2]);
    store.close().unwrap();
    let store = open(dir.path());
    assert!(store.damage().is_empty() && !store.holds_in_doubt());
    assert_eq!(left(&store), [1, 2]);
}

/// To freeze a ledger of a new version, run with `TAPSTONE_FREEZE=1` and commit the new folder.
#[test]
fn a_ledger_of_version_1_is_read() {
    let frozen = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/ledger-v1");
    let bounded = NewHold { since: Some(at(-5)), until: Some(at(5)), ..filter("udp") };
    let named = NewHold { metadata: "sni:example.com".into(), ..new_hold() };
    if std::env::var_os("TAPSTONE_FREEZE").is_some() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        for hold in [&bounded, &new_hold(), &named] {
            store.add_hold(hold).unwrap();
        }
        store.remove_hold(2).unwrap();
        store.close().unwrap();
        for part in ["ledger", "ledger.head", "store", "master.key"] {
            let (from, to) = (dir.path().join(part), frozen.join(part));
            match from.is_dir() {
                true => copy(&from, &to),
                false => fs::copy(&from, &to).map(drop).unwrap(),
            }
        }
    }
    let dir = tempfile::tempdir().unwrap();
    copy(&frozen, dir.path());
    let store = open(dir.path());
    assert!(store.damage().is_empty(), "{:?}", store.damage());
    let found = store.holds().into_iter().map(|it| {
        let Hold { id, since, until, filter, metadata, reason, by, added } = it;
        assert!(added > at(1_700_000_000));
        (id, NewHold { since, until, filter, metadata, reason, by })
    });
    assert_eq!(found.collect::<Vec<_>>(), [(1, bounded), (3, named)]);
}
