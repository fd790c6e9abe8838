//! Live packets, in network namespaces that the tests make (root is needed, and iproute2).

mod devices;
mod field;
mod kept;
mod mirrored;
mod thinning;

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tapstone::Timestamp;
use tapstone_benches::group::{Controller, Group};
use tapstone_benches::network::{HEADERS, Network};
use tapstone_packet::capture_file::PcapWriter;
use tapstone_packet::interface::{Interface, LinkType};
use tapstone_testkit::captures::read;

use crate::run;

/// `None` when this machine does not let us.
fn network(name: &str) -> Option<Network> {
    let network = Network::new(name);
    network.map_err(|error| skipped(&format!("root and iproute2 are needed: {error}"))).ok()
}

/// A control group; `None` when this machine does not let us.
fn group(controller: Controller, name: &str) -> Option<Group> {
    let group = Group::new(controller, name);
    group.map_err(|error| skipped(&format!("control groups are needed: {error}"))).ok()
}

/// Sends numbered datagrams of so many bytes.
fn send(network: &Network, numbers: std::ops::Range<u64>, length: usize) {
    network.send(9000, numbers, length, None).unwrap();
}

/// Sends the packets of a file, some times over; gives whether this machine can.
fn replay(network: &Network, file: &Path, times: u32) -> bool {
    let replayed = network
        .command("tcpreplay")
        .args(["--quiet", "--topspeed", "-i", "sends", "--loop", &times.to_string()])
        .arg(file)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    let done = replayed.is_ok_and(|status| status.success());
    if !done {
        skipped("tcpreplay is needed to send the packets of a file");
    }
    done
}

/// Begins to capture, and waits until queries are answered.
fn capture(network: &Network, store: &Path, words: &[&str]) -> Capturing {
    capture_from(network, store, "hears", words)
}

fn capture_from(network: &Network, store: &Path, interface: &str, words: &[&str]) -> Capturing {
    let command = network.command(assert_cmd::cargo::cargo_bin!("tapstone"));
    begin(command, store, interface, words)
}

/// The same within a control group.
fn capture_in(network: &Network, group: &Group, store: &Path, words: &[&str]) -> Capturing {
    let command = network.command_in(group, assert_cmd::cargo::cargo_bin!("tapstone"));
    begin(command, store, "hears", words)
}

fn begin(mut command: Command, store: &Path, interface: &str, words: &[&str]) -> Capturing {
    let child = command
        .args(["capture", "--json", "-i", interface, "--store"])
        .arg(store)
        .args(words)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let capturing = Capturing(child);
    let began = Instant::now();
    while !store.join("socket").try_exists().unwrap() {
        assert!(began.elapsed() < Duration::from_secs(20), "it does not serve");
        std::thread::sleep(Duration::from_millis(10));
    }
    capturing
}

#[expect(clippy::print_stderr, reason = "a test that is passed over must be seen")]
pub(crate) fn skipped(why: &str) {
    eprintln!("SKIPPED: {why}");
}

struct Capturing(Child);

impl Capturing {
    fn pid(&self) -> String {
        self.0.id().to_string()
    }

    fn signal(&self, name: &str) {
        assert!(Command::new("kill").args([name, &self.pid()]).status().unwrap().success());
    }

