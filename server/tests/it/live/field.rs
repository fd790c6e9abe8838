//! What went wrong where packets were recorded before: one test for each kind of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tapstone::{
    Capture, CaptureOptions, GroupBy, LiveSource, OpenOptions, Retention, Selection, Sizes, Store,
};

use tapstone_benches::disk::Disk;

use super::*;

/// Segments so small that one is sealed every moment.
const SMALL: Sizes = Sizes {
    block: 16 << 10,
    unit: 64 << 10,
    segment: 32 << 10,
    flows: 1 << 19,
    age: Duration::from_secs(1),
};

/// Records datagrams of ports 9000 to 9009 into a store of this process.
fn record(net: &Network, folder: &Path, shards: usize) -> (Store, Capture) {
    let filter = "udp portrange 9000-9009".to_owned();
    let options = CaptureOptions { filter, ..CaptureOptions::new("hears") };
    let open = move || LiveSource::open(&options, shards).map_err(std::io::Error::other);
    let source = net.within(open).unwrap();
    let options = OpenOptions { create: true, shards, sizes: SMALL, rebuild: false };
    let store = Store::open(folder, options).unwrap();
    let capture = store.capture(vec![source]);
    (store, capture)
}

/// The numbers of the datagrams of an answer, whose bytes and times are looked at.
fn answered(store: &Store, selection: &Selection) -> Vec<u64> {
    let mut packets = store.query(selection).unwrap();
    let mut before = None;
    let number = |packet: tapstone::Packet| {
        assert!(before <= Some(packet.time()), "in order of time");
        before = Some(packet.time());
        let payload = &packet.data()[HEADERS..];
        assert!(payload[8..].iter().all(|byte| *byte == 0xa5));
        u64::from_le_bytes(payload[..8].try_into().unwrap())
    };
    let numbers = (&mut packets).map(number).collect();
    assert!(packets.answer().completeness.is_complete(), "{:?}", packets.answer());
    numbers
}

fn of_port(port: u16) -> Selection {
    Selection { metadata: format!("port:{port}"), ..Selection::default() }
}

fn up_to(count: u64) -> Vec<u64> {
    (0..count).collect()
}

/// Files of a folder that this process has open, those that were removed among them.
fn open_files(folder: &Path) -> Vec<String> {
    let links = std::fs::read_dir("/proc/self/fd").unwrap();
    let targets = links.filter_map(|it| std::fs::read_link(it.unwrap().path()).ok());
    let targets = targets.map(|it| it.to_string_lossy().into_owned());
    targets.filter(|it| it.starts_with(folder.to_str().unwrap())).collect()
}

/// Bytes of everything in a folder.
fn size(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).unwrap();
    // What goes meanwhile has no size.
    let size = |entry: std::io::Result<std::fs::DirEntry>| match entry
        .and_then(|it| it.metadata().map(|of| (it, of)))
    {
        Ok((entry, of)) if of.is_dir() => size(&entry.path()),
        Ok((_, of)) => of.len(),
        Err(_) => 0,
    };
    entries.map(size).sum()
}

/// A recorder that was restarted in a loop came up, counted what was dropped, and wrote nothing any
/// more; one that flushed only what was full lost what came at a low rate.
#[test]
fn one_that_is_killed_again_and_again_stores_what_came_a_second_before() {
    let Some(net) = network("again") else { return };
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("s");
    for round in 0..5 {
        let mut capturing = capture(&net, &store, &["--filter", "udp port 9000"]);
        send(&net, round * 3..round * 3 + 3, 100);
        std::thread::sleep(Duration::from_secs(1));
        capturing.0.kill().unwrap();
        capturing.0.wait().unwrap();
        std::fs::remove_file(store.join("socket")).unwrap();
    }
    let capturing = capture(&net, &store, &["--filter", "udp port 9000"]);
    send(&net, 15..18, 100);
    assert_eq!(counts(&capturing.end()), (3, 3, 0, 0));
    assert_eq!(numbers(&store), up_to(18));
    assert_eq!(run(&store, &["check", "--store", "."]).0, 0);
}

