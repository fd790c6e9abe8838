//! What is left out on arrival because it was asked for.

use super::*;

/// What an interface's report says of a cause.
fn lost(report: &Value, cause: &str) -> u64 {
    report["lost"][cause].as_u64().unwrap()
}

#[test]
fn the_first_bytes_of_a_flow_are_stored_and_the_rest_is_counted() {
    let Some(net) = network("cutoff") else { return };
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("s");
    let words = ["--filter", "udp", "--cutoff", "udp port 9000=10000", "--shards", "1"];
    let capturing = capture(&net, &store, &words);
    send(&net, 0..100, 1000 - HEADERS);
    net.send(9001, 0..20, 100, None).unwrap();
    let report = capturing.end();
    assert_eq!((counts(&report).1, lost(&report, "cut-off")), (30, 90), "{report}");
    assert_eq!(report["received"], 120, "{report}");
    // That was wanted: the answer is complete, and says so.
    let (code, out, err) = run(&store, &["query", "--store", ".", "--count", "udp port 9000"]);
    assert_eq!((code, out.trim()), (0, "10"), "{err}");
    assert!(err.contains("left out: ") && err.contains("up to 90 packets between "), "{err}");
    assert_eq!(numbers(&store), (0..10).collect::<Vec<_>>());
    let (_, info, _) = run(&store, &["info", "--json", "--store", "."]);
    assert_eq!(serde_json::from_str::<Value>(&info).unwrap()["lost"]["cut-off"], 90);
}

#[test]
fn what_a_mirror_sends_twice_is_stored_once() {
    let Some(net) = network("twice") else { return };
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("some.pcap");
    std::fs::write(&file, half_tagged(20, |it| it / 2)).unwrap();
    for (words, stored) in [
        (&["--dedup", "5s"][..], 20),
        // Each pair of packets differs in its tag alone.
        (&["--dedup", "5s", "--dedup-ignore-vlan"], 10),
        (&[], 40),
    ] {
        let store = dir.path().join(format!("s{}", words.len()));
        let filter = ["--filter", "udp port 9000 or (vlan and udp port 9000)"];
        let capturing = capture(&net, &store, &[&filter, words].concat());
        if !replay(&net, &file, 2) {
            return;
        }
        let report = capturing.end();
        let found = (counts(&report).1, lost(&report, "duplicate"), &report["received"]);
        assert_eq!(found, (stored, 40 - stored, &40.into()), "{report}");
        let (code, out, err) = run(&store, &["query", "--store", ".", "--count"]);
        assert_eq!((code, out.trim()), (0, &*stored.to_string()), "{err}");
        assert!(!err.contains("left out"), "a duplicate is there once: {err}");
    }
}

#[test]
fn what_is_left_out_can_be_changed_while_packets_come() {
    let Some(net) = network("change") else { return };
    let dir = tempfile::tempdir().unwrap();
    let (store, config) = (dir.path().join("s"), dir.path().join("c.toml"));
    std::fs::write(&config, "").unwrap();
    let words = ["--filter", "udp port 9000", "--config", config.to_str().unwrap()];
    let capturing = capture(&net, &store, &words);
    send(&net, 0..10, 100);
    // They may wait in the ring, and what holds when they are read holds for them.
    assert_eq!(run(&store, &["flush", "--store", "."]).0, 0);
    std::fs::write(&config, "[capture]\ncutoff = [\"udp=0\"]\n").unwrap();
    capturing.signal("-HUP");
    std::thread::sleep(Duration::from_millis(500));
    send(&net, 10..20, 100);
    // One that is wrong changes nothing.
    std::fs::write(&config, "[capture]\ncutoff = [\"udp prot 5=0\"]\n").unwrap();
    capturing.signal("-HUP");
    std::thread::sleep(Duration::from_millis(500));
    send(&net, 20..30, 100);
    let report = capturing.end();
    assert_eq!((counts(&report).1, lost(&report, "cut-off")), (10, 20), "{report}");
    assert_eq!(numbers(&store), (0..10).collect::<Vec<_>>());
}

#[test]
fn what_cannot_be_left_out_is_told_before_anything_is_touched() {
    let dir = tempfile::tempdir().unwrap();
    for (words, expected) in [
        (["--cutoff", "tcp"], "no class and size"),
        (["--dedup", "1h"], "no window"),
        (["--cutoff", "tcp prot 5=1KiB"], "cut-off class 'tcp prot 5' for lo: "),
        (["--critical", "udp prot 5"], "critical class 'udp prot 5' for lo: "),
    ] {
        let command = ["capture", "--store", "s", "-i", "lo"];
        let (code, _, err) = run(dir.path(), &[&command[..], &words].concat());
        if err.contains("CAP_NET_RAW") {
            skipped("root is needed to capture");
            return;
        }
        assert!(code == 2 && err.contains(expected), "{err}");
        assert!(!dir.path().join("s").try_exists().unwrap());
    }
}
