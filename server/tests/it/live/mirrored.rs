//! Traffic that a cloud mirrors to us: frames within VXLAN (AWS Traffic Mirroring) and GENEVE (AWS
//! Gateway Load Balancer).

use super::*;

/// An Ethernet frame with a UDP datagram from one host of a /24 to another.
fn udp(net: [u8; 3], ports: (u16, u16), payload: &[u8]) -> Vec<u8> {
    let [a, b, c] = net;
    let length = |headers: usize| u16::try_from(headers + payload.len()).unwrap().to_be_bytes();
    let mut frame = vec![2, 0, 0, 0, 0, 0x77, 2, 0, 0, 0, 0, 1, 8, 0, 0x45, 0];
    frame.extend(length(28));
    frame.extend([0, 0, 0, 0, 64, 17, 0, 0, a, b, c, 1, a, b, c, 2]);
    frame.extend(ports.0.to_be_bytes());
    frame.extend(ports.1.to_be_bytes());
    frame.extend(length(8));
    frame.extend([0, 0]);
    frame.extend(payload);
    frame
}

fn vxlan(vni: u8, inner: &[u8]) -> Vec<u8> {
    let header = [8, 0, 0, 0, 0, 0, vni, 0];
    udp([10, 9, 0], (50_000, 4789), &[&header, inner].concat())
}

/// With an option of eight bytes, as load balancers send some.
fn geneve(vni: u8, inner: &[u8]) -> Vec<u8> {
    let header = [2, 0, 0x65, 0x58, 0, 0, vni, 0, 0x01, 0x08, 1, 1, 1, 2, 3, 4];
    udp([10, 9, 0], (50_001, 6081), &[&header, inner].concat())
}

#[test]
fn mirrored_packets_are_stored_as_they_came_and_found_by_what_is_in_them() {
    let Some(net) = network("mirror") else { return };
    let dir = tempfile::tempdir().unwrap();
    let (store, file) = (dir.path().join("s"), dir.path().join("mirrored.pcap"));
    let inner = |host| udp([192, 168, host], (1234, 5353), b"inside");
    let frames: Vec<Vec<u8>> = vec![
        vxlan(42, &inner(7)),
        vxlan(43, &inner(7)),
        geneve(42, &inner(7)),
        geneve(42, &inner(8)),
    ];
    std::fs::write(&file, capture_of(&frames)).unwrap();
    let capturing = capture(&net, &store, &["--filter", "udp port 4789 or udp port 6081"]);
    if !replay(&net, &file, 1) {
        return;
    }
    let check = || {
        for (words, expected) in [
            (&["--where", "vni:42"][..], 3),
            (&["--where", "vni:43"], 1),
            (&["--where", "tunnel:geneve AND vni:42"], 2),
            (&["--where", "ip:192.168.7.0/24"], 3),
            (&["--where", "ip:192.168.8.1 AND port:5353"], 1),
            (&["--where", "vni:42 AND ip:192.168.7.1 AND tunnel:vxlan"], 1),
            (&["--where", "ip:10.9.0.1"], 4),
            (&["geneve 42 and host 192.168.8.1"], 1),
            (&["host 192.168.7.1"], 0),
            (&["udp port 4789"], 2),
        ] {
            assert_eq!(count(&store, words), (expected, 0), "{words:?}");
        }
    };
    assert_eq!(run(&store, &["flush", "--store", "."]).0, 0);
    check();
    assert_eq!(counts(&capturing.end()), (4, 4, 0, 0));
    check();
    assert_eq!(stored(&store, ""), frames, "byte for byte");
}