/// Where files were begun anew every second, packets between one and the next were missing.
#[test]
fn no_second_is_missing_where_segments_are_sealed_every_moment() {
    let Some(net) = network("rotation") else { return };
    let dir = tempfile::tempdir().unwrap();
    let (store, capture) = record(&net, dir.path(), 1);
    net.send(9000, 0..8_000, 500, Some(2_000)).unwrap();
    let counts = &capture.stop().unwrap()[0];
    assert_eq!((counts.received, counts.stored, counts.lost()), (8_000, 8_000, 0));
    let segments = store.info().unwrap().segments;
    assert!(segments >= 10, "{segments} segments");
    assert_eq!(answered(&store, &Selection::default()), up_to(8_000));
    let width = Duration::from_secs(1);
    let bars = store.histogram(&Selection::default(), width, GroupBy::Nothing).unwrap().bars;
    let gaps = bars.windows(2).map(|it| it[1].start.attos() - it[0].start.attos());
    assert_eq!(gaps.max(), Some(width.as_nanos() as i128 * 1_000_000_000), "one after the other");
}

/// The index named packets that were not there yet, and what was read was something else.
#[test]
fn an_answer_while_packets_come_has_every_packet_up_to_one_and_none_beyond() {
    let Some(net) = network("meanwhile") else { return };
    let dir = tempfile::tempdir().unwrap();
    let (store, capture) = record(&net, dir.path(), 1);
    let done = Arc::new(AtomicBool::new(false));
    let asking = std::thread::spawn({
        let (store, done) = (store.clone(), Arc::clone(&done));
        move || {
            let (mut before, mut answers) = (0, 0);
            while !done.load(Ordering::Relaxed) {
                let numbers = answered(&store, &of_port(9000));
                assert_eq!(numbers, up_to(numbers.len() as u64));
                assert!(numbers.len() >= before, "what was found once is found again");
                answers += u32::from(numbers.len() > before);
                before = numbers.len();
            }
            answers
        }
    });
    net.send(9000, 0..6_000, 500, Some(2_000)).unwrap();
    store.flush().unwrap();
    done.store(true, Ordering::Relaxed);
    assert!(asking.join().unwrap() > 3, "it was asked while packets came");
    assert_eq!(answered(&store, &of_port(9000)), up_to(6_000));
    capture.stop().unwrap();
}

/// With more than one thread that captures, packets came out of order.
#[test]
fn packets_of_all_cores_are_given_in_order_of_time() {
    let Some(net) = network("order") else { return };
    let dir = tempfile::tempdir().unwrap();
    let (store, capture) = record(&net, dir.path(), 2);
    for round in 0..200 {
        for port in 9000..9010 {
            net.send(port, round..round + 1, 300, None).unwrap();
        }
    }
    let counts = &capture.stop().unwrap()[0];
    assert_eq!((counts.received, counts.stored), (2_000, 2_000));
    let each_ten_times: Vec<u64> = (0..200).flat_map(|it| [it; 10]).collect();
    assert_eq!(answered(&store, &Selection::default()), each_ten_times);
    for port in 9000..9010 {
        assert_eq!(answered(&store, &of_port(port)), up_to(200), "{port}");
    }
}

/// A range of time gave packets outside of it, and those at its edges were missing.
#[test]
fn a_range_of_time_gives_exactly_its_packets() {
    let Some(net) = network("range") else { return };
    let dir = tempfile::tempdir().unwrap();
    let (store, capture) = record(&net, dir.path(), 1);
    net.send(9000, 0..2_000, 500, Some(1_000)).unwrap();
    capture.stop().unwrap();
    let mut packets = store.query(&Selection::default()).unwrap();
    let times: Vec<Timestamp> = (&mut packets).map(|it| it.time()).collect();
    for (from, to) in [(0, 1), (0, 2_000), (500, 500), (499, 501), (1_000, 1_999), (3, 1_997)] {
        let until = times.get(to).copied();
        let selection = Selection { since: Some(times[from]), until, ..Selection::default() };
        let first = times.partition_point(|it| *it < times[from]) as u64;
        let end = until.map_or(2_000, |until| times.partition_point(|it| *it < until) as u64);
        let expected: Vec<u64> = (first..end).collect();
        assert_eq!(answered(&store, &selection), expected, "{from} to {to}");
    }
}

