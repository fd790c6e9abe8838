//! Packets byte by byte: Ethernet, IPv4, TCP, UDP, and the few messages that carry names.

use std::net::Ipv4Addr;

/// A conversation's ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// Who begins.
    pub client: Ipv4Addr,
    /// Who answers.
    pub server: Ipv4Addr,
    /// The client's port.
    pub client_port: u16,
    /// The server's port.
    pub server_port: u16,
}

/// TCP flags.
pub mod flags {
    /// Synchronise.
    pub const SYN: u8 = 0x02;
    /// Acknowledge.
    pub const ACK: u8 = 0x10;
    /// Push.
    pub const PSH: u8 = 0x08;
    /// Finish.
    pub const FIN: u8 = 0x01;
    /// Reset.
    pub const RST: u8 = 0x04;
}

/// Bytes before the payload of a TCP packet.
pub const TCP_HEADERS: usize = 14 + 20 + 20;
/// Bytes before the payload of a UDP packet.
pub const UDP_HEADERS: usize = 14 + 20 + 8;

/// Appends a TCP packet.
pub fn tcp(
    out: &mut Vec<u8>,
    ends: Ends,
    from_client: bool,
    flags: u8,
    sequence: u32,
    payload: &[u8],
) {
    let start = network(out, ends, from_client, 6, 20 + payload.len());
    let (source, destination) = ports(ends, from_client);
    let segment = out.len();
    out.extend_from_slice(&source.to_be_bytes());
    out.extend_from_slice(&destination.to_be_bytes());
    out.extend_from_slice(&sequence.to_be_bytes());
    out.extend_from_slice(&[0, 0, 0, 0, 0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
    out.extend_from_slice(payload);
    let sum = transport_checksum(&out[start..], &out[segment..], 6);
    out[segment + 16..segment + 18].copy_from_slice(&sum.to_be_bytes());
}

/// Appends a UDP packet.
pub fn udp(out: &mut Vec<u8>, ends: Ends, from_client: bool, payload: &[u8]) {
    let start = network(out, ends, from_client, 17, 8 + payload.len());
    let (source, destination) = ports(ends, from_client);
    let datagram = out.len();
    out.extend_from_slice(&source.to_be_bytes());
    out.extend_from_slice(&destination.to_be_bytes());
    out.extend_from_slice(&((8 + payload.len()) as u16).to_be_bytes());
    out.extend_from_slice(&[0, 0]);
    out.extend_from_slice(payload);
    let sum = transport_checksum(&out[start..], &out[datagram..], 17);
    out[datagram + 6..datagram + 8].copy_from_slice(&sum.max(1).to_be_bytes());
}

fn ports(ends: Ends, from_client: bool) -> (u16, u16) {
    if from_client {
        (ends.client_port, ends.server_port)
    } else {
        (ends.server_port, ends.client_port)
    }
}

/// Appends Ethernet and IPv4 headers; gives where the IPv4 header begins.
fn network(out: &mut Vec<u8>, ends: Ends, from_client: bool, protocol: u8, length: usize) -> usize {
    let inside = [0x02, 0, 0x5e, 0, 0, 1];
    let outside = [0x02, 0, 0x5e, 0, 0, 2];
    let (source_mac, destination_mac, source, destination) = if from_client {
        (inside, outside, ends.client, ends.server)
    } else {
        (outside, inside, ends.server, ends.client)
    };
    out.extend_from_slice(&destination_mac);
    out.extend_from_slice(&source_mac);
    out.extend_from_slice(&[0x08, 0x00]);
    let start = out.len();
    out.extend_from_slice(&[0x45, 0]);
    out.extend_from_slice(&((20 + length) as u16).to_be_bytes());
    out.extend_from_slice(&[0, 0, 0x40, 0, 64, protocol, 0, 0]);
    out.extend_from_slice(&source.octets());
    out.extend_from_slice(&destination.octets());
    let sum = fold(sum(&out[start..start + 20], 0));
    out[start + 10..start + 12].copy_from_slice(&sum.to_be_bytes());
    start
}

fn sum(bytes: &[u8], from: u64) -> u64 {
    let (words, rest) = bytes.as_chunks::<2>();
    let total = words.iter().fold(from, |total, word| total + u64::from(u16::from_be_bytes(*word)));
    total + rest.first().map_or(0, |last| u64::from(*last) << 8)
}

fn fold(mut total: u64) -> u16 {
    while total > 0xffff {
        total = (total & 0xffff) + (total >> 16);
    }
    !(total as u16)
}

fn transport_checksum(network: &[u8], transport: &[u8], protocol: u8) -> u16 {
    let pseudo = sum(&network[12..20], u64::from(protocol) + transport.len() as u64);
    fold(sum(transport, pseudo))
}

/// A DNS question for the address of a name.
#[must_use]
pub fn dns_query(id: u16, name: &str) -> Vec<u8> {
    let mut message = vec![0; 12];
    message[..2].copy_from_slice(&id.to_be_bytes());
    (message[2], message[5]) = (0x01, 1);
    for label in name.split('.') {
        message.push(label.len() as u8);
        message.extend_from_slice(label.as_bytes());
    }
    message.extend_from_slice(&[0, 0, 1, 0, 1]);
    message
}

/// The answer to [`dns_query`].
#[must_use]
pub fn dns_answer(id: u16, name: &str, address: Ipv4Addr) -> Vec<u8> {
    let mut message = dns_query(id, name);
    (message[2], message[3], message[7]) = (0x81, 0x80, 1);
    message.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 1, 0, 0, 4]);
    message.extend_from_slice(&address.octets());
    message
}

/// A TLS ClientHello for a server name.
#[must_use]
pub fn client_hello(name: &str, random: [u8; 32]) -> Vec<u8> {
    let mut sni = vec![0, 0];
    sni.extend_from_slice(&((name.len() + 5) as u16).to_be_bytes());
    sni.extend_from_slice(&((name.len() + 3) as u16).to_be_bytes());
    sni.push(0);
    sni.extend_from_slice(&(name.len() as u16).to_be_bytes());
    sni.extend_from_slice(name.as_bytes());
    let mut hello = vec![3, 3];
    hello.extend_from_slice(&random);
    hello.extend_from_slice(&[0, 0, 2, 0x13, 0x01, 1, 0]);
    hello.extend_from_slice(&(sni.len() as u16).to_be_bytes());
    hello.extend_from_slice(&sni);
    let mut record = vec![22, 3, 1];
    record.extend_from_slice(&((hello.len() + 4) as u16).to_be_bytes());
    record.push(1);
    record.extend_from_slice(&(hello.len() as u32).to_be_bytes()[1..]);
    record.extend_from_slice(&hello);
    record
}

/// An HTTP/1 request.
#[must_use]
pub fn http_request(host: &str) -> Vec<u8> {
    format!("GET /index.html HTTP/1.1\r\nHost: {host}\r\nAccept: */*\r\n\r\n").into_bytes()
}
