//! Taking captures in: again, in parts, cut short, damaged.

use std::io::Read;
use std::sync::Mutex;

use tapstone::{ImportOptions, OpenOptions, Selection, Sizes, Store};
use tapstone_benches::workload::Workload;

use crate::support::{everything, import, open, read};

fn capture(bytes: u64) -> Vec<u8> {
    let mut capture = Vec::new();
    Workload::short_flows(bytes, 5).write(&mut capture).unwrap();
    capture
}

#[test]
fn a_capture_that_is_stored_is_refused_and_stored_again_when_asked_to() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let bytes = capture(1 << 20);
    let first = import(&store, &bytes, "a.pcap");
    assert!(first.packets > 1000 && first.known.is_none());
    for sealed in [false, true] {
        if sealed {
            store.seal().unwrap();
        }
        let again = import(&store, &bytes, "b.pcap");
        assert!(again.is_refused(), "{again:?}");
        let known = again.known.unwrap();
        assert_eq!((known.packets, known.source.as_str()), (first.packets, "a.pcap"));
    }
    let options = ImportOptions { name: "c.pcap", again: true, progress: None };
    let twice = store.import(&bytes[..], options).unwrap();
    assert_eq!(twice.packets, first.packets);
    assert_eq!(store.info().unwrap().packets, 2 * first.packets);
}

#[test]
fn a_capture_that_grew_or_was_cut_short_goes_on_where_it_was() {
    let dir = tempfile::tempdir().unwrap();
    // Several units, so that checkpoints lie within it.
    let bytes = capture(40 << 20);
    let whole = read(&bytes).packets.len() as u64;
    let cut = bytes.len() / 2 + 12_345;
    let store = open(dir.path());
    let first = import(&store, &bytes[..cut], "a.pcap");
    assert!(first.damage.is_some_and(|damage| damage.is_cut_short()));
    drop(store);
    let store = open(dir.path());
    let second = import(&store, &bytes, "a.pcap");
    assert_eq!(second.known.as_ref().unwrap().packets, first.packets);
    assert!(!second.known.unwrap().whole);
    assert_eq!(first.packets + second.packets, whole);
    let expected: Vec<_> = read(&bytes).packets.into_iter().map(|(_, raw)| raw).collect();
    assert!(everything(&store) == expected);
    assert!(import(&store, &bytes, "a.pcap").is_refused());
}

#[test]
fn captures_that_only_begin_alike_are_both_stored() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let bytes = capture(20 << 20);
    let mut other = bytes.clone();
    let last = other.len() - 1;
    other[last] ^= 1;
    let first = import(&store, &bytes, "a.pcap");
    let second = import(&store, &other, "b.pcap");
    // The first unit has the same bytes, and is there once.
    let known = second.known.unwrap();
    assert!(!known.whole && known.packets > 0);
    assert_eq!(second.packets + known.packets, first.packets);
}

#[test]
fn a_source_that_fails_keeps_what_it_gave() {
    struct Failing<'b>(&'b [u8]);
    impl Read for Failing<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            match self.0.read(buffer)? {
                0 => Err(std::io::Error::other("the cable was pulled")),
                read => Ok(read),
            }
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let bytes = capture(40 << 20);
    let options = ImportOptions { name: "a.pcap", ..ImportOptions::default() };
    let error = store.import(Failing(&bytes[..30 << 20]), options).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("a.pcap") && text.contains("the cable was pulled"), "{text}");
    let kept = store.count(&Selection::default()).unwrap().packets;
    assert!(kept > 10_000, "{kept}");
    let rest = import(&store, &bytes, "a.pcap");
    assert_eq!(kept + rest.packets, read(&bytes).packets.len() as u64);
}

#[test]
fn what_is_in_a_store_is_there_after_reopening_and_after_rebuilding() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = capture(4 << 20);
    let expected: Vec<_> = read(&bytes).packets.into_iter().map(|(_, raw)| raw).collect();
    let store = open(dir.path());
    import(&store, &bytes, "a.pcap");
    let info = store.info().unwrap();
    store.close().unwrap();

    let store = open(dir.path());
    assert!(everything(&store) == expected);
    let sealed = store.info().unwrap();
    assert_eq!((sealed.packets, sealed.packet_bytes), (info.packets, info.packet_bytes));
    let selection = Selection { metadata: "dns:site3.example".into(), ..Selection::default() };
    let flows = store.flows(&selection).unwrap().flows;
    assert!(!flows.is_empty());
    drop(store);

    let options = OpenOptions { rebuild: true, ..OpenOptions::default() };
    let store = Store::open(dir.path(), options).unwrap();
    assert!(store.damage().is_empty(), "{:?}", store.damage());
    assert!(everything(&store) == expected);
    store.wait_until_indexed();
    assert_eq!(store.flows(&selection).unwrap().flows, flows);
    assert_eq!(store.check().damage, []);
}

#[test]
fn a_store_that_is_open_says_who_has_it() {
    let dir = tempfile::tempdir().unwrap();
    let _store = open(dir.path());
    let error = Store::open(dir.path(), OpenOptions::default()).unwrap_err().to_string();
    assert!(error.contains(&format!("process {}", std::process::id())), "{error}");
}

#[test]
fn a_folder_that_is_something_else_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("thesis.tex"), "x").unwrap();
    let options = OpenOptions { create: true, ..OpenOptions::default() };
    let error = Store::open(dir.path(), options).unwrap_err().to_string();
    assert!(error.contains("not a store"), "{error}");
    let names: Vec<_> = std::fs::read_dir(dir.path()).unwrap().collect();
    assert_eq!(names.len(), 1);
}

/// The names that the power going in the middle of making a store leaves.
#[test]
fn a_store_that_was_left_half_made_is_made() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("keys")).unwrap();
    for name in ["master.key.new", "store.new"] {
        std::fs::write(dir.path().join(name), "half").unwrap();
    }
    let bytes = capture(1 << 16);
    import(&open(dir.path()), &bytes, "a.pcap");
    assert_eq!(everything(&open(dir.path())).len(), read(&bytes).packets.len());
}

/// Packets of a segment that was being indexed were in no answer, and a query that opened the file
/// while it got its final name took its shard down.
#[test]
fn packets_are_found_at_every_moment_while_segments_are_sealed() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = capture(4 << 20);
    let whole = read(&bytes).packets.len() as u64;
    let sizes = Sizes { block: 4 << 10, unit: 16 << 10, segment: 200 << 10, ..Sizes::default() };
    let options = OpenOptions { create: true, sizes, ..OpenOptions::default() };
    let store = Store::open(dir.path(), options).unwrap();
    let counts = Mutex::new(Vec::new());
    let progress = |_| {
        let count = |filter: &str| {
            let selection = Selection { filter: filter.to_owned(), ..Selection::default() };
            let answer = store.count(&selection).unwrap();
            assert_eq!(answer.completeness.missing, []);
            answer.packets
        };
        let (all, ip) = (count(""), count("ip"));
        assert!(all <= ip, "{all} packets, then {ip}");
        counts.lock().unwrap().extend([all, ip]);
    };
    let import = ImportOptions { name: "a.pcap", again: false, progress: Some(&progress) };
    store.import(&bytes[..], import).unwrap();
    let counts = counts.into_inner().unwrap();
    assert!(counts.is_sorted(), "packets went missing: {counts:?}");
    assert_eq!(store.count(&Selection::default()).unwrap().packets, whole);
    store.close().unwrap();
}