/// Files of a cache were never closed: their room came back only when the process ended. Others
/// removed a sixth of the disk where one file was enough, stood above the limit for a while, or did
/// not count what the index takes.
#[test]
fn room_is_made_while_packets_come_and_what_goes_is_closed() {
    const LIMIT: u64 = 512 << 10;
    let Some(net) = network("room") else { return };
    let dir = tempfile::tempdir().unwrap();
    let (store, capture) = record(&net, dir.path(), 1);
    let retention = Retention { max_size: Some(LIMIT), ..Retention::default() };
    let (mut gone, mut most_open, mut largest) = (0, 0, 0);
    for round in 0..60 {
        send(&net, round * 250..(round + 1) * 250, 1000);
        store.flush().unwrap();
        assert_eq!(answered(&store, &of_port(9000)).last(), Some(&(round * 250 + 249)));
        for expired in store.expire(&retention).unwrap().gone {
            gone += expired.packets;
        }
        let info = store.info().unwrap();
        let left = info.stored_bytes + info.index_bytes;
        assert!(gone == 0 || left > LIMIT / 2, "{left} bytes are left");
        // Segments that are kept and their splits, a log, catalog and ledger; a few are just being made.
        most_open = most_open.max(open_files(dir.path()).len());
        let taken = ["segments", "splits"].map(|it| size(&dir.path().join(it))).iter().sum::<u64>();
        largest = largest.max(taken);
    }
    let counts = &capture.stop().unwrap()[0];
    assert_eq!((counts.received, counts.stored), (15_000, 15_000));
    assert!(gone > 3_000, "{gone} packets expired");
    assert!(most_open < 80, "{most_open} files are open");
    assert!(largest < LIMIT + (256 << 10), "{largest} bytes");
    store.close().unwrap();
    assert_eq!(open_files(dir.path()), [""; 0]);
}

/// After a restart what lay there before was forgotten: the limit was counted from nothing, and the
/// disk filled twice.
#[test]
fn what_was_recorded_before_a_restart_counts_for_what_is_kept() {
    const LIMIT: u64 = 256 << 10;
    let Some(net) = network("restart") else { return };
    let dir = tempfile::tempdir().unwrap();
    let retention = Retention { max_size: Some(LIMIT), ..Retention::default() };
    let mut gone = 0;
    for round in 0..4 {
        let (store, capture) = record(&net, dir.path(), 1);
        assert!(round == 0 || store.info().unwrap().packets > 1_000);
        send(&net, round * 2_500..(round + 1) * 2_500, 1000);
        capture.stop().unwrap();
        store.seal().unwrap();
        gone += store.expire(&retention).unwrap().gone.len();
        let taken = ["segments", "splits"].map(|it| size(&dir.path().join(it))).iter().sum::<u64>();
        assert!(taken <= LIMIT, "{taken} bytes");
        let numbers = answered(&store, &Selection::default());
        assert_eq!(numbers.last(), Some(&(round * 2_500 + 2_499)), "the newest are there");
        assert!(numbers.len() > 1_000, "{} packets are left", numbers.len());
        store.close().unwrap();
    }
    assert!(gone > 3, "{gone} segments expired");
}

/// An interface that went took the capture of the others with it; and of several interfaces it was
/// not told which one a packet came from.
#[test]
fn an_interface_that_is_removed_leaves_the_others_recorded() {
    let Some(net) = network("removed") else { return };
    net.ip("link set lo up").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (store, file) = (dir.path().join("s"), dir.path().join("all.pcapng"));
    let capturing = capture(&net, &store, &["-i", "lo", "--filter", "udp portrange 9000-9001"]);
    let locally = |text: &str| {
        let send = format!("echo {text} > /dev/udp/127.0.0.1/9001");
        assert!(net.command("bash").args(["-c", &send]).status().unwrap().success());
    };
    send(&net, 0..10, 100);
    locally("before");
    assert_eq!(run(&store, &["flush", "--store", "."]).0, 0);
    net.ip("link delete hears").unwrap();
    std::thread::sleep(Duration::from_millis(300));
    locally("afterwards");
    let report = capturing.end_all();
    assert_eq!(counts(&report[0]), (10, 10, 0, 0), "{report}");
    assert_eq!(counts(&report[1]), (2, 2, 0, 0), "{report}");
    let words = ["query", "--store", ".", "-w", file.to_str().unwrap()];
    assert_eq!(run(&store, &words).0, 0);
    let all = read(&std::fs::read(&file).unwrap());
    let names: Vec<String> =
        all.interfaces.iter().map(|it| String::from_utf8_lossy(&it.options).into_owned()).collect();
    let of = |name: &str| {
        let is_its = |(interface, _): &&(u32, _)| names[*interface as usize].contains(name);
        all.packets.iter().filter(is_its).count()
    };
    assert_eq!((of("hears"), of("lo"), all.packets.len()), (10, 2, 12), "{names:?}");
}

