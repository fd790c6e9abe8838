//! What libpcap captures, where no ring of ours can: all interfaces at once, and what netfilter logs.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};

use super::*;

/// Linux cooked captures, version 2.
const COOKED_2: u16 = 276;

/// tcpdump at the same place and time; `None` where there is none.
struct Tcpdump(Child);

impl Tcpdump {
    fn start(network: &Network, file: &Path, filter: &str) -> Option<Tcpdump> {
        let child = network
            .command("tcpdump")
            .args(["-i", "any", "-y", "LINUX_SLL2", "-B", "16384", "-w"])
            .arg(file)
            .arg(filter)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut tcpdump = Tcpdump(child);
        let said = BufReader::new(tcpdump.0.stderr.take().unwrap());
        if said.lines().map_while(Result::ok).any(|line| line.contains("listening on any")) {
            return Some(tcpdump);
        }
        skipped("tcpdump is needed to compare with");
        None
    }

    /// The packets that it saw.
    fn end(mut self, file: &Path) -> Vec<Vec<u8>> {
        // The kernel keeps packets for a second, and tcpdump leaves them there when it ends.
        std::thread::sleep(Duration::from_millis(1_500));
        let pid = self.0.id().to_string();
        assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
        self.0.wait().unwrap();
        sorted(read(&std::fs::read(file).unwrap()).packets.into_iter().map(|(_, it)| it.data))
    }
}

impl Drop for Tcpdump {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// Two sockets get the packets of two cores in different orders.
fn sorted(packets: impl Iterator<Item = Vec<u8>>) -> Vec<Vec<u8>> {
    let mut packets: Vec<_> = packets.collect();
    packets.sort();
    packets
}

/// Sends datagrams through the loopback interface: 1, 2, 3, ...
fn send_locally(network: &Network, count: u32) {
    let send = format!("for i in $(seq {count}); do echo $i > /dev/udp/127.0.0.1/9001; done");
    assert!(network.command("bash").args(["-c", &send]).status().unwrap().success());
}

/// What tcpdump finds in a file.
fn found(file: &Path, filter: &str) -> u64 {
    let output =
        Command::new("tcpdump").args(["-w", "-", "-r"]).arg(file).arg(filter).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    read(&output.stdout).packets.len() as u64
}

/// Packets of each interface, by the number that their headers name; what tshark makes of them.
fn by_interface(file: &Path) -> Option<BTreeMap<String, usize>> {
    let output = Command::new("tshark")
        .args(["-T", "fields", "-e", "sll.ifindex", "-r"])
        .arg(file)
        .output()
        .ok()?;
    let mut counts = BTreeMap::new();
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        *counts.entry(line.to_owned()).or_default() += 1;
    }
    output.status.success().then_some(counts)
}

#[test]
fn all_interfaces_at_once_are_recorded_as_tcpdump_does() {
    let Some(net) = network("any") else { return };
    net.ip("link set lo up").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (store, file, exported) =
        (dir.path().join("s"), dir.path().join("tcpdump.pcap"), dir.path().join("ours.pcapng"));
    let capturing = capture_from(&net, &store, "any", &["--shards", "2"]);
    let Some(tcpdump) = Tcpdump::start(&net, &file, "") else { return };
    send(&net, 0..300, 100);
    send(&net, 300..310, 8900);
    send_locally(&net, 20);
    let expected = tcpdump.end(&file);
    let (received, taken, lost, filtered) = counts(&capturing.end());
    assert_eq!((received, lost, filtered), (taken, 0, 0));
    // Each goes out of one interface and comes in by the other; through the loopback interface it
    // comes once, and so does the answer that nobody listens there.
    assert_eq!(expected.len(), 2 * 310 + 2 * 20);
    assert!(sorted(stored(&store, "").into_iter()) == expected, "byte for byte");
    for filter in [
        "ip",
        "not ip",
        "udp port 9000",
        "port 9001",
        "src host 127.0.0.1 and greater 40",
        "inbound",
        "outbound and udp",
        "ifindex 1",
        "not ifindex 1 and dst host 10.9.0.77",
        "ether proto 0x0800",
        "udp[8] = 7",
    ] {
        assert_eq!(count(&store, &[filter]), (found(&file, filter), 0), "{filter}");
    }
    let words = ["query", "--store", ".", "-w", exported.to_str().unwrap()];
    assert_eq!(run(&store, &words).0, 0);
    let capture = read(&std::fs::read(&exported).unwrap());
    assert!(capture.packets.iter().all(|(_, it)| it.link_type == COOKED_2));
    match by_interface(&exported) {
        Some(counts) => {
            assert_eq!(counts.len(), 3, "{counts:?}");
            assert_eq!(Some(counts), by_interface(&file));
        }
        None => skipped("tshark is needed to read what was exported"),
    }
}

#[test]
fn a_filter_for_all_interfaces_leaves_out_what_tcpdump_leaves_out() {
    let Some(net) = network("anyfilter") else { return };
    net.ip("link set lo up").unwrap();
    let dir = tempfile::tempdir().unwrap();
    for (filter, count) in [
        ("udp port 9000 and inbound", 50),
        ("ifindex 1 and udp", 20),
        ("udp port 9001 or (outbound and udp)", 70),
        // libpcap makes a program of it that it cannot give to the kernel.
        ("udp and ip protochain 17", 120),
    ] {
        let (store, file) = (dir.path().join("s"), dir.path().join("tcpdump.pcap"));
        std::fs::remove_dir_all(&store).ok();
        let capturing = capture_from(&net, &store, "any", &["--filter", filter]);
        let Some(tcpdump) = Tcpdump::start(&net, &file, filter) else { return };
        send(&net, 0..50, 100);
        send_locally(&net, 20);
        let expected = tcpdump.end(&file);
        assert_eq!(expected.len(), count, "{filter}");
        let count = count as u64;
        assert_eq!(counts(&capturing.end()), (count, count, 0, 0), "{filter}");
        assert!(sorted(stored(&store, "").into_iter()) == expected, "{filter}");
    }
}