    /// Nobody takes packets from now on, until it is told to go on.
    fn stand_still(&self) {
        self.signal("-STOP");
        let tasks = || std::fs::read_dir(format!("/proc/{}/task", self.pid())).unwrap();
        let stands = |task: std::io::Result<std::fs::DirEntry>| {
            let stat = std::fs::read_to_string(task.unwrap().path().join("stat")).unwrap();
            stat.rsplit_once(") ").is_some_and(|(_, state)| state.starts_with('T'))
        };
        while !tasks().all(stands) {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Ends it as an operator would; gives what it reports of the interface.
    fn end(self) -> Value {
        self.end_all()[0].clone()
    }

    /// What it reports of all interfaces.
    fn end_all(mut self) -> Value {
        let began = Instant::now();
        self.signal("-TERM");
        let output = std::io::read_to_string(self.0.stdout.take().unwrap()).unwrap();
        assert_eq!(self.0.wait().unwrap().code(), Some(0));
        assert!(began.elapsed() < Duration::from_secs(5), "it took {:?}", began.elapsed());
        serde_json::from_str(&output).unwrap()
    }
}

impl Drop for Capturing {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// Received, stored, lost, left out by the filter.
fn counts(report: &Value) -> (u64, u64, u64, u64) {
    let lost = report["lost"].as_object().unwrap().values();
    let lost = lost.map(|it| it.as_u64().unwrap()).sum();
    let count = |name: &str| report[name].as_u64().unwrap();
    (count("received"), count("stored"), lost, count("filtered"))
}

/// Packets that match, and the exit code.
fn count(store: &Path, words: &[&str]) -> (u64, i32) {
    let place = ["query", "--store", store.to_str().unwrap(), "--count"];
    let (code, out, err) = run(Path::new("."), &[&place[..], words].concat());
    let count = out.trim().parse();
    (count.unwrap_or_else(|_| panic!("{out}{err}")), code)
}

/// The stored packets that match.
fn stored(store: &Path, filter: &str) -> Vec<Vec<u8>> {
    let (packets, code) = answer(store, filter);
    assert_eq!(code, Some(0));
    packets
}

/// The same where some may be missing, and the exit code.
fn answer(store: &Path, filter: &str) -> (Vec<Vec<u8>>, Option<i32>) {
    let place = ["query", "--store", store.to_str().unwrap(), "-w", "-", "--format", "pcap"];
    let tapstone = assert_cmd::cargo::cargo_bin!("tapstone");
    let output = Command::new(tapstone).args(place).arg(filter).output().unwrap();
    let packets = read(&output.stdout).packets.into_iter();
    (packets.map(|(_, raw)| raw.data.to_vec()).collect(), output.status.code())
}

/// The numbers of the datagrams that are stored.
fn numbers(store: &Path) -> Vec<u64> {
    stored(store, "udp port 9000").iter().map(|data| number(data)).collect()
}

/// The number of a datagram.
fn number(data: &[u8]) -> u64 {
    let payload = &data[HEADERS..];
    assert!(payload[8..].iter().all(|byte| *byte == 0xa5));
    u64::from_le_bytes(payload[..8].try_into().unwrap())
}

#[test]
fn a_packet_is_found_within_a_second_and_all_are_accounted_for() {
    let Some(net) = network("second") else { return };
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("s");
    let capturing = capture(&net, &store, &[]);
    for number in 0..3 {
        send(&net, number..number + 1, 100);
        std::thread::sleep(Duration::from_secs(1));
        assert_eq!(count(&store, &["udp port 9000"]), (number + 1, 0));
    }
    send(&net, 3..20_000, 600);
    let (received, stored, lost, _) = counts(&capturing.end());
    assert_eq!((received, lost), (stored, 0));
    // Nothing of the packets that came with them may have been left out.
    assert_eq!(count(&store, &[""]).0, stored);
    assert_eq!(numbers(&store), (0..20_000).collect::<Vec<_>>());
}

/// On an interface on which nothing comes, a recorder could only be killed.
#[test]
fn a_silent_interface_is_captured_from_and_left() {
    let Some(net) = network("silent") else { return };
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("s");
    let capturing = capture(&net, &store, &[]);
    std::thread::sleep(Duration::from_millis(300));
    let (received, stored, lost, _) = counts(&capturing.end());
    assert_eq!((received, lost), (stored, 0));
    assert_eq!(count(&store, &["udp port 9000"]), (0, 0));
}

/// Nobody takes packets out of the ring while the process stands still.
#[test]
fn what_is_lost_is_counted_to_the_packet_and_told_in_answers() {
    let Some(net) = network("lost") else { return };
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("s");
    let words = ["--buffer", "2MiB", "--shards", "1", "--filter", "udp port 9000"];
    let capturing = capture(&net, &store, &words);
    send(&net, 0..10, 1000);
    std::thread::sleep(Duration::from_secs(1));
    capturing.stand_still();
    send(&net, 10..6_000, 1000);
    capturing.signal("-CONT");
    std::thread::sleep(Duration::from_secs(1));
    send(&net, 6_000..6_010, 1000);
    let (received, stored, lost, _) = counts(&capturing.end());
    assert_eq!((received, stored + lost), (6_010, 6_010));
    assert!(lost > 1_000, "{lost} lost");
    let (_, info, _) = run(&store, &["info", "--json", "--store", "."]);
    let info: Value = serde_json::from_str(&info).unwrap();
    assert_eq!(
        (info["packets"].as_u64(), &info["lost"]["ring-full"]),
        (Some(stored), &lost.into())
    );
    let place = ["query", "--store", store.to_str().unwrap(), "--count"];
    // What was lost may have matched any filter.
    let (code, out, err) = run(&store, &[&place[..], &["tcp port 1"]].concat());
    assert_eq!((code, out.trim()), (3, "0"));
    assert!(err.contains(&format!("up to {lost} packets between ")), "{err}");
    assert!(err.contains("the ring was full"), "{err}");
    let (code, ..) =
        run(&store, &[&place[..], &["--since", "1h ago", "--until", "59m ago"]].concat());
    assert_eq!(code, 0, "nothing was lost then");
}

/// Datagrams to port 9000 in a capture file, numbered as `name` says, every second with a VLAN tag.
fn half_tagged(count: u64, name: fn(u64) -> u64) -> Vec<u8> {
    let frame = |number: u64| {
        let mut frame = vec![2, 0, 0, 0, 0, 0x77, 2, 0, 0, 0, 0, 1];
        if number.is_multiple_of(2) {
            frame.extend([0x81, 0, 0x60, 5]);
        }
        frame.extend([8, 0, 0x45, 0, 0, 36, 0, 0, 0, 0, 64, 17, 0, 0, 10, 9, 0, 1, 10, 9, 0, 0x77]);
        frame.extend([0x30, 0x39, 0x23, 0x28, 0, 16, 0, 0]);
        frame.extend(name(number).to_le_bytes());
        frame
    };
    capture_of(&(0..count).map(frame).collect::<Vec<_>>())
}

/// A capture file of Ethernet frames.
fn capture_of(frames: &[Vec<u8>]) -> Vec<u8> {
    let interface = Interface { snap_len: 65_535, ..Interface::new(LinkType::ETHERNET) };
    let mut bytes = Vec::new();
    let writer = PcapWriter::start(&interface, &mut bytes);
    let time = Timestamp::from_secs_nanos(1_700_000_000, 0);
    for frame in frames {
        writer.packet(&interface, time, frame, frame.len() as u32, &mut bytes).unwrap();
    }
    bytes
}

/// The outer tag was lost, since the kernel takes it off.
#[test]
fn tags_that_were_taken_off_are_there_and_can_be_filtered_by() {
    let Some(net) = network("tags") else { return };
    let dir = tempfile::tempdir().unwrap();
    let tagged = dir.path().join("tags.pcap");
    std::fs::write(&tagged, half_tagged(20, |it| it)).unwrap();
    for (filter, expected, left_out) in [
        ("", (10, 10), 0),
        ("vlan 5", (0, 10), 0),
        ("udp", (10, 0), 10),
        ("vlan and udp", (0, 10), 0),
    ] {
        let store = dir.path().join(format!("s{}", filter.len()));
        // The filter is asked about whole packets, however little is kept of them.
        let capturing = capture(&net, &store, &["--filter", filter, "--snaplen", "46"]);
        if !replay(&net, &tagged, 1) {
            return;
        }
        let (received, stored, lost, filtered) = counts(&capturing.end());
        assert_eq!((received, lost), (stored + filtered, 0), "{filter}");
        let found = (count(&store, &["udp port 9000"]).0, count(&store, &["vlan 5 and udp"]).0);
        assert_eq!((found, filtered), (expected, left_out), "{filter}");
    }
}

#[test]
fn an_interface_that_was_down_is_captured_from_again() {
    let Some(net) = network("down") else { return };
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("s");
    let capturing = capture(&net, &store, &["--filter", "udp port 9000"]);
    send(&net, 0..10, 100);
    net.ip("link set hears down").unwrap();
    std::thread::sleep(Duration::from_millis(300));
    net.ip("link set hears up").unwrap();
    std::thread::sleep(Duration::from_millis(300));
    send(&net, 10..20, 100);
    assert_eq!(counts(&capturing.end()), (20, 20, 0, 0));
    assert_eq!(numbers(&store), (0..20).collect::<Vec<_>>());
}

/// A write error, here of a limit on files' sizes, ended the process.
#[test]
fn what_the_disk_refuses_is_counted_and_capture_goes_on() {
    let Some(net) = network("refused") else { return };
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("s");
    let capturing = capture(&net, &store, &["--shards", "1", "--filter", "udp port 9000"]);
    send(&net, 0..100, 1000);
    assert_eq!(run(&store, &["flush", "--store", "."]).0, 0);
    let limit = |bytes: &str| {
        let limit = format!("--fsize={bytes}:unlimited");
        let status = Command::new("prlimit").args(["--pid", &capturing.pid(), &limit]).status();
        assert!(status.unwrap().success());
    };
    limit("8192");
    send(&net, 100..350, 1000);
    std::thread::sleep(Duration::from_secs(2));
    limit("unlimited");
    send(&net, 350..400, 1000);
    let (received, stored, lost, _) = counts(&capturing.end());
    assert_eq!((received, stored, lost), (400, 150, 250));
    let (code, out, err) = run(&store, &["query", "--store", ".", "--count", "udp port 9000"]);
    assert_eq!((code, out.trim()), (3, "150"), "{err}");
    assert!(err.contains("the disk did not take them"), "{err}");
    let (_, info, _) = run(&store, &["info", "--json", "--store", "."]);
    let info: Value = serde_json::from_str(&info).unwrap();
    assert_eq!((&info["lost"]["disk-refused"], &info["packets"]), (&250.into(), &150.into()));
}

/// What was lost last is told of, though no packet follows, and after the process has ended.
#[test]
fn what_the_disk_refused_last_is_told_too() {
    let Some(net) = network("last") else { return };
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("s");
    let capturing = capture(&net, &store, &["--shards", "1", "--filter", "udp port 9000"]);
    let limit = |bytes: &str| {
        let limit = format!("--fsize={bytes}:unlimited");
        let status = Command::new("prlimit").args(["--pid", &capturing.pid(), &limit]).status();
        assert!(status.unwrap().success());
    };
    limit("4096");
    send(&net, 0..70, 1000);
    std::thread::sleep(Duration::from_secs(1));
    let lost = || {
        let (_, info, _) = run(&store, &["info", "--json", "--store", "."]);
        serde_json::from_str::<Value>(&info).unwrap()["lost"]["disk-refused"].clone()
    };
    assert_eq!(lost(), 70, "while the disk refuses");
    limit("unlimited");
    assert_eq!(counts(&capturing.end()), (70, 0, 70, 0));
    assert_eq!(lost(), 70, "afterwards");
    let place = ["query", "--store", ".", "--since", "1m ago", "--count"];
    let (code, out, err) = run(&store, &place);
    assert_eq!((code, out.trim()), (3, "0"), "{err}");
    assert!(err.contains("up to 70 packets between "), "{err}");
    let (code, out, _) = run(&store, &["check", "--store", "."]);
    assert_eq!(code, 0, "{out}");
}

/// With one ring a shard, which the kernel lets forget that what is sent is not wanted, each came
/// twice.
#[test]
fn packets_of_the_loopback_interface_come_once() {
    let Some(net) = network("loopback") else { return };
    net.ip("link set lo up").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("s");
    let words = ["-i", "lo", "--shards", "2", "--filter", "udp port 9001"];
    let capturing = capture(&net, &store, &words);
    let send = "for i in 1 2 3; do echo $i > /dev/udp/127.0.0.1/9001; done";
    assert!(net.command("bash").args(["-c", send]).status().unwrap().success());
    let report = capturing.end_all();
    assert_eq!(counts(&report[1]), (3, 3, 0, 0), "{report}");
}

/// What was in a buffer could only be had by ending the capture.
#[test]
fn what_has_come_is_made_durable_on_demand() {
    let Some(net) = network("flush") else { return };
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("s");
    let mut capturing = capture(&net, &store, &["--filter", "udp port 9000"]);
    send(&net, 0..10, 100);
    let (code, _, err) = run(&store, &["flush", "--store", "."]);
    assert_eq!(code, 0, "{err}");
    capturing.0.kill().unwrap();
    capturing.0.wait().unwrap();
    assert_eq!(numbers(&store), (0..10).collect::<Vec<_>>());
}

/// A packet that was cut to the snapshot length killed the capture.
#[test]
fn packets_are_cut_to_the_snapshot_length() {
    let Some(net) = network("cut") else { return };
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("s");
    let words = ["--snaplen", "96", "--filter", "udp port 9000"];
    let capturing = capture(&net, &store, &words);
    send(&net, 0..10, 8900);
    assert_eq!(counts(&capturing.end()), (10, 10, 0, 0));
    assert_eq!(count(&store, &["greater 8942 and udp port 9000"]), (10, 0));
    let (_, info, _) = run(&store, &["info", "--json", "--store", "."]);
    let info: Value = serde_json::from_str(&info).unwrap();
    assert_eq!(info["packet_bytes"], 960);
}

#[test]
fn what_cannot_be_captured_is_told_before_anything_is_touched() {
    let dir = tempfile::tempdir().unwrap();
    let capture = |words: &[&str]| {
        let (code, _, err) = run(dir.path(), &[&["capture", "--store", "s"], words].concat());
        assert!(!dir.path().join("s").try_exists().unwrap(), "{err}");
        (code, err)
    };
    let (code, err) = capture(&[]);
    assert!(code == 2 && err.contains("--interface <IFACE>"), "{err}");
    let (code, err) = capture(&["-i", "nothing0"]);
    if err.contains("CAP_NET_RAW") {
        skipped("root is needed to capture");
        return;
    }
    assert!(code == 2 && err.contains("there is no network interface 'nothing0'; there are: "));
    assert!(err.contains("lo"), "{err}");
    let (code, err) = capture(&["-i", "lo", "--filter", "tcp port"]);
    assert!(code == 2 && err.contains("filter for lo: "), "{err}");
    let (code, err) = capture(&["-i", "lo", "--buffer", "much"]);
    assert!(code == 2 && err.contains("'much' is no size"), "{err}");
    let tapstone = assert_cmd::cargo::cargo_bin!("tapstone");
    let output = Command::new("setpriv")
        .args(["--bounding-set", "-net_raw"])
        .arg(tapstone)
        .args(["capture", "-i", "lo", "--store"])
        .arg(dir.path().join("s"))
        .output()
        .unwrap();
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{err}");
    assert!(err.contains("needs the capability CAP_NET_RAW: run as root"), "{err}");
    assert!(!dir.path().join("s").try_exists().unwrap());
}