/// The outer of two tags was lost; only one could be asked for.
#[test]
fn both_of_two_tags_are_kept_and_can_be_asked_for() {
    let Some(net) = network("twotags") else { return };
    let dir = tempfile::tempdir().unwrap();
    let (store, file) = (dir.path().join("s"), dir.path().join("tags.pcap"));
    let frame = |outer: u8, inner: u8| {
        let mut frame = vec![2, 0, 0, 0, 0, 0x77, 2, 0, 0, 0, 0, 1];
        frame.extend([0x88, 0xa8, 0, outer, 0x81, 0, 0x20, inner, 8, 0, 0x45, 0, 0, 36, 0, 0, 0]);
        frame.extend([0, 64, 17, 0, 0, 10, 9, 0, 1, 10, 9, 0, 0x77, 0x30, 0x39, 0x23, 0x28]);
        frame.extend([0, 16, 0, 0, outer, inner, 3, 4, 5, 6, 7, 8]);
        frame
    };
    let frames = vec![frame(5, 6), frame(5, 7), frame(6, 5)];
    std::fs::write(&file, capture_of(&frames)).unwrap();
    let capturing = capture(&net, &store, &["--filter", "vlan and vlan and udp port 9000"]);
    if !replay(&net, &file, 1) {
        return;
    }
    assert_eq!(counts(&capturing.end()).1, 3);
    for (words, expected) in [
        (&["vlan 5 and vlan 6"][..], 1),
        (&["vlan 5"], 2),
        (&["vlan and vlan 5 and udp port 9000"], 1),
        (&["--where", "vlan:5"], 3),
        (&["--where", "vlan:7"], 1),
        (&["--where", "port:9000"], 3),
    ] {
        assert_eq!(count(&store, words), (expected, 0), "{words:?}");
    }
    assert_eq!(stored(&store, ""), frames, "byte for byte");
}

/// One direction was found and the other was not, since it was tagged.
#[test]
fn a_flow_of_which_one_direction_is_tagged_is_found_whole() {
    let Some(net) = network("halftagged") else { return };
    let dir = tempfile::tempdir().unwrap();
    let (store, file) = (dir.path().join("s"), dir.path().join("half.pcap"));
    std::fs::write(&file, half_tagged(20, |it| it)).unwrap();
    let capturing = capture(&net, &store, &["--snaplen", "44"]);
    if !replay(&net, &file, 1) {
        return;
    }
    capturing.end();
    assert_eq!(count(&store, &["--where", "port:9000"]), (20, 0));
    assert_eq!(count(&store, &["udp port 9000 or (vlan and udp port 9000)"]), (20, 0));
    let out = dir.path().join("out.pcap");
    let words = ["query", "--store", ".", "--where", "port:9000", "--format", "pcap", "-w"];
    assert_eq!(run(&store, &[&words[..], &[out.to_str().unwrap()]].concat()).0, 0);
    // Others wrote packets that had more bytes than they were long.
    for (_, packet) in read(&std::fs::read(&out).unwrap()).packets {
        assert_eq!(packet.data.len(), 44);
        assert!([50, 54].contains(&packet.original_len), "{}", packet.original_len);
    }
}

/// What is no IP stayed in memory until the end, or could not be asked for.
#[test]
fn what_is_no_ip_is_found_as_soon_as_what_is() {
    let Some(net) = network("noip") else { return };
    let dir = tempfile::tempdir().unwrap();
    let (store, file) = (dir.path().join("s"), dir.path().join("others.pcap"));
    let frame = |to: [u8; 6], rest: &[u8]| {
        let mut frame = [&to[..], &[2, 0, 0, 0, 0, 1], rest].concat();
        frame.resize(60, 0);
        frame
    };
    let arp = [
        8, 6, 0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 1, 10, 9, 0, 1, 0, 0, 0, 0, 0, 0, 10, 9, 0, 5,
    ];
    let icmp =
        [8, 0, 0x45, 0, 0, 28, 0, 0, 0, 0, 64, 1, 0, 0, 10, 9, 0, 1, 10, 9, 0, 0x77, 8, 0, 0, 0];
    let frames = vec![
        frame([0xff; 6], &arp),
        frame([1, 0x80, 0xc2, 0, 0, 0], &[0, 38, 0x42, 0x42, 3, 0, 0, 0, 0]),
        frame([1, 0x80, 0xc2, 0, 0, 0xe], &[0x88, 0xcc, 2, 7, 4, 2, 0, 0, 0, 0, 1]),
        frame([2, 0, 0, 0, 0, 0x77], &icmp),
    ];
    std::fs::write(&file, capture_of(&frames)).unwrap();
    let capturing = capture(&net, &store, &["--filter", "ether src 02:00:00:00:00:01"]);
    if !replay(&net, &file, 1) {
        return;
    }
    std::thread::sleep(Duration::from_secs(1));
    for filter in ["arp host 10.9.0.5", "stp", "ether proto 0x88cc", "icmp[0] = 8", "not ip"] {
        let expected = if filter == "not ip" { 3 } else { 1 };
        assert_eq!(count(&store, &[filter]), (expected, 0), "{filter}");
    }
    assert_eq!(counts(&capturing.end()), (4, 4, 0, 0));
    assert_eq!(stored(&store, ""), frames, "byte for byte");
}