/// As with a ring: what came is what is stored and what was lost.
#[test]
fn what_libpcap_had_no_room_for_is_counted_to_the_packet() {
    let Some(net) = network("anylost") else { return };
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("s");
    let words = ["--buffer", "2MiB", "--filter", "udp port 9000 and inbound"];
    let capturing = capture_from(&net, &store, "any", &words);
    send(&net, 0..10, 1000);
    assert_eq!(run(&store, &["flush", "--store", "."]).0, 0);
    assert_eq!(count(&store, &["udp port 9000"]), (10, 0), "what had come is durable");
    capturing.stand_still();
    send(&net, 10..6_000, 1000);
    capturing.signal("-CONT");
    std::thread::sleep(Duration::from_secs(1));
    send(&net, 6_000..6_010, 1000);
    let (received, stored, lost, _) = counts(&capturing.end());
    assert_eq!((received, stored + lost), (6_010, 6_010));
    assert!(lost > 1_000, "{lost} lost");
    let (code, out, err) = run(&store, &["query", "--store", ".", "--count", "tcp port 1"]);
    assert_eq!((code, out.trim()), (3, "0"));
    assert!(err.contains(&format!("up to {lost} packets between ")), "{err}");
}

#[test]
fn what_netfilter_logs_is_recorded() {
    let Some(net) = network("nflog") else { return };
    net.ip("link set lo up").unwrap();
    let rules = "add table ip t; add chain ip t c { type filter hook output priority 0 ; }; \
                 add rule ip t c udp dport 9001 log prefix \"seen\" group 5";
    if !net.command("nft").arg(rules).status().is_ok_and(|it| it.success()) {
        skipped("nft, and a kernel with its log, are needed to have packets logged");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("s");
    let capturing = capture_from(&net, &store, "nflog:5", &[]);
    send_locally(&net, 20);
    assert_eq!(run(&store, &["flush", "--store", "."]).0, 0);
    assert_eq!(count(&store, &[]), (20, 0));
    send_locally(&net, 3);
    assert_eq!(counts(&capturing.end()), (23, 23, 0, 0));
    assert_eq!(count(&store, &["--where", "port:9001 AND ip:127.0.0.1"]), (23, 0));
    let place = ["query", "--store", ".", "--format", "pcap", "-w", "../out.pcap"];
    assert_eq!(run(&store, &place).0, 0);
    let capture = read(&std::fs::read(dir.path().join("out.pcap")).unwrap());
    assert!(capture.packets.iter().all(|(_, it)| it.link_type == LinkType::NFLOG.0));
    let ends: Vec<&[u8]> = capture.packets.iter().map(|(_, it)| &it.data[..]).collect();
    // Its data is the last that a record has, filled up to four bytes.
    assert!(ends[4].ends_with(b"5\n\0\0"), "{:?}", ends[4]);
    let tapstone = assert_cmd::cargo::cargo_bin!("tapstone");
    let output = net
        .command("setpriv")
        .args(["--bounding-set", "-net_admin"])
        .arg(tapstone)
        .args(["capture", "-i", "nflog:5", "--store"])
        .arg(dir.path().join("other"))
        .output()
        .unwrap();
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{err}");
    assert!(err.contains("capturing from nflog:5 needs the capability CAP_NET_ADMIN"), "{err}");
}

#[test]
fn a_device_that_cannot_be_captured_from_is_told_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let capture = |words: &[&str]| {
        let (code, _, err) = run(dir.path(), &[&["capture", "--store", "s"], words].concat());
        assert!(!dir.path().join("s").try_exists().unwrap(), "{err}");
        assert_eq!(code, 2, "{err}");
        err
    };
    let err = capture(&["-i", "nothing0"]);
    if err.contains("CAP_NET_RAW") {
        skipped("root is needed to capture");
        return;
    }
    assert!(err.contains("there is no network interface 'nothing0'; there are: any, "), "{err}");
    let err = capture(&["-i", "nothing:5"]);
    assert!(err.contains("there is no network interface 'nothing:5'; there are: any, "), "{err}");
    let err = capture(&["-i", "any", "--filter", "tcp port"]);
    assert!(err.contains("filter for any: "), "{err}");
    let err = capture(&["-i", "any", "--cutoff", "tcp prot 5=1KiB"]);
    assert!(err.contains("cut-off class 'tcp prot 5' for any: "), "{err}");
    let err = capture(&["-i", "nflog:70000"]);
    assert!(err.contains("cannot capture from nflog:70000: "), "{err}");
    let err = capture(&["-i", "nflog", "--filter", "udp"]);
    assert!(err.contains("filter for nflog: "), "{err}");
    let err = capture(&["-i", "nfqueue:3"]);
    assert!(err.contains("capture from nflog:GROUP"), "{err}");
    if !Path::new("/dev/usbmon7").try_exists().unwrap() {
        let err = capture(&["-i", "usbmon7"]);
        assert!(err.contains("cannot capture from usbmon7: "), "{err}");
        assert!(err.contains("modprobe usbmon"), "{err}");
    }
    let tapstone = assert_cmd::cargo::cargo_bin!("tapstone");
    let output = Command::new("setpriv")
        .args(["--bounding-set", "-net_raw"])
        .arg(tapstone)
        .args(["capture", "-i", "any", "--store"])
        .arg(dir.path().join("s"))
        .output()
        .unwrap();
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{err}");
    assert!(err.contains("capturing from any needs the capability CAP_NET_RAW"), "{err}");
}