#[test]
fn jumbo_frames_are_stored_whole() {
    let Some(net) = network("jumbo") else { return };
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("s");
    let capturing = capture(&net, &store, &["--filter", "udp port 9000"]);
    send(&net, 0..500, 8972);
    assert_eq!(counts(&capturing.end()), (500, 500, 0, 0));
    assert_eq!(count(&store, &["greater 9014"]), (500, 0));
    assert_eq!(numbers(&store), up_to(500));
}

/// An empty answer was an empty file, as a failed one was.
#[test]
fn an_answer_without_packets_is_a_capture_without_packets() {
    let Some(net) = network("none") else { return };
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("s");
    let capturing = capture(&net, &store, &["--filter", "udp port 9000"]);
    send(&net, 0..3, 100);
    assert_eq!(run(&store, &["flush", "--store", "."]).0, 0);
    for format in ["pcap", "pcapng"] {
        let out = dir.path().join(format);
        let place = ["query", "--store", ".", "--format", format, "-w", out.to_str().unwrap()];
        let (code, _, err) = run(&store, &[&place[..], &["tcp"]].concat());
        assert_eq!(code, 0, "{err}");
        assert!(read(&std::fs::read(&out).unwrap()).packets.is_empty());
        let (code, _, err) = run(&store, &[&place[..], &["tcp prot"]].concat());
        assert_eq!(code, 2, "{err}");
    }
    capturing.end();
}

/// What could not be written waited in memory, without a bound.
#[test]
fn memory_is_bounded_while_the_disk_takes_nothing() {
    let Some(net) = network("bounded") else { return };
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("s");
    let words = ["--shards", "1", "--buffer", "8MiB", "--filter", "udp port 9000"];
    let capturing = capture(&net, &store, &words);
    let memory = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", capturing.pid())).unwrap();
        let line = status.lines().find(|it| it.starts_with("VmHWM:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
    };
    send(&net, 0..40_000, 1000);
    let limit = format!("--fsize={}:unlimited", 1 << 20);
    let status = Command::new("prlimit").args(["--pid", &capturing.pid(), &limit]).status();
    assert!(status.unwrap().success());
    send(&net, 40_000..80_000, 1000);
    let before = memory();
    for round in 2..6 {
        send(&net, round * 40_000..(round + 1) * 40_000, 1000);
    }
    let after = memory();
    assert!(after < before + (32 << 10), "from {before} to {after} KiB, for 160 MB");
    let status =
        Command::new("prlimit").args(["--pid", &capturing.pid(), "--fsize=unlimited"]).status();
    assert!(status.unwrap().success());
    let (received, stored, lost, _) = counts(&capturing.end());
    assert_eq!((received, stored + lost), (240_000, 240_000));
    assert!(lost > 50_000, "{lost} lost");
}

/// While a sync took its time, each question made the core that waited for it look at it once more;
/// after 32,767 of them the core ended, and with it everything that it was to store.
#[test]
fn many_questions_while_the_disk_stands_still_do_no_harm() {
    let Some(net) = network("still") else { return };
    let dir = tempfile::tempdir().unwrap();
    let disk = match Disk::new(dir.path(), 64) {
        Ok(disk) => disk,
        Err(error) => return skipped(&format!("a file system cannot be made: {error}")),
    };
    let (store, capture) = record(&net, &disk.place().join("s"), 1);
    send(&net, 0..10, 500);
    store.flush().unwrap();
    // The next packets begin a segment, whose file cannot be made.
    store.seal().unwrap();
    disk.freeze().unwrap();
    send(&net, 10..20, 500);
    std::thread::sleep(Duration::from_secs(1));
    let asking = std::thread::spawn({
        let store = store.clone();
        move || (0..40_000).all(|_| store.count(&of_port(1)).is_ok())
    });
    let began = Instant::now();
    while !asking.is_finished() && began.elapsed() < Duration::from_secs(30) {
        std::thread::sleep(Duration::from_millis(10));
    }
    disk.thaw().unwrap();
    assert!(asking.join().unwrap());
    send(&net, 20..30, 500);
    let counts = &capture.stop().unwrap()[0];
    assert_eq!((counts.received, counts.stored, counts.lost()), (30, 30, 0));
    assert_eq!(answered(&store, &Selection::default()), up_to(30));
    store.close().unwrap();
}
